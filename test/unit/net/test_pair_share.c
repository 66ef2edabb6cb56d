/* SPDX-License-Identifier: Apache-2.0 */
/* Pairs inside an instance (net/pair.h), driven by hand: docs/sendrecv.md, docs/spec/api.md 6.
 *
 * Random exchanges against a model of what matches what; a sender whose memory gets a new owner
 * while it is read; and an end that is killed after each of its stores that the other can see. */
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "device/device.h"
#include "draw.h"
#include "net/pair.h"
#include "net_support.h"
#include "runner.h"
#include "seed.h"

#define KEY      "of the tests"
#define WAIT_MS  120000
#define LIMIT_NS UINT64_C(90000000000)

#define FAR_NS UINT64_C(1000000000000000) /* of a clock that the test moves */

static uint64_t seed;

/* ---- ends ---- */

struct end {
    struct device_instance *in;
    struct net_pairs *set;
    struct net_pair *out, *back;
};

static void ok(NRT_STATUS st, const struct err *err)
{
    if (st != NRT_SUCCESS)
        fail_msg("seed %llu: status %d: %s", (unsigned long long)seed, (int)st, err->text);
}

static void end_open(struct end *e, const char *name, unsigned port, struct net_pairs_config cfg)
{
    struct device_config dc = {
        .name = name, .type = "trn1.2xlarge", .hbm_bytes = runner_hbm_bytes()};
    struct err err = {0};

    ok(device_instance_open(&dc, &e->in, &err), &err);
    cfg.in = e->in;
    cfg.port = (uint16_t)port;
    cfg.key = KEY;
    cfg.share = true;
    ok(net_pairs_open(&cfg, &e->set, &err), &err);
    ok(net_pairs_listen(e->set, 0, &err), &err);
}

static void end_pairs(struct end *e, unsigned peer_port)
{
    struct err err = {0};
    char ip[40];

    snprintf(ip, sizeof(ip), "127.0.0.1:%u", peer_port);
    ok(net_pair_open(e->set, true, ip, 0, 0, &e->out, &err), &err);
    ok(net_pair_open(e->set, false, ip, 0, 0, &e->back, &err), &err);
}

/* Or one of its pairs has failed, which status tells. */
static bool end_connected(struct end *e, NRT_STATUS *status)
{
    bool out = false, back = false;
    struct err err = {0};

    *status = net_pair_state(e->out, &out, &err);
    if (*status == NRT_SUCCESS)
        *status = net_pair_state(e->back, &back, &err);
    return *status != NRT_SUCCESS || (out && back);
}

/* By hand there is no other progress; else the set's thread wants a CPU. */
static void end_wait(struct end *e, bool by_hand)
{
    if (by_hand)
        net_pairs_progress(e->set, 64);
    else
        sched_yield();
}

static NRT_STATUS end_meet(struct end *e, bool by_hand)
{
    NRT_STATUS status;

    while (!end_connected(e, &status))
        end_wait(e, by_hand);
    return status;
}

static void end_leave(struct end *e, struct net_pairs_left *left)
{
    net_pairs_leave(e->set, 0, left);
}

static void end_close(struct end *e)
{
    struct net_pairs_left left;

    end_leave(e, &left);
    net_pair_free(e->out);
    net_pair_free(e->back);
    net_pairs_close(e->set);
    device_instance_close(e->in);
}

/* An instance that no other test has. */
static void name_make(char name[48])
{
    snprintf(name, 48, "pair-share-%d", (int)getpid());
}

static void instance_remove(const char *name)
{
    struct device_config dc = {.name = name};
    bool removed;

    device_instance_reset(&dc, true, &removed, NULL);
}

static uint64_t bytes_in_use(struct device_instance *in)
{
    struct device_usage u;

    assert_int_equal(device_usage_hbm(in, 0, &u), NRT_SUCCESS);
    return u.total;
}

/* ---- messages ---- */

#define MARGIN 64

struct message {
    struct net_transfer *t;
    struct device_extent mem; /* size 0: host memory */
    uint8_t *p;
    size_t size, room; /* room: of the transfer itself */
};

static uint8_t byte_of(unsigned way, uint64_t index, size_t at)
{
    return (uint8_t)((draw_mix(way * 1000003u + index) + at * 2654435761u) >> 11);
}

