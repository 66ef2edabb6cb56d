/* SPDX-License-Identifier: Apache-2.0 */
#include "ranks.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "coll/coll_int.h"
#include "common_clock.h"
#include "device/hostmem.h"
#include "net/link.h"
#include "run/run.h"
#include "runner.h"

struct ranks_table {
    struct run_word turn;                     /* of the table, where all ranks meet */
    _Atomic uint32_t arrived, left, stranded; /* a rank that met nobody, + 1 */
    struct common_clock clock;
    uint8_t block[RANKS_MAX][RANKS_BLOCK];
    char text[RANKS_MAX][768]; /* what bodies return */
    _Alignas(64) uint8_t shared[4096];
};

static uint8_t shared_last[sizeof(((struct ranks_table *)0)->shared)];

const void *ranks_shared_last(void)
{
    return shared_last;
}

bool ranks_have_room(uint64_t bytes, const char *what)
{
    struct host_room room;

    host_room_get(NULL, &room);
    if (room.available >= bytes)
        return true;
    printf("NOT RUN: %s wants %llu MiB of memory, %llu are free\n", what,
           (unsigned long long)bytes >> 20, (unsigned long long)room.available >> 20);
    return false;
}

bool ranks_have_emulator_room(void)
{
    return !runner_emulated() || ranks_have_room(UINT64_C(4) << 30, "an emulator of ranks");
}

struct job {
    struct ranks_table *table;
    char dir[64];
    uint32_t n;
    struct ranks_nodes where;
    uint64_t timeout_ms;
    const char *(*body)(struct rank *r);
    void *arg;
};

struct rank_thread {
    struct job *job;
    uint32_t me;
};

/* Where all ranks meet. False: a rank's body is over, so that it will never come. */
static bool meet(const struct rank *r)
{
    struct ranks_table *t = r->table;
    uint32_t turn = run_word_load(&t->turn);

    if (atomic_fetch_add(&t->arrived, 1) + 1 == r->n) {
        atomic_store(&t->arrived, 0);
        run_word_post(&t->turn);
        return true;
    }
    while (run_word_load(&t->turn) == turn) {
        if (atomic_load(&t->left) > 0)
            return run_word_load(&t->turn) != turn; /* who has left may have come before */
        (void)run_wait(&t->turn, turn, 100000000, NULL);
    }
    return true;
}

static NRT_STATUS exchange(void *arg, const void *mine, size_t size, void *all, struct err *err)
{
    struct rank *r = arg;

    if (size > RANKS_BLOCK)
        return err_set(err, NRT_RESOURCE, "the test's table has %d bytes a rank", RANKS_BLOCK);
    memcpy(r->table->block[r->me], mine, size);
    if (!meet(r))
        return err_set(err, NRT_FAILURE, "another rank of the test is over");
    for (uint32_t i = 0; i < r->n; i++)
        memcpy((uint8_t *)all + i * size, r->table->block[i], size);
    return meet(r) ? NRT_SUCCESS : err_set(err, NRT_FAILURE, "another rank of the test is over");
}

const char *ranks_flight_dir;

static void rank_leave(struct ranks_table *t, uint32_t me, const char *text)
{
    if (text)
        snprintf(t->text[me], sizeof(t->text[0]), "rank %u: %.700s", me, text);
    common_clock_out(&t->clock, me);
    atomic_fetch_add(&t->left, 1);
}

/* A rank that waits for one that is over does not go on with its body. */
void ranks_barrier(struct rank *r)
{
    if (meet(r))
        return;
    atomic_store(&r->table->stranded, r->me + 1);
    longjmp(*r->over, 1);
}

static uint64_t look(void *arg)
{
    const struct rank *r = arg;

    return common_clock_look(&r->table->clock, r->me, r->n);
}

void ranks_limit(struct rank *r, uint64_t looks)
{
    r->comm->cfg.now = look;
    r->comm->cfg.now_arg = r;
    r->comm->cfg.timeout_ns = looks * 1000000;
}

void ranks_out(struct rank *r, uint32_t rank)
{
    common_clock_out(&r->table->clock, rank);
}

void *ranks_shared(struct rank *r)
{
    return r->table->shared;
}

void ranks_die(struct rank *r)
{
    (void)r;
    raise(SIGKILL);
}

