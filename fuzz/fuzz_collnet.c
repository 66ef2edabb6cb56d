/* SPDX-License-Identifier: Apache-2.0 */
/* What a rank of another node sends to a communicator. The first byte chooses:
 *
 * 0    the next byte is the reader's rank, the rest one message for the parser of tell_msg.c;
 * else a real communicator of two nodes over a link, whose other end is ours. The second byte says
 *      how many follow that are mixed (xor) into the card by which the false rank introduces
 *      itself. Then come its messages: channel (255: the one for messages about the communicator),
 *      what is mixed into the stamp (1 byte), size (2), bytes. The real rank opens, begins an
 *      all_reduce and works on it until it ends.
 *
 * Nothing may crash, hang, write outside the tensors, or fail without a status and a text. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "coll/tell_int.h"

#define ELEMS    512u /* of the tensors: fp32 */
#define AROUND   256u /* bytes on both sides of a tensor */
#define MESSAGES 16u
#define TICKS    100u /* of the clock that the communicator is given: what it waits for anything */
#define ROUNDS   400u /* of work on the operation */

/* ---- the parser ---- */

static struct topo_group group_of(uint32_t per_node)
{
    struct topo_fabric fabric;
    struct topo_world world;
    struct topo_group g;
    struct err err = {0};

    if (topo_fabric_init(&fabric, topo_instance_find("trn2.48xlarge"), 1, &err) ||
        topo_world_init(&world, &fabric, 2, 2, per_node, &err) ||
        topo_group_init(&g, &world, NULL, 0, &err))
        abort();
    return g;
}

static void parse(const uint8_t *data, size_t size)
{
    struct topo_group g = group_of(4);
    struct tell_head head;
    struct err err = {0};
    char why[COLL_WHY_MAX + 1];
    volatile uint64_t sink = 0;
    uint8_t *copy = malloc(size ? size : 1); /* exact, for the address sanitizer */
    uint32_t me = size ? data[0] % g.n : 0;

    if (!copy)
        abort();
    size = size ? size - 1 : 0;
    if (size)
        memcpy(copy, data + 1, size);
    if (tell_msg_read(&g, me, copy, size, &head, &err)) {
        if (err.status != NRT_INVALID || err.text[0] == 0)
            abort();
        head.count = head.kind = 0;
    } else if (head.rank >= g.n || g.node[head.rank] == g.node[me] || head.count > g.per_node) {
        abort();
    }
    for (uint32_t i = 0; i < head.count; i++) {
        struct coll_said said = tell_msg_said(copy, i);

        sink = sink + said.started + said.wait;
    }
    if (head.kind == TELL_FAILURE)
        tell_msg_why(&g, copy, why);
    free(copy);
    topo_group_fini(&g);
}

/* ---- the false rank ---- */

struct message {
    struct net_request *request;
    bool posted;
};

struct talk {
    const uint8_t *card, *at, *end; /* bytes that are mixed in; messages */
    size_t card_size;
    struct net_link *links[2]; /* of the real rank, of the false one */
    struct net_request *hello; /* of the real one */
    uint8_t heard[256];
    bool introduced;
    uint16_t stamp; /* what is expected of it */
    struct message sent[MESSAGES];
    unsigned count;
    uint64_t clock;
};

static const uint32_t tell_channel = NET_LINK_GROUP_CHANNELS - 1; /* of communicator 0 */

/* One more message of the input; false: there is none, or no room now. */
static bool message_send(struct talk *t)
{
    struct net_wire w = net_link_wire(t->links[1]);
    struct message *m = &t->sent[t->count];
    struct err ignored = {0};
    size_t size;

    if (t->count == MESSAGES || t->end - t->at < 4)
        return false;
    size = t->at[2] | (size_t)t->at[3] << 8;
    if (size > (size_t)(t->end - t->at) - 4)
        size = (size_t)(t->end - t->at) - 4;
    struct net_entry e = {.data = (void *)(uintptr_t)(t->at + 4),
                          .size = (uint32_t)size,
                          .peer = 0,
                          .stamp = t->at[0] == 255 ? t->at[1] : t->stamp ^ t->at[1]};

    switch (w.post(w.arg, true, t->at[0] == 255 ? tell_channel : t->at[0], &e, e.size, &m->request,
                   &ignored)) {
    case NET_AGAIN:
        return false;
    case NET_POSTED:
        t->count++;
        break;
    default:
        break;
    }
    t->at += 4 + size;
    return true;
}

