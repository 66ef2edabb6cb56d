/* SPDX-License-Identifier: Apache-2.0 */
/* A list of ranks, described: nodes and indices, then the layout of one node, which all share. */
#include "topo/group.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"

#define NONE UINT32_MAX

/* w of section 10 where no figure is published: that of trn2 at LNC 2 (ours). */
#define NET_BYTES_US_DEFAULT 6250

/* A group while it is made. */
struct maker {
    struct topo_group *g;
    const struct topo_world *w;
    struct arena tmp;
    struct err *err;
    unsigned chip_cores;              /* logical, of one chip */
    uint32_t *y_of_core;              /* [fabric chips * chip_cores], NONE: not in the group */
    uint16_t devices[TOPO_MAX_CHIPS]; /* chips of the group on a node, in list order */
    unsigned device_count;
    unsigned device_ranks; /* L, 0: they differ */
    struct topo_cycles cycles;
};

static NRT_STATUS no_memory(const struct maker *m)
{
    return err_set(m->err, NRT_RESOURCE, "no memory for a group of %" PRIu32 " ranks", m->g->n);
}

static uint32_t *u32s(struct arena *a, size_t n)
{
    return arena_calloc(a, n, sizeof(uint32_t));
}

/* An array of NONE. */
static uint32_t *u32s_none(struct arena *a, size_t n)
{
    uint32_t *p = u32s(a, n);

    if (p)
        memset(p, 0xff, n * sizeof(*p));
    return p;
}

/* ---- the list ---- */

static NRT_STATUS list_check(struct maker *m, const uint32_t *world_ranks, uint32_t n)
{
    uint8_t *seen = arena_calloc(&m->tmp, m->w->ranks / 8 + 1, 1);

    if (!seen)
        return no_memory(m);
    for (uint32_t r = 0; r < n; r++) {
        uint32_t rank = world_ranks[r];

        if (rank >= m->w->ranks)
            return err_set(m->err, NRT_INVALID,
                           "group position %" PRIu32 ": rank %" PRIu32
                           " outside the world of %" PRIu32,
                           r, rank, m->w->ranks);
        if (seen[rank / 8] >> rank % 8 & 1) {
            uint32_t first = 0;

            while (world_ranks[first] != rank)
                first++;
            return err_set(m->err, NRT_INVALID,
                           "rank %" PRIu32 " twice in a group, at positions %" PRIu32
                           " and %" PRIu32,
                           rank, first, r);
        }
        seen[rank / 8] |= (uint8_t)(1u << rank % 8);
    }
    return NRT_SUCCESS;
}

static NRT_STATUS list_copy(struct maker *m, const uint32_t *world_ranks, uint32_t n)
{
    struct topo_group *g = m->g;
    uint32_t *rank = u32s(&g->mem, n);

    if (!rank)
        return no_memory(m);
    for (uint32_t r = 0; r < n; r++)
        rank[r] = world_ranks ? world_ranks[r] : r;
    g->rank = rank;
    return world_ranks ? list_check(m, world_ranks, n) : NRT_SUCCESS;
}

/* Number the nodes in order of first appearance; all must have equally many ranks. */
static NRT_STATUS list_nodes(struct maker *m)
{
    struct topo_group *g = m->g;
    uint32_t *x_of = u32s_none(&m->tmp, m->w->nodes), *size = u32s(&m->tmp, m->w->nodes);
    uint32_t *node = u32s(&g->mem, g->n), *node_id;

    if (!x_of || !size || !node)
        return no_memory(m);
    for (uint32_t r = 0; r < g->n; r++) {
        uint32_t id = topo_world_place(m->w, g->rank[r]).node;

        if (x_of[id] == NONE)
            x_of[id] = g->nodes++;
        node[r] = x_of[id];
        size[node[r]]++;
    }
    node_id = u32s(&g->mem, g->nodes);
    if (!node_id)
        return no_memory(m);
    for (uint32_t id = 0; id < m->w->nodes; id++) {
        if (x_of[id] != NONE)
            node_id[x_of[id]] = id;
    }
    for (uint32_t x = 1; x < g->nodes; x++) {
        if (size[x] != size[0])
            return err_set(m->err, NRT_INVALID,
                           "group not symmetric: %" PRIu32 " ranks on node %" PRIu32 ", %" PRIu32
                           " on node %" PRIu32,
                           size[0], node_id[0], size[x], node_id[x]);
    }
    g->node = node;
    g->node_id = node_id;
    g->per_node = size[0];
    return NRT_SUCCESS;
}

