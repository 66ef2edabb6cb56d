/* SPDX-License-Identifier: Apache-2.0 */
/* Random records for property tests, and texts to records. */
#ifndef TEST_UNIT_ISA_RECORDS_H
#define TEST_UNIT_ISA_RECORDS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "isa/asm.h"
#include "isa/isa_int.h"

/* The state of draw_next. */
struct rnd {
    uint64_t z;
};
uint64_t rnd_next(struct rnd *r);
uint32_t rnd_below(struct rnd *r, uint32_t n);
struct rnd rnd_start(void); /* seed.h */

/* A record in canonical form of any opcode: what the text form can say, legal or not. */
void record_random(struct rnd *r, struct isa_record *ret);

/* The first record of the only engine with a program; fails the test when the text does not
 * assemble. The text must not be longer than 8 KiB. */
struct isa_record record_of(const char *preamble, const char *text, unsigned *ret_engine);
struct isa_asm_result *asm_of(const char *text);
/* Engine e of the first core. */
static inline const struct isa_asm_program *asm_program(const struct isa_asm_result *r, unsigned e)
{
    return &r->core[0].engine[e];
}

#endif