void *rank_memory(struct rank *r, uint64_t size, uint64_t *ret_addr)
{
    struct device_alloc a = {
        .core = r->core, .neff = DEVICE_NONE, .cat = DEVICE_CAT_TENSOR, .size = size ? size : 64};
    struct device_extent x;
    struct err err = {0};
    void *p;

    if (device_alloc(r->in, &a, &x, &err) ||
        device_map(r->in, x.addr, a.size, DEVICE_RW, &p, &err)) {
        fprintf(stderr, "rank_memory: %s\n", err.text);
        abort();
    }
    memset(p, 0xa5, a.size);
    *ret_addr = x.addr;
    if (!mem_grow((void **)&r->memory, &r->memory_cap, r->memory_count + 1, sizeof(x)))
        abort();
    r->memory[r->memory_count++] = x;
    return p;
}

void rank_memory_free(struct rank *r)
{
    struct err err = {0};

    while (r->memory_count > 0)
        if (device_free(r->in, &r->memory[--r->memory_count], &err)) {
            fprintf(stderr, "rank_memory_free: %s\n", err.text);
            abort();
        }
    mem_free(r->memory);
    r->memory = NULL;
    r->memory_cap = 0;
}

static const char *type_of(const struct ranks_nodes *w)
{
    return w->type ? w->type : "trn2.48xlarge";
}

static uint8_t lnc_of(const struct ranks_nodes *w)
{
    return w->type ? 1 : 2;
}

static void group_make(struct topo_group *g, const struct ranks_nodes *w)
{
    uint32_t list[RANKS_MAX], n = w->nodes * w->per_node;
    struct topo_fabric fabric;
    struct topo_world world;
    uint64_t draw = w->shuffle;
    struct err err = {0};

    for (uint32_t i = 0; i < n; i++) {
        uint32_t k =
            w->shuffle ? (uint32_t)((draw = draw * 6364136223846793005u + 1) >> 33) % (i + 1) : i;

        list[i] = list[k];
        list[k] = i;
    }
    if (topo_fabric_init(&fabric, topo_instance_find(type_of(w)), 1, &err) ||
        topo_world_init(&world, &fabric, lnc_of(w), w->nodes, w->per_node, &err) ||
        topo_group_init(g, &world, list, n, &err)) {
        fprintf(stderr, "group: %s\n", err.text);
        abort();
    }
}

struct card { /* a rank's address */
    uint32_t size;
    uint8_t address[NET_ADDRESS_MAX];
};

static void link_make(struct rank *r, const struct ranks_nodes *where)
{
    struct net_link_config cfg = {.rank = r->world,
                                  .world = r->n,
                                  .provider = where->provider,
                                  .by_hand = where->by_hand,
                                  .log = r->log};
    struct card mine = {0}, *all = mem_calloc(r->n, sizeof(*all));
    struct err err = {0};

    if (!all || net_link_open(&cfg, &r->link, &err))
        goto failed;
    mine.size = (uint32_t)net_link_address(r->link, mine.address);
    (void)exchange(r, &mine, sizeof(mine), all, &err);
    for (uint32_t i = 0; i < r->n; i++)
        if (net_link_peer(r->link, r->group->rank[i], all[i].address, all[i].size, &err))
            goto failed;
    mem_free(all);
    return;
failed: /* the others would wait for us at the table */
    fprintf(stderr, "rank %u: %s\n", r->me, err.text);
    abort();
}

NRT_STATUS ranks_comm_open(struct rank *r, struct coll_comm **ret, struct err *err)
{
    struct coll_config cc = {.in = r->in,
                             .group = r->group,
                             .rank = r->me,
                             .core = r->core,
                             .exchange = {r, exchange},
                             .link = r->link,
                             .flight_dir = ranks_flight_dir,
                             .timeout_ns = r->timeout_ns,
                             .log = r->log};

    return coll_comm_open(&cc, ret, err);
}

