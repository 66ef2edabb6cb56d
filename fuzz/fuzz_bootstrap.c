/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the bootstrap. The first byte chooses: 0, the input is one frame for the parser,
 * whose views are then all read; otherwise it is what a stranger (1) or a false root (2) says to a
 * real rank, byte for byte, over a real socket. Nothing may crash, hang, or read outside. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "net/net_int.h"

static volatile uint8_t sink;

static void touch(const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sink = (uint8_t)(sink ^ ((const uint8_t *)p)[i]);
}

static void touch_text(const struct msg_text *t)
{
    char copy[64];

    touch(t->s, t->n);
    msg_text_copy(copy, sizeof(copy), t);
    if (strlen(copy) > t->n)
        abort();
}

static void touch_u32s(const struct msg_bytes *b)
{
    for (uint32_t i = 0; i < b->n / 4; i++)
        sink = (uint8_t)(sink ^ msg_u32_at(b, i));
}

static void touch_roster(const struct msg_roster *m)
{
    struct msg_member who;
    uint32_t at = 0, n = 0;

    while (msg_roster_next(m, &at, &who)) {
        touch_text(&who.host);
        touch_text(&who.node);
        touch_text(&who.instance);
        touch(who.blob.p, who.blob.n);
        n++;
    }
    if (n != m->world) /* the parser checked it */
        abort();
}

static void touch_message(const struct msg *m)
{
    switch (m->type) {
    case MSG_CHALLENGE:
        touch(m->u.challenge.key_id, MSG_KEY_ID);
        touch(m->u.challenge.nonce, MSG_NONCE);
        touch_text(&m->u.challenge.version);
        break;
    case MSG_JOIN:
        touch(m->u.join.nonce, MSG_NONCE);
        touch(m->u.join.mac, MSG_MAC);
        touch(m->u.join.signed_part.p, m->u.join.signed_part.n);
        touch_text(&m->u.join.version);
        touch_text(&m->u.join.host);
        touch(m->u.join.blob.p, m->u.join.blob.n);
        break;
    case MSG_REJECT:
        touch_text(&m->u.reject.text);
        break;
    case MSG_WELCOME:
        touch(m->u.welcome.mac, MSG_MAC);
        break;
    case MSG_ROSTER:
        touch_roster(&m->u.roster);
        break;
    case MSG_WAITING:
        touch_u32s(&m->u.waiting.ranks);
        break;
    case MSG_OP:
        touch_text(&m->u.op.call);
        touch_u32s(&m->u.op.ranks);
        touch(m->u.op.part.p, m->u.op.part.n);
        break;
    case MSG_RESULT:
        touch_u32s(&m->u.result.sizes);
        touch(m->u.result.parts.p, m->u.result.parts.n);
        break;
    case MSG_FAIL:
        touch_text(&m->u.fail.text);
        break;
    default:
        break;
    }
}

static void parse(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1); /* exact, for the address sanitizer */
    struct err err = {0};
    struct msg m;

    if (copy == NULL)
        abort();
    if (size > 0)
        memcpy(copy, data, size);
    if (msg_parse(copy, size, &m, &err) == NRT_SUCCESS)
        touch_message(&m);
    else if (err.status != NRT_INVALID || err.text[0] == '\0')
        abort();
    free(copy);
}

static uint64_t fuzz_now(void *arg)
{
    return *(uint64_t *)arg;
}

/* A listening socket of ours plays the root for a rank 1; or a socket plays a stranger to a rank 0.
 */
static void converse(const uint8_t *data, size_t size, bool false_root)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    uint64_t clock = 1;
    struct net_job_config cfg = {.world = 2,
                                 .rank = false_root ? 1 : 0,
                                 .key = "fuzz",
                                 .host = "fuzz",
                                 .now = fuzz_now,
                                 .now_arg = &clock,
                                 .close_ms = 1};
    char root[32];
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0), peer = -1;
    struct net_job *job;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&sa, &len) != 0 || (false_root && listen(fd, 1) != 0))
        abort();
    snprintf(root, sizeof(root), "127.0.0.1:%u", ntohs(sa.sin_port));
    cfg.root = root;
    if (net_job_open(&cfg, &job, NULL) != NRT_SUCCESS)
        abort();
    net_job_progress(job, 16);
    if (false_root) {
        peer = accept(fd, NULL, NULL);
    } else {
        peer = socket(AF_INET, SOCK_STREAM, 0);
        if (peer < 0 || connect(peer, (struct sockaddr *)&sa, len) != 0)
            abort();
    }
    net_job_progress(job, 16);
    if (size > 0)
        (void)!send(peer, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    for (int i = 0; i < 4; i++)
        net_job_progress(job, 16);
    close(peer);
    clock += 1000000000ull;
    net_job_progress(job, 16);
    clock += 20000000000ull; /* closing gives up at once */
    net_job_close(job);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 3 == 0)
        parse(data + 1, size - 1);
    else if (size < 16384)
        converse(data + 1, size - 1, data[0] % 3 == 2);
    return 0;
}
