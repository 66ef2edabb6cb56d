/* SPDX-License-Identifier: Apache-2.0 */
/* Whoever gets the memory of a rank that was killed in an operation keeps what it writes there.
 *
 * Three processes on one instance. Survivor and victim are two ranks of a communicator; the victim
 * is killed somewhere in an operation, by itself between two steps or by the parent at any
 * instruction. The tenant then allocates on the victim's core and writes, while the survivor still
 * goes on with the operation; after it, every byte of the tenant must be as it was written. Half of
 * the survivors stand still in mid-transfer until the tenant has written, so that nothing depends
 * on luck.
 *
 *     test_coll_kill [times]      OPENNRT_SEED replays
 *
 * The same with a lease that was damaged first must find damage: else the test could not. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cases.h"
#include "crew.h"
#include "device/device_int.h"
#include "draw.h"
#include "runner.h"
#include "seed.h"

#define SURVIVOR    0u
#define VICTIM      1u
#define VICTIM_CORE 2u /* LNC 2 */
#define EXTENTS     6u

enum mark {
    GO,      /* number of the iteration: survivor and tenant begin */
    STOP,    /* 1: they end */
    STEPS,   /* the victim's calls of coll_progress, for a kill from outside */
    GONE,    /* the victim was reaped */
    RENTED,  /* the tenant has written */
    OVER,    /* the survivor's operation has ended */
    CHECKED, /* the tenant has looked */
    LEFT,    /* the survivor has closed the communicator */
    DONE,    /* the tenant has compared the account */
    /* counted */
    MOVED_ON, /* the survivor moved data after the tenant had written */
    BROKEN,   /* the survivor saw the documented failure */
    EARLY,    /* the victim died before the communicator was open */
    DAMAGED   /* iterations in which bytes of the tenant had changed */
};

enum sabotage { NONE, AREAS_ARE_NOT_LEASED, TENSORS_ARE_NOT_HELD };

struct kill_run {
    struct crew_table *t;
    char dir[64];
    uint64_t seed;
    enum sabotage sabotage;
};

static uint64_t default_seed;
static unsigned long times = 200;
static const uint32_t kill_cores[] = {0, 1};

static void give_up(struct kill_run *k, uint32_t who, const char *text)
{
    snprintf(k->t->text[who], CREW_TEXT, "%s", text);
    abort();
}

static void await(struct kill_run *k, uint32_t who, enum mark mark, uint64_t i)
{
    if (!crew_await(k->t, mark, i, RUNNER_WAIT_MS))
        give_up(k, who, "what was awaited did not come");
}

/* ---- the two ranks ---- */

/* The same for both: transfers of several pieces, unless they travel in lines. */
static NRT_STATUS transfer_open(struct crew_seat *s, struct case_kit *kit, uint64_t salt,
                                struct err *err)
{
    NRT_STATUS st;

    do {
        struct op_case c = case_draw(salt, s->rank.n);

        for (unsigned t = 0; t < CASE_TENSORS && c.variant != SCHED_INLINE; t++)
            c.counts[t] = (1000 + draw_mix(salt + 50 + t) % 60000) * 2;
        memset(err, 0, sizeof(*err));
        st = case_open(&s->rank, kit, &c, err);
        if (st)
            case_close(kit);
        salt += 1000;
        /* a dead peer is a failure of the exchange, a case that does not exist one of the schedule
         */
    } while (st == NRT_FAILURE && !kit->plan && !atomic_load(&s->crew->dead[VICTIM]) && !kit->s);
    return st;
}

/* As if the victim had never leased its tensors, or its area and channel buffers. */
static void leases_forget(struct device_instance *in, bool held)
{
    for (uint32_t i = 1; i < ctl_extent_cap(in); i++) {
        struct ctl_extent *x = ctl_extent(in, i);

        if (atomic_load(&x->state) == EXT_LIVE && x->slot == in->slot && x->held == held)
            for (unsigned w = 0; w < CTL_GEN_WORDS; w++)
                atomic_store(&x->leases[w], 0);
    }
}

/* By the parent, at any instruction, else by itself between two steps, where it holds no lock. */
static bool dies_from_outside(uint64_t salt)
{
    return draw_mix(salt + 4) % 2 && !runner_emulated();
}

