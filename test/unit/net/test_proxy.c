/* SPDX-License-Identifier: Apache-2.0 */
/* The credit protocol, stepped: devices written from the table of docs/spec/collectives.md 11.3, a
 * network that completes whenever and in whatever order it likes, and the proxies under test. What
 * must hold is checked by the devices themselves: no slot is overwritten before it was used, every
 * entry arrives once and in order, nothing stops, and the counters end at their base. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/fault.h"
#include "log_tap.h"
#include "net/proxy.h"
#include "run/run.h"
#include "seed.h"

#define N_MAX 40
#define K_MAX 32
#define OPS   3

static uint32_t rng;

static uint32_t draw(uint32_t below)
{
    rng = rng * 1664525u + 1013904223u;
    return (rng >> 8) % below;
}

/* --- a network ---------------------------------------------------------------------------------
 */

struct net_request {
    bool used, send, moved, done, dropped;
    void *data;
    uint32_t size, got;
};

#define REQUESTS 512
struct network {
    struct net_request req[REQUESTS];
    struct net_request *sends[REQUESTS], *recvs[REQUESTS]; /* in the order of posting */
    uint32_t n_sends, n_recvs, moved;
    uint32_t open_sends, open_recvs, most_open;
    uint32_t busy_one_in; /* 0: never out of room */
    NRT_STATUS fail;      /* what the next test gives */
};

static enum net_posted network_post(void *arg, bool send, uint32_t channel,
                                    const struct net_entry *e, uint32_t size,
                                    struct net_request **ret, struct err *err)
{
    struct network *w = arg;
    struct net_request *r = w->req;

    assert_int_equal(channel, 5);
    if (w->busy_one_in != 0 && draw(w->busy_one_in) == 0)
        return NET_AGAIN;
    while (r->used)
        r++;
    assert_true(r < w->req + REQUESTS);
    *r = (struct net_request){.used = true, .send = send, .data = e->data, .size = size};
    if (send)
        w->sends[w->n_sends++ % REQUESTS] = r;
    else
        w->recvs[w->n_recvs++ % REQUESTS] = r;
    uint32_t *open = send ? &w->open_sends : &w->open_recvs;
    if (++*open > w->most_open)
        w->most_open = *open;
    *ret = r;
    return NET_POSTED;
}

static NRT_STATUS network_test(void *arg, struct net_request *r, bool *ret_done, uint32_t *ret_size,
                               struct err *err)
{
    struct network *w = arg;

    assert_true(r->used);
    if (w->fail != NRT_SUCCESS)
        return err_set(err, w->fail, "rank 7 is gone");
    *ret_done = r->done;
    *ret_size = r->got;
    if (r->done) {
        --*(r->send ? &w->open_sends : &w->open_recvs);
        r->used = false;
    }
    return NRT_SUCCESS;
}

static void network_drop(void *arg, struct net_request *r)
{
    assert_true(r->used);
    r->used = false;
    r->dropped = true;
}

/* Moves one message, if both sides are there, or lets one moved request end: any of them. */
static void network_step(struct network *w)
{
    if (draw(2) == 0 && w->moved < w->n_sends && w->moved < w->n_recvs) {
        struct net_request *s = w->sends[w->moved % REQUESTS], *r = w->recvs[w->moved % REQUESTS];

        w->moved++;
        memcpy(r->data, s->data, s->size < r->size ? s->size : r->size);
        s->got = r->got = s->size;
        s->moved = r->moved = true;
    }
    for (int tries = 0; tries < 4; tries++) {
        struct net_request *r = &w->req[draw(REQUESTS)];

        if (r->used && r->moved)
            r->done = true;
    }
    /* and now and then the oldest, so that the run ends */
    for (uint32_t i = 0; i < REQUESTS && draw(8) == 0; i++) {
        if (w->req[i].used && w->req[i].moved && draw(4) == 0)
            w->req[i].done = true;
    }
}

/* --- devices, by the table ---------------------------------------------------------------------
 */

struct device {
    struct net_page page;
    _Atomic uint32_t credit; /* the handshake semaphore and send_complete or recv_complete */
    uint32_t base, op, at;   /* at: 0 not begun, 1 waits for the handshake, then entry at - 2 */
    uint64_t slot[K_MAX];
    bool slot_busy[K_MAX]; /* receiver: arrived and not used yet; sender: not reported */
    uint32_t used;
};

static uint64_t value_of(uint32_t op, uint32_t j)
{
    return (uint64_t)op << 32 | (j * 2654435761u);
}

static uint32_t max_u32(int64_t a, int64_t b)
{
    return (uint32_t)(a > b ? a : b);
}

