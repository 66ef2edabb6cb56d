/* SPDX-License-Identifier: Apache-2.0 */
/* The account under load: processes allocate, grow, shrink and free at random, several at once,
 * some are killed in the middle of it. While they run, the allocator's trees, lists and sums are
 * walked against the table under the lock; whenever they rest, core by core, NEFF by NEFF, HBM by
 * HBM, the account is what the processes that live say they hold. */
#include "audit.h"
#include "seed.h"

#include <signal.h>

#define WORKERS 5
#define NEFF_A  2001u
#define NEFFS   3
#define HELD    64

/* ---- a worker: keeps its own book ---- */

struct book {
    struct device_instance *in;
    struct device_extent x[HELD];
    struct device_alloc what[HELD];
    unsigned n, seed;
};

static unsigned rnd(unsigned *seed, unsigned n)
{
    return (unsigned)rand_r(seed) % n;
}

static bool book_add(struct book *b)
{
    struct device_alloc *a = &b->what[b->n];
    unsigned neff = rnd(&b->seed, NEFFS + 1);
    void *p;

    *a = want(rnd(&b->seed, 2), (enum device_cat)rnd(&b->seed, DEVICE_CAT_COUNT),
              1 + ((uint64_t)rnd(&b->seed, 1u << 20) << rnd(&b->seed, 5)));
    a->neff = neff == NEFFS ? DEVICE_NONE : NEFF_A + neff;
    if (device_alloc(b->in, a, &b->x[b->n], NULL) != NRT_SUCCESS)
        return false;
    if (rnd(&b->seed, 16) == 0 && device_map(b->in, b->x[b->n].addr, 1, DEVICE_RW, &p, NULL))
        return false;
    b->n++;
    return true;
}

static bool book_drop(struct book *b)
{
    unsigned i = rnd(&b->seed, b->n);

    if (device_free(b->in, &b->x[i], NULL) != NRT_SUCCESS)
        return false;
    b->n--;
    b->x[i] = b->x[b->n];
    b->what[i] = b->what[b->n];
    return true;
}

static bool book_resize(struct book *b)
{
    struct device_extent *x = &b->x[rnd(&b->seed, b->n)];
    NRT_STATUS st = device_extent_grow(
        b->in, x, rnd(&b->seed, 2) ? x->size / 2 + 64 : x->size + 64 + rnd(&b->seed, 1u << 16),
        NULL);

    return st == NRT_SUCCESS || st == NRT_RESOURCE; /* the next addresses may be taken */
}

/* One NEFF of one core is unloaded. */
static bool book_unload(struct book *b)
{
    uint32_t core = rnd(&b->seed, 2), neff = NEFF_A + rnd(&b->seed, NEFFS);
    unsigned freed = device_free_neff(b->in, core, neff), mine = 0;

    for (unsigned i = b->n; i-- > 0;) {
        if (b->what[i].core != core || b->what[i].neff != neff)
            continue;
        mine++;
        b->n--;
        b->x[i] = b->x[b->n];
        b->what[i] = b->what[b->n];
    }
    return freed == mine;
}

static bool book_act(struct book *b)
{
    unsigned k = rnd(&b->seed, 20);

    if (b->n == 0 || (k < 9 && b->n < HELD))
        return book_add(b);
    if (k == 19)
        return book_unload(b);
    return k < 14 ? book_drop(b) : book_resize(b);
}

/* "core neff category bytes" of every extent, then "end". */
static void book_say(const struct book *b)
{
    char line[120];

    for (unsigned i = 0; i < b->n; i++) {
        snprintf(line, sizeof(line), "%u %u %u %llu", b->what[i].core, b->what[i].neff,
                 (unsigned)b->what[i].cat, (unsigned long long)b->x[i].size);
        runner_say(line);
    }
    runner_say("end");
}

static int worker(int argc, char **argv)
{
    struct device_config cfg = {.type = "trn1.2xlarge", .dir = argv[1], .report_dir = argv[1]};
    static struct book b;
    char line[64];

    cfg.reserve_bytes = 8 * DEVICE_BLOCK;
    b.seed = (unsigned)strtoul(argv[2], NULL, 10);
    if (argc != 3 || device_instance_open(&cfg, &b.in, NULL) != NRT_SUCCESS)
        return 1;
    runner_say("ready");
    while (runner_hear(line, sizeof(line)) && strcmp(line, "leave") != 0) {
        for (unsigned n = (unsigned)strtoul(line, NULL, 10); n > 0; n--)
            if (!book_act(&b))
                return 2;
        book_say(&b);
    }
    device_instance_close(b.in);
    return 0;
}