/* The lower rank is the first to speak, so the false one has to listen first. Messages about the
 * communicator go at once, the others when the operation, whose stamp they need, is known. */
static void false_rank_step(struct talk *t)
{
    struct net_wire w = net_link_wire(t->links[1]);
    struct net_entry e = {.data = t->heard, .size = sizeof(t->heard), .peer = 0};
    struct err ignored = {0};
    bool done = false;
    uint32_t size;

    if (!t->introduced && !t->hello)
        (void)w.post(w.arg, false, tell_channel, &e, e.size, &t->hello, &ignored);
    (void)net_link_progress(t->links[1], 16);
    if (t->hello && (w.test(w.arg, t->hello, &done, &size, &ignored) || done)) {
        t->hello = NULL;
        t->introduced = true;
    }
    while (t->introduced && t->at < t->end && (t->at[0] == 255 || t->stamp) && message_send(t))
        ;
}

static uint64_t talk_now(void *arg)
{
    struct talk *t = arg;

    false_rank_step(t);
    return t->clock += t->introduced;
}

static NRT_STATUS exchange(void *arg, const void *mine, size_t size, void *all, struct err *err)
{
    struct talk *t = arg;
    uint8_t *other = (uint8_t *)all + size;
    const uint32_t one = 1;

    (void)err;
    memcpy(all, mine, size);
    memcpy(other, mine, size);
    if (size > 16 && t->card) { /* the first: magic, version, rank, ... (comm.c) */
        memcpy(other + 12, &one, sizeof(one));
        for (size_t i = 0; i < t->card_size && i < size; i++)
            other[i] ^= t->card[i];
    }
    t->card = NULL;
    return NRT_SUCCESS;
}

/* ---- the real rank ---- */

static struct device_instance *in_;
static struct topo_group two;

static void instance_end(void)
{
    char name[32];
    struct device_config cfg = {.name = name};
    bool removed;

    snprintf(name, sizeof(name), "fuzz-cn-%d", (int)getpid());
    topo_group_fini(&two);
    device_instance_close(in_);
    device_instance_reset(&cfg, true, &removed, NULL);
}

static void instance_begin(void)
{
    char name[32];
    struct device_config cfg = {.name = name, .type = "trn2.48xlarge"};

    if (in_)
        return;
    snprintf(name, sizeof(name), "fuzz-cn-%d", (int)getpid());
    if (device_instance_open(&cfg, &in_, NULL) != NRT_SUCCESS)
        abort();
    two = group_of(1);
    atexit(instance_end);
}

/* Two ranks can talk only where libfabric is; the exit code says that this did not run. */
static void network_missing(const struct err *err)
{
    if (dlopen("libfabric.so.1", RTLD_NOW | RTLD_LOCAL))
        abort();
    fprintf(stderr, "NOT RUN: %s\n", err->text);
    exit(77);
}

static void links_open(struct talk *t)
{
    struct err err = {0};

    for (uint32_t i = 0; i < 2; i++) {
        struct net_link_config cfg = {.rank = i, .world = 2};

        if (net_link_open(&cfg, &t->links[i], &err))
            network_missing(&err);
    }
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t address[NET_ADDRESS_MAX];
        size_t size = net_link_address(t->links[1 - i], address);

        if (net_link_peer(t->links[i], 1 - i, address, size, &err))
            abort();
    }
}

static void failed_well(NRT_STATUS st, const struct err *err)
{
    if (st == NRT_SUCCESS || err->text[0] == 0)
        abort();
}

