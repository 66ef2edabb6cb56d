/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTP/1.1 server: one thread, clients that may be slow, hostile or gone. A connection has
 * one request and one answer; a client that has not finished in time makes room for the next. */
#include "neuron-monitor/prometheus.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX  16
#define REQUEST_MAX  8192
#define CLIENT_NS    UINT64_C(10000000000)
#define CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct client {
    int fd; /* -1: none */
    uint64_t since_ns;
    char request[REQUEST_MAX + 1];
    size_t got;
    struct strbuf answer; /* s NULL: the request is being read */
    size_t sent;
};

struct server {
    struct view *v;
    const struct mon_config *c;
    struct sample *base, *last; /* what rates are measured from; the newest */
    double period;
    int listener;
    struct client client[CLIENTS_MAX];
};

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- the answer ---- */

static double shortest(const struct mon_config *c)
{
    double p = MON_PERIOD_MAX;

    for (size_t r = 0; r < c->runtime_count; r++)
        for (unsigned g = 0; g < MON_APP_COUNT; g++)
            p = c->runtime[r].period[g] > 0 && c->runtime[r].period[g] < p ? c->runtime[r].period[g]
                                                                           : p;
    for (unsigned g = MON_VCPU; g < MON_GROUP_COUNT; g++)
        p = c->period[g] > 0 && c->period[g] < p ? c->period[g] : p;
    return p;
}

static bool metrics(struct server *s, struct strbuf *b)
{
    struct sample *cur = sample_take(s->v);

    if (!cur)
        return false;
    if (rate_seconds(&s->base->snap, &s->last->snap) >= s->period) {
        sample_unref(s->base);
        s->base = sample_ref(s->last);
    }
    prometheus_text(b, s->v, s->c, s->base, cur);
    sample_unref(s->last);
    s->last = cur;
    return !b->failed;
}

static void answer(struct server *s, struct client *k)
{
    struct strbuf body = {0};
    const char *status = "200 OK", *type = CONTENT_TYPE;
    bool head = strncmp(k->request, "HEAD ", 5) == 0;
    const char *path = strchr(k->request, ' ');

    if (strncmp(k->request, "GET ", 4) != 0 && !head) {
        status = "405 Method Not Allowed";
    } else if (path &&
               (strncmp(path, " /metrics ", 10) == 0 || strncmp(path, " /metrics?", 10) == 0)) {
        if (!metrics(s, &body))
            status = "503 Service Unavailable";
    } else if (path && strncmp(path, " / ", 3) == 0) {
        type = "text/html; charset=utf-8";
        strbuf_put(&body, "<html><body><a href=\"/metrics\">metrics</a></body></html>\n");
    } else {
        status = "404 Not Found";
    }
    strbuf_printf(&k->answer,
                  "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                  "Connection: close\r\n\r\n",
                  status, type, body.len);
    if (body.s && !head)
        strbuf_putn(&k->answer, body.s, body.len);
    strbuf_fini(&body);
    k->sent = 0;
}

/* ---- connections ---- */

static void client_close(struct client *k)
{
    close(k->fd);
    strbuf_fini(&k->answer);
    k->fd = -1;
}

static void client_new(struct server *s, int fd)
{
    struct client *k = NULL;

    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (s->client[i].fd < 0)
            k = &s->client[i];
    if (!k) { /* the oldest has had its time */
        k = &s->client[0];
        for (unsigned i = 1; i < CLIENTS_MAX; i++)
            k = s->client[i].since_ns < k->since_ns ? &s->client[i] : k;
        client_close(k);
    }
    memset(k, 0, sizeof(*k));
    k->fd = fd;
    k->since_ns = now_ns();
}

static void client_read(struct server *s, struct client *k)
{
    ssize_t n = read(k->fd, k->request + k->got, REQUEST_MAX - k->got);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_close(k);
        return;
    }
    k->got += (size_t)n;
    k->request[k->got] = '\0';
    if (strstr(k->request, "\r\n\r\n") || strstr(k->request, "\n\n"))
        answer(s, k);
    else if (k->got == REQUEST_MAX || memchr(k->request, 0, k->got))
        client_close(k);
}

static void client_write(struct client *k)
{
    ssize_t n;

    if (k->answer.failed || !k->answer.s) {
        client_close(k);
        return;
    }
    n = send(k->fd, k->answer.s + k->sent, k->answer.len - k->sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0 || (k->sent += (size_t)n) == k->answer.len)
        client_close(k);
}

static void serve_once(struct server *s)
{
    struct pollfd p[CLIENTS_MAX + 1] = {{.fd = s->listener, .events = POLLIN}};
    bool any = false;

    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        const struct client *k = &s->client[i];

        p[i + 1] = (struct pollfd){.fd = k->fd, .events = k->answer.s ? POLLOUT : POLLIN};
        any = any || k->fd >= 0;
    }
    if (poll(p, CLIENTS_MAX + 1, any ? 1000 : -1) < 0)
        return;
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *k = &s->client[i];

        if (k->fd >= 0 && p[i + 1].revents)
            k->answer.s ? client_write(k) : client_read(s, k);
        if (k->fd >= 0 && now_ns() - k->since_ns > CLIENT_NS)
            client_close(k);
    }
    if (p[0].revents) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0)
            client_new(s, fd);
    }
}

static bool server_listen(struct server *s, const char *address, unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;

    if (inet_pton(AF_INET, address, &a.sin_addr) != 1) {
        fprintf(stderr, "neuron-monitor: \"%s\" is no IPv4 address\n", address);
        return false;
    }
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->listener < 0 ||
        setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(s->listener, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(s->listener, 16) != 0) {
        fprintf(stderr, "neuron-monitor: cannot listen at %s port %u: %s\n", address, port,
                strerror(errno));
        return false;
    }
    return true;
}

bool prometheus_serve(struct view *v, const struct mon_config *c, const char *address,
                      unsigned port)
{
    static struct server s;

    s = (struct server){.v = v, .c = c, .period = shortest(c), .listener = -1};
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        s.client[i].fd = -1;
    s.base = sample_take(v);
    s.last = sample_ref(s.base);
    if (s.base && server_listen(&s, address, port))
        for (;;)
            serve_once(&s);
    sample_unref(s.base);
    sample_unref(s.last);
    if (s.listener >= 0)
        close(s.listener);
    return false;
}
