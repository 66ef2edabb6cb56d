/* SPDX-License-Identifier: Apache-2.0 */
/* For the NEFF targets: a plain-tar NEFF from members, without the project's writer. */
#ifndef FUZZ_NEFF_TAR_H
#define FUZZ_NEFF_TAR_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fuzz_member {
    const char *name;
    const void *data;
    size_t size;
};

#define FUZZ_TEXT(name, text)        \
    {                                \
        name, text, sizeof(text) - 1 \
    }

static inline void fuzz_u64(uint8_t *p, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* The file; free() it. */
static inline uint8_t *fuzz_neff(const struct fuzz_member *members, size_t count, unsigned lnc,
                                 size_t *ret_size)
{
    size_t size = 1024 + 1024, off = 1024;
    uint8_t *file;

    for (size_t i = 0; i < count; i++)
        size += 512 + (members[i].size + 511) / 512 * 512;
    file = calloc(1, size);
    if (file == NULL)
        abort();
    fuzz_u64(file, 2);
    fuzz_u64(file + 8, 1024);
    fuzz_u64(file + 16, size - 1024);
    fuzz_u64(file + 24, 2);
    file[168] = (uint8_t)lnc;
    memcpy(file + 220, "fuzz", 4);
    file[552] = (uint8_t)lnc;
    for (size_t i = 0; i < count; i++) {
        uint8_t *h = file + off;
        unsigned sum = 0;

        strncpy((char *)h, members[i].name, 100);
        memcpy(h + 100, "0000644", 8);
        memcpy(h + 108, "0000000", 8);
        memcpy(h + 116, "0000000", 8);
        snprintf((char *)h + 124, 12, "%011llo", (unsigned long long)members[i].size);
        memcpy(h + 136, "00000000000", 12);
        h[156] = '0';
        memcpy(h + 257, "ustar\00000", 8);
        memset(h + 148, ' ', 8);
        for (size_t k = 0; k < 512; k++)
            sum += h[k];
        snprintf((char *)h + 148, 8, "%06o", sum);
        h[155] = ' ';
        if (members[i].size > 0)
            memcpy(h + 512, members[i].data, members[i].size);
        off += 512 + (members[i].size + 511) / 512 * 512;
    }
    *ret_size = size;
    return file;
}

#endif
