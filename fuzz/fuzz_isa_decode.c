/* SPDX-License-Identifier: Apache-2.0 */
/* Engine programs: any bytes are checked without harm, what the check accepts has operands inside
 * the memories, and every record prints as text that assembles to the same bytes. The first byte
 * chooses engine and generation, the rest are the records (the last one may be cut). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "isa/asm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct isa_record *r, enum isa_gen gen)
{
    unsigned used = isa_reads(r) | isa_writes(r);

    for (unsigned k = 0; k < 5; k++) {
        const struct isa_tensor *t = &r->body.c.t[k];
        int64_t lo, hi;

        if (!(used >> k & 1) || t->off_reg != ISA_NO_REG)
            continue;
        isa_tensor_extent(t, &lo, &hi);
        if (lo < 0 || hi > (t->mem == ISA_PSUM ? ISA_PSUM_BYTES : isa_sbuf_bytes(gen)) ||
            t->part + t->nparts > ISA_PARTITIONS || isa_tensor_count(t) == 0)
            abort();
    }
}

static void print_and_back(const struct isa_record *r, size_t n, enum isa_engine e)
{
    struct isa_asm_opts o = {.no_check = true};
    struct isa_asm_result *res;
    struct strbuf text = {.s = NULL};
    struct err err = {.status = NRT_SUCCESS};

    isa_print_program(r, n, e, &text);
    if (text.failed || isa_asm(text.s, text.len, &o, NULL, &res, &err) != NRT_SUCCESS)
        abort();
    /* the assembler ends a program that does not end */
    if (res->core[0].engine[e].n < n || res->core[0].engine[e].n > n + 1 ||
        memcmp(res->core[0].engine[e].records, r, n * sizeof(*r)) != 0)
        abort();
    isa_asm_free(res);
    strbuf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t vars[] = {0, 1, 2}, dmas[] = {0, 1, 2, 3}, dge[] = {0, 1};
    static const uint64_t sizes[] = {4096, 1 << 20, 8};
    static const bool dynamic[] = {true, false};
    struct isa_record r[16];
    struct err err = {.status = NRT_SUCCESS};
    struct isa_check_env env = {.var_ids = vars,
                                .var_sizes = sizes,
                                .n_vars = 3,
                                .dma_ids = dmas,
                                .n_dma_ids = 4,
                                .n_queues = 2,
                                .queue_dynamic = dynamic,
                                .dge_ids = dge,
                                .n_dge_ids = 2,
                                .n_collectives = 2};
    enum isa_engine e;
    size_t n;

    if (size < 2)
        return 0;
    e = (enum isa_engine)(data[0] % ISA_ENGINES);
    env.gen = (enum isa_gen)(2 + data[0] / ISA_ENGINES % 3);
    env.lnc = 1 + data[0] / 64 % 2;
    data++;
    size--;
    isa_looks_ours(data, size);
    if (isa_check_program(data, size, e, &env, NULL, &err) != NRT_SUCCESS && err.text[0] == '\0')
        abort();
    memset(r, 0, sizeof(r));
    n = size < sizeof(r) ? (size + sizeof(r[0]) - 1) / sizeof(r[0]) : 16;
    memcpy(r, data, size < sizeof(r) ? size : sizeof(r));
    err = (struct err){.status = NRT_SUCCESS};
    if (isa_check_program(r, n * sizeof(r[0]), e, &env, NULL, &err) == NRT_SUCCESS)
        for (size_t i = 0; i < n; i++)
            look(&r[i], env.gen);
    print_and_back(r, n, e);
    return 0;
}
