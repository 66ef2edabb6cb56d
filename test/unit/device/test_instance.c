/* SPDX-License-Identifier: Apache-2.0 */
/* Creation, attaching, slots, cores, reset. */
#include "fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void instance_opens_and_closes(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *a = fixture_open(f), *b;
    struct stat sb;
    char path[128];

    assert_string_equal(device_topo(a)->name, "trn1.2xlarge");
    assert_int_equal(device_lnc(a), 1);
    snprintf(path, sizeof(path), "%s/control", device_instance_dir(a));
    assert_int_equal(stat(path, &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0600);
    b = fixture_open(f); /* a second slot of the same process */
    assert_int_not_equal(device_slot(a), device_slot(b));
    assert_true(device_instance_serial(a) == device_instance_serial(b));
    assert_true(device_slot_live(b, device_slot(a)));
    assert_int_equal(device_reclaim(b), 0);
    device_instance_close(b);
    assert_true(device_slot_live(a, device_slot(a)));
    assert_false(device_slot_live(a, 1));
    device_instance_close(a);
    device_instance_close(NULL);
    (void)state;
    fixture_free(f);
}

static void every_type_opens_and_has_its_cores(void **state)
{
    for (unsigned i = 0; topo_instance_at(i); i++) {
        const struct topo_instance *t = topo_instance_at(i);

        for (unsigned lnc = 1; lnc <= t->lnc_max; lnc++) {
            struct fixture *f = fixture_new(t->name);
            uint32_t first = 99;
            struct err err = {0};

            f->cfg.lnc = lnc;
            struct device_instance *in = fixture_open(f);
            assert_int_equal(device_cores_claim_run(in, 0, &first, &err), NRT_SUCCESS);
            assert_int_equal(first, 0);
            assert_int_equal(device_cores_free_count(in), 0);
            for (uint32_t c = 0; c < topo_core_count(t); c++)
                assert_int_equal(device_core_owner(in, c), device_slot(in));
            device_instance_close(in);
            fixture_free(f);
        }
    }
    (void)state;
}