static uint8_t *tensor(struct device_extent *x, uint64_t *ret)
{
    struct device_alloc a = {
        .neff = DEVICE_NONE, .cat = DEVICE_CAT_TENSOR, .size = ELEMS * sizeof(float) + 2 * AROUND};
    struct err err = {0};
    void *p;

    if (device_alloc(in_, &a, x, &err) || device_map(in_, x->addr, a.size, DEVICE_RW, &p, &err))
        abort();
    memset(p, 0x5a, a.size);
    *ret = x->addr + AROUND;
    return p;
}

static void around_check(const uint8_t *p)
{
    for (uint32_t i = 0; i < AROUND; i++)
        if (p[i] != 0x5a || p[AROUND + ELEMS * sizeof(float) + i] != 0x5a)
            abort();
}

/* An operation, until it ends, or nothing more comes and the link is said to be lost. */
static void operate(struct talk *t, struct coll_comm *c, struct coll_plan *plan)
{
    struct device_extent x, y;
    uint64_t in, out;
    uint8_t *px = tensor(&x, &in), *py = tensor(&y, &out);
    enum coll_state state = COLL_MOVED;
    struct err err = {0};

    t->stamp = (uint16_t)(plan->signature ^ plan->signature >> 16);
    if (coll_begin(plan, &in, &out, &err)) {
        failed_well(err.status, &err);
    } else {
        for (unsigned i = 0; i < ROUNDS && (state == COLL_MOVED || state == COLL_BLOCKED); i++) {
            false_rank_step(t);
            state = coll_progress(c, 256);
        }
        if (state == COLL_MOVED || state == COLL_BLOCKED)
            net_link_lose(t->links[0], 1, "nothing more comes");
        while (state == COLL_MOVED || state == COLL_BLOCKED)
            state = coll_progress(c, 256);
        if (state == COLL_FAILED)
            failed_well(c->status, &c->err);
    }
    around_check(px);
    around_check(py);
    (void)device_free(in_, &x, &err);
    (void)device_free(in_, &y, &err);
}

static void work(struct talk *t, struct coll_comm *c)
{
    uint64_t count = ELEMS;
    struct sched_request req = {.op = SCHED_ALL_REDUCE,
                                .alg = SCHED_MESH_ONE,
                                .group = &two,
                                .tensors = 1,
                                .counts = &count,
                                .elem_size = sizeof(float)};
    struct coll_plan *plan = NULL;
    struct sched *s = NULL;
    struct err err = {0};

    if (sched_create(&req, &s, &err))
        abort();
    if (coll_plan_create(c, s, DT_FP32, KERNEL_COMBINE_SUM, &plan, &err))
        failed_well(err.status, &err);
    else
        operate(t, c, plan);
    coll_plan_destroy(plan);
    sched_destroy(s);
}

static void converse(const uint8_t *data, size_t size)
{
    struct talk t = {.card = data + 1, .card_size = size ? data[0] : 0, .end = data + size};
    struct coll_comm *c = NULL;
    struct err err = {0};

    if (size == 0)
        return;
    if (t.card_size > size - 1)
        t.card_size = size - 1;
    t.at = t.card + t.card_size;
    instance_begin();
    links_open(&t);
    struct coll_config cfg = {.in = in_,
                              .group = &two,
                              .exchange = {&t, exchange},
                              .link = t.links[0],
                              .timeout_ns = TICKS,
                              .now = talk_now,
                              .now_arg = &t};

    if (coll_comm_open(&cfg, &c, &err))
        failed_well(err.status, &err);
    else
        work(&t, c);
    net_link_give_up(t.links[0]);
    net_link_give_up(t.links[1]);
    coll_comm_close(c);
    for (unsigned i = 0; i < 2; i++) /* what was sent lies in the input, which goes now */
        net_link_close(t.links[1 - i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == 0)
        parse(data + 1, size - 1);
    else if (size > 0 && size < 16384)
        converse(data + 1, size - 1);
    return 0;
}