static void memory_make(struct device_instance *in, struct message *m, bool device)
{
    struct device_alloc a = {
        .neff = DEVICE_NONE, .cat = DEVICE_CAT_TENSOR, .size = m->room + (size_t)2 * MARGIN};
    struct err err = {0};
    void *p;

    m->mem.size = 0;
    if (device) {
        ok(device_alloc(in, &a, &m->mem, &err), &err);
        ok(device_map(in, m->mem.addr, a.size, DEVICE_RW, &p, &err), &err);
        m->p = p;
    } else {
        m->p = malloc(a.size);
        assert_non_null(m->p);
    }
    memset(m->p, 0xa5, a.size);
}

static void memory_end(struct device_instance *in, struct message *m)
{
    struct err err = {0};

    if (m->mem.size != 0)
        ok(device_free(in, &m->mem, &err), &err);
    else
        free(m->p);
}

static NRT_STATUS message_start(struct net_pair *p, struct message *m, struct err *err)
{
    struct net_pair_memory memory = {.p = m->p + MARGIN,
                                     .size = m->room,
                                     .device = m->mem.size != 0,
                                     .addr = m->mem.addr + MARGIN,
                                     .generation = m->mem.generation,
                                     .extent = m->mem.index};

    return net_transfer_start(p, &memory, &m->t, err);
}

static void message_fill(struct message *m, unsigned way, uint64_t index)
{
    for (size_t k = 0; k < m->room; k++)
        m->p[MARGIN + k] = byte_of(way, index, k);
}

/* size bytes have come, and nothing else has changed. */
static void message_check(const struct message *m, unsigned way, uint64_t index, size_t size)
{
    for (size_t k = 0; k < m->room + (size_t)2 * MARGIN; k++) {
        bool in = k >= MARGIN && k < MARGIN + size;

        if (m->p[k] != (in ? byte_of(way, index, k - MARGIN) : 0xa5))
            fail_msg("seed %llu: way %u message %llu of %zu bytes: byte %lld differs",
                     (unsigned long long)seed, way, (unsigned long long)index, size,
                     (long long)k - MARGIN);
    }
}

/* ---- random exchanges ---- */

/* One direction: what has been started on either side, oldest first. */
struct way {
    struct message m[2][NET_PAIR_PENDING_MAX]; /* sends, receives; by index */
    uint64_t started[2], over[2];
    /* What the model says of a message, once both sides have started it. */
    size_t size[2 * NET_PAIR_PENDING_MAX], room[2 * NET_PAIR_PENDING_MAX];
};

static size_t size_draw(uint64_t *rng)
{
    static const size_t edge[] = {0, 1, 8, 63, 64, 4096, 65536, 262143, 262144, 262145};

    switch (draw_next(rng) % 8) {
    case 0:
        return edge[draw_next(rng) % (sizeof(edge) / sizeof(edge[0]))];
    case 1:
        return draw_next(rng) % 1000000;
    default:
        return draw_next(rng) % 3000;
    }
}

/* Sizes of one message are drawn from its index, so that both sides know what the other has. */
static void sizes_of(unsigned way, uint64_t index, size_t *size, size_t *room)
{
    uint64_t rng = draw_mix(seed + way * 7919u + index);

    *size = size_draw(&rng);
    *room = draw_next(&rng) % 8 == 0 ? size_draw(&rng) : *size + draw_next(&rng) % 3;
}

/* side: 0 sends. False: as many as may be are there, which the call says, too. */
static bool way_start(struct end *e, struct way *w, unsigned way, unsigned side, bool device)
{
    struct net_pair *p = side == 0 ? e->out : e->back;
    uint64_t index = w->started[side];
    struct message *m = &w->m[side][index % NET_PAIR_PENDING_MAX], one = {.room = 1};
    struct err err = {0};
    size_t size, room;

    if (index - w->over[side] == NET_PAIR_PENDING_MAX) {
        memory_make(e->in, &one, false);
        assert_int_equal(message_start(p, &one, &err), NRT_RESOURCE);
        memory_end(e->in, &one);
        return false;
    }
    sizes_of(way, index, &size, &room);
    m->room = side == 0 ? size : room;
    memory_make(e->in, m, device);
    if (side == 0)
        message_fill(m, way, index);
    ok(message_start(p, m, &err), &err);
    w->started[side]++;
    return true;
}