static void other_type_or_lnc_is_refused(void **state)
{
    struct fixture *f = fixture_new("inf2.xlarge");
    struct device_instance *in = fixture_open(f), *other = NULL;
    struct err err = {0};

    f->cfg.type = "trn1.2xlarge";
    assert_int_equal(device_instance_open(&f->cfg, &other, &err), NRT_FAILURE);
    assert_non_null(strstr(err.text, "inf2.xlarge"));
    assert_non_null(strstr(err.text, "opennrt reset"));
    f->cfg.type = NULL; /* whatever it is */
    other = fixture_open(f);
    assert_string_equal(device_topo(other)->name, "inf2.xlarge");
    device_instance_close(other);
    f->cfg.lnc = 2;
    memset(&err, 0, sizeof(err));
    assert_int_equal(device_instance_open(&f->cfg, &other, &err), NRT_INVALID);
    f->cfg.lnc = 0;
    f->cfg.type = "trn9.huge";
    assert_int_equal(device_instance_open(&f->cfg, &other, &err), NRT_INVALID);
    f->cfg.type = NULL;
    f->cfg.name = "../x";
    assert_int_equal(device_instance_open(&f->cfg, &other, &err), NRT_INVALID);
    f->cfg.name = NULL;
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

/* An HBM is what it was made with: as large as that for who made it and for who comes, and full
 * there; the addresses of another HBM are where they always are. */
static void hbm_may_be_smaller_than_the_type_has(void **state)
{
    const uint64_t mib = UINT64_C(1) << 20;
    struct fixture *f = fixture_new("trn2.48xlarge"), *plain = fixture_new("trn2.48xlarge");
    struct device_instance *usual = fixture_open(plain), *in, *peer;
    struct device_alloc most = want(0, DEVICE_CAT_TENSOR, 96 * mib);
    struct device_alloc other = want(4, DEVICE_CAT_TENSOR, 4096); /* on another HBM */
    struct device_extent x, y;
    struct err err = {0};
    void *base;
    uint64_t size = 0, as_usual;

    assert_int_equal(device_alloc(usual, &other, &x, NULL), NRT_SUCCESS);
    as_usual = x.addr;
    assert_int_equal(device_hbm_bytes(usual), UINT64_C(24) << 30);
    f->cfg.hbm_bytes = 96 * mib;
    in = fixture_open(f);
    f->cfg.hbm_bytes = 0; /* counts for who makes it */
    peer = fixture_open(f);
    f->cfg.hbm_bytes = 128 * mib;
    device_instance_close(fixture_open(f));
    assert_int_equal(device_hbm_bytes(in), 96 * mib);
    assert_int_equal(device_hbm_bytes(peer), 96 * mib);
    assert_int_equal(device_hbm_va(peer, 0, 0, &base, &size, &err), NRT_SUCCESS);
    assert_int_equal(size, 96 * mib);

    assert_int_equal(device_alloc(in, &other, &y, NULL), NRT_SUCCESS);
    assert_int_equal(y.addr, as_usual);
    assert_int_equal(device_alloc(in, &most, &x, NULL), NRT_SUCCESS);
    memset(map(in, &x), 0x5a, 96 * mib);
    assert_true(all_bytes(map(peer, &x), 96 * mib, 0x5a));
    assert_int_equal(device_alloc(peer, &(struct device_alloc){.core = 1, .size = 64}, &y, &err),
                     NRT_RESOURCE);
    assert_int_equal(device_free(in, &x, NULL), NRT_SUCCESS);
    most.size += mib;
    assert_int_equal(device_alloc(in, &most, &x, &(struct err){0}), NRT_RESOURCE);
    device_instance_close(peer);
    device_instance_close(in);
    device_instance_close(usual);
    fixture_free(plain);
    fixture_free(f);
    (void)state;
}

static void hbm_of_a_wrong_size_is_refused(void **state)
{
    static const char *const none[] = {"0", "-64", "lots", "64M", "1e3", "99999999999999"};
    static const uint64_t wrong[] = {1, 62, 65, 97, (24u << 10) + 2, UINT64_C(1) << 39};
    struct fixture *f = fixture_new("trn2.48xlarge");
    struct device_config cfg = {0};
    struct device_instance *in;
    struct err err = {0};
    uint64_t bytes;

    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        setenv("OPENNRT_HBM_MIB", none[i], 1);
        err_clear(&err);
        assert_int_equal(device_config_env(&cfg, &err), NRT_INVALID);
        assert_non_null(strstr(err.text, "OPENNRT_HBM_MIB"));
        assert_non_null(strstr(err.text, none[i]));
    }
    setenv("OPENNRT_HBM_MIB", "", 1); /* as if it were not there */
    assert_int_equal(device_hbm_env(&bytes, &err), NRT_SUCCESS);
    assert_int_equal(bytes, 0);
    setenv("OPENNRT_HBM_MIB", "96", 1);
    assert_int_equal(device_hbm_env(&bytes, &err), NRT_SUCCESS);
    assert_int_equal(bytes, 96u << 20);
    unsetenv("OPENNRT_HBM_MIB");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        f->cfg.hbm_bytes = wrong[i] << 20;
        err_clear(&err);
        assert_int_equal(device_instance_open(&f->cfg, &in, &err), NRT_INVALID);
        assert_non_null(strstr(err.text, "OPENNRT_HBM_MIB"));
        assert_non_null(strstr(err.text, "from 64 to 24576"));
    }
    for (unsigned i = 0; i < 2; i++) { /* the least and the most */
        f->cfg.hbm_bytes = (i == 0 ? UINT64_C(64) : 24 << 10) << 20;
        device_instance_close(fixture_open(f));
    }
    fixture_free(f);
    (void)state;
}