static void sender_step(struct device *d, uint32_t n, uint32_t k)
{
    uint32_t j = d->at - 2;

    if (d->op == OPS)
        return;
    if (d->at == 0) {
        d->page.fold[0].index = NET_INDEX_READY;
        d->at = 1;
    } else if (d->at == 1) {
        if (d->credit >= d->base + 1)
            d->at = 2;
    } else if (j < n) {
        if (d->credit < d->base + 1 + max_u32(0, (int64_t)j - k + 1))
            return;
        d->slot[j % k] = value_of(d->op, j); /* a slot still in flight would change on its way */
        d->page.fold[0].index = j + 1;
        d->at++;
    } else if (d->credit >= d->base + 1 + n) {
        assert_int_equal(d->credit, d->base + 1 + n);
        d->base += 1 + n;
        d->op++;
        d->at = 0;
    }
}

static void receiver_step(struct device *d, uint32_t n, uint32_t k)
{
    uint32_t j = d->at - 2;

    if (d->op == OPS)
        return;
    if (d->at == 0) {
        d->page.fold[0].index = NET_INDEX_READY;
        d->at = 1;
    } else if (d->at == 1) {
        if (d->credit < d->base + 1)
            return;
        d->page.fold[0].index = n < k ? n : k;
        d->at = 2;
    } else if (j < n) {
        if (d->credit < d->base + 2 + j)
            return;
        /* exactly the entry, not one that came later into the same slot */
        assert_int_equal(d->slot[j % k], value_of(d->op, j));
        d->slot[j % k] = 0;
        d->used++;
        d->page.fold[0].index = n < j + 1 + k ? n : j + 1 + k;
        d->at++;
    } else {
        assert_int_equal(d->credit, d->base + 1 + n);
        d->base += 1 + n;
        d->op++;
        d->at = 0;
    }
}

/* --- the simulation ----------------------------------------------------------------------------
 */

struct sim {
    struct network w;
    struct device s, r;
    struct net_entry out[N_MAX], in[N_MAX];
    struct net_proxy *ps, *pr;
};

static struct net_proxy *proxy_open(struct sim *m, bool send, uint32_t outstanding)
{
    struct device *d = send ? &m->s : &m->r;
    struct net_proxy_config cfg = {.send = send,
                                   .channel = 5,
                                   .page = &d->page,
                                   .handshake = &d->credit,
                                   .complete = &d->credit,
                                   .outstanding = outstanding,
                                   .wire = {&m->w, network_post, network_test, network_drop}};
    struct net_proxy *p;

    assert_int_equal(net_proxy_open(&cfg, &p, NULL), NRT_SUCCESS);
    return p;
}

static void simulate(uint32_t n, uint32_t k, uint32_t outstanding)
{
    static struct sim m;
    uint32_t weight[4];
    uint64_t steps = 0;

    memset(&m, 0, sizeof(m));
    m.w.busy_one_in = draw(3) * 3;
    m.ps = proxy_open(&m, true, outstanding);
    m.pr = proxy_open(&m, false, outstanding);
    for (uint32_t j = 0; j < n; j++) {
        m.out[j] = (struct net_entry){.data = &m.s.slot[j % k], .size = 8, .peer = 7};
        m.in[j] = (struct net_entry){.data = &m.r.slot[j % k], .size = 8, .peer = 6};
    }
    for (int op = 0; op < OPS; op++) {
        assert_int_equal(net_proxy_add(m.ps, m.out, n, NULL), NRT_SUCCESS);
        assert_int_equal(net_proxy_add(m.pr, m.in, n, NULL), NRT_SUCCESS);
    }
    for (int i = 0; i < 4; i++) /* some parts are slow */
        weight[i] = 1 + draw(8);
    while (m.s.op < OPS || m.r.op < OPS) {
        if (draw(weight[0]) == 0)
            sender_step(&m.s, n, k);
        if (draw(weight[1]) == 0)
            receiver_step(&m.r, n, k);
        if (draw(weight[2]) == 0)
            net_proxy_step(m.ps);
        if (draw(weight[3]) == 0)
            net_proxy_step(m.pr);
        network_step(&m.w);
        if (++steps > 400000)
            fail_msg("stopped: n %u K %u outstanding %u", n, k, outstanding);
    }
    assert_int_equal(m.r.used, OPS * n);
    assert_int_equal(m.s.credit, m.s.base);
    assert_int_equal(m.r.credit, m.r.base);
    assert_int_equal(net_proxy_pending(m.ps) + net_proxy_pending(m.pr), 0);
    assert_int_equal(net_proxy_state(m.ps, NULL), NRT_SUCCESS);
    assert_true(m.w.most_open <= outstanding);
    net_proxy_close(m.ps);
    net_proxy_close(m.pr);
}

