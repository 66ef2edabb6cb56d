/* SPDX-License-Identifier: Apache-2.0 */
/* Device profiles: any bytes; of what is accepted everything is looked at. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "time/ntff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every number that names something leads somewhere inside. */
static size_t look(const struct ntff *n)
{
    size_t sum = 0;

    for (uint64_t i = 0; i < n->model_count; i++) {
        const struct ntff_model *m = &n->models[i];

        sum += strlen(ntff_text(n, m->name));
        for (uint32_t k = 0; k < m->records; k++) {
            const struct ntff_record *r = &n->records[m->first_record + k];

            sum += strlen(ntff_text(n, r->file)) + strlen(ntff_text(n, r->label)) +
                   strlen(ntff_text(n, r->op)) + r->opcode;
        }
        for (uint32_t k = 0; k < m->xfers; k++)
            sum += n->xfers[m->first_xfer + k].bytes;
    }
    for (uint64_t i = 0; i < n->exec_count; i++) {
        const struct ntff_exec *e = &n->execs[i];

        sum += n->models[e->model].id;
        for (uint64_t k = 0; k < e->events; k++)
            sum += n->events[e->first_event + k].end_ps;
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void *bytes = malloc(size + 1); /* at a multiple of 8, and its end is the end */
    struct err err = {0};
    volatile size_t sum = 0;
    struct ntff n;

    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    if (ntff_open(bytes, size, &n, &err) == NRT_SUCCESS)
        sum = look(&n);
    else if (!err.text[0])
        abort();
    (void)sum;
    free(bytes);
    return 0;
}