static void named_instances_are_separate(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in[4];
    char name[4][8];
    uint32_t first;

    for (int i = 0; i < 4; i++) {
        snprintf(name[i], sizeof(name[i]), "node%d", i);
        f->cfg.name = name[i];
        in[i] = fixture_open(f);
        assert_int_equal(device_cores_claim_run(in[i], 0, &first, NULL), NRT_SUCCESS);
    }
    for (int i = 0; i < 4; i++) {
        struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 4096u << i);
        struct device_extent x;

        assert_int_equal(device_alloc(in[i], &a, &x, NULL), NRT_SUCCESS);
    }
    for (int i = 0; i < 4; i++) {
        assert_true(used_on(in[i], 0) == 4096u << i);
        device_instance_close(in[i]);
    }
    (void)state;
    fixture_free(f);
}

static void overwrite(const char *dir, off_t off, const void *bytes, size_t n)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/control", dir);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && pwrite(fd, bytes, n, off) == (ssize_t)n);
    close(fd);
}

static void other_version_is_named_and_reset_helps(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    char dir[96];
    struct err err = {0};
    bool removed = false;

    snprintf(dir, sizeof(dir), "%s", device_instance_dir(in));
    assert_int_equal(device_instance_reset(&f->cfg, true, &removed, &err), NRT_SUCCESS);
    assert_true(removed);
    device_instance_close(in);
    in = fixture_open(f);
    device_instance_close(in);
    overwrite(dir, 8, &(uint32_t){77}, 4);
    overwrite(dir, 16, "9.8.7", 6);
    assert_int_equal(device_instance_open(&f->cfg, &in, &err), NRT_FAILURE);
    assert_non_null(strstr(err.text, "9.8.7"));
    assert_non_null(strstr(err.text, OPENNRT_VERSION));
    assert_non_null(strstr(err.text, "opennrt reset"));
    removed = false;
    assert_int_equal(device_instance_reset(&f->cfg, false, &removed, NULL), NRT_SUCCESS);
    assert_true(removed);
    device_instance_close(fixture_open(f));
    (void)state;
    fixture_free(f);
}

static void garbage_control_blocks_are_refused(void **state)
{
    static const char *const types[] = {"", "nonsense"};
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct err err = {0};
    char dir[96], path[128];

    snprintf(dir, sizeof(dir), "%s", device_instance_dir(in));
    snprintf(path, sizeof(path), "%s/control", dir);
    device_instance_close(in);
    for (int i = 0; i < 2; i++) {
        overwrite(dir, 48, types[i], strlen(types[i]) + 1);
        assert_int_equal(device_instance_open(&f->cfg, &in, &err), NRT_FAILURE);
    }
    overwrite(dir, 48, "trn1.2xlarge", 13);
    for (int i = 0; i < 5; i++) { /* how large an HBM is, after the serial number */
        const uint64_t gib = UINT64_C(1) << 30;
        const uint64_t sizes[] = {0, 3, gib + 1, 16 * gib + (2 << 20), UINT64_MAX};

        overwrite(dir, 88, &sizes[i], sizeof(sizes[i]));
        assert_int_equal(device_instance_open(&f->cfg, &in, &err), NRT_FAILURE);
    }
    overwrite(dir, 88, &(uint64_t){UINT64_C(16) << 30}, sizeof(uint64_t));
    device_instance_close(fixture_open(f)); /* and nothing else was wrong with it */
    for (off_t size = 0; size < 8192; size += 511) {
        assert_int_equal(truncate(path, size), 0);
        assert_int_equal(device_instance_open(&f->cfg, &in, &err), NRT_FAILURE);
    }
    (void)state;
    fixture_free(f);
}