static void no_slot_is_lost_or_overwritten(void **state)
{
    rng = (uint32_t)seed_take_new();
    for (uint32_t n = 1; n <= N_MAX; n += 1 + n / 9) {
        for (uint32_t k = 1; k <= K_MAX; k += 1 + k / 5) {
            static const uint32_t most[] = {1, 2, 5, 31, 128};

            simulate(n, k, most[draw(5)]);
        }
    }
    simulate(0, 1, 128); /* an operation without entries still shakes hands */
}

/* --- rules one by one --------------------------------------------------------------------------
 */

static struct sim one;

static void one_setup(bool send, uint32_t n)
{
    memset(&one, 0, sizeof(one));
    one.ps = proxy_open(&one, send, 0);
    for (uint32_t j = 0; j < N_MAX; j++)
        one.out[j] = (struct net_entry){.data = &one.s.slot[j % K_MAX], .size = 8, .peer = 7};
    assert_int_equal(net_proxy_add(one.ps, one.out, n, NULL), NRT_SUCCESS);
}

static struct device *one_device(bool send)
{
    return send ? &one.s : &one.r;
}

static void begin(bool send)
{
    one_device(send)->page.fold[0].index = NET_INDEX_READY;
    assert_int_equal(net_proxy_step(one.ps), 1);
    assert_int_equal(one_device(send)->page.fold[0].index, 0);
    assert_int_equal(one_device(send)->credit, 1);
}

static void reports_are_in_entry_order(void **state)
{
    uint32_t n, posted, reported;

    one_setup(true, 4);
    assert_int_equal(net_proxy_step(one.ps), 0); /* nobody is ready */
    begin(true);
    one.s.page.fold[0].index = 4;
    assert_int_equal(net_proxy_step(one.ps), 4);
    one.w.req[2].done = one.w.req[1].done = true;
    assert_int_equal(net_proxy_step(one.ps), 0);
    assert_int_equal(one.s.credit, 1); /* held back */
    one.w.req[0].done = true;
    assert_int_equal(net_proxy_step(one.ps), 3);
    assert_int_equal(one.s.credit, 4); /* the whole run at once */
    net_proxy_position(one.ps, &n, &posted, &reported);
    assert_int_equal(n, 4);
    assert_int_equal(posted, 4);
    assert_int_equal(reported, 3);
    net_proxy_close(one.ps); /* the last is dropped */
    assert_true(one.w.req[3].dropped);
}

/* The provider has no room three times; the fault is to strike the second message, not the second
 * offer of the first. */
static void a_loss_is_drawn_once_for_a_message(void **state)
{
    one_setup(true, 2);
    begin(true);
    fault_arm(FAULT_NET, 2);
    one.w.busy_one_in = 1; /* always */
    one.s.page.fold[0].index = 2;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(net_proxy_step(one.ps), 0);
    one.w.busy_one_in = 0;
    assert_int_equal(net_proxy_step(one.ps), 2);
    fault_disarm();
    assert_int_equal(one.w.n_sends, 1);
    assert_ptr_equal(one.w.sends[0]->data, one.out[0].data);
    net_proxy_close(one.ps);
}

static void expect_stop(const char *text)
{
    struct err err = {0};

    assert_int_equal(net_proxy_step(one.ps), 0);
    assert_int_equal(net_proxy_state(one.ps, &err), NRT_NETWORK_PROXY_FAILURE);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
    assert_int_equal(net_proxy_step(one.ps), 0);
    net_proxy_close(one.ps);
}

static void an_index_past_the_end_stops_it(void **state)
{
    one_setup(true, 4);
    begin(true);
    one.s.page.fold[0].index = 5;
    expect_stop("the device posted entry 5 of an operation of 4");
    one_setup(true, 4);
    begin(true);
    one.s.page.fold[0].index = NET_INDEX_READY; /* in the middle of an operation */
    expect_stop("the device posted entry 4294967295");
}

static void another_size_stops_the_receiver(void **state)
{
    one_setup(false, 2);
    begin(false);
    one.r.page.fold[0].index = 2;
    assert_int_equal(net_proxy_step(one.ps), 2);
    one.w.req[0].done = true;
    one.w.req[0].got = 4;
    expect_stop("rank 7 sent 4 bytes for entry 0, for which 8 were posted");
    assert_int_equal(one.r.credit, 1);
}

