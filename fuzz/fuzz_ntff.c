/* SPDX-License-Identifier: Apache-2.0 */
/* Device profiles: any bytes; of what is accepted everything is looked at, and shown in every form.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "viewer/report.h"

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

static bool count(void *arg, const void *bytes, size_t size)
{
    *(size_t *)arg += size + *(const uint8_t *)bytes;
    return true;
}

/* Memory does not run out here and the sink takes all: only a trace with too many rows may fail. */
static size_t show(const struct viewer_shown *s)
{
    size_t sum = 0;
    const struct viewer_sink sink = {count, &sum};
    struct strbuf text = {0};
    struct err err = {0};

    if (!viewer_text_words(s, &text) || !viewer_text_keys(s, &text) ||
        viewer_json_profile(&s, 1, &sink, &err) != NRT_SUCCESS ||
        viewer_report(&s, 1, NULL, 0, &sink, &err) != NRT_SUCCESS)
        abort();
    if (viewer_trace_profile(&s, 1, true, &sink, &err) != NRT_SUCCESS && !err.text[0])
        abort();
    sum += text.len;
    strbuf_fini(&text);
    return sum;
}

static size_t view(const struct ntff *n)
{
    struct viewer_file file;
    struct err err = {0};
    size_t sum = 0;

    if (viewer_file_init(&file, n, &err) != NRT_SUCCESS)
        abort();
    for (uint64_t i = 0; i < n->model_count; i++) {
        struct viewer_model m;
        struct viewer_figures f;
        const struct viewer_shown shown = {"profile", &f};

        viewer_model_init(&m, &file, i, NULL);
        if (viewer_figures_make(&f, &m, &err) != NRT_SUCCESS)
            abort();
        sum += show(&shown);
        viewer_figures_fini(&f);
    }
    viewer_file_fini(&file);
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
        sum = look(&n) + view(&n);
    else if (!err.text[0])
        abort();
    (void)sum;
    free(bytes);
    return 0;
}