/* ---- the test ---- */

struct sums {
    uint64_t bytes[2][NEFFS + 1][DEVICE_CAT_COUNT];
};

static void hear_book(struct runner_proc *p, struct sums *s)
{
    char line[120];
    unsigned core, neff, cat;
    unsigned long long size;

    for (;;) {
        assert_true(runner_line(p, line, sizeof(line), RUNNER_WAIT_MS));
        if (strcmp(line, "end") == 0)
            return;
        assert_int_equal(sscanf(line, "%u %u %u %llu", &core, &neff, &cat, &size), 4);
        assert_true(core < 2 && cat < DEVICE_CAT_COUNT);
        s->bytes[core][neff == DEVICE_NONE ? NEFFS : neff - NEFF_A][cat] += size;
    }
}

static void account_is(struct device_instance *in, const struct sums *want)
{
    struct device_usage u;

    for (uint32_t c = 0; c < 2; c++) {
        uint64_t core[DEVICE_CAT_COUNT] = {0}, total = 0, used, limit;

        for (unsigned n = 0; n <= NEFFS; n++) {
            assert_int_equal(device_usage_neff(in, c, n == NEFFS ? DEVICE_NONE : NEFF_A + n, &u),
                             NRT_SUCCESS);
            for (unsigned k = 0; k < DEVICE_CAT_COUNT; k++) {
                assert_int_equal(u.bytes[k], want->bytes[c][n][k]);
                core[k] += want->bytes[c][n][k];
            }
        }
        for (unsigned k = 0; k < DEVICE_CAT_COUNT; k++)
            total += core[k];
        assert_int_equal(device_usage_core(in, c, &u), NRT_SUCCESS);
        assert_memory_equal(u.bytes, core, sizeof(core));
        assert_int_equal(u.total, total);
        assert_int_equal(used_on(in, c), total); /* v2: an HBM for each core */
        assert_int_equal(device_vnc_memory(in, c, &used, &limit), NRT_SUCCESS);
        assert_int_equal(used, total);
    }
}

static void begin(struct runner_proc *p, const struct fixture *f, unsigned seed)
{
    char text[16];
    const char *args[] = {f->dir, text, NULL};

    snprintf(text, sizeof(text), "%u", seed);
    assert_true(runner_start(p, "worker", args, NULL));
    assert_true(runner_expect(p, "ready", RUNNER_WAIT_MS));
}

static void the_account_is_what_is_held_at_every_step(void **state)
{
    unsigned seed = (unsigned)seed_take_new();
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in;
    struct runner_proc p[WORKERS];
    unsigned kills = 0;

    in = fixture_open(f);
    for (unsigned i = 0; i < WORKERS; i++)
        begin(&p[i], f, (unsigned)rand_r(&seed));
    for (unsigned round = 0; round < 40; round++) {
        struct sums held = {0};
        unsigned victim = rnd(&seed, 2 * WORKERS);
        char line[16];

        snprintf(line, sizeof(line), "%u", 1 + rnd(&seed, 40));
        for (unsigned i = 0; i < WORKERS; i++)
            assert_true(runner_tell(&p[i], line));
        for (unsigned i = rnd(&seed, 4); i > 0; i--)
            audit(in); /* while they run */
        if (victim < WORKERS) {
            /* An emulator has no robust mutexes: there it dies only where it holds no lock. */
            if (runner_emulated())
                hear_book(&p[victim], &(struct sums){0});
            runner_kill(&p[victim], SIGKILL);
            runner_wait(&p[victim], RUNNER_WAIT_MS);
            kills++;
        }
        for (unsigned i = 0; i < WORKERS; i++)
            if (i != victim)
                hear_book(&p[i], &held);
        device_reclaim(in);
        audit(in);
        account_is(in, &held);
        if (victim < WORKERS)
            begin(&p[victim], f, (unsigned)rand_r(&seed));
    }
    assert_true(kills > 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_true(runner_tell(&p[i], "leave"));
        assert_int_equal(runner_wait(&p[i], RUNNER_WAIT_MS), 0);
    }
    audit(in);
    account_is(in, &(struct sums){0});
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static const struct runner_helper helpers[] = {{"worker", worker}, {NULL, NULL}};

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_account_is_what_is_held_at_every_step),
    };
    int rc = runner_dispatch(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    runner_watchdog(200);
    return cmocka_run_group_tests_name("device-walk", tests, NULL, NULL);
}