static void sizes_of_run_time(void **state)
{
    uint32_t now[2] = {3, 9};

    one_setup(false, 1);
    one.out[0].dynamic = true;
    one.out[0].size_now = &now[0];
    begin(false);
    one.r.page.fold[0].index = 1;
    net_proxy_step(one.ps);
    one.w.req[0].done = true;
    one.w.req[0].got = 5;
    net_proxy_step(one.ps);
    assert_int_equal(now[0], 5); /* the received count is stored */
    assert_int_equal(one.r.credit, 2);
    net_proxy_close(one.ps);
    /* a sender takes it from there, and never more than the most */
    one_setup(true, 1);
    one.out[0].dynamic = true;
    one.out[0].size_now = &now[0];
    begin(true);
    one.s.page.fold[0].index = 1;
    net_proxy_step(one.ps);
    assert_int_equal(one.w.req[0].size, 5);
    net_proxy_close(one.ps);
    one_setup(true, 1);
    one.out[0].dynamic = true;
    one.out[0].size_now = &now[1];
    begin(true);
    one.s.page.fold[0].index = 1;
    expect_stop("entry 0 to rank 7 has 9 bytes, at most 8 fit");
    one_setup(true, 0);
    one.out[0].dynamic = true;
    one.out[0].size_now = NULL;
    assert_int_equal(net_proxy_add(one.ps, one.out, 1, NULL), NRT_INVALID);
    net_proxy_close(one.ps);
}

static void a_lost_peer_stops_it(void **state)
{
    one_setup(true, 2);
    begin(true);
    one.s.page.fold[0].index = 2;
    net_proxy_step(one.ps);
    one.w.fail = NRT_NETWORK_PROXY_FAILURE;
    expect_stop("rank 7 is gone");
}

static uint64_t fake_ns;

static uint64_t fake_now(void *arg)
{
    return fake_ns;
}

static void ten_seconds_without_progress_are_a_warning(void **state)
{
    struct log *lg = log_open_env();
    struct net_proxy_counters c;
    struct log_tap tap;
    struct net_proxy_config cfg = {.send = true,
                                   .channel = 5,
                                   .page = &one.s.page,
                                   .handshake = &one.s.credit,
                                   .complete = &one.s.credit,
                                   .wire = {&one.w, network_post, network_test, network_drop},
                                   .log = lg,
                                   .now = fake_now,
                                   .name = "ring 0 of communicator 3"};

    log_tap_init(&tap);
    log_tap_attach(&tap, lg);
    memset(&one, 0, sizeof(one));
    one.out[0] = (struct net_entry){.data = &one.s.slot[0], .size = 8, .peer = 7};
    one.out[1] = one.out[0];
    fake_ns = 1;
    assert_int_equal(net_proxy_open(&cfg, &one.ps, NULL), NRT_SUCCESS);
    assert_int_equal(net_proxy_add(one.ps, one.out, 2, NULL), NRT_SUCCESS);
    fake_ns += 20000000000ull; /* nothing is posted: nobody waits */
    net_proxy_step(one.ps);
    begin(true);
    one.s.page.fold[0].index = 1;
    net_proxy_step(one.ps);
    net_proxy_step(one.ps); /* from here on it waits */
    fake_ns += 9999999999ull;
    net_proxy_step(one.ps);
    assert_int_equal(log_tap_count(&tap, LOG_WARN), 0);
    fake_ns += 1;
    net_proxy_step(one.ps);
    assert_int_equal(log_tap_find(&tap, "ring 0 of communicator 3: no progress for 10 sec"), 1);
    assert_int_equal(log_tap_find(&tap, "entry 0 of 2 to rank 7"), 1);
    net_proxy_step(one.ps);
    fake_ns += 10000000000ull;
    net_proxy_step(one.ps);
    assert_int_equal(log_tap_count(&tap, LOG_WARN), 2);
    one.w.req[0].done = true; /* and it goes on when it can */
    assert_int_equal(net_proxy_step(one.ps), 1);
    net_proxy_count(one.ps, &c);
    assert_int_equal(c.warnings, 2);
    assert_int_equal(c.posts, 1);
    assert_int_equal(c.reports, 1);
    assert_true(c.idle_steps > 0 && c.idle_steps < c.steps);
    net_proxy_close(one.ps);
    log_tap_fini(&tap);
    log_close(lg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_slot_is_lost_or_overwritten),
        cmocka_unit_test(reports_are_in_entry_order),
        cmocka_unit_test(a_loss_is_drawn_once_for_a_message),
        cmocka_unit_test(an_index_past_the_end_stops_it),
        cmocka_unit_test(another_size_stops_the_receiver),
        cmocka_unit_test(sizes_of_run_time),
        cmocka_unit_test(a_lost_peer_stops_it),
        cmocka_unit_test(ten_seconds_without_progress_are_a_warning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