/* y of every rank: by the list on the first node, by (chip, core) on the others. */
static NRT_STATUS list_indices(struct maker *m)
{
    struct topo_group *g = m->g;
    uint32_t *index = u32s(&g->mem, g->n), *at = u32s_none(&g->mem, g->n), next = 0;

    m->y_of_core = u32s_none(&m->tmp, (size_t)topo_fabric_chips(&m->w->fabric) * m->chip_cores);
    if (!index || !at || !m->y_of_core)
        return no_memory(m);
    for (uint32_t r = 0; r < g->n; r++) {
        struct topo_place p = topo_world_place(m->w, g->rank[r]);

        if (g->node[r] == 0 && m->y_of_core[p.chip * m->chip_cores + p.core] == NONE)
            m->y_of_core[p.chip * m->chip_cores + p.core] = next++;
    }
    for (uint32_t r = 0; r < g->n; r++) {
        struct topo_place p = topo_world_place(m->w, g->rank[r]);
        uint32_t y = m->y_of_core[p.chip * m->chip_cores + p.core];
        size_t xy = (size_t)g->node[r] * g->per_node + y;

        if (y == NONE)
            return err_set(m->err, NRT_INVALID,
                           "group not symmetric: rank %" PRIu32 " is on chip %u, core %u of node "
                           "%" PRIu32 ", node %" PRIu32 " has no rank of the group there",
                           g->rank[r], p.chip, p.core, p.node, g->node_id[0]);
        if (at[xy] != NONE)
            return err_set(m->err, NRT_INVALID,
                           "ranks %" PRIu32 " and %" PRIu32 " of a group on one core: node "
                           "%" PRIu32 ", chip %u, core %u",
                           g->rank[at[xy]], g->rank[r], p.node, p.chip, p.core);
        index[r] = y;
        at[xy] = r;
    }
    g->index = index;
    g->at = at;
    return NRT_SUCCESS;
}

/* ---- the layout of a node ---- */

/* Chips in list order and the ranks of each; d and l of every y. */
static NRT_STATUS layout_chips(struct maker *m)
{
    struct topo_group *g = m->g;
    struct topo_layout *o = &g->layout;
    uint32_t d_of[TOPO_MAX_CHIPS], size[TOPO_MAX_CHIPS] = {0};
    uint32_t *chip = u32s(&g->mem, o->n), *local = u32s(&g->mem, o->n), *at = u32s(&g->mem, o->n);
    uint16_t *core = arena_calloc(&g->mem, o->n, sizeof(*core));
    uint16_t *chip_id = arena_calloc(&g->mem, o->n, sizeof(*chip_id));

    if (!chip || !local || !at || !core || !chip_id)
        return no_memory(m);
    memset(d_of, 0xff, sizeof(d_of));
    for (uint32_t y = 0; y < o->n; y++) {
        struct topo_place p = topo_world_place(m->w, g->rank[g->at[y]]);

        if (d_of[p.chip] == NONE) {
            d_of[p.chip] = m->device_count;
            m->devices[m->device_count++] = p.chip;
        }
        core[y] = p.core;
        chip[y] = d_of[p.chip];
        local[y] = size[chip[y]]++;
    }
    m->device_ranks = size[0];
    for (unsigned d = 1; d < m->device_count; d++) {
        if (size[d] != size[0])
            m->device_ranks = 0;
    }
    o->chips = m->device_ranks ? m->device_count : o->n;
    o->chip_ranks = m->device_ranks ? m->device_ranks : 1;
    for (uint32_t y = 0; y < o->n; y++) {
        uint16_t id = m->devices[chip[y]];

        if (!m->device_ranks) {
            chip[y] = y;
            local[y] = 0;
        }
        chip_id[chip[y]] = id;
        at[chip[y] * o->chip_ranks + local[y]] = y;
    }
    o->chip = chip;
    o->local = local;
    o->at = at;
    o->core = core;
    o->chip_id = chip_id;
    return NRT_SUCCESS;
}