static void cores_are_exclusive_with_the_documented_message(void **state)
{
    struct fixture *f = fixture_new("trn1.32xlarge");
    struct device_instance *a = fixture_open(f), *b = fixture_open(f);
    uint32_t first = 0;
    struct err err = {0};

    assert_int_equal(device_cores_claim(a, 3, 4, NULL), NRT_SUCCESS);
    assert_int_equal(device_cores_claim(b, 6, 2, &err), NRT_RESOURCE);
    assert_string_equal(err.text, "NeuronCore(s) not available - Requested:nc6-nc7 Available:28");
    assert_int_equal(device_core_owner(b, 7), DEVICE_NONE); /* nothing taken on failure */
    assert_int_equal(device_cores_claim_run(b, 4, &first, NULL), NRT_SUCCESS);
    assert_int_equal(first, 7); /* 0-2 is too short */
    assert_int_equal(device_cores_claim_run(b, 3, &first, NULL), NRT_SUCCESS);
    assert_int_equal(first, 0);
    memset(&err, 0, sizeof(err));
    assert_int_equal(device_cores_claim_run(b, 22, &first, &err), NRT_RESOURCE);
    memset(&err, 0, sizeof(err));
    assert_int_equal(device_cores_claim(b, 31, 2, &err), NRT_INVALID);
    assert_string_equal(err.text, "Could not open the nd16");
    assert_int_equal(device_cores_claim_run(b, 33, &first, NULL), NRT_INVALID);
    device_cores_release(a);
    assert_int_equal(device_cores_claim(b, 3, 4, NULL), NRT_SUCCESS);
    device_instance_close(b);
    assert_int_equal(device_cores_free_count(a), 32);
    device_instance_close(a);
    (void)state;
    fixture_free(f);
}

