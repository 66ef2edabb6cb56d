/* SPDX-License-Identifier: Apache-2.0 */
/* What comes to the bootstrap port of send and receive, byte for byte, over a real socket. The
 * first byte chooses: 0, a stranger; 1, a sender that has been accepted, to a core with receives
 * under way; 2, a receiver that has accepted, to a core with sends under way. With 3 and 4 the same
 * two ends talk through memory, and the bytes are what their page holds: first it is what a right
 * peer would write, then pieces of it (a place in two bytes, a length in one, the bytes) become
 * what the input says. Nothing may crash, hang, write outside the receives' memory, or keep a
 * transfer without end. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "device/device.h"
#include "net/pair.h"
#include "net/net_int.h"
#include "net/pair_share.h"

#define LIMIT_NS  1000000000u
#define TRANSFERS 3
#define ROOM      64 /* bytes of one transfer, with as many around it */

static struct device_instance *in_;

static void instance_end(void)
{
    char name[32];
    struct device_config cfg = {.name = name};
    bool removed;

    snprintf(name, sizeof(name), "fuzz-sr-%d", (int)getpid());
    device_instance_close(in_);
    device_instance_reset(&cfg, true, &removed, NULL);
}

static void instance_begin(void)
{
    char name[32];
    struct device_config cfg = {.name = name, .type = "trn1.2xlarge"};

    if (in_ != NULL)
        return;
    snprintf(name, sizeof(name), "fuzz-sr-%d", (int)getpid());
    if (device_instance_open(&cfg, &in_, NULL) != NRT_SUCCESS)
        abort();
    atexit(instance_end);
}

static uint64_t fuzz_now(void *arg)
{
    return *(uint64_t *)arg;
}

struct scene {
    struct net_pairs *set;
    struct net_pair *pair;
    struct net_transfer *t[TRANSFERS];
    uint8_t memory[TRANSFERS][3 * ROOM];
    uint64_t clock;
    int listen_fd, fd; /* ours: fd talks to the set */
    uint16_t port;
    bool share;
    struct device_extent mine; /* our page */
    struct share_page *page;
};

static void turns(struct scene *s)
{
    for (int i = 0; i < 6; i++)
        net_pairs_progress(s->set, 64);
}

static int socket_at(uint16_t port, bool listens, uint16_t *ret_port)
{
    struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    if (fd < 0)
        abort();
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (listens ? bind(fd, (struct sockaddr *)&sa, len) != 0 || listen(fd, 1) != 0 ||
                      getsockname(fd, (struct sockaddr *)&sa, &len) != 0
                : connect(fd, (struct sockaddr *)&sa, len) != 0)
        abort();
    if (ret_port != NULL)
        *ret_port = ntohs(sa.sin_port);
    return fd;
}

/* A port that was free a moment ago. */
static void set_open(struct scene *s)
{
    struct net_pairs_config cfg = {.in = in_,
                                   .limit_ns = LIMIT_NS,
                                   .key = NULL,
                                   .key_dirs = {"/tmp"},
                                   .unkeyed = NET_UNKEYED_ALWAYS,
                                   .by_hand = true,
                                   .share = s->share,
                                   .now = fuzz_now,
                                   .now_arg = &s->clock};
    int fd = socket_at(0, true, &cfg.port);

    close(fd);
    s->port = cfg.port;
    if (net_pairs_open(&cfg, &s->set, NULL) != NRT_SUCCESS ||
        net_pairs_listen(s->set, 0, NULL) != NRT_SUCCESS)
        abort();
}

/* So that what is said is there at once. */
static void hurry(int fd)
{
    int one = 1;

    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0)
        abort();
}

/* What our end says, unkeyed, so that no proof is needed. */
static void say(const struct scene *s, const struct msg *m)
{
    struct frame *f = msg_build(m, NULL, NULL);

    if (f == NULL || send(s->fd, f->bytes, f->len, MSG_NOSIGNAL) != (ssize_t)f->len)
        abort();
    frame_drop(f);
}

/* Our page, told of and still without a message. */
static void page_offer(struct scene *s)
{
    struct device_alloc a = {.neff = DEVICE_NONE,
                             .cat = DEVICE_CAT_COLL,
                             .flags = DEVICE_ALLOC_BACK,
                             .size = sizeof(*s->page)};
    struct msg m = {.type = MSG_SHARE};
    void *p;

    if (device_alloc(in_, &a, &s->mine, NULL) != NRT_SUCCESS ||
        device_map(in_, s->mine.addr, sizeof(*s->page), DEVICE_RW, &p, NULL) != NRT_SUCCESS)
        abort();
    s->page = p;
    m.u.share = (struct msg_share){
        .addr = s->mine.addr, .generation = s->mine.generation, .extent = s->mine.index};
    say(s, &m);
}

/* What a right sender or receiver would say of all transfers; messages lie in the page itself. */
static void page_fill(struct scene *s, bool send)
{
    for (unsigned i = 0; i < TRANSFERS && send; i++) {
        struct share_have *e = &s->page->ring.have[i];

        e->size = ROOM - i;
        e->addr = s->mine.addr;
        e->generation = s->mine.generation;
        e->extent = s->mine.index;
        e->how = i == 1 ? SHARE_STAGED : SHARE_DEVICE;
        e->put = ROOM / 2;
        e->number = i + 1;
    }
    for (unsigned i = 0; i < TRANSFERS && !send; i++) {
        s->page->ring.got[i].room = SHARE_TAKEN;
        s->page->ring.got[i].number = i + 1;
    }
}