static NRT_STATUS layout_labels(struct maker *m)
{
    struct topo_layout *o = &m->g->layout;
    uint16_t *label, *labelled;

    if (!m->device_ranks || !is_pow2_u64(o->chips))
        return NRT_SUCCESS;
    label = arena_calloc(&m->g->mem, o->chips, sizeof(*label));
    labelled = arena_calloc(&m->g->mem, o->chips, sizeof(*labelled));
    if (!label || !labelled)
        return no_memory(m);
    o->label_linked = topo_labels(&m->w->fabric, m->devices, o->chips, label);
    for (uint32_t d = 0; d < o->chips; d++)
        labelled[label[d]] = (uint16_t)d;
    o->label = label;
    o->labelled = labelled;
    return NRT_SUCCESS;
}

/* The ranks along a cycle of chips, those of a chip by ascending core. */
static void ring_forward(const struct maker *m, const uint16_t *chips, uint32_t *ret_order)
{
    for (unsigned i = 0; i < m->cycles.chips; i++) {
        for (unsigned core = 0; core < m->chip_cores; core++) {
            uint32_t y = m->y_of_core[chips[i] * m->chip_cores + core];

            if (y != NONE)
                *ret_order++ = y;
        }
    }
}

static NRT_STATUS layout_rings(struct maker *m)
{
    struct topo_layout *o = &m->g->layout;
    struct topo_cycles *c = &m->cycles;
    uint32_t *order, *place;
    NRT_STATUS st = topo_cycles_find(&m->w->fabric, m->devices, m->device_count, c, m->err);

    if (st != NRT_SUCCESS)
        return st;
    order = u32s(&m->g->mem, (size_t)c->channels * o->n);
    place = u32s(&m->g->mem, (size_t)c->channels * o->n);
    if (!order || !place)
        return no_memory(m);
    for (unsigned k = 0; k < c->channels; k++) {
        uint32_t *path = order + (size_t)k * o->n, *forward = path - (k % 2 ? o->n : 0);

        if (k % 2 == 0)
            ring_forward(m, c->order[k], path);
        for (uint32_t i = 0; i < o->n; i++) {
            if (k % 2)
                path[i] = forward[o->n - 1 - i];
            place[(size_t)k * o->n + path[i]] = i;
        }
    }
    o->order = order;
    o->place = place;
    o->channels = c->channels;
    o->linked = c->linked;
    return NRT_SUCCESS;
}

/* A forward channel's ranks are its positions one after another; a reversed channel has the
 * positions backwards, but the members of each as they are. */
static NRT_STATUS layout_kanga(struct maker *m)
{
    struct topo_layout *o = &m->g->layout;
    struct topo_dims dims = topo_dims_intra(m->g->dims);
    uint32_t *kanga, members = dims.members;

    if (!topo_dims_kangaring(&dims))
        return NRT_SUCCESS;
    kanga = u32s(&m->g->mem, (size_t)o->channels * o->n);
    if (!kanga)
        return no_memory(m);
    for (unsigned k = 0; k < o->channels; k++) {
        const uint32_t *forward = o->order + (size_t)(k & ~1u) * o->n;

        for (uint32_t i = 0; i < o->n; i++) {
            uint32_t start = i - i % members;

            if (k % 2)
                start = o->n - members - start;
            kanga[(size_t)k * o->n + i] = forward[start + i % members];
        }
    }
    o->kanga = kanga;
    o->members = members;
    o->positions = o->n / members;
    return NRT_SUCCESS;
}

/* ---- numbers ---- */

static bool whole_nodes(const struct maker *m)
{
    return m->g->per_node == topo_fabric_chips(&m->w->fabric) * m->chip_cores;
}

static struct topo_dims dims_make(const struct maker *m)
{
    const struct topo_group *g = m->g;
    const struct topo_instance *t = m->w->fabric.type;
    uint32_t net = (uint32_t)t->net_gbps * 125 / topo_vnc_count(t, m->w->lnc);

    return (struct topo_dims){.ranks = g->n,
                              .nodes = g->nodes,
                              .per_node = g->per_node,
                              .chips = m->device_count,
                              .chip_ranks = m->device_ranks,
                              .uniform = m->device_ranks != 0,
                              .whole_chips = m->device_ranks == m->chip_cores,
                              .whole_nodes = whole_nodes(m),
                              .members = m->w->lnc == 2 || t->cores_per_device == 2 ? 2 : 4,
                              .flat = g->flat_channels != 0,
                              .net_bytes_us = net ? net : NET_BYTES_US_DEFAULT};
}

