/* SPDX-License-Identifier: Apache-2.0 */
/* Calls the trace writer as the lines on standard input say, and writes the trace to standard
 * output: test_perfetto.py. Words are separated by blanks; texts are in hex, "-" is NULL, "." is
 * "". T uuid parent name unit process pid pname ordered order E|S type ns end track category name
 * file line counter flows ends args... flows and ends are numbers joined by commas; an argument is
 * name:type:value. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "time/perfetto.h"

#define WORDS 64
#define TEXTS 64

static char texts[TEXTS][4096];
static unsigned used;

static const char *text(const char *word)
{
    char *to = texts[used++ % TEXTS];
    unsigned c;
    size_t n = 0;

    if (strcmp(word, "-") == 0)
        return NULL;
    for (; word[0] != '.' && sscanf(word + 2 * n, "%2x", &c) == 1 && n < sizeof(texts[0]) - 1; n++)
        to[n] = (char)c;
    to[n] = 0;
    return to;
}

static unsigned numbers(char *word, uint64_t *to)
{
    unsigned n = 0;
    char *save;

    if (strcmp(word, "-") == 0)
        return 0;
    for (char *w = strtok_r(word, ",", &save); w != NULL; w = strtok_r(NULL, ",", &save))
        to[n++] = strtoull(w, NULL, 10);
    return n;
}

static void argument(char *word, struct perfetto_arg *a)
{
    char *save, *name = strtok_r(word, ":", &save), *type = strtok_r(NULL, ":", &save),
                *value = strtok_r(NULL, ":", &save);

    a->name = text(name);
    a->type = (enum perfetto_value)atoi(type);
    switch (a->type) {
    case PERFETTO_TEXT:
        a->text = text(value);
        break;
    case PERFETTO_UINT:
        a->u = strtoull(value, NULL, 10);
        break;
    case PERFETTO_INT:
        a->i = strtoll(value, NULL, 10);
        break;
    case PERFETTO_DOUBLE:
        a->d = strtod(value, NULL);
        break;
    case PERFETTO_BOOL:
        a->b = atoi(value) != 0;
        break;
    }
}

static void track(struct perfetto *p, char **w)
{
    perfetto_track(p, &(struct perfetto_track){.uuid = strtoull(w[1], NULL, 10),
                                               .parent = strtoull(w[2], NULL, 10),
                                               .name = text(w[3]),
                                               .unit = text(w[4]),
                                               .process = atoi(w[5]) != 0,
                                               .pid = atoi(w[6]),
                                               .pname = text(w[7]),
                                               .ordered = atoi(w[8]) != 0,
                                               .order = atoi(w[9])});
}

static void event(struct perfetto *p, char **w, unsigned n)
{
    uint64_t flows[16], ends[16];
    struct perfetto_arg args[WORDS];
    struct perfetto_event e = {.type = (enum perfetto_type)atoi(w[1]),
                               .ns = strtoull(w[2], NULL, 10),
                               .track = strtoull(w[4], NULL, 10),
                               .category = text(w[5]),
                               .name = text(w[6]),
                               .file = text(w[7]),
                               .line = (uint32_t)strtoul(w[8], NULL, 10),
                               .counter = strtod(w[9], NULL),
                               .flow_count = numbers(w[10], flows),
                               .flow_end_count = numbers(w[11], ends),
                               .flows = flows,
                               .flow_ends = ends,
                               .args = args};

    for (unsigned i = 12; i < n; i++)
        argument(w[i], &args[e.arg_count++]);
    if (w[0][0] == 'S')
        perfetto_slice(p, &e, strtoull(w[3], NULL, 10));
    else
        perfetto_event(p, &e);
}

int main(void)
{
    static char line[1 << 20];
    struct perfetto p = {.sequence = 7};
    bool ok;

    while (fgets(line, sizeof(line), stdin) != NULL) {
        char *w[WORDS], *save;
        unsigned n = 0;

        for (char *s = strtok_r(line, " \n", &save); s != NULL && n < WORDS;
             s = strtok_r(NULL, " \n", &save))
            w[n++] = s;
        if (n >= 10 && w[0][0] == 'T')
            track(&p, w);
        else if (n >= 12)
            event(&p, w, n);
    }
    ok = !p.failed && fwrite(p.bytes, 1, p.size, stdout) == p.size;
    perfetto_fini(&p);
    return ok ? 0 : 1;
}
