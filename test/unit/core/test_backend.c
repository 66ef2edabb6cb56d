/* SPDX-License-Identifier: Apache-2.0 */
/* The back-end seam, with a back end that only counts: a run takes one unit of work per record and
 * leaves their number in variable 1. */
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/backend.h"
#include "core/core_int.h"

static struct fx F;

static struct counter {
    unsigned prepared, discarded, bound, started, finished, waited;
    NRT_STATUS refuse;
    const struct core_run *run;
    struct core_report *report;
    uint64_t left;
} C;

static NRT_STATUS c_prepare(struct core_program *p, struct err *err)
{
    uint64_t *n = mem_zalloc(sizeof(*n));

    assert_non_null(n);
    C.prepared++;
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        *n += p->sg->engines[e].instr_bytes / sizeof(struct isa_record);
    p->own = n;
    program_use_var(p, 1);
    return C.refuse != NRT_SUCCESS ? err_set(err, C.refuse, "cannot count this") : NRT_SUCCESS;
}

static void c_discard(struct core_program *p)
{
    C.discarded++;
    mem_free(p->own);
}

static void c_info(const struct core_program *p, struct core_program_info *ret)
{
    *ret = (struct core_program_info){.records = *(uint64_t *)p->own};
}

static void c_bind(struct core_binding *b, uint32_t var)
{
    C.bound++;
}

static NRT_STATUS c_start(const struct core_run *run, struct core_report *report)
{
    C.started++;
    C.run = run;
    C.report = report;
    C.left = *(uint64_t *)run->program[0]->own;
    return NRT_SUCCESS;
}

static enum core_step c_run(struct core *core, uint64_t budget, uint64_t *ret_did)
{
    *ret_did = C.left < budget ? C.left : budget;
    C.left -= *ret_did;
    return C.left > 0 ? CORE_STEP_BUDGET : CORE_STEP_DONE;
}

static void c_wait(struct core *core)
{
    C.waited++;
}

static NRT_STATUS c_finish(struct core *core)
{
    uint64_t size;
    uint64_t *to = core_binding_get(C.run->binding[0], 1, &size);

    C.finished++;
    *to = *(uint64_t *)C.run->program[0]->own;
    C.report->end = CORE_END_DONE;
    return C.report->status = NRT_SUCCESS;
}

static const struct core_backend counting = {.name = "counting",
                                             .prepare = c_prepare,
                                             .discard = c_discard,
                                             .info = c_info,
                                             .bind = c_bind,
                                             .start = c_start,
                                             .run = c_run,
                                             .wait = c_wait,
                                             .finish = c_finish};

/* Records that the walker would refuse. */
static void setup_cores(unsigned count)
{
    memset(&C, 0, sizeof(C));
    fx_init(&F, count, ISA_V3);
    F.opt.backend = &counting;
    for (unsigned c = 0; c < count; c++) {
        fx_var(&F, c, NEFF_VAR_OUTPUT, 8);
        fx_var(&F, c, NEFF_VAR_OUTPUT, 8);
        for (unsigned i = 0; i < 10; i++)
            fx_rec(&F, c, ISA_ACT, 0xffff);
    }
}

static void another_back_end_runs_a_program(void **state)
{
    struct core_program_info info;
    uint64_t did;

    setup_cores(1);
    fx_prepare(&F);
    assert_int_equal(C.prepared, 1);
    assert_int_equal(C.bound, 2);
    core_program_info(F.c[0].program, &info);
    assert_int_equal(info.records, 10);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_int_equal(*(uint64_t *)F.c[0].mem[1], 10);
    assert_int_equal(*(uint64_t *)F.c[0].mem[2], 0);
    assert_int_equal(C.started, 1);
    assert_int_equal(C.finished, 1);
    /* in parts */
    assert_int_equal(fx_start(&F, 0), NRT_SUCCESS);
    assert_int_equal(core_progress(F.c[0].core, 7, &did), CORE_STEP_BUDGET);
    assert_int_equal(did, 7);
    core_wait(F.c[0].core);
    assert_int_equal(C.waited, 1);
    assert_int_equal(core_progress(F.c[0].core, 0, &did), CORE_STEP_BUDGET);
    assert_int_equal(did, 1);
    assert_int_equal(core_progress(F.c[0].core, 7, &did), CORE_STEP_DONE);
    assert_int_equal(did, 2);
    assert_int_equal(core_start(&F.run, &F.report), NRT_FAILURE);
    assert_int_equal(C.started, 2);
    assert_int_equal(fx_finish(&F), NRT_SUCCESS);
    assert_int_equal(core_progress(F.c[0].core, 7, &did), CORE_STEP_IDLE);
    core_wait(F.c[0].core);
    assert_int_equal(C.waited, 1);
    fx_fini(&F);
    assert_int_equal(C.discarded, 1);
}

static void failed_prepare_is_discarded(void **state)
{
    struct err err = {0};

    setup_cores(1);
    C.refuse = NRT_UNSUPPORTED_NEFF_VERSION;
    assert_int_equal(fx_prepare_status(&F, &err), NRT_UNSUPPORTED_NEFF_VERSION);
    assert_string_equal(err.text, "cannot count this");
    assert_int_equal(C.discarded, 1);
    F.c[0].program = NULL;
    fx_fini(&F);
}

/* What every back end may rely on is checked before it. */
static void room_checks_before_the_back_end(void **state)
{
    struct core_binding *b;
    struct err err = {0};

    setup_cores(2);
    fx_prepare(&F);
    assert_int_equal(core_binding_create(F.c[0].program, &b, &err), NRT_SUCCESS);
    assert_int_equal(fx_start(&F, 0), NRT_SUCCESS);
    assert_int_equal(fx_finish(&F), NRT_SUCCESS);
    F.run.binding[0] = b;
    assert_int_equal(core_start(&F.run, &F.report), NRT_INVALID);
    assert_string_equal(F.report.err.text, "variable v1 has no address");
    core_binding_copy(b, F.c[0].binding);
    assert_int_equal(core_start(&F.run, &F.report), NRT_SUCCESS);
    assert_int_equal(core_finish(F.c[0].core), NRT_SUCCESS);
    F.run.binding[1] = b;
    assert_int_equal(core_start(&F.run, &F.report), NRT_INVALID);
    assert_string_equal(F.report.err.text, "binding of another program");
    core_binding_destroy(b);
    /* the second core's program is the walker's */
    core_binding_destroy(F.c[1].binding);
    core_program_destroy(F.c[1].program);
    F.c[1].e[ISA_ACT].count = 0;
    fx_end(&F, 1, ISA_ACT);
    F.c[1].sg.engines[ISA_ACT].instr_bytes = sizeof(struct isa_record);
    F.opt.backend = NULL;
    assert_int_equal(core_program_create(F.c[1].core, &F.c[1].sg, &F.opt, &F.c[1].program, &err),
                     NRT_SUCCESS);
    assert_int_equal(core_binding_create(F.c[1].program, &F.c[1].binding, &err), NRT_SUCCESS);
    assert_int_equal(fx_start(&F, 0), NRT_INVALID);
    assert_string_equal(F.report.err.text, "the programs were prepared in different ways");
    assert_int_equal(C.started, 2);
    fx_fini(&F);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_back_end_runs_a_program),
        cmocka_unit_test(failed_prepare_is_discarded),
        cmocka_unit_test(room_checks_before_the_back_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
