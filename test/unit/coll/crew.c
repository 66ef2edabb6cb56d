/* SPDX-License-Identifier: Apache-2.0 */
#include "crew.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runner.h"

struct crew_table *crew_table_new(void)
{
    struct crew_table *t = mmap(NULL, sizeof(struct crew_table), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (t == MAP_FAILED)
        abort();
    return t;
}

void crew_table_free(struct crew_table *t)
{
    munmap(t, sizeof(*t));
}

void crew_mark(struct crew_table *t, unsigned mark, uint64_t value)
{
    atomic_store(&t->mark[mark], value);
    run_word_post(&t->bell);
}

bool crew_await(struct crew_table *t, unsigned mark, uint64_t value, unsigned limit_ms)
{
    static const struct run_policy policy = {.spin_us = 50};
    uint64_t end = run_now_ns() + limit_ms * UINT64_C(1000000);

    for (;;) {
        uint32_t seen = run_word_load(&t->bell);

        if (atomic_load(&t->mark[mark]) >= value)
            return true;
        if (run_now_ns() >= end)
            return false;
        run_wait(&t->bell, seen, 100000000, &policy);
    }
}

void crew_restart(struct crew_table *t)
{
    for (unsigned i = 0; i < CREW_MAX; i++) {
        atomic_store(&t->dead[i], 0);
        atomic_store(&t->step[i], 0);
        t->text[i][0] = 0;
    }
}

void crew_dead(struct crew_table *t, uint32_t rank)
{
    atomic_store(&t->dead[rank], 1);
    run_word_post(&t->bell);
}

static uint64_t seat_now(const struct crew_seat *s)
{
    return s->now ? s->now(s->now_arg) : run_now_ns();
}

/* Two blocks per rank, used in turn: whoever writes the one of step k + 2 has seen everybody at
 * k + 1, hence past reading k. */
static NRT_STATUS exchange(void *arg, const void *mine, size_t size, void *all, struct err *err)
{
    struct crew_seat *s = arg;
    struct crew_table *t = s->crew;
    uint32_t k = atomic_load(&t->step[s->rank.me]) + 1;
    uint64_t end = seat_now(s) + s->limit_ms * 1000000;

    if (size > RANKS_BLOCK)
        return err_set(err, NRT_RESOURCE, "the test's table has %d bytes a rank", RANKS_BLOCK);
    memcpy(t->block[k & 1][s->rank.me], mine, size);
    atomic_store(&t->step[s->rank.me], k);
    run_word_post(&t->bell);
    for (uint32_t r = 0; r < s->rank.n; r++) {
        uint32_t seen = run_word_load(&t->bell);

        while (atomic_load(&t->step[r]) < k) {
            for (uint32_t d = 0; d < s->rank.n; d++) /* who waits for the dead comes no more */
                if (atomic_load(&t->dead[d]) && atomic_load(&t->step[d]) < k)
                    return err_set(err, NRT_FAILURE, "rank %u is gone", d);
            if (s->limit_ms && seat_now(s) >= end)
                return err_set(err, NRT_TIMEOUT, "rank %u has not come", r);
            run_wait(&t->bell, seen, 100000000, NULL);
            seen = run_word_load(&t->bell);
        }
        memcpy((uint8_t *)all + r * size, t->block[k & 1][r], size);
    }
    return NRT_SUCCESS;
}

static void group_make(struct topo_group *g, const uint32_t *cores, uint32_t n)
{
    struct topo_fabric fabric;
    struct topo_world world;
    struct err err = {0};

    if (topo_fabric_init(&fabric, topo_instance_find("trn2.48xlarge"), 1, &err) ||
        topo_world_init(&world, &fabric, 2, 1, CREW_MAX, &err) ||
        topo_group_init(g, &world, cores, n, &err)) {
        fprintf(stderr, "group: %s\n", err.text);
        abort();
    }
}

NRT_STATUS crew_sit(struct crew_seat *s, struct crew_table *t, const uint32_t *cores, uint32_t me,
                    uint32_t n, uint64_t timeout_ms, struct err *err)
{
    s->crew = t;
    s->rank.me = me;
    s->rank.n = n;
    s->rank.core = cores[me] * 2; /* LNC 2 */
    group_make(&s->group, cores, n);
    s->rank.group = &s->group;
    struct coll_config cc = {.in = s->rank.in,
                             .group = &s->group,
                             .rank = me,
                             .core = s->rank.core,
                             .exchange = {s, exchange},
                             .timeout_ns = timeout_ms * 1000000,
                             .now = s->now,
                             .now_arg = s->now_arg,
                             .log = s->rank.log};
    NRT_STATUS st = coll_comm_open(&cc, &s->rank.comm, err);

    if (st)
        topo_group_fini(&s->group);
    return st;
}

void crew_leave(struct crew_seat *s)
{
    coll_comm_close(s->rank.comm);
    s->rank.comm = NULL;
    topo_group_fini(&s->group);
}

struct device_instance *crew_instance(const char *dir, struct log *log)
{
    struct device_config cfg = {.type = "trn2.48xlarge",
                                .dir = dir,
                                .report_dir = dir,
                                .hbm_bytes = runner_hbm_bytes(),
                                .log = log,
                                .no_oom_log = true};
    struct device_instance *in;
    struct err err = {0};

    if (device_instance_open(&cfg, &in, &err)) {
        fprintf(stderr, "instance in %s: %s\n", dir, err.text);
        abort();
    }
    return in;
}