/* i: rank in the world. */
static void rank_run(struct job *job, uint32_t i)
{
    const struct ranks_nodes *w = &job->where;
    char name[16];
    struct device_config cfg = {.type = type_of(w),
                                .name = name,
                                .dir = job->dir,
                                .report_dir = job->dir,
                                .hbm_bytes = runner_hbm_bytes()};
    struct topo_group group;
    struct rank r = {.n = job->n,
                     .world = i,
                     .core = i % w->per_node * lnc_of(w),
                     .timeout_ns = job->timeout_ms * 1000000,
                     .group = &group,
                     .table = job->table,
                     .arg = job->arg};
    struct err err = {0};
    const char *volatile text = NULL;
    jmp_buf over;

    r.over = &over;
    group_make(&group, w);
    while (group.rank[r.me] != i)
        r.me++;
    snprintf(name, sizeof(name), "node%u", i / w->per_node);
    r.log = log_open_env();
    cfg.log = r.log;
    if (device_instance_open(&cfg, &r.in, &err)) {
        fprintf(stderr, "rank %u: %s\n", r.me, err.text);
        abort();
    }
    if (w->nodes > 1)
        link_make(&r, w);
    device_runnable_add(r.in, 1);
    if (ranks_comm_open(&r, &r.comm, &err)) { /* the others would wait for us at the table */
        fprintf(stderr, "rank %u: %s\n", r.me, err.text);
        abort();
    }
    if (setjmp(over) == 0)
        text = job->body(&r);
    rank_leave(job->table, r.me, text);
    device_runnable_add(r.in, -1);
    rank_memory_free(&r);
    coll_comm_close(r.comm);
    net_link_close(r.link);
    device_instance_close(r.in);
    log_close(r.log);
    topo_group_fini(&group);
}

static void *thread_main(void *arg)
{
    struct rank_thread *t = arg;

    rank_run(t->job, t->me);
    return NULL;
}

static void run_threads(struct job *job)
{
    struct rank_thread args[RANKS_MAX];
    pthread_t threads[RANKS_MAX];

    for (uint32_t i = 0; i < job->n; i++) {
        args[i] = (struct rank_thread){job, i};
        if (pthread_create(&threads[i], NULL, thread_main, &args[i]))
            abort();
    }
    for (uint32_t i = 0; i < job->n; i++)
        pthread_join(threads[i], NULL);
}

static void run_processes(struct job *job)
{
    pid_t pids[RANKS_MAX];

    for (uint32_t i = 0; i < job->n; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            rank_run(job, i);
            _exit(0);
        }
    }
    for (uint32_t i = 0; i < job->n; i++) {
        int status = 0;

        waitpid(pids[i], &status, 0);
        if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
            snprintf(job->table->text[i], sizeof(job->table->text[i]), "rank %u: signal %d", i,
                     WTERMSIG(status));
    }
}

const char *ranks_run(enum ranks_kind kind, uint32_t n, uint64_t timeout_ms,
                      const char *(*body)(struct rank *r), void *arg)
{
    return ranks_run_nodes(kind, &(struct ranks_nodes){.nodes = 1, .per_node = n}, timeout_ms, body,
                           arg);
}

const char *ranks_run_nodes(enum ranks_kind kind, const struct ranks_nodes *where,
                            uint64_t timeout_ms, const char *(*body)(struct rank *r), void *arg)
{
    static char text[768];
    uint32_t n = where->nodes * where->per_node;
    struct job job = {.n = n, .where = *where, .timeout_ms = timeout_ms, .body = body, .arg = arg};
    char cmd[128];

    strcpy(job.dir, "/tmp/opennrt-coll-XXXXXX");
    if (!mkdtemp(job.dir))
        abort();
    job.table =
        mmap(NULL, sizeof(*job.table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (job.table == MAP_FAILED)
        abort();
    common_clock_start(&job.table->clock);
    if (kind == RANKS_THREADS)
        run_threads(&job);
    else
        run_processes(&job);
    text[0] = 0;
    for (uint32_t i = 0; i < n && !text[0]; i++)
        strcpy(text, job.table->text[i]);
    if (!text[0] && atomic_load(&job.table->stranded))
        snprintf(text, sizeof(text), "rank %u waits at the table for a rank that is over",
                 atomic_load(&job.table->stranded) - 1);
    memcpy(shared_last, job.table->shared, sizeof(shared_last));
    munmap(job.table, sizeof(*job.table));
    snprintf(cmd, sizeof(cmd), "rm -rf %s", job.dir);
    if (system(cmd) != 0)
        fprintf(stderr, "cannot remove %s\n", job.dir);
    return text[0] ? text : NULL;
}
