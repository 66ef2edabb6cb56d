/* SPDX-License-Identifier: Apache-2.0 */
/* Why an engine is idle, in the words of docs/profiling.md: each reason, of figures made up for it.
 * What programs give is in test/system/test_view.py; these say what no program there comes to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/strbuf.h"
#include "isa/isa.h"
#include "viewer/figures.h"

#define OF_CORE(core, engine) ((unsigned)(core) << 3 | (unsigned)(engine))

static void expect_words(const struct viewer_figures *f, unsigned unit, enum viewer_idle why,
                         const char *want)
{
    struct strbuf out = {0};

    viewer_idle_words(f, unit, why, &out);
    assert_non_null(out.s);
    assert_string_equal(out.s, want);
    strbuf_fini(&out);
}

static void reasons_without_a_name(void **state)
{
    struct viewer_figures f = {0};

    (void)state;
    expect_words(&f, 0, VIEWER_IDLE_COLL, "waits for collectives");
    expect_words(&f, 0, VIEWER_IDLE_OTHER, "waits for something that the profile does not show");
    expect_words(&f, 0, VIEWER_IDLE_BETWEEN, "stands between its instructions");
    expect_words(&f, 0, VIEWER_IDLE_ENDED, "has ended");
    expect_words(&f, 0, VIEWER_IDLE_COUNT, "never idle");
    expect_words(&f, 0, VIEWER_IDLE_TRANSFER, "waits for transfers");
}

/* Whom an engine waited for longest; the core is said where it is the other one. */
static void engines_are_named(void **state)
{
    struct viewer_figures f = {0};
    unsigned act = OF_CORE(0, ISA_ACT), dve = OF_CORE(0, ISA_DVE), far = OF_CORE(1, ISA_DVE);
    uint64_t *ps = f.engine[act].for_engine_ps;

    (void)state;
    ps[act] = 5;
    expect_words(&f, act, VIEWER_IDLE_ENGINE, "waits for its own earlier instructions");
    ps[dve] = 6;
    expect_words(&f, act, VIEWER_IDLE_ENGINE, "waits for other engines, most for dve");
    ps[far] = 7;
    expect_words(&f, act, VIEWER_IDLE_ENGINE, "waits for other engines, most for dve of core 1");
    f.engine[far].for_engine_ps[dve] = 1; /* the same engine of the other core is another engine */
    expect_words(&f, far, VIEWER_IDLE_ENGINE, "waits for other engines, most for dve of core 0");
}

/* The reason that comes first is the longest; without any an engine is never idle. */
static void the_longest_comes_first(void **state)
{
    (void)state;
    for (unsigned i = 0; i < VIEWER_IDLE_COUNT; i++) {
        struct viewer_engine e = {0};

        assert_int_equal(viewer_idle_first(&e), VIEWER_IDLE_COUNT);
        for (unsigned k = 0; k < VIEWER_IDLE_COUNT; k++)
            e.idle_ps[k] = k == i ? 9 : k + 1;
        assert_int_equal(viewer_idle_first(&e), i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasons_without_a_name),
        cmocka_unit_test(engines_are_named),
        cmocka_unit_test(the_longest_comes_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
