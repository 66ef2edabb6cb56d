/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that wait for each other in operations of several communicators, as when one begins A after
 * B has ended and another one B after A: nobody is absent, and nothing will ever move.
 *
 * A rank whose run can only go on when an operation does tells its peers so: a word that has an
 * epoch, which is another one after anything has moved, and how often it has looked at everything
 * in vain since; and in which communicators it waits. The set of these communicators, of those in
 * which their members wait, and so on, is closed when all of their members say that they wait. Then
 * only members of the set can make one of them go on.
 *
 * Three reads are compared. Between two of them everybody has looked twice in vain, so once from
 * the beginning to the end after the first of the two was over; and the epochs are the same in all.
 * So at the end of the first read nobody moved, and everybody has found since that nothing that was
 * there then lets him go on. A rank that only gets no processor does not look, so it is waited for.
 */
#include "coll/coll_int.h"
#include "coll/world_int.h"

#define READS 3u

/* Of one read. */
struct circle_set {
    uint64_t comms; /* of the table, a bit each */
    uint32_t count;
    struct circle_seen seen[CIRCLE_MOST];
};

void circle_moved(struct coll_streams *s)
{
    s->circle.looks = 0;
}

static uint64_t ids_busy(const struct coll_streams *s, uint64_t id[TOPO_MAX_STREAMS])
{
    uint64_t bits = 0;

    for (unsigned i = 0; i < TOPO_MAX_STREAMS; i++) {
        const struct stream *st = &s->stream[i];
        const struct shared_comm *c;

        id[i] = 0;
        if (!(s->busy & 1u << i))
            continue;
        c = st->op[(st->first + st->ended) % STREAM_DEPTH].e->comm;
        id[i] = c->id;
        for (size_t k = 0; k < s->table->comm_count; k++)
            bits |= s->table->comms[k] == c ? UINT64_C(1) << k : 0;
    }
    return bits;
}

/* To all members of all communicators of the table. */
static void tell(struct coll_streams *s, const uint64_t id[TOPO_MAX_STREAMS])
{
    for (size_t k = 0; k < s->table->comm_count; k++) {
        const struct coll_comm *c = s->table->comms[k]->comm;
        struct coll_stuck *mine = &c->peers[c->me].area->stuck;

        if (c->n == 1)
            continue;
        if (s->circle.looks == 1) {
            atomic_store_explicit(&mine->word, 0, memory_order_relaxed);
            atomic_thread_fence(memory_order_release);
            for (unsigned i = 0; i < TOPO_MAX_STREAMS; i++)
                atomic_store_explicit(&mine->in[i], id[i], memory_order_relaxed);
        }
        atomic_store_explicit(&mine->word, (uint64_t)s->circle.epoch << 32 | s->circle.looks,
                              memory_order_release);
    }
}

/* The communicators in which a member waits join the set; false: it does not wait, or in one that
 * this rank does not have. */
static bool member_add(const struct coll_streams *s, struct circle_set *set,
                       const struct coll_stuck *theirs)
{
    uint64_t word = atomic_load_explicit(&theirs->word, memory_order_acquire), id;

    if ((uint32_t)word == 0 || set->count == CIRCLE_MOST)
        return false;
    for (unsigned i = 0; i < TOPO_MAX_STREAMS; i++) {
        size_t k = 0;

        id = atomic_load_explicit(&theirs->in[i], memory_order_relaxed);
        while (id && k < s->table->comm_count && s->table->comms[k]->id != id)
            k++;
        if (id && k == s->table->comm_count)
            return false;
        set->comms |= id ? UINT64_C(1) << k : 0;
    }
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&theirs->word, memory_order_relaxed) >> 32 != word >> 32)
        return false;
    set->seen[set->count++] = (struct circle_seen){(uint32_t)(word >> 32), (uint32_t)word};
    return true;
}

/* Whether the set that begins with `comms` is closed. */
static bool set_read(const struct coll_streams *s, uint64_t comms, struct circle_set *set)
{
    uint64_t done = 0;

    *set = (struct circle_set){.comms = comms};
    while (set->comms & ~done) {
        unsigned k = (unsigned)__builtin_ctzll(set->comms & ~done);
        const struct coll_comm *c = s->table->comms[k]->comm;

        done |= UINT64_C(1) << k;
        for (uint32_t r = 0; r < c->n; r++)
            if (r != c->me && (!c->peers[r].area || !member_add(s, set, &c->peers[r].area->stuck)))
                return false;
    }
    return true;
}

/* Compares with the read before; whether enough have agreed. */
static bool reads_agree(struct coll_circle *c, const struct circle_set *set)
{
    bool same = c->reads && c->comms == set->comms && c->count == set->count, again = same;

    for (uint32_t i = 0; i < set->count && same; i++) {
        same = c->seen[i].epoch == set->seen[i].epoch;
        again = again && set->seen[i].looks - c->seen[i].looks >= 2;
    }
    if (same && !again)
        return false; /* somebody has not looked twice; so far the read before stands */
    c->reads = same ? c->reads + 1 : 1;
    c->comms = set->comms;
    c->count = set->count;
    for (uint32_t i = 0; i < set->count; i++)
        c->seen[i] = set->seen[i];
    return c->reads >= READS;
}

void circle_look(struct coll_streams *s)
{
    struct coll_circle *c = &s->circle;
    uint64_t id[TOPO_MAX_STREAMS], mine;
    struct circle_set set;

    if (s->table->comm_count > 64)
        return;
    if (c->looks++ == 0) {
        c->epoch++;
        c->reads = 0;
    }
    mine = ids_busy(s, id);
    tell(s, id);
    if (!set_read(s, mine, &set)) {
        c->reads = 0;
        return;
    }
    if (!reads_agree(c, &set))
        return;
    for (uint32_t left = s->busy; left; left &= left - 1) {
        struct stream *st = &s->stream[__builtin_ctz(left)];

        coll_circle_fail(st->op[(st->first + st->ended) % STREAM_DEPTH].e->comm->comm);
    }
}