/* Tests the oldest of a side; true when it was over. */
static bool way_test(struct end *e, struct way *w, unsigned way, unsigned side)
{
    uint64_t index = w->over[side], moved = 0;
    struct message *m = &w->m[side][index % NET_PAIR_PENDING_MAX];
    struct err err = {0};
    size_t size, room;
    bool done = false;
    NRT_STATUS st;

    if (index == w->started[side])
        return false;
    st = net_transfer_test(m->t, &done, &moved, &err);
    if (st == NRT_SUCCESS && !done)
        return false;
    if (index >= w->started[1 - side])
        fail_msg("seed %llu: way %u message %llu is over and has no other side",
                 (unsigned long long)seed, way, (unsigned long long)index);
    sizes_of(way, index, &size, &room);
    if (size > room) {
        assert_int_equal(st, NRT_FAILURE);
    } else {
        ok(st, &err);
        assert_int_equal(moved, size);
    }
    if (side == 1)
        message_check(m, way, index, size > room ? 0 : size);
    net_transfer_free(m->t);
    memory_end(e->in, m);
    w->over[side]++;
    return true;
}

struct duo {
    struct port port[2];
    struct end e[2];
    char name[48];
};

static void duo_open(struct duo *d, struct net_pairs_config cfg)
{
    NRT_STATUS st[2];

    name_make(d->name);
    for (unsigned i = 0; i < 2; i++)
        assert_true(port_take(&d->port[i], "127.0.0.1"));
    for (unsigned i = 0; i < 2; i++)
        end_open(&d->e[i], d->name, (unsigned)d->port[i].number, cfg);
    for (unsigned i = 0; i < 2; i++)
        end_pairs(&d->e[i], (unsigned)d->port[1 - i].number);
    while (!end_connected(&d->e[0], &st[0]) || !end_connected(&d->e[1], &st[1]))
        for (unsigned i = 0; i < 2 && cfg.by_hand; i++)
            net_pairs_progress(d->e[i].set, 64);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(st[i], NRT_SUCCESS);
}

static void duo_close(struct duo *d)
{
    for (unsigned i = 0; i < 2; i++) {
        end_close(&d->e[i]);
        port_free(&d->port[i]);
    }
    instance_remove(d->name);
}

/* Both ends, both ways: way k is what end k sends. */
static void exchange_some(struct duo *d, struct way *w, uint64_t *rng, unsigned messages)
{
    unsigned end = draw_next(rng) % 2, way = draw_next(rng) % 2, side = way == end ? 0 : 1;
    struct end *e = &d->e[end];

    switch (draw_next(rng) % 8) {
    case 0:
        for (uint64_t n = draw_next(rng) % 200; n > 0 && w[way].started[side] < messages; n--)
            if (!way_start(e, &w[way], way, side, draw_next(rng) % 3 != 0))
                break;
        break;
    case 1:
    case 2:
        if (w[way].started[side] < messages)
            (void)way_start(e, &w[way], way, side, draw_next(rng) % 3 != 0);
        break;
    case 3:
    case 4:
        net_pairs_progress(e->set, 1 + draw_next(rng) % 8);
        break;
    default:
        while (way_test(e, &w[way], way, side))
            continue;
        break;
    }
}

static bool exchange_over(const struct way *w, unsigned messages)
{
    return w[0].over[0] == messages && w[0].over[1] == messages && w[1].over[0] == messages &&
           w[1].over[1] == messages;
}

static void exchange(bool by_hand, unsigned messages)
{
    struct net_pairs_config cfg = {.by_hand = by_hand, .limit_ns = LIMIT_NS};
    struct way *w = calloc(2, sizeof(*w));
    struct net_pairs_left left;
    uint64_t rng = seed;
    struct duo d;

    assert_non_null(w);
    duo_open(&d, cfg);
    while (!exchange_over(w, messages))
        exchange_some(&d, w, &rng, messages);
    for (unsigned i = 0; i < 2; i++) {
        end_leave(&d.e[i], &left);
        assert_int_equal(left.unconnected + left.in_flight, 0);
    }
    assert_int_equal(bytes_in_use(d.e[0].in), 0);
    duo_close(&d);
    free(w);
}

static void random_exchanges_match_in_order(void **state)
{
    uint64_t first = seed;

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        seed = first + i;
        exchange(true, 300);
        exchange(false, 300);
    }
    seed = first;
}

/* ---- memory that gets another owner ---- */

