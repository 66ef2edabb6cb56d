/* SPDX-License-Identifier: Apache-2.0 */
/* A connection as a stream of frames. The input buffer grows with the bytes that have come, never
 * with what a header promises; the output is a list of frames that connections share. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "net/net_int.h"

#define IN_START 4096u
#define IN_STEP  262144u /* read at once */

void conn_init(struct conn *c, int fd, size_t limit)
{
    memset(c, 0, sizeof(*c));
    c->fd = fd;
    c->limit = limit;
}

static void drop_out(struct conn *c)
{
    while (c->out != NULL) {
        struct conn_out *o = c->out;

        c->out = o->next;
        frame_drop(o->f);
        mem_free(o);
    }
    c->out_last = NULL;
    c->out_sent = 0;
}

void conn_fini(struct conn *c)
{
    drop_out(c);
    mem_free(c->spare);
    c->spare = NULL;
    mem_free(c->in);
    c->in = NULL;
    c->in_len = c->in_cap = c->in_used = 0;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void conn_end(struct conn *c, int error)
{
    if (!c->ended)
        c->error = error;
    c->ended = true;
}

static void frame_done(struct conn *c)
{
    struct conn_out *o = c->out;

    c->out = o->next;
    if (c->out == NULL)
        c->out_last = NULL;
    c->out_sent = 0;
    frame_drop(o->f);
    mem_free(o);
}

void conn_flush(struct conn *c)
{
    while (c->out != NULL && c->fd >= 0) {
        const struct frame *f = c->out->f;
        ssize_t n =
            send(c->fd, f->bytes + c->out_sent, f->len - c->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) {
            /* What the other side said before it went is still to be read; the read will see the
             * end. */
            drop_out(c);
            return;
        }
        c->out_sent += (size_t)n;
        if (c->out_sent == f->len)
            frame_done(c);
    }
}

bool conn_reserve_out(struct conn *c)
{
    if (c->spare == NULL)
        c->spare = mem_alloc(sizeof(*c->spare));
    return c->spare != NULL;
}

bool conn_reserve_in(struct conn *c, size_t frame)
{
    return mem_grow((void **)&c->in, &c->in_cap, frame, 1);
}

bool conn_send(struct conn *c, struct frame *f)
{
    struct conn_out *o;

    if (f == NULL || !conn_reserve_out(c)) {
        frame_drop(f);
        return false;
    }
    o = c->spare;
    c->spare = NULL;
    *o = (struct conn_out){.f = f};
    if (c->out_last != NULL)
        c->out_last->next = o;
    else
        c->out = o;
    c->out_last = o;
    if (c->out == o)
        conn_flush(c);
    return true;
}

NRT_STATUS conn_read(struct conn *c, struct err *err)
{
    size_t want = c->in_len < IN_START ? IN_START : c->in_len + IN_STEP;
    ssize_t n;

    if (c->ended || c->fd < 0)
        return NRT_SUCCESS;
    if (want > c->limit)
        want = c->limit;
    if (c->in_len >= want)
        return NRT_SUCCESS; /* messages that nobody has looked at yet; receiving 0 bytes is no end
                             */
    if (want > c->in_cap && !mem_grow((void **)&c->in, &c->in_cap, want, 1) &&
        c->in_len == c->in_cap) /* else what there is room for is read */
        return err_set(err, NRT_RESOURCE, "out of memory for a message of the bootstrap");
    do
        n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        c->in_len += (size_t)n;
    else if (n == 0)
        conn_end(c, 0);
    else if (errno != EAGAIN && errno != EWOULDBLOCK)
        conn_end(c, errno);
    return NRT_SUCCESS;
}

static void drop_used(struct conn *c)
{
    if (c->in_used == 0)
        return;
    c->in_len -= c->in_used;
    memmove(c->in, c->in + c->in_used, c->in_len);
    c->in_used = 0;
}

NRT_STATUS conn_next(struct conn *c, struct msg *ret, bool *ret_have, struct err *err)
{
    size_t total;
    NRT_STATUS st;

    *ret_have = false;
    drop_used(c);
    st = msg_frame_size(c->in, c->in_len, c->limit, &total, err);
    if (st != NRT_SUCCESS || total == 0 || total > c->in_len)
        return st;
    c->in_used = total;
    *ret_have = true;
    return msg_parse(c->in, total, ret, err);
}

size_t conn_take(struct conn *c, void *p, size_t n)
{
    ssize_t got;

    drop_used(c);
    if (c->in_len > 0) {
        if (n > c->in_len)
            n = c->in_len;
        memcpy(p, c->in, n);
        c->in_used = n;
        drop_used(c);
        return n;
    }
    if (c->ended || n == 0)
        return 0;
    do
        got = recv(c->fd, p, n, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got > 0)
        return (size_t)got;
    if (got == 0)
        conn_end(c, 0);
    else if (errno != EAGAIN && errno != EWOULDBLOCK)
        conn_end(c, errno);
    return 0;
}

size_t conn_give(struct conn *c, const void *p, size_t n)
{
    ssize_t sent;

    if (c->out != NULL || n == 0)
        return 0;
    do
        sent = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent > 0 ? (size_t)sent : 0; /* an error: as in conn_flush, the read will see the end */
}

static void set_int(int fd, int level, int name, int value)
{
    /* A socket that refuses one of these works without. */
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

void conn_tune(int fd, uint64_t dead_ms)
{
    int part = (int)(dead_ms / 4000);

    if (part < 1)
        part = 1;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, part);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, part);
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)dead_ms);
}