static void reset_counts_and_clears(void **state)
{
    struct fixture *f = fixture_new("trn2.3xlarge");
    struct device_instance *in = fixture_open(f);
    uint64_t total, present;

    assert_int_equal(device_lnc(in), 2);
    assert_int_equal(device_cores_claim(in, 1, 1, NULL), NRT_SUCCESS);
    device_live(in, 2)->sems[5] = 7;
    device_cores_reset(in);
    assert_int_equal(device_live(in, 2)->sems[5], 0);
    assert_int_equal(device_live(in, 3)->neff, DEVICE_NONE);
    device_counter_get(in, 3, DEVICE_CTR_RESET_REQ_COUNT, &total, &present);
    assert_int_equal(total, 1);
    device_counter_get(in, 0, DEVICE_CTR_RESET_REQ_COUNT, &total, &present);
    assert_int_equal(total, 0);
    assert_null(device_live(in, 8));
    device_counter_add(in, 2, DEVICE_CTR_FLOP_COUNT, 10);
    device_counter_add(in, 2, DEVICE_CTR_FLOP_COUNT, 5);
    device_counter_get(in, 2, DEVICE_CTR_FLOP_COUNT, &total, &present);
    assert_int_equal(total, 15);
    assert_int_equal(present, 5);
    device_counter_clear(in, 2, DEVICE_CTR_FLOP_COUNT);
    device_counter_get(in, 2, DEVICE_CTR_FLOP_COUNT, &total, &present);
    assert_int_equal(total | present, 0);
    assert_string_equal(device_counter_name(DEVICE_CTR_SW_NQ_OVERFLOW), "execute_sw_nq_overflow");
    assert_int_equal(device_status_counter(NRT_EXEC_OOB), DEVICE_CTR_OOB_ERROR);
    assert_int_equal(device_status_counter((NRT_STATUS)4711), DEVICE_CTR_GENERIC_ERROR);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

/* --- processes
 * ------------------------------------------------------------------------------------ */

/* Takes core 0 and 1 MiB in three HBM categories, says so, waits. argv: dir [nowait] */
static int helper_holder(int argc, char **argv)
{
    struct device_config cfg = {.type = "trn1.2xlarge", .dir = argv[1], .tag = "the holder"};
    struct device_instance *in = NULL;
    struct err err = {0};
    char line[64];

    if (device_instance_open(&cfg, &in, &err) != NRT_SUCCESS ||
        device_cores_claim(in, 0, 1, &err) != NRT_SUCCESS) {
        runner_say(err.text);
        return 1;
    }
    for (int i = 0; i < 3; i++) {
        struct device_alloc a = want(0, (enum device_cat)i, 1u << 20);
        struct device_extent x;
        void *p;

        if (device_alloc(in, &a, &x, &err) != NRT_SUCCESS ||
            device_map(in, x.addr, x.size, DEVICE_RW, &p, &err) != NRT_SUCCESS)
            return 2;
        memset(p, 0xab, x.size);
    }
    device_runnable_add(in, 1);
    runner_say("ready");
    runner_hear(line, sizeof(line));
    if (strcmp(line, "exit") == 0)
        _exit(0); /* no close */
    device_instance_close(in);
    (void)argc;
    return 0;
}

struct dead {
    int calls, pid;
    uint32_t core;
    unsigned count;
};

static void on_dead(void *arg, struct device_instance *in, int pid, const uint32_t *cores,
                    unsigned count)
{
    struct dead *d = arg;

    (void)in;
    d->calls++;
    d->pid = pid;
    d->core = cores[0];
    d->count = count;
}

/* Commands of interpreters have lines in them, and a process may call itself anything. */
static void texts_of_a_process_are_of_one_line(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_process p;
    struct device_instance *in;

    f->cfg.tag = "one\ntwo\x1b[31m\tth\xc3\xa4t\x7f";
    in = fixture_open(f);
    assert_true(device_process_get(in, 0, &p));
    assert_string_equal(p.tag, "one two [31m th\xc3\xa4t ");
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void reclaim_after(int sig)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct dead dead = {0};
    struct runner_proc p = {0};
    const char *args[] = {f->dir, NULL};
    struct device_process proc;

    f->cfg.on_dead = on_dead;
    f->cfg.on_dead_arg = &dead;
    struct device_instance *in = fixture_open(f);
    assert_true(runner_start(&p, "holder", args, NULL));
    assert_true(runner_expect(&p, "ready", RUNNER_WAIT_MS));
    assert_int_equal(used_on(in, 0), 3u << 20);
    assert_int_equal(device_runnable(in), 1);
    assert_int_equal(device_cores_claim(in, 0, 1, NULL), NRT_RESOURCE);
    assert_int_equal(device_reclaim(in), 0); /* it lives */
    assert_true(device_process_get(in, 1, &proc));
    assert_true(proc.live);
    assert_int_equal(proc.pid, p.pid);
    assert_string_equal(proc.tag, "the holder");
    pid_t pid = p.pid;
    if (sig) {
        runner_kill(&p, sig);
        assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), RUNNER_SIGNAL(sig));
    } else {
        runner_tell(&p, "exit");
        assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), 0);
    }
    assert_false(device_slot_live(in, 1));
    assert_int_equal(device_cores_claim(in, 0, 1, NULL), NRT_SUCCESS); /* reclaims by itself */
    assert_int_equal(used_on(in, 0), 0);
    assert_int_equal(device_runnable(in), 0);
    assert_int_equal(dead.calls, 1);
    assert_int_equal(dead.core, 0);
    assert_int_equal(dead.count, 1);
    assert_int_equal(dead.pid, pid);
    assert_false(device_process_get(in, 1, &proc));
    PROVES("mem-052");

    /* what it left in memory is not visible */
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 4u << 20);
    struct device_extent x;
    unsigned char *q;
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_map(in, x.addr, x.size, DEVICE_READ, (void **)&q, NULL), NRT_SUCCESS);
    for (size_t i = 0; i < x.size; i++)
        assert_int_equal(q[i], 0);
    device_instance_close(in);
    fixture_free(f);
}

static void killed_process_is_reclaimed(void **state)
{
    (void)state;
    reclaim_after(SIGKILL);
}