/* A clock that goes on by most of a turn whenever it is read, so that a turn is one piece. */
static uint64_t ticking(void *arg)
{
    return *(uint64_t *)arg += 150000;
}

/* Behind the back of its request the memory of a message goes to somebody else, who writes to it,
 * while the receiver has read the first of its pieces. */
static void bytes_of_another_owner_do_not_count(void **state)
{
    uint64_t clock = 1;
    struct net_pairs_config cfg = {
        .by_hand = true, .limit_ns = FAR_NS, .now = ticking, .now_arg = &clock};
    const size_t size = (size_t)3 << 20;
    struct message from = {.room = size}, to = {.room = size}, thief = {.room = size};
    uint64_t moved = 0;
    struct err err = {0};
    bool done = false;
    struct duo d;
    NRT_STATUS st;

    (void)state;
    duo_open(&d, cfg);
    memory_make(d.e[0].in, &from, true);
    memory_make(d.e[1].in, &to, true);
    message_fill(&from, 0, 0);
    ok(message_start(d.e[0].out, &from, &err), &err);
    ok(message_start(d.e[1].back, &to, &err), &err);
    net_pairs_progress(d.e[0].set, 64);
    while (to.p[MARGIN] == 0xa5 && to.p[MARGIN + 1] == 0xa5)
        net_pairs_progress(d.e[1].set, 1);
    assert_int_equal(to.p[MARGIN + size - 1], 0xa5); /* in the middle of it */
    assert_int_equal(to.p[MARGIN + size - 2], 0xa5);
    ok(device_free(d.e[0].in, &from.mem, &err), &err);
    memory_make(d.e[0].in, &thief, true);
    assert_int_equal(thief.mem.addr, from.mem.addr);
    for (unsigned i = 0; i < 100; i++)
        net_pairs_progress(d.e[1].set, 64);
    ok(net_transfer_test(to.t, &done, &moved, &err), &err);
    assert_false(done);
    clock += FAR_NS;
    net_pairs_progress(d.e[1].set, 64);
    st = net_transfer_test(to.t, &done, &moved, &err);
    assert_int_equal(st, NRT_TIMEOUT);
    net_pairs_progress(d.e[0].set, 64);
    assert_int_equal(net_transfer_test(from.t, &done, &moved, &err), NRT_FAILURE);
    net_transfer_free(from.t);
    net_transfer_free(to.t);
    memory_end(d.e[0].in, &thief);
    memory_end(d.e[1].in, &to);
    duo_close(&d);
}

/* ---- no room ---- */

#define HOGS 64

/* Takes all of the HBM; its first piece has 64 KiB. */
static unsigned hbm_fill(struct device_instance *in, struct device_extent hog[HOGS])
{
    unsigned n = 0;

    for (uint64_t size = UINT64_C(1) << 40; size >= 4096; size /= 2) {
        struct device_alloc a = {.neff = DEVICE_NONE,
                                 .cat = DEVICE_CAT_TENSOR,
                                 .flags = DEVICE_ALLOC_QUIET,
                                 .size = n == 0 ? 65536 : size};
        struct err ignored = {0};

        while (n < HOGS && device_alloc(in, &a, &hog[n], &ignored) == NRT_SUCCESS) {
            a.size = size;
            n++;
        }
    }
    assert_true(n > 1 && n < HOGS);
    return n;
}

/* A message out of host memory each way. */
static void host_messages_arrive(struct duo *d)
{
    struct message m[2][2]; /* way, side */
    struct err err = {0};

    for (unsigned k = 0; k < 4; k++) {
        struct message *one = &m[k / 2][k % 2];

        *one = (struct message){.room = 300000};
        memory_make(d->e[0].in, one, false);
        if (k % 2 == 0)
            message_fill(one, k / 2, 0);
        ok(message_start(k % 2 == 0 ? d->e[k / 2].out : d->e[1 - k / 2].back, one, &err), &err);
    }
    for (unsigned k = 0; k < 4; k++) {
        struct message *one = &m[k / 2][k % 2];
        uint64_t moved = 0;

        for (bool done = false; !done;) {
            net_pairs_progress(d->e[0].set, 64);
            net_pairs_progress(d->e[1].set, 64);
            ok(net_transfer_test(one->t, &done, &moved, &err), &err);
        }
        assert_int_equal(moved, one->room);
        if (k % 2 == 1)
            message_check(one, k / 2, 0, one->room);
    }
    for (unsigned k = 0; k < 4; k++) {
        net_transfer_free(m[k / 2][k % 2].t);
        memory_end(d->e[0].in, &m[k / 2][k % 2]);
    }
}