static void victim_operation(struct kill_run *k, struct crew_seat *s, struct case_kit *kit,
                             uint64_t salt, bool last)
{
    unsigned long calls = draw_mix(salt + 3) % 60;
    bool outside = dies_from_outside(salt);
    struct err err = {0};

    if (coll_begin(kit->plan, kit->ts.in_addr, kit->ts.out_addr, &err))
        give_up(k, VICTIM, err.text);
    if (last && k->sabotage != NONE)
        leases_forget(s->rank.in, k->sabotage == TENSORS_ARE_NOT_HELD);
    for (;;) {
        enum coll_state state = coll_progress(s->rank.comm, 1);

        atomic_fetch_add(&k->t->mark[STEPS], 1);
        if (state == COLL_FAILED)
            give_up(k, VICTIM, err.text);
        if (last && !outside && calls-- == 0)
            raise(SIGKILL);
        if (state == COLL_DONE && (!last || outside))
            return;
    }
}

static void victim(struct kill_run *k, uint64_t i)
{
    uint64_t salt = draw_mix(k->seed ^ draw_mix(i));
    struct crew_seat s = {.rank = {.in = crew_instance(k->dir, NULL)}};
    unsigned whole = draw_mix(salt + 2) % 4;
    struct case_kit kit;
    struct err err = {0};

    device_runnable_add(s.rank.in, 1);
    if (crew_sit(&s, k->t, kill_cores, VICTIM, 2, RUNNER_WAIT_MS, &err) ||
        transfer_open(&s, &kit, salt, &err))
        give_up(k, VICTIM, err.text);
    for (unsigned n = 0; n < whole; n++)
        victim_operation(k, &s, &kit, salt, false);
    for (;;)
        victim_operation(k, &s, &kit, salt, true);
}

/* Operations until one fails. The first of the halting ones stops in the middle. */
static NRT_STATUS survivor_operations(struct kill_run *k, struct crew_seat *s, struct case_kit *kit,
                                      uint64_t i, uint64_t salt, struct err *err)
{
    unsigned whole = draw_mix(salt + 2) % 4, calls = draw_mix(salt + 6) % 40;
    bool halts = draw_mix(salt + 5) % 2;
    NRT_STATUS st = NRT_SUCCESS;

    for (unsigned n = 0; !st; n++) {
        enum coll_state state = COLL_MOVED;
        bool moved = false;

        st = coll_begin(kit->plan, kit->ts.in_addr, kit->ts.out_addr, err);
        if (!st && halts && n == whole) {
            for (unsigned c = 0; c < calls; c++)
                (void)coll_progress(s->rank.comm, 1);
            await(k, SURVIVOR, RENTED, i);
            while ((state = coll_progress(s->rank.comm, 1)) == COLL_MOVED)
                moved = true;
            if (moved)
                atomic_fetch_add(&k->t->mark[MOVED_ON], 1);
        }
        if (!st)
            st = coll_wait(s->rank.comm, err);
    }
    return st;
}

static void survivor_iteration(struct kill_run *k, struct crew_seat *s, uint64_t i)
{
    uint64_t salt = draw_mix(k->seed ^ draw_mix(i));
    struct case_kit kit = {0};
    struct err err = {0};
    /* a tenant that writes over the victim's area makes it look alive: nothing moves then */
    unsigned timeout_ms = k->sabotage == AREAS_ARE_NOT_LEASED ? 300 : RUNNER_WAIT_MS;
    NRT_STATUS st = crew_sit(s, k->t, kill_cores, SURVIVOR, 2, timeout_ms, &err);
    bool open = !st;

    if (open)
        st = transfer_open(s, &kit, salt, &err);
    if (!st) {
        st = survivor_operations(k, s, &kit, i, salt, &err);
        if (k->sabotage == NONE &&
            (st != NRT_EXEC_HW_ERR_COLLECTIVES || !strstr(err.text, "rank 1")))
            give_up(k, SURVIVOR, err.text);
        atomic_fetch_add(&k->t->mark[BROKEN], 1);
    } else {
        /* killed from outside so early that there was no communicator, or no plan */
        if (!atomic_load(&k->t->dead[VICTIM]))
            give_up(k, SURVIVOR, err.text);
        atomic_fetch_add(&k->t->mark[EARLY], 1);
    }
    crew_mark(k->t, OVER, i);
    await(k, SURVIVOR, CHECKED, i);
    if (draw_mix(salt + 7) % 2)
        rank_memory_free(&s->rank);
    if (!st || kit.plan)
        case_close(&kit);
    if (open)
        crew_leave(s);
    rank_memory_free(&s->rank);
    crew_mark(k->t, LEFT, i);
}

