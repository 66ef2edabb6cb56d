/* SPDX-License-Identifier: Apache-2.0 */
/* The text form of schedules: any text is read or refused with a line, what was read prints and
 * reads to the same steps, and the checker proves or refuses whatever steps they are. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sched/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct sched_text *t)
{
    struct strbuf text = {.s = NULL};
    struct sched_text *u;
    struct err err = {.status = NRT_SUCCESS};

    sched_text_print(t, &text);
    if (text.failed || sched_text_parse(text.s, text.len, &u, &err) != NRT_SUCCESS ||
        u->ranks != t->ranks || u->channels != t->channels)
        abort();
    for (size_t i = 0; i < (size_t)t->ranks * t->channels; i++) {
        const struct sched_text_stream *a = &t->stream[i], *b = &u->stream[i];

        if (a->count != b->count || a->slot != b->slot || a->temp != b->temp ||
            a->line != b->line || a->node != b->node)
            abort();
        for (size_t k = 0; k < a->count; k++)
            if (!sched_step_equal(&a->step[k], &b->step[k]))
                abort();
    }
    sched_text_destroy(u);
    strbuf_fini(&text);
}

/* Repetitions are work, so a text that asks for many is read and printed, but not run. */
static bool is_small(const struct sched_text *t)
{
    uint64_t work = 0;

    for (size_t i = 0; i < (size_t)t->ranks * t->channels; i++)
        for (size_t k = 0; k < t->stream[i].count; k++)
            work += t->stream[i].step[k].repeat;
    return work < 10000 && (size_t)t->ranks * t->channels <= 64;
}

static void prove(const struct sched_text *t, enum sched_op op)
{
    size_t n = (size_t)t->ranks * t->channels;
    struct sched_text_reader reader = {t, mem_calloc(n, sizeof(size_t))};
    uint64_t count = 4 * (uint64_t)t->ranks;
    struct sched_request req = {.op = op,
                                .tensors = op == SCHED_BARRIER ? 0 : 1,
                                .counts = &count,
                                .elem_size = 4,
                                .in_place = t->ranks & 1};
    struct sched_check_source source;
    struct sched_violation v;
    struct err err = {.status = NRT_SUCCESS};
    NRT_STATUS status;

    if (!reader.at)
        return;
    sched_text_source(&reader, &source);
    status = sched_check(&req, t->ranks, t->channels, &source, NULL, &v, NULL, &err);
    if ((status == NRT_SUCCESS) != (v.flaw == SCHED_FLAW_NONE) ||
        (status != NRT_SUCCESS && !err.text[0]))
        abort();
    mem_free(reader.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum sched_op ops[] = {SCHED_ALL_GATHER, SCHED_ALL_REDUCE, SCHED_REDUCE_SCATTER,
                                        SCHED_BARRIER};
    struct sched_text *t;
    struct err err = {.status = NRT_SUCCESS};
    NRT_STATUS status;

    if (size > 65536)
        return 0;
    status = sched_text_parse((const char *)data, size, &t, &err);
    if (status != NRT_SUCCESS) {
        if (status != NRT_INVALID || !err.text[0])
            abort();
        return 0;
    }
    again(t);
    if (is_small(t))
        prove(t, ops[size % 4]);
    sched_text_destroy(t);
    return 0;
}
