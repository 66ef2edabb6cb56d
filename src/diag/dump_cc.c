/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a core's CC-core: what its collectives were at. The first CC-core of a physical core
 * stands for all of them: the flight recorder is one per core. */
#include "diag/dump_int.h"

#include <errno.h>
#include <stdatomic.h>

#include "device/flight.h"
#include "sched/sched.h"

static void put_operation(struct dump_out *o, const struct device_flight_view *v, bool quick)
{
    char text[DEVICE_FLIGHT_TEXT];

    dump_out_begin(o, "operation");
    dump_out_u64(o, "sequence", v->seq);
    dump_out_u64(o, "communicator", v->comm);
    dump_out_text(o, "name", sched_op_name((enum sched_op)v->op));
    dump_out_u64(o, "member", v->me);
    dump_out_u64(o, "members", v->n);
    if (v->me < v->members)
        dump_out_u64(o, "rank", v->member[v->me]);
    dump_out_u64(o, "over", v->over);
    dump_out_u64(o, "status", v->over ? v->status : 0);
    if (v->over && v->status != 0)
        dump_out_u64(o, "culprit", v->culprit);
    if (v->waits) {
        dump_out_u64(o, "waits_for", v->waits_for);
        if (v->waited_ns) /* else not known */
            dump_out_u64(o, "waited_us", v->waited_ns / 1000);
    }
    dump_out_u64(o, "age_us", v->age_ns / 1000);
    dump_out_u64(o, "lasted_us", v->lasted_ns / 1000);
    if (!quick) { /* formats with fractions */
        device_flight_text(v, text, sizeof(text));
        dump_out_text(o, "text", text);
    }
    dump_out_end(o);
}

static void put_cc(struct dump_out *o, const struct dump *d, uint32_t core,
                   const struct device_live_page *p)
{
    struct device_flight_view v;

    dump_head(o, d, "cc-core", core);
    dump_out_line(o, "[cc]");
    dump_out_begin(o, "cc");
    dump_out_u64(o, "started", atomic_load_explicit(&p->coll_seq, memory_order_relaxed));
    dump_out_end(o);
    for (unsigned back = 0; back < DEVICE_FLIGHTS; back++)
        if (device_flight_read(&p->flights, back, &v))
            put_operation(o, &v, d->quick);
}

void dump_cc(struct dump *d, uint32_t core)
{
    const struct topo_instance *t = device_topo(d->cfg->in);
    const struct device_live_page *p = device_live(d->cfg->in, core);
    char text[256];
    struct device_flight_view v;
    struct plain name;
    struct dump_out o;
    bool ok;

    if (!device_flight_read(&p->flights, 0, &v) && d->world < 2)
        return;
    plain_init(&name, text, sizeof(text));
    dump_name(d, core, "-cc-core-", core % t->cores_per_device * t->cc_cores, &name);
    ok = dump_out_open(&o, d->dir_fd, text);
    if (ok) {
        put_cc(&o, d, core, p);
        ok = dump_out_close(&o);
    }
    if (!ok)
        dump_warn(d, text, errno);
}