static void process_that_exits_without_close_is_reclaimed(void **state)
{
    (void)state;
    reclaim_after(0);
}

static void instance_left_by_a_killed_process_is_usable(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct runner_proc p = {0};
    const char *args[] = {f->dir, NULL};

    assert_true(runner_start(&p, "holder", args, NULL));
    assert_true(runner_expect(&p, "ready", RUNNER_WAIT_MS));
    runner_kill(&p, SIGKILL);
    runner_wait(&p, RUNNER_WAIT_MS);
    struct device_instance *in = fixture_open(f);
    assert_int_equal(used_on(in, 0), 0); /* attaching reclaims */
    assert_int_equal(device_cores_free_count(in), 2);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void reset_is_refused_while_somebody_lives(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct runner_proc p = {0};
    const char *args[] = {f->dir, NULL};
    struct err err = {0};
    bool removed = true;
    char pid[16];

    assert_true(runner_start(&p, "holder", args, NULL));
    assert_true(runner_expect(&p, "ready", RUNNER_WAIT_MS));
    assert_int_equal(device_instance_reset(&f->cfg, false, &removed, &err), NRT_FAILURE);
    assert_false(removed);
    snprintf(pid, sizeof(pid), "%d", p.pid);
    assert_non_null(strstr(err.text, pid));
    runner_tell(&p, "close");
    assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), 0);
    assert_int_equal(device_instance_reset(&f->cfg, false, &removed, &err), NRT_SUCCESS);
    assert_true(removed);
    assert_int_equal(device_instance_reset(&f->cfg, false, &removed, &err), NRT_SUCCESS);
    assert_false(removed); /* nothing there is no error */
    (void)state;
    fixture_free(f);
}

