/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 before every store to the control block, whether the code has a point there (test_kill)
 * or not: the child's mapping is read-only, so each store is a fault; the handler counts it, or
 * ends the process there, and lets this one instruction write. Stores begin to be counted at the
 * first point, when the mapping is there. The C library's in the lock itself are among them.
 *
 *     test_device_kill_stores [stride]
 *
 * Each run ends at one store; of `stride` neighbours (128, under a sanitizer 256) one is drawn,
 * with 1 all are taken. */
#include "kill_scenes.h"
#include "seed.h"

#include <signal.h>
#include <sys/mman.h>

#if defined(__x86_64__)
#include <ucontext.h>

#define TRAP_FLAG 0x100 /* of EFLAGS: a trap after the next instruction */

static struct {
    char *base;
    size_t size;
    uint64_t seen, last; /* stores; the process ends before number `last`, counted from 1 */
} watched;

static uint64_t stride = FIXTURE_SANITIZED ? 256 : 128,
                first; /* stores first, first + stride, ... are taken */

static void protect(int access)
{
    if (mprotect(watched.base, watched.size, access) != 0)
        _exit(98);
}

static void on_store(int sig, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    size_t at = (size_t)((char *)info->si_addr - watched.base);

    if (at >= watched.size) {
        signal(sig, SIG_DFL); /* an error of its own, at once again */
        return;
    }
    protect(PROT_READ | PROT_WRITE); /* the kernel marks the lock of the dead */
    if (++watched.seen == watched.last)
        raise(SIGKILL);
    regs[REG_EFL] |= TRAP_FLAG;
}

static void after_store(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    protect(PROT_READ);
}

/* The mapping of the control block other than `not_this`: *ret_size bytes; NULL: there is none. */
static char *mapping_find(const char *not_this, size_t *ret_size)
{
    char line[600], file[512], *found = NULL;
    FILE *maps = fopen("/proc/self/maps", "r");

    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        unsigned long long from, to;
        size_t n;

        if (sscanf(line, "%llx-%llx rw-s %*s %*s %*s %511s", &from, &to, file) != 3)
            continue;
        n = strlen(file);
        if (n < 8 || strcmp(file + n - 8, "/control") != 0 || (char *)(uintptr_t)from == not_this)
            continue;
        found = (char *)(uintptr_t)from;
        *ret_size = (size_t)(to - from);
    }
    if (maps != NULL)
        fclose(maps);
    return found;
}

/* The point of device_config, at its first call. */
static void watch(void *inherited)
{
    struct sigaction store = {.sa_sigaction = on_store, .sa_flags = SA_SIGINFO};
    struct sigaction step = {.sa_sigaction = after_store, .sa_flags = SA_SIGINFO};

    if (watched.base != NULL)
        return;
    watched.base = mapping_find(inherited, &watched.size);
    if (watched.base == NULL)
        _exit(97);
    sigaction(SIGSEGV, &store, NULL);
    sigaction(SIGTRAP, &step, NULL);
    protect(PROT_READ);
}

/* The scenario in a child that dies before its store n (0: never); false if it had fewer, with
 * their number where n is 0. */
static bool dies_before(scenario *fn, const struct device_config *cfg, uint64_t n,
                        uint64_t *ret_stores)
{
    uint64_t *seen =
        mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool died;
    pid_t pid;

    assert_true(seen != MAP_FAILED);
    pid = fork();
    if (pid == 0) {
        struct device_config c = *cfg;
        size_t size;
        int rc;

        c.store_point = watch;
        c.store_point_arg = mapping_find(NULL, &size); /* the parent's, which nobody uses here */
        watched.last = n;
        rc = fn(&c);
        *seen = watched.seen;
        _exit(rc);
    }
    died = was_killed(pid);
    if (ret_stores != NULL)
        *ret_stores = *seen;
    munmap(seen, sizeof(*seen));
    return died;
}

static void kill_in_the_allocator(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct survivor s;
    uint64_t stores, n;

    (void)state;
    f->cfg.reserve_bytes = 2 * DEVICE_BLOCK; /* frees punch */
    survivor_open(f, &s);
    f->cfg.log = NULL;
    assert_false(dies_before(scenario_alloc, &f->cfg, 0, &stores));
    print_message("%llu stores\n", (unsigned long long)stores);
    survivor_check(&s);
    for (n = first; dies_before(scenario_alloc, &f->cfg, n, NULL); n += stride) {
        survivor_check(&s);
        if (n / stride % 8 == 0)
            fresh_memory_is_zero(&s);
    }
    /* the first run also made what later ones find */
    assert_true(n > 500 && n <= stores + stride);
    fresh_memory_is_zero(&s);
    device_instance_close(s.in);
    fixture_free(f);
}

/* One leaves leases behind, and who reclaims them dies before its store n: dies_before. */
static bool reclaimer_dies_before(const struct device_config *cfg, struct survivor *s, uint64_t n,
                                  uint64_t *ret_stores)
{
    bool died;

    assert_false(dies_before(scenario_die_holding, cfg, 0, NULL));
    died = dies_before(scenario_reclaim, cfg, n, ret_stores);
    device_reclaim(s->in);
    audit(s->in);
    assert_true(used_on(s->in, 1) == SURVIVOR_BYTES + (5u << 20)); /* leased to the survivor */
    survivor_leaves(s);
    survivor_check(s);
    return died;
}

static void kill_in_the_reclaimer(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct survivor s;
    uint64_t stores, n;

    (void)state;
    f->cfg.reserve_bytes = 2 * DEVICE_BLOCK;
    survivor_open(f, &s);
    f->cfg.log = NULL;
    assert_false(reclaimer_dies_before(&f->cfg, &s, 0, &stores));
    print_message("%llu stores\n", (unsigned long long)stores);
    for (n = first; reclaimer_dies_before(&f->cfg, &s, n, NULL); n += stride)
        continue;
    assert_true(n > first); /* some have died */
    fresh_memory_is_zero(&s);
    device_instance_close(s.in);
    fixture_free(f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kill_in_the_allocator),
        cmocka_unit_test(kill_in_the_reclaimer),
    };

    if (argc > 1)
        stride = strtoull(argv[1], NULL, 10);
    if (stride == 0)
        return 2;
    first = 1 + seed_take_new() % stride;
    runner_watchdog(stride < 64 ? 1200 : 120);
    if (runner_emulated()) {
        printf("NOT RUN device-kill-stores: the emulator has no robust mutexes\n");
        return RUNNER_SKIP;
    }
    return cmocka_run_group_tests_name("device-kill-stores", tests, NULL, NULL);
}

#else

int main(void)
{
    printf("NOT RUN device-kill-stores: single steps are asked for in the way of x86-64\n");
    return RUNNER_SKIP;
}

#endif