/* ---- the tenant ---- */

struct flat {
    struct device_extent x;
    uint64_t size;
    uint64_t *p;
};

static void move_in(struct kill_run *k, struct device_instance *in, struct flat *f, uint64_t salt)
{
    static const uint64_t sizes[] = {4096, 65536, 240000, 500000, 1000000};
    struct device_alloc a = {.core = VICTIM_CORE,
                             .neff = DEVICE_NONE,
                             .cat = DEVICE_CAT_TENSOR,
                             .size = sizes[salt % 5]};
    struct err err = {0};
    void *p = NULL;

    f->size = a.size;
    if (device_alloc(in, &a, &f->x, &err) || device_map(in, f->x.addr, a.size, DEVICE_RW, &p, &err))
        give_up(k, 2, err.text);
    f->p = p;
    for (uint64_t w = 0; w < f->size / 8; w++)
        f->p[w] = salt + w;
}

static bool as_written(const struct flat *f, uint64_t salt)
{
    for (uint64_t w = 0; w < f->size / 8; w++)
        if (f->p[w] != salt + w)
            return false;
    return true;
}

static void account_compare(struct kill_run *k, struct device_instance *in)
{
    for (uint32_t core = 0; core <= VICTIM_CORE; core += VICTIM_CORE) {
        struct device_usage u;
        char text[CREW_TEXT];

        if (device_usage_core(in, core, &u) || u.total != 0) {
            snprintf(text, sizeof(text), "core %u still has %llu bytes", core,
                     (unsigned long long)u.total);
            give_up(k, 2, text);
        }
    }
}

static void tenant_iteration(struct kill_run *k, struct device_instance *in, uint64_t i)
{
    uint64_t salt = draw_mix(k->seed ^ i);
    struct flat flats[EXTENTS];
    bool damaged = false;

    await(k, 2, GONE, i);
    (void)device_reclaim(in);
    for (unsigned n = 0; n < EXTENTS; n++)
        move_in(k, in, &flats[n], draw_mix(salt + n));
    crew_mark(k->t, RENTED, i);
    await(k, 2, OVER, i);
    for (unsigned n = 0; n < EXTENTS; n++)
        damaged = damaged || !as_written(&flats[n], draw_mix(salt + n));
    if (damaged)
        atomic_fetch_add(&k->t->mark[DAMAGED], 1);
    for (unsigned n = 0; n < EXTENTS; n++)
        (void)device_free(in, &flats[n].x, NULL);
    crew_mark(k->t, CHECKED, i);
    await(k, 2, LEFT, i);
    if (k->sabotage == NONE)
        account_compare(k, in);
    crew_mark(k->t, DONE, i);
}

/* ---- the parent ---- */

static void worker(struct kill_run *k, uint32_t who)
{
    struct device_instance *in = crew_instance(k->dir, NULL);
    struct crew_seat s = {.rank = {.in = in}};

    if (who == SURVIVOR)
        device_runnable_add(in, 1);
    for (uint64_t i = 1;; i++) {
        await(k, who, GO, i);
        if (atomic_load(&k->t->mark[STOP]))
            break;
        if (who == SURVIVOR)
            survivor_iteration(k, &s, i);
        else
            tenant_iteration(k, in, i);
    }
    if (who == SURVIVOR)
        device_runnable_add(in, -1);
    device_instance_close(in);
}

static pid_t start(struct kill_run *k, uint32_t who, uint64_t i)
{
    pid_t parent = getpid(), pid;

    fflush(NULL);
    pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    if (who == VICTIM)
        victim(k, i);
    else
        worker(k, who);
    _exit(0);
}

