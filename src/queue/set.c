/* SPDX-License-Identifier: Apache-2.0 */
/* The cores of a session and their queues by number. The upper 16 bits of a sequence are
 *
 *    15        5 4       2 1     0
 *   +-----------+---------+-------+
 *   |   core    | kind + 1| queue |
 *   +-----------+---------+-------+
 *
 * and so never 0. */
#include <inttypes.h>

#include "queue/queue_int.h"

static const uint8_t counts[QUEUE_KINDS] = {[QUEUE_TENSOR_READ] = 2,
                                            [QUEUE_TENSOR_WRITE] = 2,
                                            [QUEUE_TENSOR_OP] = 2,
                                            [QUEUE_COMPUTE] = 1,
                                            [QUEUE_COLLECTIVES] = 1};

unsigned queue_count(enum queue_kind kind)
{
    return (unsigned)kind < QUEUE_KINDS ? counts[kind] : 0;
}

uint64_t queue_id(uint32_t core, enum queue_kind kind, unsigned queue)
{
    return (uint64_t)core << 5 | ((uint64_t)kind + 1) << 2 | queue;
}

/* Place among the queues of a core. */
static unsigned place_of(enum queue_kind kind, unsigned queue)
{
    unsigned at = queue;

    for (unsigned k = 0; k < (unsigned)kind; k++)
        at += counts[k];
    return at;
}

struct queue *queue_find(const struct queue_set *s, uint32_t core, enum queue_kind kind,
                         unsigned queue)
{
    struct queue_core *c = atomic_load_explicit(&s->cores[core], memory_order_acquire);

    return c ? &c->q[place_of(kind, queue)] : NULL;
}

struct queue *queue_of(const struct queue_set *s, uint64_t seq, uint64_t *ret_num)
{
    uint64_t id = seq >> QUEUE_NUM_BITS, num = seq & QUEUE_NUM_MAX;
    uint32_t core = (uint32_t)(id >> 5);
    unsigned kind = (unsigned)(id >> 2 & 7), queue = (unsigned)(id & 3);
    struct queue *q;

    if (num == 0 || core >= s->count || kind == 0 || kind > QUEUE_KINDS ||
        queue >= counts[kind - 1])
        return NULL;
    q = queue_find(s, core, (enum queue_kind)(kind - 1), queue);
    if (!q || num > (atomic_load_explicit(&q->issued, memory_order_acquire) & QUEUE_NUM_MAX))
        return NULL;
    *ret_num = num;
    return q;
}

/* ---- making and ending ---- */

NRT_STATUS queue_set_create(const struct queue_config *cfg, struct queue_set **ret, struct err *err)
{
    struct queue_set *s;

    if (cfg->cores > QUEUE_CORES)
        return err_set(err, NRT_INVALID, "%" PRIu32 " logical cores are more than %u", cfg->cores,
                       QUEUE_CORES);
    s = mem_zalloc(sizeof(*s) + cfg->cores * sizeof(s->cores[0]));
    if (!s)
        return err_set(err, NRT_RESOURCE, "no host memory for the queues of %" PRIu32 " cores",
                       cfg->cores);
    s->log = cfg->log;
    s->cpus = cfg->cpus;
    s->cpus_arg = cfg->cpus_arg;
    s->count = cfg->cores;
    pthread_mutex_init(&s->lock, NULL);
    *ret = s;
    return NRT_SUCCESS;
}

/* CPUs that the threads of a core may have. */
static uint32_t cpus_of(const struct queue_set *s, uint32_t core)
{
    struct run_cpus cpus;
    uint32_t n = 0;

    if (!s->cpus || !s->cpus(s->cpus_arg, core, &cpus))
        return run_cpu_count();
    for (unsigned w = 0; w < RUN_CPUS_MAX / 64; w++)
        n += (uint32_t)__builtin_popcountll(cpus.bits[w]);
    return n;
}

static struct queue_core *core_create(struct queue_set *s, uint32_t index)
{
    struct queue_core *c = mem_aligned(64, sizeof(*c));

    if (!c)
        return NULL;
    *c = (struct queue_core){.set = s, .index = index, .cpus = cpus_of(s, index)};
    pthread_mutex_init(&c->lock, NULL);
    for (unsigned k = 0; k < QUEUE_KINDS; k++)
        for (unsigned i = 0; i < counts[k]; i++) {
            struct queue *q = &c->q[place_of((enum queue_kind)k, i)];

            q->core = c;
            q->id = (uint32_t)queue_id(index, (enum queue_kind)k, i);
            pthread_mutex_init(&q->lock, NULL);
        }
    for (unsigned i = 0; i < QUEUE_ALL; i++) {
        c->hand[i].core = c;
        c->hand[i].number = i;
    }
    return c;
}

struct queue_core *queue_core_get(struct queue_set *s, uint32_t core, NRT_STATUS *ret_status)
{
    struct queue_core *c = atomic_load_explicit(&s->cores[core], memory_order_acquire);

    if (__builtin_expect(c != NULL, 1))
        return c;
    pthread_mutex_lock(&s->lock);
    c = atomic_load_explicit(&s->cores[core], memory_order_relaxed);
    *ret_status = s->stopped ? NRT_CLOSED : NRT_RESOURCE;
    if (!c && !s->stopped) {
        c = core_create(s, core);
        atomic_store_explicit(&s->cores[core], c, memory_order_release);
    }
    pthread_mutex_unlock(&s->lock);
    return c;
}

void queue_set_stop(struct queue_set *s)
{
    bool before;

    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    before = s->stopped;
    s->stopped = true;
    pthread_mutex_unlock(&s->lock);
    if (before)
        return;
    for (uint32_t i = 0; i < s->count; i++) {
        struct queue_core *c = atomic_load(&s->cores[i]);

        for (unsigned k = 0; c && k < QUEUE_ALL; k++)
            atomic_fetch_or(&c->q[k].issued, QUEUE_CLOSED);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        struct queue_core *c = atomic_load(&s->cores[i]);

        for (unsigned k = 0; c && k < QUEUE_ALL; k++)
            queue_wait(&c->q[k]);
        if (c)
            queue_crew_end(c);
    }
}

void queue_set_destroy(struct queue_set *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->count; i++) {
        struct queue_core *c = atomic_load(&s->cores[i]);

        for (unsigned k = 0; c && k < QUEUE_ALL; k++) {
            mem_free(atomic_load(&c->q[k].slots));
            pthread_mutex_destroy(&c->q[k].lock);
        }
        if (c)
            pthread_mutex_destroy(&c->lock);
        mem_free(c);
    }
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}