/* Where the HBM is full, or has room for pages only, messages go over the connection, and nothing
 * of it is kept. */
static void without_room_in_hbm(void **state)
{
    struct net_pairs_config cfg = {.by_hand = true, .limit_ns = LIMIT_NS};
    struct device_extent hog[HOGS];
    struct device_instance *in;
    struct err err = {0};
    char name[48];
    unsigned n;

    (void)state;
    name_make(name);
    for (unsigned pages = 0; pages < 2; pages++) {
        struct device_config dc = {
            .name = name, .type = "trn1.2xlarge", .hbm_bytes = runner_hbm_bytes()};
        uint64_t before;
        struct duo d;

        ok(device_instance_open(&dc, &in, &err), &err);
        n = hbm_fill(in, hog);
        if (pages == 1)
            ok(device_free(in, &hog[0], &err), &err);
        before = bytes_in_use(in);
        duo_open(&d, cfg);
        assert_int_equal(bytes_in_use(in), before);
        host_messages_arrive(&d);
        for (unsigned i = pages; i < n; i++)
            ok(device_free(in, &hog[i], &err), &err);
        device_instance_close(in);
        duo_close(&d);
    }
}

/* ---- kills ---- */

#define SCRIPT 5 /* messages each way */

static const size_t script_size[SCRIPT] = {8, 300000, 0, 1200000, 70000};
static const bool script_host[SCRIPT] = {false, true, false, false, true};

struct script {
    struct message m[2][SCRIPT]; /* sends, receives */
};

static void script_start(struct end *e, struct script *s, unsigned me)
{
    struct err err = {0};

    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < SCRIPT; i++) {
            s->m[side][i].room = script_size[i];
            memory_make(e->in, &s->m[side][i], !script_host[i]);
            if (side == 0)
                message_fill(&s->m[side][i], me, i);
        }
    /* Posting may find that the other end has died. */
    for (unsigned i = 0; i < SCRIPT; i++)
        for (unsigned side = 0; side < 2; side++)
            if (message_start(side == 0 ? e->out : e->back, &s->m[side][i], &err) != NRT_SUCCESS)
                s->m[side][i].t = NULL;
}

/* Waits until all are over. Failed ones form a tail of each side. Returns how many have failed. */
static unsigned script_finish(struct end *e, struct script *s, unsigned me, bool by_hand)
{
    unsigned failed = 0;

    for (unsigned side = 0; side < 2; side++) {
        bool before = false;

        for (unsigned i = 0; i < SCRIPT; i++) {
            struct message *m = &s->m[side][i];
            NRT_STATUS st = m->t != NULL ? NRT_SUCCESS : NRT_FAILURE;
            bool done = false;
            uint64_t moved = 0;
            struct err err = {0};

            while (st == NRT_SUCCESS && !done) {
                if (by_hand)
                    net_pairs_progress(e->set, 64);
                st = net_transfer_test(m->t, &done, &moved, &err);
            }
            if (st == NRT_SUCCESS) {
                assert_false(before);
                assert_int_equal(moved, script_size[i]);
                if (side == 1)
                    message_check(m, 1 - me, i, script_size[i]);
            } else {
                assert_int_equal(st, NRT_FAILURE);
                before = true;
                failed++;
            }
        }
    }
    return failed;
}

static void script_end(struct end *e, struct script *s)
{
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < SCRIPT; i++) {
            net_transfer_free(s->m[side][i].t);
            memory_end(e->in, &s->m[side][i]);
        }
}

struct killer {
    _Atomic long points;
    long at; /* -1: never */
};

static void kill_point(void *arg)
{
    struct killer *k = arg;

    if (atomic_fetch_add(&k->points, 1) == k->at)
        kill(getpid(), SIGKILL);
}

/* mortal NAME MY_PORT PEER_PORT AT BY_HAND: an end that dies at one of its stores, or says how many
 * there were. */
