/* SPDX-License-Identifier: Apache-2.0 */
/* For the NEFF targets: read a file strictly and leniently, and use everything that was read, so
 * that a wrong pointer or count shows. */
#ifndef FUZZ_NEFF_USE_H
#define FUZZ_NEFF_USE_H

#include <stdlib.h>
#include <string.h>

#include "neff/neff.h"

static inline void fuzz_say(void *arg, const char *text)
{
    *(size_t *)arg += strlen(text);
}

static inline NRT_STATUS fuzz_put(void *arg, uint32_t graph, uint32_t var, uint64_t off,
                                  const void *data, size_t size, struct err *err)
{
    size_t *sum = arg;

    (void)graph;
    (void)var;
    (void)off;
    (void)err;
    for (size_t i = 0; i < size; i++)
        *sum += ((const uint8_t *)data)[i];
    return NRT_SUCCESS;
}

static inline void fuzz_use_access(const struct neff_subgraph *sg, const struct neff_access *a)
{
    const struct neff_var *v = &sg->vars[a->var];
    int64_t lo = (int64_t)a->off, hi = lo;

    if (a->var >= sg->var_count || a->ndim < 1 || a->ndim > 4 || dtype_size(a->dtype) == 0)
        abort();
    if (neff_access_bytes(a) == 0)
        return;
    for (unsigned i = 0; i < a->ndim; i++) {
        int64_t reach = (int64_t)(a->sizes[i] - 1) * a->steps[i];

        *(reach < 0 ? &lo : &hi) += reach;
    }
    if (lo < 0 || (uint64_t)hi >= (v->type == NEFF_VAR_STATE_BUFFER
                                       ? (uint64_t)NEFF_PARTITIONS * NEFF_SBUF_STRIDE
                                       : v->size))
        abort(); /* an access outside its variable got through */
}

static inline void fuzz_use_engine(const struct neff_subgraph *sg,
                                   const struct neff_engine_code *code, size_t *sum)
{
    for (uint64_t i = 0; i < code->instr_bytes; i++)
        *sum += code->instr[i];
    for (uint32_t i = 0; i < code->debug_count; i++)
        *sum += code->debug[i].file != NULL ? strlen(code->debug[i].file) : 0;
    for (uint32_t g = 0; g < code->group_count; g++) {
        const struct neff_dma_group *group = &code->groups[g];

        if (group->queue >= sg->queue_count || group->desc_count == 0)
            abort();
        for (uint32_t d = 0; d < group->desc_count; d++) {
            const struct neff_desc *desc = &group->descs[d];

            if (desc->from_count < 1 || desc->from_count > 16)
                abort();
            fuzz_use_access(sg, &desc->to);
            for (unsigned k = 0; k < desc->from_count; k++) {
                fuzz_use_access(sg, &desc->from[k]);
                *sum += desc->scale != NULL && desc->scale[k] > 1;
            }
        }
    }
}

static inline void fuzz_use_neff(const struct neff *n, size_t *sum)
{
    struct neff_constant_sink sink = {fuzz_put, sum};
    struct err err = {.status = NRT_SUCCESS};

    for (uint32_t g = 0; g < n->graph_count; g++) {
        const struct neff_subgraph *sg = &n->graphs[g];

        for (unsigned e = 0; e < NEFF_ENGINE_COUNT; e++)
            fuzz_use_engine(sg, &sg->engines[e], sum);
        for (uint32_t i = 0; i < sg->var_count; i++) {
            const struct neff_var *v = &sg->vars[i];

            if (neff_subgraph_find(sg, v->name) != i || v->scratch_off > sg->scratch_bytes ||
                v->file_bytes > v->size)
                abort();
            for (uint32_t k = 0; k < v->list_count; k++)
                *sum += sg->vars[v->list[k]].size;
        }
        for (uint32_t i = 0; i < sg->coll_count; i++) {
            for (uint32_t k = 0; k < sg->colls[i].in_count; k++)
                *sum += sg->vars[sg->colls[i].in[k].var].size;
        }
    }
    for (uint32_t i = 0; i < n->node_count; i++) {
        for (uint32_t k = 0; k < n->nodes[i].input_count; k++)
            *sum += strlen(n->nodes[i].inputs[k].name) + n->nodes[i].inputs[k].shape[0];
    }
    if (neff_constants_stream(n, &sink, &err) != NRT_SUCCESS && err.text[0] == '\0')
        abort();
}

static inline void fuzz_read(const uint8_t *file, size_t size)
{
    size_t sum = 0;

    for (unsigned lenient = 0; lenient < 2; lenient++) {
        struct diag_sink sink = {fuzz_say, fuzz_say, &sum};
        struct neff_options opt = {
            .lenient = lenient != 0, .max_unpacked = 1 << 24, .max_json = 1 << 20, .sink = &sink};
        struct neff_facts facts = {.lnc = 1 + lenient,
                                   .owned_cores = 4,
                                   .arch = "trn2",
                                   .sbuf_partition_bytes = 229376,
                                   .weights_shared = lenient != 0,
                                   .world_size = 8};
        struct neff *neff = NULL;
        struct err err = {.status = NRT_SUCCESS};
        NRT_STATUS st = neff_create(file, size, &opt, &neff, &err);

        if ((st == NRT_SUCCESS) != (neff != NULL) || st != err.status ||
            (st != NRT_SUCCESS && err.text[0] == '\0'))
            abort();
        if (neff != NULL) {
            (void)neff_check(neff, &facts, &sink, &err);
            fuzz_use_neff(neff, &sum);
        }
        neff_destroy(neff);
    }
}

#endif
