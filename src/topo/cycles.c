/* SPDX-License-Identifier: Apache-2.0 */
/* Directed cycles through chips, and the labels of recursive doubling.
 *
 * Sets of up to 16 chips that are no known special case are searched exactly: best[S][v], the
 * cheapest way from chip v through every chip outside S back to the first, over all sets S of
 * visited chips. A cost is a sum of distances and, among equal sums, a longest hop; both only grow
 * along a way, so the best completion is the same however v was reached. A Hamiltonian cycle of
 * links is a way whose longest hop is 1, the cheapest there can be, so one search finds either. */
#include "topo/fabric.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"

#define SEARCH_MAX 16 /* chips */
#define TORUS      16 /* devices */

/* Two cycles of the 4x4 torus that share no link and together use all 32 (section 4). */
static const uint8_t cycle_a[TORUS] = {0, 12, 8, 4, 7, 3, 15, 11, 10, 6, 2, 14, 13, 9, 5, 1};
static const uint8_t cycle_b[TORUS] = {0, 3, 2, 1, 13, 12, 15, 14, 10, 9, 8, 11, 7, 6, 5, 4};

static void order_reverse(const uint16_t *order, unsigned n, uint16_t *ret)
{
    for (unsigned i = 0; i < n; i++)
        ret[i] = order[n - 1 - i];
}

static bool order_linked(const struct topo_fabric *f, const uint16_t *order, unsigned n)
{
    for (unsigned i = 0; i < n && n > 1; i++) {
        if (!topo_linked(f, order[i], order[(i + 1) % n]))
            return false;
    }
    return true;
}

/* ---- whole servers ---- */

/* The i-th server runs through h forwards when i is even and backwards when it is odd, so that it
 * ends on the device where the next one begins. base[i]: its first chip. */
static void order_over_servers(const uint16_t *base, unsigned servers, const uint8_t h[TORUS],
                               unsigned start, uint16_t *ret)
{
    for (unsigned n = 0; n < servers; n++) {
        for (unsigned i = 0; i < TORUS; i++) {
            unsigned k = n % 2 ? TORUS - 1 - i : i;

            *ret++ = (uint16_t)(base[n] + h[(start + k) % TORUS]);
        }
    }
}

/* Two cycles without a common link, if the chips (ascending) are all of one server, or of an even
 * number of servers in a row. False: they are not. */
static bool cycles_of_servers(const struct topo_fabric *f, const uint16_t *chips, unsigned count,
                              struct topo_cycles *ret)
{
    uint16_t base[TOPO_MAX_CHIPS / TORUS];
    unsigned servers = count / TORUS;

    if (f->type->shape != TOPO_TORUS || !servers || count % TORUS)
        return false;
    for (unsigned i = 0; i < count; i++) {
        if (i % TORUS == 0)
            base[i / TORUS] = chips[i];
        if (chips[i] % TORUS != i % TORUS || chips[i] - i % TORUS != base[i / TORUS])
            return false;
    }
    order_over_servers(base, servers, cycle_a, 0, ret->order[0]);
    /* Among servers the second cycle starts at device 2, away from the crossings of the first. */
    order_over_servers(base, servers, cycle_b, servers > 1 ? 2 : 0, ret->order[2]);
    if (!order_linked(f, ret->order[0], count) || !order_linked(f, ret->order[2], count))
        return false;
    order_reverse(ret->order[0], count, ret->order[1]);
    order_reverse(ret->order[2], count, ret->order[3]);
    ret->channels = 4;
    ret->linked = true;
    return true;
}

/* ---- exact search ---- */

struct cost {
    uint8_t sum, hop;
};

struct search {
    const struct topo_fabric *f;
    const uint16_t *chips; /* ascending */
    unsigned n;
    uint8_t dist[SEARCH_MAX][SEARCH_MAX];
    struct cost *best; /* [sets of chips 1 .. n-1][chip 1 .. n-1], both shifted by one */
};

static struct cost cost_add(unsigned dist, struct cost rest)
{
    return (struct cost){(uint8_t)(dist + rest.sum), dist > rest.hop ? (uint8_t)dist : rest.hop};
}