static int helper_mortal(int argc, char **argv)
{
    struct killer k = {.at = atol(argv[4])};
    bool by_hand = atoi(argv[5]) != 0;
    struct net_pairs_config cfg = {
        .by_hand = by_hand, .limit_ns = LIMIT_NS, .store_point = kill_point, .store_point_arg = &k};
    struct script s;
    struct end e;
    char text[32];

    (void)argc;
    end_open(&e, argv[1], (unsigned)atoi(argv[2]), cfg);
    end_pairs(&e, (unsigned)atoi(argv[3]));
    if (end_meet(&e, by_hand) != NRT_SUCCESS)
        return 2;
    script_start(&e, &s, 1);
    if (script_finish(&e, &s, 1, by_hand) != 0)
        return 1;
    end_leave(&e, &(struct net_pairs_left){0});
    script_end(&e, &s);
    snprintf(text, sizeof(text), "%ld", atomic_load(&k.points));
    runner_say(text);
    end_close(&e);
    return 0;
}

/* One run with a peer that dies at a point. Returns how many points there were in one that did not,
 * -1: it died. */
static long one_death(struct duo *d, long at, bool by_hand)
{
    struct net_pairs_config cfg = {.by_hand = by_hand, .limit_ns = LIMIT_NS};
    char mine[16], theirs[16], point[24], hand[8], line[32];
    const char *args[] = {d->name, theirs, mine, point, hand, NULL};
    struct net_pairs_left left;
    struct runner_proc p;
    struct err err = {0};
    struct script s;
    struct end *e = &d->e[0];
    bool died, done;
    long points = -1;
    int rc;

    snprintf(mine, sizeof(mine), "%d", d->port[0].number);
    snprintf(theirs, sizeof(theirs), "%d", d->port[1].number);
    snprintf(point, sizeof(point), "%ld", at);
    snprintf(hand, sizeof(hand), "%d", by_hand);
    end_open(e, d->name, (unsigned)d->port[0].number, cfg);
    end_pairs(e, (unsigned)d->port[1].number);
    assert_true(runner_start(&p, "mortal", args, NULL));
    assert_true(end_meet(e, by_hand) == NRT_SUCCESS || at >= 0); /* it may die before */
    script_start(e, &s, 0);
    (void)script_finish(e, &s, 0, by_hand);
    if (at < 0 && runner_line(&p, line, sizeof(line), WAIT_MS))
        points = atol(line);
    rc = runner_wait(&p, WAIT_MS);
    died = rc == RUNNER_SIGNAL(SIGKILL);
    if (!died)
        assert_int_equal(rc, 0);
    assert_true(at < 0 ? !died && points > 0 : true);
    while (died && net_pair_state(e->out, &done, &err) == NRT_SUCCESS) /* told that it is gone */
        end_wait(e, by_hand);
    end_leave(e, &left);
    script_end(e, &s);
    (void)device_reclaim(e->in);
    assert_int_equal(bytes_in_use(e->in), 0); /* nothing is left, on either side */
    end_close(e);
    return points;
}

/* The other end dies at each of its stores: what is over was right, what is not fails, nothing is
 * left, and the next peer finds everything in order. */
static void death_after_every_store(void **state)
{
    unsigned deaths = 0;
    struct duo d;

    (void)state;
    name_make(d.name);
    for (unsigned i = 0; i < 2; i++)
        assert_true(port_take(&d.port[i], "127.0.0.1"));
    for (int by_hand = 1; by_hand >= 0; by_hand--) {
        /* With one thread nobody else of the process can be in the middle of something. */
        if (!by_hand && runner_emulator_lacks("deaths of a process with threads", RUNNER_NO_ROBUST))
            break;

        long points = one_death(&d, -1, by_hand);

        /* With threads points fall elsewhere from run to run: a part of them each time. */
        for (long at = by_hand ? 0 : (long)(seed % 3); at < points; at += by_hand ? 1 : 3, deaths++)
            (void)one_death(&d, at, by_hand);
        assert_true(one_death(&d, -1, by_hand) > 0);
    }
    print_message("%u deaths\n", deaths);
    for (unsigned i = 0; i < 2; i++)
        port_free(&d.port[i]);
    instance_remove(d.name);
}

static const struct runner_helper helpers[] = {{"mortal", helper_mortal}, {NULL, NULL}};

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_exchanges_match_in_order),
        cmocka_unit_test(bytes_of_another_owner_do_not_count),
        cmocka_unit_test(without_room_in_hbm),
        cmocka_unit_test(death_after_every_store),
    };
    int rc = runner_dispatch(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    seed = seed_take_new();
    runner_watchdog(240);
    return cmocka_run_group_tests_name("net-pair-share", tests, NULL, NULL);
}
