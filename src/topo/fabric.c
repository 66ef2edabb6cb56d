/* SPDX-License-Identifier: Apache-2.0 */
/* Links, distances and routes. Every fabric without a switch is a product of at most three lines or
 * rings (columns, rows, servers), so a chip has one coordinate in each, a distance is a sum over
 * them, and a route walks them one after another. */
#include "topo/fabric.h"

#include <assert.h>
#include <string.h>

enum { ALONG_ROW, ALONG_COLUMN, ALONG_SERVERS, AXES };

/* One dimension of a fabric. */
struct axis {
    unsigned size;
    unsigned stride; /* chip number per coordinate */
    bool closed;     /* a ring */
};

struct grid {
    struct axis axis[AXES];
};

static struct grid fabric_grid(const struct topo_fabric *f)
{
    unsigned devices = f->type->device_count;
    struct grid g = {{{devices, 1, false}, {1, devices, false}, {f->servers, devices, true}}};

    switch (f->type->shape) {
    case TOPO_TORUS:
        g.axis[ALONG_ROW] = (struct axis){4, 1, true};
        g.axis[ALONG_COLUMN] = (struct axis){4, 4, true};
        break;
    case TOPO_RING:
        g.axis[ALONG_ROW].closed = true;
        break;
    case TOPO_ALONE:
    case TOPO_LINE:
    case TOPO_SWITCH:
        break;
    }
    return g;
}

static unsigned axis_coordinate(const struct axis *a, unsigned chip)
{
    return chip / a->stride % a->size;
}

/* Steps in +1 direction that lead from one coordinate to another; negative: in -1 direction.
 * even_source decides when both ways are equally long. */
static int axis_steps(const struct axis *a, unsigned from, unsigned to, bool even_source)
{
    int d = (int)axis_coordinate(a, to) - (int)axis_coordinate(a, from), size = (int)a->size;

    if (!a->closed)
        return d;
    if (d < 0)
        d += size;
    if (2 * d > size || (2 * d == size && !even_source))
        d -= size;
    return d;
}

NRT_STATUS topo_fabric_init(struct topo_fabric *ret, const struct topo_instance *type,
                            unsigned servers, struct err *err)
{
    bool ok;

    if (!type)
        return err_set(err, NRT_INVALID, "no instance type");
    switch (type->shape) {
    case TOPO_SWITCH:
        ok = servers >= 1 && servers <= type->servers;
        break;
    case TOPO_TORUS:
        ok = servers == 1 || (type->servers == 4 && (servers == 2 || servers == 4));
        break;
    default:
        ok = servers == 1;
        break;
    }
    if (!ok || BROKEN(INTRA))
        return err_set(err, NRT_INVALID, "NeuronLink does not join %u servers of %s", servers,
                       type->name);
    *ret = (struct topo_fabric){type, (uint16_t)servers};
    return NRT_SUCCESS;
}

unsigned topo_distance(const struct topo_fabric *f, unsigned from, unsigned to)
{
    struct grid g = fabric_grid(f);
    unsigned sum = 0;

    assert(from < topo_fabric_chips(f) && to < topo_fabric_chips(f));
    if (f->type->shape == TOPO_SWITCH)
        return from != to;
    for (int a = 0; a < AXES; a++) {
        int steps = axis_steps(&g.axis[a], from, to, true);

        sum += (unsigned)(steps < 0 ? -steps : steps);
    }
    return sum;
}

/* Neighbours within the server in published order, then previous and next server: the index is the
 * number of the port. */
static unsigned chip_ports(const struct topo_fabric *f, unsigned chip,
                           uint16_t ret_chips[TOPO_MAX_PORTS])
{
    unsigned devices = f->type->device_count, chips = topo_fabric_chips(f);
    unsigned base = chip - chip % devices;
    const struct topo_device *d = &f->type->devices[chip % devices];
    unsigned n = 0;

    for (unsigned i = 0; i < d->connected_count; i++)
        ret_chips[n++] = (uint16_t)(base + d->connected[i]);
    if (f->servers > 1)
        ret_chips[n++] = (uint16_t)((chip + chips - devices) % chips);
    if (f->servers > 2)
        ret_chips[n++] = (uint16_t)((chip + devices) % chips);
    return n;
}

unsigned topo_neighbours(const struct topo_fabric *f, unsigned chip,
                         uint16_t ret_chips[TOPO_MAX_CHIPS])
{
    unsigned n = 0;

    assert(chip < topo_fabric_chips(f));
    if (f->type->shape != TOPO_SWITCH)
        return chip_ports(f, chip, ret_chips);
    for (unsigned c = 0; c < topo_fabric_chips(f); c++) {
        if (c != chip)
            ret_chips[n++] = (uint16_t)c;
    }
    return n;
}

static unsigned link_id(const struct topo_fabric *f, unsigned from, unsigned to)
{
    uint16_t ports[TOPO_MAX_PORTS];
    unsigned n = chip_ports(f, from, ports);

    for (unsigned p = 0; p < n; p++) {
        if (ports[p] == to)
            return from * TOPO_MAX_PORTS + p;
    }
    assert(!"neighbours of the grid are linked");
    return 0;
}

void topo_route(const struct topo_fabric *f, unsigned from, unsigned to, struct topo_route *ret)
{
    struct grid g = fabric_grid(f);
    bool even =
        (axis_coordinate(&g.axis[ALONG_ROW], from) + axis_coordinate(&g.axis[ALONG_COLUMN], from)) %
            2 ==
        0;
    unsigned at = from;

    assert(from < topo_fabric_chips(f) && to < topo_fabric_chips(f));
    memset(ret, 0, sizeof(*ret));
    ret->chips[0] = (uint16_t)from;
    if (f->type->shape == TOPO_SWITCH) {
        if (from == to)
            return;
        ret->hops = 1;
        ret->chips[1] = (uint16_t)to;
        ret->link_count = 2;
        ret->links[0] = (uint16_t)(from * TOPO_MAX_PORTS);
        ret->links[1] = (uint16_t)(to * TOPO_MAX_PORTS + 1);
        return;
    }
    for (int a = 0; a < AXES; a++) {
        const struct axis *ax = &g.axis[a];
        int steps = axis_steps(ax, from, to, even);
        unsigned count = (unsigned)(steps < 0 ? -steps : steps);

        for (unsigned i = 0; i < count; i++) {
            unsigned c = axis_coordinate(ax, at);
            unsigned next = (c + (steps < 0 ? ax->size - 1 : 1)) % ax->size;
            unsigned chip = at - c * ax->stride + next * ax->stride;

            ret->links[ret->link_count++] = (uint16_t)link_id(f, at, chip);
            ret->chips[++ret->hops] = (uint16_t)chip;
            at = chip;
        }
    }
    assert(at == to);
}

uint32_t topo_load(const struct topo_fabric *f, const struct topo_flow *flows, size_t count,
                   uint32_t *load)
{
    uint32_t most = 0;

    memset(load, 0, topo_fabric_links(f) * sizeof(*load));
    for (size_t i = 0; i < count; i++) {
        struct topo_route r;

        topo_route(f, flows[i].from, flows[i].to, &r);
        for (unsigned k = 0; k < r.link_count; k++) {
            uint32_t n = ++load[r.links[k]];

            most = n > most ? n : most;
        }
    }
    return most;
}