static bool cost_less(struct cost a, struct cost b)
{
    return a.sum != b.sum ? a.sum < b.sum : a.hop < b.hop;
}

static struct cost *search_at(const struct search *s, unsigned set, unsigned v)
{
    return &s->best[(size_t)set * (s->n - 1) + (v - 1)];
}

/* The cheapest completion from chip v once `set` (bit u - 1 for chip u) is visited, v included. */
static struct cost search_complete(const struct search *s, unsigned set, unsigned v)
{
    unsigned left = ((1u << (s->n - 1)) - 1) & ~set;
    struct cost best = {UINT8_MAX, UINT8_MAX};

    if (!left)
        return (struct cost){s->dist[v][0], s->dist[v][0]};
    for (; left; left &= left - 1) {
        unsigned u = (unsigned)__builtin_ctz(left) + 1;
        struct cost c = cost_add(s->dist[v][u], *search_at(s, set | 1u << (u - 1), u));

        if (cost_less(c, best))
            best = c;
    }
    return best;
}

static void search_fill(const struct search *s)
{
    /* A set's supersets are greater numbers, so they are done first. */
    for (unsigned set = (1u << (s->n - 1)) - 1; set; set--) {
        for (unsigned in = set; in; in &= in - 1) {
            unsigned v = (unsigned)__builtin_ctz(in) + 1;

            *search_at(s, set, v) = search_complete(s, set, v);
        }
    }
}

/* The lexicographically first of the cheapest orders: at every place the lowest chip from which the
 * whole can still cost no more. */
static void search_walk(const struct search *s, uint16_t *ret_order)
{
    struct cost total = search_complete(s, 0, 0);
    unsigned set = 0, v = 0, sum = 0, full = (1u << (s->n - 1)) - 1;

    *ret_order++ = s->chips[0];
    while (set != full) {
        for (unsigned u = 1; u < s->n; u++) {
            unsigned next = set | 1u << (u - 1);

            if (next == set)
                continue;
            struct cost c = cost_add(s->dist[v][u], *search_at(s, next, u));
            if (sum + c.sum == total.sum && c.hop <= total.hop) {
                sum += s->dist[v][u];
                set = next;
                v = u;
                *ret_order++ = s->chips[u];
                break;
            }
        }
    }
}

/* chips ascending, 1 .. SEARCH_MAX of them. */
static NRT_STATUS order_search(const struct topo_fabric *f, const uint16_t *chips, unsigned n,
                               uint16_t *ret_order, struct err *err)
{
    struct search s = {.f = f, .chips = chips, .n = n};

    if (n == 1) {
        ret_order[0] = chips[0];
        return NRT_SUCCESS;
    }
    for (unsigned i = 0; i < n; i++) {
        for (unsigned j = 0; j < n; j++)
            s.dist[i][j] = (uint8_t)topo_distance(f, chips[i], chips[j]);
    }
    s.best = mem_calloc((size_t)(n - 1) << (n - 1), sizeof(*s.best));
    if (!s.best)
        return err_set(err, NRT_RESOURCE, "no memory to order %u chips", n);
    search_fill(&s);
    search_walk(&s, ret_order);
    mem_free(s.best);
    return NRT_SUCCESS;
}

/* ---- part of an UltraServer, too large to search ---- */

static NRT_STATUS order_server_by_server(const struct topo_fabric *f, const uint16_t *chips,
                                         unsigned n, uint16_t *ret_order, struct err *err)
{
    unsigned devices = f->type->device_count;
    bool back = false;

    for (unsigned i = 0; i < n;) {
        unsigned server = chips[i] / devices, count = 1;
        uint16_t order[SEARCH_MAX];

        while (i + count < n && chips[i + count] / devices == server)
            count++;
        NRT_STATUS st = order_search(f, chips + i, count, order, err);
        if (st != NRT_SUCCESS)
            return st;
        if (back)
            order_reverse(order, count, ret_order + i);
        else
            memcpy(ret_order + i, order, count * sizeof(*order));
        back = !back;
        i += count;
    }
    return NRT_SUCCESS;
}

/* ---- the rule ---- */

