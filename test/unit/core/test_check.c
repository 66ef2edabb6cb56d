/* SPDX-License-Identifier: Apache-2.0 */
/* What OPENNRT_CHECK keeps: equal sets of readers once, and from one execution to the next no more
 * than which bytes on chip were written. */
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "core/check_int.h"

#define ROWS    8
#define COLUMNS 200

static struct fx F;

static int setup(void **state)
{
    fx_init(&F, 1, ISA_V3);
    (void)state;
    return 0;
}

static int teardown(void **state)
{
    fx_fini(&F);
    (void)state;
    return 0;
}

static struct core_check *check(void)
{
    return F.c[0].program->check;
}

static void copy(unsigned engine, uint32_t to, uint32_t from, unsigned n)
{
    struct isa_record *r = fx_rec(&F, 0, engine, ISA_OP_TENSOR_COPY);

    r->body.c.t[0] = fx_tile(ISA_SBUF, DT_UINT8, 0, ROWS, to, n);
    r->body.c.t[1] = fx_tile(ISA_SBUF, DT_UINT8, 0, ROWS, from, n);
}

static void set(unsigned engine, uint32_t to, unsigned n)
{
    struct isa_record *r = fx_rec(&F, 0, engine, ISA_OP_MEMSET);

    r->body.c.t[0] = fx_tile(ISA_SBUF, DT_UINT8, 0, ROWS, to, n);
    r->body.c.s[0] = (struct isa_scalar){.kind = ISA_SC_I32, .v = 1};
}

/* One engine reads a tile column by column, two others read it whole: the neighbours of a row all
 * have different readers, and every row has the same. */
static void columns_and_whole(void)
{
    for (unsigned i = 0; i < COLUMNS; i++)
        copy(ISA_ACT, 1024 + i, i, 1);
    copy(ISA_DVE, 2048, 0, COLUMNS);
    copy(ISA_POOL, 3072, 0, COLUMNS);
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        fx_end(&F, 0, e);
}

/* What the cells of the tile that columns_and_whole reads say of readers. */
static uint32_t tile_readers(void)
{
    const struct region *sbuf = &check()->regions[0];
    uint32_t readers = 0;

    assert_int_equal(sbuf->mem, ISA_SBUF);
    for (unsigned row = 0; row < ROWS; row++)
        for (unsigned i = 0; i < COLUMNS; i++)
            readers |= sbuf->cells[row * sbuf->stride + i].read;
    return readers;
}

static void equal_readers_are_kept_once(void **state)
{
    size_t words = 0, accesses = 0;

    F.opt.checks = CORE_CHECK_RACE;
    columns_and_whole();
    fx_prepare(&F);
    for (unsigned run = 0; run < 3; run++) {
        assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
        if (run == 0) {
            words = check()->nreaders;
            accesses = check()->nacc;
        }
        assert_int_equal(check()->nreaders, words);
        assert_int_equal(check()->nacc, accesses);
        assert_int_not_equal(tile_readers(), 0);
    }
    /* of three orders of the engines: pairs, which a third joins, and how many each set has */
    assert_in_range(words, 1, (3 + 3 + 4) * COLUMNS);
    (void)state;
}

static void without_the_race_check_no_reader_is_kept(void **state)
{
    F.opt.checks = CORE_CHECK_UNINIT;
    columns_and_whole();
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_EXEC_COMPLETED_WITH_ERR); /* nothing wrote the tile */
    assert_int_equal(check()->cap_readers, 0);
    assert_int_equal(tile_readers(), 0);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS); /* which is said once */
    (void)state;
}

/* A tile that each execution reads, then writes: what one wrote the next one knows, when the
 * numbers of accesses or of sets begin again between them, too. */
static void what_was_written_outlives_the_numbers(void **state)
{
    F.opt.checks = CORE_CHECK_RACE | CORE_CHECK_UNINIT;
    copy(ISA_DVE, 1024, 0, COLUMNS);
    set(ISA_DVE, 0, COLUMNS);
    fx_end(&F, 0, ISA_DVE);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_EXEC_COMPLETED_WITH_ERR);
    assert_int_equal(check()->uninit, ROWS * COLUMNS);
    check()->first_of_run = READERS / 2 + 1;
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_int_equal(check()->first_of_run, FIRST_ID);
    check()->first_set = READERS / 2 + 1;
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_int_equal(check()->first_set, 0);
    (void)state;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(equal_readers_are_kept_once),
        T(without_the_race_check_no_reader_is_kept),
        T(what_was_written_outlives_the_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
