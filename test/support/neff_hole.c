/* SPDX-License-Identifier: Apache-2.0 */
#include "neff_hole.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define HEADER    1024u
#define DATA_SIZE 16u /* where the header says how long the payload is */
#define SEAL      36u /* the header's last bytes */
#define BLOCK     512u

/* Fields of a tar header. */
#define TAR_NAME 100u
#define TAR_SIZE 124u
#define TAR_SUM  148u

static uint64_t blocks(uint64_t size)
{
    return (size + BLOCK - 1) / BLOCK * BLOCK;
}

/* The header of the member; NULL: none. Its name lies in the first field. */
static uint8_t *member_find(uint8_t *neff, size_t size, const char *name, uint64_t *ret_size)
{
    for (uint64_t at = HEADER; at + BLOCK <= size && neff[at] != 0;) {
        *ret_size = strtoull((char *)neff + at + TAR_SIZE, NULL, 8);
        if (strncmp((char *)neff + at, name, TAR_NAME) == 0)
            return neff + at;
        at += BLOCK + blocks(*ret_size);
    }
    return NULL;
}

static void big_endian(uint8_t *p, unsigned n, uint64_t v)
{
    while (n-- > 0) {
        p[n] = (uint8_t)v;
        v >>= 8;
    }
}

/* Octal digits up to 8 GiB, a binary number beyond, as GNU tar writes it. */
static void member_resize(uint8_t *h, uint64_t size)
{
    unsigned sum = 0;

    if (size >> 33 == 0) {
        snprintf((char *)h + TAR_SIZE, 12, "%011llo", (unsigned long long)size);
    } else {
        big_endian(h + TAR_SIZE, 12, size);
        h[TAR_SIZE] = 0x80;
    }
    memset(h + TAR_SUM, ' ', 8);
    for (unsigned i = 0; i < BLOCK; i++)
        sum += h[i];
    snprintf((char *)h + TAR_SUM, 8, "%06o", sum);
}

static void header_resize(uint8_t *header, uint64_t payload)
{
    for (unsigned i = 0; i < 8; i++)
        header[DATA_SIZE + i] = (uint8_t)(payload >> (8 * i));
    memset(header + HEADER - SEAL, 0, SEAL);
}

static int unnamed_file(uint64_t size)
{
    char path[] = "/tmp/opennrt-hole-XXXXXX";
    int fd = mkstemp(path);

    if (fd < 0)
        return -1;
    unlink(path);
    if (ftruncate(fd, (off_t)size) == 0)
        return fd;
    close(fd);
    return -1;
}

static void put(int fd, const uint8_t *bytes, size_t size, uint64_t at)
{
    if (pwrite(fd, bytes, size, (off_t)at) != (ssize_t)size) {
        perror("neff_hole_open");
        abort();
    }
}

int neff_hole_open(const void *neff, size_t size, const char *member, uint64_t grown,
                   uint64_t *ret_at, uint64_t *ret_total)
{
    uint8_t *copy = malloc(size), *h = NULL;
    uint64_t old, behind;
    int fd;

    if (copy != NULL)
        h = member_find(memcpy(copy, neff, size), size, member, &old);
    if (h == NULL || grown < old) {
        fprintf(stderr, "neff_hole_open: no member %s to be made larger\n", member);
        abort();
    }
    *ret_at = (uint64_t)(h - copy) + BLOCK;
    behind = *ret_at + blocks(old);
    *ret_total = size - blocks(old) + blocks(grown);
    member_resize(h, grown);
    header_resize(copy, *ret_total - HEADER);
    fd = unnamed_file(*ret_total);
    if (fd >= 0) {
        put(fd, copy, behind, 0);
        put(fd, copy + behind, size - behind, *ret_at + blocks(grown));
    }
    free(copy);
    return fd;
}
