/* SPDX-License-Identifier: Apache-2.0 */
#include "device/flight.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"
#include "device/device_int.h"
#include "run/run.h"
#include "sched/sched.h"

/* ---- writing ---- */

uint64_t device_flight_tick(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t v;

    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
    return v;
#else
    return run_now_ns();
#endif
}

/* Released, so that who sees a field of a new record (acquire) sees that the old number is gone. */
#define PUT_FLIGHT(field, v) atomic_store_explicit(&(field), v, memory_order_release)
#define GET_FLIGHT(field)    atomic_load_explicit(&(field), memory_order_acquire)

void device_flight_open(struct device_instance *in, uint32_t core, struct device_flight_group *g)
{
    struct device_live_page *p = device_live(in, core);
    uint64_t none = 0;

    g->log = p ? &p->flights : NULL;
    if (p && atomic_compare_exchange_strong(&p->flights.ns, &none, run_now_ns()))
        PUT_FLIGHT(p->flights.tick, device_flight_tick());
}

struct device_flight_at device_flight_begin(const struct device_flight_group *g, uint64_t seq,
                                            uint32_t what, uint64_t bytes, uint64_t total)
{
    struct device_flight *f;
    uint64_t number;

    if (!g->log)
        return (struct device_flight_at){0};
    number = atomic_fetch_add_explicit(&g->log->next, 1, memory_order_relaxed) + 1;
    f = &g->log->flight[(number - 1) % DEVICE_FLIGHTS];
    PUT_FLIGHT(f->number, 0);
    PUT_FLIGHT(f->comm, g->comm);
    PUT_FLIGHT(f->seq, seq);
    PUT_FLIGHT(f->what, what);
    PUT_FLIGHT(f->bytes, bytes);
    PUT_FLIGHT(f->place, (uint64_t)g->me << 32 | g->n);
    PUT_FLIGHT(f->begun, device_flight_tick());
    PUT_FLIGHT(f->ended, 0);
    PUT_FLIGHT(f->steps, 0);
    PUT_FLIGHT(f->total, total);
    PUT_FLIGHT(f->wait, 0);
    PUT_FLIGHT(f->outcome, 0);
    for (uint32_t i = 0; i < g->members; i++)
        PUT_FLIGHT(f->member[i], g->member[i]);
    PUT_FLIGHT(f->number, number);
    return (struct device_flight_at){.f = f, .number = number};
}

static bool still_there(const struct device_flight_at *at)
{
    return at->f && GET_FLIGHT(at->f->number) == at->number;
}

void device_flight_stand(const struct device_flight_at *at, uint64_t steps, uint64_t wait)
{
    if (!still_there(at))
        return;
    /* where nothing has moved, it goes on waiting, though it may have looked in between */
    if (GET_FLIGHT(at->f->steps) != steps || GET_FLIGHT(at->f->since) < GET_FLIGHT(at->f->begun))
        PUT_FLIGHT(at->f->since, wait ? device_flight_tick() : 0);
    PUT_FLIGHT(at->f->steps, steps);
    PUT_FLIGHT(at->f->wait, wait);
}

static void flight_end(struct device_flight *f, uint64_t steps, uint64_t outcome, uint64_t tick)
{
    PUT_FLIGHT(f->steps, steps);
    if (outcome == 0)
        PUT_FLIGHT(f->wait, 0); /* after a failure it tells what was waited for */
    PUT_FLIGHT(f->outcome, outcome);
    PUT_FLIGHT(f->ended, tick);
}

void device_flight_end(const struct device_flight_at *at, uint64_t steps, uint32_t status,
                       uint32_t culprit)
{
    if (still_there(at))
        flight_end(at->f, steps, (uint64_t)culprit << 32 | status, device_flight_tick());
}

void device_flight_end_at_once(const struct device_flight_at *at, uint64_t steps)
{
    if (still_there(at))
        flight_end(at->f, steps, 0, GET_FLIGHT(at->f->begun));
}

/* ---- reading ---- */

/* Nanoseconds of a tick, by what both clocks did since they were noted. */
static double tick_ns(const struct device_flights *log, uint64_t now_tick)
{
    uint64_t tick = GET_FLIGHT(log->tick), ns = GET_FLIGHT(log->ns), now = run_now_ns();

    return now_tick > tick && now > ns ? (double)(now - ns) / (double)(now_tick - tick) : 1;
}

/* Between two ticks. Any values give some number. */
static uint64_t ticks_ns(uint64_t from, uint64_t to, double rate)
{
    double took = to > from ? (double)(to - from) * rate : 0;

    return took < 9e18 ? (uint64_t)took : INT64_MAX;
}