/* Whether the chips are distinct and of this fabric; sorts them into ret_sorted. */
static NRT_STATUS chips_check(const struct topo_fabric *f, const uint16_t *chips, unsigned count,
                              uint16_t ret_sorted[TOPO_MAX_CHIPS], struct err *err)
{
    bool seen[TOPO_MAX_CHIPS] = {false};
    unsigned n = 0;

    if (!count)
        return err_set(err, NRT_INVALID, "a cycle through no chips");
    for (unsigned i = 0; i < count; i++) {
        if (chips[i] >= topo_fabric_chips(f))
            return err_set(err, NRT_INVALID, "chip %u: %u servers of %s have %u", chips[i],
                           f->servers, f->type->name, topo_fabric_chips(f));
        if (seen[chips[i]])
            return err_set(err, NRT_INVALID, "chip %u twice in a cycle", chips[i]);
        seen[chips[i]] = true;
    }
    for (unsigned c = 0; c < TOPO_MAX_CHIPS; c++) {
        if (seen[c])
            ret_sorted[n++] = (uint16_t)c;
    }
    return NRT_SUCCESS;
}

NRT_STATUS topo_cycles_find(const struct topo_fabric *f, const uint16_t *chips, unsigned count,
                            struct topo_cycles *ret, struct err *err)
{
    uint16_t sorted[TOPO_MAX_CHIPS];
    struct topo_cycles c = {.chips = (uint16_t)count};
    NRT_STATUS st = chips_check(f, chips, count, sorted, err);

    if (st != NRT_SUCCESS)
        return st;
    if (cycles_of_servers(f, sorted, count, &c)) {
        *ret = c;
        return NRT_SUCCESS;
    }
    if (f->type->shape == TOPO_SWITCH)
        memcpy(c.order[0], chips, count * sizeof(*chips));
    else if (count <= SEARCH_MAX)
        st = order_search(f, sorted, count, c.order[0], err);
    else
        st = order_server_by_server(f, sorted, count, c.order[0], err);
    if (st != NRT_SUCCESS)
        return st;
    c.linked = order_linked(f, c.order[0], count);
    c.channels = c.linked && count > 2 ? 2 : 1;
    if (c.channels == 2)
        order_reverse(c.order[0], count, c.order[1]);
    *ret = c;
    return NRT_SUCCESS;
}

/* ---- labels ---- */

/* In an UltraServer the servers' Gray code stands above the routing id. */
static unsigned torus_label(const struct topo_fabric *f, unsigned chip)
{
    unsigned server = chip / TORUS;

    return (server ^ server >> 1) * TORUS + f->type->devices[chip % TORUS].routing_id;
}

/* The bits of v that mask selects, packed from low to high. */
static unsigned bits_pack(unsigned v, unsigned mask)
{
    unsigned r = 0;

    for (unsigned k = 0; mask; mask &= mask - 1, k++)
        r |= (v >> __builtin_ctz(mask) & 1) << k;
    return r;
}

static bool labels_linked(const struct topo_fabric *f, const uint16_t *chips, unsigned count,
                          const uint16_t *label)
{
    uint16_t labelled[TOPO_MAX_CHIPS];

    for (unsigned i = 0; i < count; i++)
        labelled[label[i]] = chips[i];
    for (unsigned v = 0; v < count; v++) {
        for (unsigned bit = 1; bit < count; bit <<= 1) {
            if (!topo_linked(f, labelled[v], labelled[v ^ bit]))
                return false;
        }
    }
    return true;
}

bool topo_labels(const struct topo_fabric *f, const uint16_t *chips, unsigned count,
                 uint16_t *ret_label)
{
    unsigned varying = 0;
    bool cube = f->type->shape == TOPO_TORUS;

    assert(is_pow2_u64(count) && count <= topo_fabric_chips(f));
    if (cube) {
        for (unsigned i = 0; i < count; i++)
            varying |= torus_label(f, chips[i]) ^ torus_label(f, chips[0]);
        cube = 1u << __builtin_popcount(varying) == count;
    }
    for (unsigned i = 0; i < count; i++)
        ret_label[i] = (uint16_t)(cube ? bits_pack(torus_label(f, chips[i]), varying) : i);
    return labels_linked(f, chips, count, ret_label);
}
