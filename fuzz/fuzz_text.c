/* SPDX-License-Identifier: Apache-2.0 */
/* The text form: any text is assembled or refused with a line; what comes out prints and assembles
 * to the same records again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "isa/asm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct isa_asm_program *p, enum isa_engine e)
{
    struct isa_asm_opts o = {.no_check = true};
    struct isa_asm_result *res;
    struct strbuf text = {.s = NULL};
    struct err err = {.status = NRT_SUCCESS};

    isa_print_program(p->records, p->n, e, &text);
    if (text.failed || isa_asm(text.s, text.len, &o, NULL, &res, &err) != NRT_SUCCESS)
        abort();
    if (res->core[0].engine[e].n < p->n || /* `raw` may leave a program without an end */
        memcmp(res->core[0].engine[e].records, p->records, p->n * sizeof(*p->records)) != 0)
        abort();
    isa_asm_free(res);
    strbuf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct isa_asm_opts o = {.file = "f", .max_records = 500, .no_check = size & 1};
    struct isa_asm_result *res;
    struct err err = {.status = NRT_SUCCESS};
    NRT_STATUS st;

    if (size > 65536)
        return 0;
    st = isa_asm((const char *)data, size, &o, NULL, &res, &err);
    if (st != NRT_SUCCESS) {
        if (st != NRT_INVALID || strncmp(err.text, "f:", 2) != 0)
            abort();
        return 0;
    }
    for (unsigned c = 0; c < res->n_cores; c++)
        for (unsigned e = 0; e < ISA_ENGINES; e++)
            if (res->core[c].engine[e].n)
                again(&res->core[c].engine[e], (enum isa_engine)e);
    isa_asm_free(res);
    return 0;
}
