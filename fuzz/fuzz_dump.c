/* SPDX-License-Identifier: Apache-2.0 */
/* Files of core dumps: any bytes, as one file and as two of a directory (the first byte says where
 * the second begins); what is read is in bounds and printable, and the judge comes to an end. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "opennrt/dump_judge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void printable(const char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > 126)
            abort();
}

static void look(const struct dump_set *s)
{
    struct dump_verdict v;

    for (unsigned i = 0; i < s->n; i++) {
        const struct dump_file *f = &s->file[i];

        if (f->raises > DUMP_RAISES || f->ops > DUMP_OPS || f->rings > DUMP_RINGS)
            abort();
        printable(f->text);
        printable(f->neff_name);
        for (unsigned k = 0; k < f->raises; k++)
            if (f->raise[k].engine >= ISA_ENGINES)
                abort();
    }
    dump_judge(s, &v);
    if (v.file >= (int)s->n || (v.has_engine && v.engine >= ISA_ENGINES) || !v.text.s)
        abort();
    printable(v.text.s);
    strbuf_fini(&v.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dump_file file[2];
    static char name[2][256] = {"first", "second"};
    struct dump_set s = {.file = file, .name = name, .n = 1};
    size_t cut = size ? size * data[0] / 256 : 0;

    dump_file_parse((const char *)data, size, &file[0]);
    if (file[0].of == DUMP_OF_NOTHING && size > 0) { /* the byte in front is the cut */
        dump_file_parse((const char *)data + 1, size - 1, &file[0]);
        dump_file_parse((const char *)data + cut, size - cut, &file[1]);
        s.n = 2;
    }
    look(&s);
    return 0;
}
