/* SPDX-License-Identifier: Apache-2.0 */
/* What one rank moves in a walk: see coll_int.h. Ranks of a role have the same waits and signals,
 * and between two of them they move the same but for lengths: so a second iterator, of the rank
 * itself, goes along and says what, to whom and over which links. */
#include <string.h>

#include "time/coll_int.h"

bool noted_open(struct noted *n, const struct sched *s, uint32_t rank, struct time_moves *moves)
{
    *n = (struct noted){.rank = rank, .role = sched_role(s, rank), .moves = moves};
    for (uint32_t c = 0; c < sched_channels(s); c++)
        if (sched_iter_create(s, rank, c, &n->it[c]) != NRT_SUCCESS)
            return false;
    return true;
}

void noted_close(struct noted *n)
{
    for (unsigned c = 0; c < SCHED_CHANNELS_MAX; c++)
        sched_iter_destroy(n->it[c]);
}

static struct topo_place place_of(const struct topo_group *g, uint32_t rank)
{
    return topo_world_place(&g->world, g->rank[rank]);
}

/* Position in the group of whom a step writes to: of the destination that is the most links away.
 */
static uint32_t peer_of(const struct topo_group *g, uint32_t rank, const struct sched_step *step)
{
    unsigned own = place_of(g, rank).chip, most = 0;
    uint32_t peer = step->ndst > 0 ? step->dst[0].rank : rank;

    if (step->kind == SCHED_NET_SEND)
        return step->peer;
    for (unsigned i = 0; i < step->ndst; i++) {
        unsigned away = topo_distance(&g->world.fabric, own, place_of(g, step->dst[i].rank).chip);

        if (away > most) {
            most = away;
            peer = step->dst[i].rank;
        }
    }
    return peer;
}

static struct time_move move_of(const struct noted *n, const struct costs *c, uint32_t channel,
                                const struct sched_step *step)
{
    uint32_t peer = peer_of(c->g, n->rank, step);
    struct topo_place from = place_of(c->g, n->rank), to = place_of(c->g, peer);
    struct time_move m = {.bytes = step->count * sched_request_of(c->s)->elem_size *
                                   (step->kind == SCHED_NET_SEND ? 1 : step->repeat),
                          .phase = sched_phase_name(c->s, step->phase),
                          .channel = channel,
                          .peer = c->g->rank[peer],
                          .node = to.node,
                          .kind = step->kind,
                          .net = step->kind == SCHED_NET_SEND};

    if (!m.net)
        topo_route(&c->g->world.fabric, from.chip, to.chip, &m.route);
    return m;
}

static bool moves_data(const struct sched_step *step)
{
    return step->kind == SCHED_COPY || step->kind == SCHED_REDUCE || step->kind == SCHED_NET_SEND;
}

/* The rank's own next step that is more than bookkeeping, in n->step. False: no memory. */
static bool own_step(struct noted *n, uint32_t channel)
{
    const struct sched_step **step = &n->step[channel];

    while (!*step || (*step)->kind == SCHED_EXPECT) {
        *step = sched_iter_next(n->it[channel]);
        if (!*step)
            return sched_iter_status(n->it[channel]) == NRT_SUCCESS;
    }
    return true;
}

/* Keep what the rank moves with its next step, which is over then. False: no memory. */
static bool keep(struct noted *n, const struct costs *c, uint32_t channel, double start_ns,
                 double end_ns)
{
    const struct sched_step *step = n->step[channel];
    struct time_moves *moves = n->moves;
    struct time_move *m;

    n->step[channel] = NULL;
    if (step->count == 0)
        return true;
    if (moves->count >= TIME_MOVES_MAX) {
        moves->left_out++;
        return true;
    }
    if (!mem_grow((void **)&moves->move, &moves->cap, moves->count + 1, sizeof(*moves->move)))
        return false;
    m = &moves->move[moves->count++];
    *m = move_of(n, c, channel, step);
    m->start_ps = time_ps_of_ns(start_ns);
    m->end_ps = time_ps_of_ns(end_ns);
    return true;
}

/* The representative waits, signals or posts: so does the rank. What else it moves before that is
 * some element or other of a part that is empty at the representative: it takes no time. */
static bool meet(struct noted *n, const struct costs *c, uint32_t channel, double ns)
{
    for (;;) {
        if (!own_step(n, channel))
            return false;
        if (!n->step[channel])
            return true;
        if (!moves_data(n->step[channel]))
            break;
        if (!keep(n, c, channel, ns, ns))
            return false;
    }
    n->step[channel] = NULL;
    return true;
}

bool noted_step(struct noted *n, const struct costs *c, uint32_t channel,
                const struct sched_step *done, double start_ns, double end_ns)
{
    if (done->kind == SCHED_EXPECT)
        return true;
    if (!moves_data(done))
        return meet(n, c, channel, end_ns);
    if (!own_step(n, channel))
        return false;
    if (!n->step[channel] || !moves_data(n->step[channel]))
        return true; /* a part that is empty at this rank */
    return keep(n, c, channel, start_ns, end_ns);
}

void time_moves_fini(struct time_moves *m)
{
    mem_free(m->move);
    *m = (struct time_moves){0};
}