static void page_change(struct scene *s, const uint8_t *data, size_t size)
{
    while (size >= 4) {
        size_t at = (data[0] | (size_t)data[1] << 8) % sizeof(*s->page), n = data[2];

        data += 3;
        size -= 3;
        n = n < size ? n : size;
        n = n < sizeof(*s->page) - at ? n : sizeof(*s->page) - at;
        memcpy((uint8_t *)s->page + at, data, n);
        data += n;
        size -= n;
        turns(s);
    }
}

static void post(struct scene *s)
{
    for (unsigned i = 0; i < TRANSFERS; i++) {
        struct net_pair_memory m = {.p = s->memory[i] + ROOM, .size = ROOM};

        memset(s->memory[i], 0xa5, sizeof(s->memory[i]));
        if (net_transfer_start(s->pair, &m, &s->t[i], NULL) != NRT_SUCCESS)
            abort();
    }
}

static void connected(struct scene *s)
{
    bool done = false;

    if (s->share)
        page_offer(s);
    turns(s);
    if (net_pair_state(s->pair, &done, NULL) != NRT_SUCCESS || !done)
        abort();
    post(s);
    turns(s);
}

static void be_sender(struct scene *s)
{
    static const uint8_t nonce[MSG_NONCE] = {1};
    struct msg m = {
        .type = MSG_CALL,
        .u.call = {.from = 1,
                   .port = s->port,
                   .unkeyed = 1,
                   .nonce = nonce,
                   .home = {.serial = device_instance_serial(in_), .host = msg_text_of("fuzz")}}};

    if (net_pair_open(s->set, false, "127.0.0.1", 1, 0, &s->pair, NULL) != NRT_SUCCESS)
        abort();
    s->fd = socket_at(s->port, false, NULL);
    hurry(s->fd);
    turns(s);
    say(s, &m);
    connected(s);
}

static void be_receiver(struct scene *s)
{
    static const uint8_t nothing[MSG_NONCE] = {0};
    struct msg challenge = {
        .type = MSG_CHALLENGE,
        .u.challenge = {.key_id = nothing, .nonce = nothing, .version = msg_text_of("fuzz")}};
    struct msg welcome = {.type = MSG_WELCOME};
    struct msg paired = {
        .type = MSG_PAIRED,
        .u.paired = {.serial = device_instance_serial(in_), .host = msg_text_of("fuzz")}};
    char ip[40];
    uint16_t port;

    s->listen_fd = socket_at(0, true, &port);
    snprintf(ip, sizeof(ip), "127.0.0.1:%u", port);
    if (net_pair_open(s->set, true, ip, 0, 0, &s->pair, NULL) != NRT_SUCCESS)
        abort();
    turns(s);
    s->fd = accept(s->listen_fd, NULL, NULL);
    hurry(s->fd);
    say(s, &challenge);
    turns(s);
    say(s, &welcome);
    say(s, &paired);
    connected(s);
}

static void check_and_end(struct scene *s)
{
    struct net_pairs_left left;

    for (unsigned i = 0; s->pair != NULL && i < TRANSFERS; i++) {
        bool done = false;
        uint64_t size = 0;

        if (net_transfer_test(s->t[i], &done, &size, NULL) == NRT_SUCCESS && !done)
            abort(); /* the limit has passed */
        if (done && size > ROOM)
            abort();
        for (unsigned k = 0; k < ROOM; k++) {
            if (s->memory[i][k] != 0xa5 || s->memory[i][2 * ROOM + k] != 0xa5)
                abort();
        }
    }
    net_pairs_leave(s->set, 0, &left);
    if (left.in_flight != 0)
        abort();
    for (unsigned i = 0; i < TRANSFERS; i++)
        net_transfer_free(s->t[i]);
    net_pair_free(s->pair);
    net_pairs_close(s->set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scene s = {.clock = 1, .listen_fd = -1, .fd = -1};

    if (size == 0 || size > 16384)
        return 0;
    instance_begin();
    s.share = data[0] % 5 > 2;
    set_open(&s);
    if (data[0] % 5 == 0)
        s.fd = socket_at(s.port, false, NULL);
    else if (data[0] % 5 % 2 == 1)
        be_sender(&s);
    else
        be_receiver(&s);
    turns(&s);
    if (s.share) {
        page_fill(&s, data[0] % 5 == 3);
        page_change(&s, data + 1, size - 1);
    } else {
        (void)!send(s.fd, data + 1, size - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    turns(&s);
    s.clock += 2 * (uint64_t)LIMIT_NS; /* nothing more comes */
    turns(&s);
    check_and_end(&s);
    if (s.page != NULL)
        (void)device_free(in_, &s.mine, NULL);
    close(s.fd);
    if (s.listen_fd >= 0)
        close(s.listen_fd);
    return 0;
}