static void unpack(const struct device_flight *f, struct device_flight_view *v)
{
    uint64_t what = GET_FLIGHT(f->what), place = GET_FLIGHT(f->place), wait = GET_FLIGHT(f->wait),
             outcome = GET_FLIGHT(f->outcome);

    v->comm = GET_FLIGHT(f->comm);
    v->seq = GET_FLIGHT(f->seq);
    v->op = (uint8_t)what;
    v->alg = (uint8_t)(what >> 8);
    v->variant = (uint8_t)(what >> 16);
    v->dtype = (uint8_t)(what >> 24);
    v->bytes = GET_FLIGHT(f->bytes);
    v->me = (uint32_t)(place >> 32);
    v->n = (uint32_t)place;
    v->members = v->n < DEVICE_FLIGHT_MEMBERS ? v->n : DEVICE_FLIGHT_MEMBERS;
    for (uint32_t i = 0; i < v->members; i++)
        v->member[i] = GET_FLIGHT(f->member[i]);
    v->steps = GET_FLIGHT(f->steps);
    v->total = GET_FLIGHT(f->total);
    v->waits = wait >> 63;
    v->sem = (uint8_t)(wait >> 32);
    v->waits_for = (uint32_t)wait;
    v->status = (uint32_t)outcome;
    v->culprit = (uint32_t)(outcome >> 32);
}

bool device_flight_read(const struct device_flights *log, unsigned back,
                        struct device_flight_view *ret)
{
    uint64_t next = GET_FLIGHT(log->next), number, begun, ended, since, now;
    const struct device_flight *f;
    double rate;

    if (back >= DEVICE_FLIGHTS || back >= next)
        return false;
    number = next - back;
    f = &log->flight[(number - 1) % DEVICE_FLIGHTS];
    if (GET_FLIGHT(f->number) != number)
        return false;
    *ret = (struct device_flight_view){.number = number};
    unpack(f, ret);
    begun = GET_FLIGHT(f->begun);
    ended = GET_FLIGHT(f->ended);
    since = GET_FLIGHT(f->since);
    if (GET_FLIGHT(f->number) != number)
        return false;
    now = device_flight_tick();
    rate = tick_ns(log, now);
    ret->over = ended != 0;
    ret->age_ns = ticks_ns(begun, now, rate);
    ret->lasted_ns = ticks_ns(begun, ret->over ? ended : now, rate);
    if (ret->waits && since >= begun)
        ret->waited_ns = ticks_ns(since, ret->over ? ended : now, rate);
    return true;
}

static void members_text(const struct device_flight_view *v, char *buf, size_t size)
{
    size_t n = 0;

    buf[0] = '\0';
    for (uint32_t i = 0; i < v->members && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%" PRIu32, i ? "," : "", v->member[i]);
    if (v->n > v->members && n < size)
        snprintf(buf + n, size - n, ",...");
}

/* "ended after 1.234 ms", "failed with 1200 because of rank 3 after ...", "runs for ..." */
static void state_text(const struct device_flight_view *v, char *buf, size_t size)
{
    double ms = (double)v->lasted_ns / 1e6;

    if (!v->over)
        snprintf(buf, size, "has run for %.3f ms", ms);
    else if (v->status == NRT_SUCCESS)
        snprintf(buf, size, "ended after %.3f ms", ms);
    else
        snprintf(buf, size, "failed after %.3f ms with status %" PRIu32 " because of rank %" PRIu32,
                 ms, v->status, v->culprit);
}

void device_flight_text(const struct device_flight_view *v, char *buf, size_t size)
{
    char members[96], state[96], wait[96] = "", how_long[48] = "";

    members_text(v, members, sizeof(members));
    state_text(v, state, sizeof(state));
    if (v->waited_ns)
        snprintf(how_long, sizeof(how_long), ", for %.3f ms", (double)v->waited_ns / 1e6);
    if (v->waits)
        snprintf(wait, sizeof(wait), ", waits for %s of rank %" PRIu32 "%s",
                 sched_sem_name((enum sched_sem)v->sem), v->waits_for, how_long);
    snprintf(buf, size,
             "#%" PRIu64 " %s by %s (%s) of %" PRIu64 " bytes %s, communicator %" PRIu64
             ", member %" PRIu32 " of %" PRIu32 " (%s): %s, %" PRIu64 " of %" PRIu64 " steps%s",
             v->seq, sched_op_name((enum sched_op)v->op), sched_alg_name((enum sched_alg)v->alg),
             sched_variant_name((enum sched_variant)v->variant), v->bytes,
             dtype_name((enum dtype)v->dtype), v->comm, v->me, v->n, members, state, v->steps,
             v->total, wait);
}