static void fail_with_texts(struct kill_run *k, uint64_t i)
{
    fail_msg("seed %llu, iteration %llu: survivor: %s; victim: %s; tenant: %s",
             (unsigned long long)k->seed, (unsigned long long)i, k->t->text[SURVIVOR],
             k->t->text[VICTIM], k->t->text[2]);
}

static void kill_once(struct kill_run *k, uint64_t i)
{
    uint64_t salt = draw_mix(k->seed ^ draw_mix(i)), enough = draw_mix(salt + 8) % 300;
    int status;
    pid_t pid;

    crew_restart(k->t);
    atomic_store(&k->t->mark[STEPS], 0);
    pid = start(k, VICTIM, i);
    crew_mark(k->t, GO, i);
    if (dies_from_outside(salt)) { /* now and then before anything has begun */
        while (enough < 280 && atomic_load(&k->t->mark[STEPS]) < enough &&
               waitpid(pid, &status, WNOHANG) == 0)
            sched_yield();
        kill(pid, SIGKILL);
    }
    (void)waitpid(pid, &status, 0);
    crew_dead(k->t, VICTIM);
    crew_mark(k->t, GONE, i);
    if (k->t->text[VICTIM][0] || !crew_await(k->t, DONE, i, RUNNER_WAIT_MS))
        fail_with_texts(k, i);
}

static unsigned long run_kills(enum sabotage sabotage, unsigned long n)
{
    struct kill_run k = {.t = crew_table_new(), .seed = default_seed, .sabotage = sabotage};
    unsigned long damaged;
    uint64_t i = 0;
    char cmd[128];
    pid_t pids[2];

    strcpy(k.dir, "/tmp/opennrt-kill-XXXXXX");
    if (!mkdtemp(k.dir))
        abort();
    pids[0] = start(&k, SURVIVOR, 0);
    pids[1] = start(&k, 2, 0);
    while (i < n && (sabotage == NONE || !atomic_load(&k.t->mark[DAMAGED])))
        kill_once(&k, ++i);
    crew_mark(k.t, STOP, 1);
    crew_mark(k.t, GO, i + 1);
    for (unsigned w = 0; w < 2; w++) {
        int status;

        if (waitpid(pids[w], &status, 0) != pids[w] || status != 0)
            fail_with_texts(&k, i);
    }
    damaged = atomic_load(&k.t->mark[DAMAGED]);
    print_message(
        "%lu kills: %llu survivors moved on after the tenant had written, %llu saw the "
        "failure, %llu victims died before there was a plan; %lu times bytes had changed\n",
        (unsigned long)i, (unsigned long long)atomic_load(&k.t->mark[MOVED_ON]),
        (unsigned long long)atomic_load(&k.t->mark[BROKEN]),
        (unsigned long long)atomic_load(&k.t->mark[EARLY]), damaged);
    if (sabotage == NONE)
        assert_true(atomic_load(&k.t->mark[MOVED_ON]) >= n / 50);
    crew_table_free(k.t);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", k.dir);
    assert_int_equal(system(cmd), 0);
    return damaged;
}

static void bytes_stay(void **state)
{
    assert_int_equal(run_kills(NONE, times), 0);
    (void)state;
}

static void areas_that_are_not_leased_are_missed(void **state)
{
    assert_true(run_kills(AREAS_ARE_NOT_LEASED, 150) > 0);
    (void)state;
}

static void tensors_that_are_not_held_are_missed(void **state)
{
    assert_true(run_kills(TENSORS_ARE_NOT_HELD, 150) > 0);
    (void)state;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_stay),
        cmocka_unit_test(areas_that_are_not_leased_are_missed),
        cmocka_unit_test(tensors_that_are_not_held_are_missed),
    };

    if (!ranks_have_emulator_room())
        return RUNNER_SKIP;
    if (runner_emulator_lacks("coll-kill's kills from outside", RUNNER_NO_ROBUST))
        times /= 4;
    if (argc > 1)
        times = strtoul(argv[1], NULL, 0);
    default_seed = seed_take_new();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