static void forked_child_is_uninitialised_and_takes_nothing(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 1u << 20);
    struct device_extent x, y;
    int status;
    void *p;

    assert_int_equal(device_cores_claim(in, 0, 1, NULL), NRT_SUCCESS);
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_map(in, x.addr, x.size, DEVICE_RW, &p, NULL), NRT_SUCCESS);
    assert_false(device_instance_forked(in));
    pid_t pid = fork();
    if (pid == 0) {
        bool ok =
            device_instance_forked(in) && device_alloc(in, &a, &y, NULL) == NRT_UNINITIALIZED &&
            device_free(in, &x, NULL) == NRT_UNINITIALIZED &&
            device_cores_claim(in, 1, 1, NULL) == NRT_UNINITIALIZED && device_reclaim(in) == 0;
        device_instance_close(in);
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(device_slot_live(in, device_slot(in)));
    assert_int_equal(device_core_owner(in, 0), device_slot(in));
    assert_int_equal(used_on(in, 0), 1u << 20);

    /* and the lock is still held, as another process sees it */
    struct err err = {0};
    bool removed;
    pid = fork();
    if (pid == 0)
        _exit(device_instance_reset(&f->cfg, false, &removed, &err) == NRT_FAILURE ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

/* --- folders
 * ---------------------------------------------------------------------------------------- */

static void foreign_folder_is_refused(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = NULL;
    struct err err = {0};
    char path[128];

    snprintf(path, sizeof(path), "%s/opennrt-%u-default", f->dir, (unsigned)geteuid());
    assert_int_equal(symlink("/tmp", path), 0);
    assert_int_equal(device_instance_open(&f->cfg, &in, &err), NRT_FAILURE);
    unlink(path);
    assert_int_equal(mkdir(path, 0755), 0);
    chmod(path, 0755);
    memset(&err, 0, sizeof(err));
    assert_int_equal(device_instance_open(&f->cfg, &in, &err), NRT_FAILURE);
    assert_non_null(strstr(err.text, "0700"));
    (void)state;
    fixture_free(f);
}

/* A folder of 1 MiB: the control block of a large instance does not fit; status and text, no
 * signal. */
static void full_folder_is_a_status(void **state)
{
    struct fixture *f = fixture_new("trn2.48xlarge");
    struct device_instance *in = NULL;
    struct err err = {0};

    if (mount("none", f->dir, "tmpfs", 0, "size=1m") != 0) {
        fixture_free(f);
        skip(); /* needs the right to mount; test/system covers it in a name space */
    }
    assert_int_equal(device_instance_open(&f->cfg, &in, &err), NRT_RESOURCE);
    assert_non_null(strstr(err.text, f->dir));
    assert_non_null(strstr(err.text, "no room"));
    f->cfg.type = "trn1.2xlarge"; /* a small one fits, and runs out of extents cleanly */
    in = fixture_open(f);
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 64);
    struct device_extent x;
    NRT_STATUS st = NRT_SUCCESS;
    unsigned n = 0;
    memset(&err, 0, sizeof(err));
    while ((st = device_alloc(in, &a, &x, &err)) == NRT_SUCCESS)
        n++;
    assert_int_equal(st, NRT_RESOURCE);
    assert_true(n > 1000);
    assert_non_null(strstr(err.text, "no room for a larger memory table"));
    assert_int_equal(device_free(in, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS); /* goes on working */
    device_instance_close(in);
    assert_int_equal(umount(f->dir), 0);
    (void)state;
    fixture_free(f);
}

static void observer_reads_and_takes_nothing(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in, *eye = NULL;
    struct err err = {0};
    struct device_alloc a = want(1, DEVICE_CAT_CONST, 1u << 20);
    struct device_extent x;

    f->cfg.observe = true;
    assert_int_equal(device_instance_open(&f->cfg, &eye, &err),
                     NRT_INVALID_HANDLE); /* there is none */
    f->cfg.observe = false;
    in = fixture_open(f);
    f->cfg.observe = true;
    eye = fixture_open(f);
    assert_int_equal(device_slot(eye), DEVICE_NONE);
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
    assert_int_equal(used_on(eye, 1), 1u << 20);
    assert_int_equal(device_alloc(eye, &a, &x, &err), NRT_UNINITIALIZED);
    assert_int_equal(device_cores_claim(eye, 0, 1, NULL), NRT_UNINITIALIZED);
    device_instance_close(eye);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

int main(int argc, char **argv)
{
    static const struct runner_helper helpers[] = {{"holder", helper_holder}, {NULL, NULL}};
    int rc = runner_dispatch(argc, argv, helpers);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_a_process_are_of_one_line),
        cmocka_unit_test(instance_opens_and_closes),
        cmocka_unit_test(every_type_opens_and_has_its_cores),
        cmocka_unit_test(other_type_or_lnc_is_refused),
        cmocka_unit_test(hbm_may_be_smaller_than_the_type_has),
        cmocka_unit_test(hbm_of_a_wrong_size_is_refused),
        cmocka_unit_test(named_instances_are_separate),
        cmocka_unit_test(other_version_is_named_and_reset_helps),
        cmocka_unit_test(garbage_control_blocks_are_refused),
        cmocka_unit_test(cores_are_exclusive_with_the_documented_message),
        cmocka_unit_test(reset_counts_and_clears),
        cmocka_unit_test(killed_process_is_reclaimed),
        cmocka_unit_test(process_that_exits_without_close_is_reclaimed),
        cmocka_unit_test(instance_left_by_a_killed_process_is_usable),
        cmocka_unit_test(reset_is_refused_while_somebody_lives),
        cmocka_unit_test(forked_child_is_uninitialised_and_takes_nothing),
        cmocka_unit_test(foreign_folder_is_refused),
        cmocka_unit_test(full_folder_is_a_status),
        cmocka_unit_test(observer_reads_and_takes_nothing),
    };

    if (rc >= 0)
        return rc;
    runner_watchdog(120);
    return cmocka_run_group_tests_name("device-instance", tests, NULL, NULL);
}