struct topo_dims topo_dims_intra(struct topo_dims d)
{
    d.ranks = d.per_node;
    d.nodes = 1;
    d.flat = false;
    return d;
}

struct topo_dims topo_dims_inter(struct topo_dims d)
{
    d.ranks = d.nodes;
    d.per_node = d.chips = d.chip_ranks = 1;
    d.uniform = true;
    d.whole_chips = d.whole_nodes = d.flat = false;
    return d;
}

bool topo_dims_kangaring(const struct topo_dims *d)
{
    return d->nodes == 1 && d->uniform && d->whole_chips && d->chip_ranks % d->members == 0 &&
           d->ranks / d->members >= 2 && d->ranks <= TOPO_KANGARING_RANKS;
}

/* ---- flat ring ---- */

static void flat_make(const struct maker *m)
{
    struct topo_group *g = m->g;
    const struct topo_instance *t = m->w->fabric.type;

    if (strcmp(t->family, "Trn1") != 0 || !whole_nodes(m) || g->nodes < 2)
        return;
    memcpy(g->flat_cycle, m->cycles.order[0], m->cycles.chips * sizeof(g->flat_cycle[0]));
    for (unsigned c = 0; c < t->nic_count; c++) {
        while (g->flat_cycle[g->flat_start[c]] != t->nic_device[c])
            g->flat_start[c]++;
    }
    g->flat_channels = t->nic_count;
}

uint32_t topo_group_flat_at(const struct topo_group *g, unsigned c, uint32_t q)
{
    const struct topo_layout *o = &g->layout;
    uint32_t x = q / o->n, shift = g->flat_start[c] * o->chip_ranks;

    assert(c < g->flat_channels && q < g->n);
    return g->at[(size_t)x * o->n + o->order[(q % o->n + shift) % o->n]];
}

uint32_t topo_group_flat_place(const struct topo_group *g, unsigned c, uint32_t r)
{
    const struct topo_layout *o = &g->layout;
    uint32_t shift = g->flat_start[c] * o->chip_ranks;

    assert(c < g->flat_channels && r < g->n);
    return g->node[r] * o->n + (o->place[g->index[r]] + o->n - shift) % o->n;
}

/* ---- all of it ---- */

static NRT_STATUS group_make(struct maker *m, const uint32_t *world_ranks, uint32_t n)
{
    NRT_STATUS st = list_copy(m, world_ranks, n);

    if (st == NRT_SUCCESS)
        st = list_nodes(m);
    if (st == NRT_SUCCESS)
        st = list_indices(m);
    if (st != NRT_SUCCESS)
        return st;
    m->g->layout.n = m->g->per_node;
    st = layout_chips(m);
    if (st == NRT_SUCCESS)
        st = layout_labels(m);
    if (st == NRT_SUCCESS)
        st = layout_rings(m);
    if (st != NRT_SUCCESS)
        return st;
    flat_make(m);
    m->g->dims = dims_make(m);
    return layout_kanga(m);
}

NRT_STATUS topo_group_init(struct topo_group *ret, const struct topo_world *w,
                           const uint32_t *world_ranks, uint32_t n, struct err *err)
{
    struct maker m = {.g = ret, .w = w, .err = err, .chip_cores = topo_world_chip_cores(w)};
    NRT_STATUS st;

    memset(ret, 0, sizeof(*ret));
    if (!world_ranks)
        n = w->ranks;
    if (!n)
        return err_set(err, NRT_INVALID, "a group of no ranks");
    if (n > w->ranks)
        return err_set(err, NRT_INVALID, "a group of %" PRIu32 " ranks in a world of %" PRIu32, n,
                       w->ranks);
    ret->world = *w;
    ret->n = n;
    st = group_make(&m, world_ranks, n);
    arena_fini(&m.tmp);
    if (st != NRT_SUCCESS)
        topo_group_fini(ret);
    return st;
}

void topo_group_fini(struct topo_group *g)
{
    arena_fini(&g->mem);
    memset(g, 0, sizeof(*g));
}
