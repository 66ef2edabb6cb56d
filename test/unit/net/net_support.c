/* SPDX-License-Identifier: Apache-2.0 */
#include "net_support.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "run/run.h"
#include "runner.h"

bool port_take(struct port *p, const char *host)
{
    struct sockaddr_storage sa = {0};
    struct sockaddr_in *four = (struct sockaddr_in *)&sa;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&sa;
    bool is_six = strchr(host, ':') != NULL;
    socklen_t len = is_six ? sizeof(*six) : sizeof(*four);
    int one = 1;

    sa.ss_family = is_six ? AF_INET6 : AF_INET;
    inet_pton(sa.ss_family, host, is_six ? (void *)&six->sin6_addr : (void *)&four->sin_addr);
    p->fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0)
        return false;
    setsockopt(p->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(p->fd, (struct sockaddr *)&sa, len) != 0 ||
        getsockname(p->fd, (struct sockaddr *)&sa, &len) != 0) {
        close(p->fd);
        return false;
    }
    p->number = ntohs(is_six ? six->sin6_port : four->sin_port);
    snprintf(p->root, sizeof(p->root), is_six ? "[%s]:%d" : "%s:%d", host, p->number);
    return true;
}

void port_free(struct port *p)
{
    close(p->fd);
}

void folder_make(struct folder *f)
{
    snprintf(f->path, sizeof(f->path), "/tmp/opennrt-net-XXXXXX");
    assert_non_null(mkdtemp(f->path));
}

void folder_remove(struct folder *f)
{
    DIR *d = opendir(f->path);
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d != NULL)
        closedir(d);
    rmdir(f->path);
}

uint64_t clock_now(void *arg)
{
    struct clock *c = arg;

    return c->ns;
}

void ranks_setup(struct ranks *r, uint32_t world)
{
    memset(r, 0, sizeof(*r));
    assert_true(port_take(&r->port, "127.0.0.1"));
    folder_make(&r->folder);
    r->log = log_open_env();
    log_tap_init(&r->tap);
    log_tap_attach(&r->tap, r->log);
    r->cfg = (struct net_job_config){.root = r->port.root,
                                     .world = world,
                                     .key_dirs = {r->folder.path},
                                     .log = r->log,
                                     .report_ms = 20};
}

NRT_STATUS ranks_open(struct ranks *r, uint32_t rank, struct err *err)
{
    struct net_job_config cfg = r->cfg;

    cfg.rank = rank;
    return net_job_open(&cfg, &r->job[rank], err);
}

void ranks_until(struct ranks *r, bool (*done)(void *arg), void *arg)
{
    uint64_t end = run_now_ns() + RUNNER_WAIT_MS * 1000000ull;

    while (!done(arg)) {
        for (uint32_t i = 0; i < RANKS_MAX; i++) {
            if (r->job[i] != NULL)
                net_job_progress(r->job[i], 16);
        }
        if (run_now_ns() > end) {
            log_tap_dump(&r->tap);
            fail_msg("%d ms without the end", RUNNER_WAIT_MS);
        }
    }
}

static bool all_joined(void *arg)
{
    struct ranks *r = arg;

    for (uint32_t i = 0; i < r->cfg.world; i++) {
        struct err err = {0};
        bool joined;

        if (net_job_state(r->job[i], &joined, &err) != NRT_SUCCESS)
            fail_msg("rank %u: %s", i, err.text);
        if (!joined)
            return false;
    }
    return true;
}

void ranks_join(struct ranks *r)
{
    for (uint32_t i = 0; i < r->cfg.world; i++) {
        if (r->job[i] == NULL)
            assert_int_equal(ranks_open(r, i, NULL), NRT_SUCCESS);
    }
    ranks_until(r, all_joined, r);
}

void ranks_teardown(struct ranks *r)
{
    /* The root last, so that everybody leaves in order. */
    for (uint32_t i = RANKS_MAX; i-- > 0;)
        net_job_close(r->job[i]);
    port_free(&r->port);
    folder_remove(&r->folder);
    log_tap_fini(&r->tap);
    log_close(r->log);
}

static bool never(void *arg)
{
    return --*(int *)arg == 0;
}

void ranks_steps(struct ranks *r, int n)
{
    ranks_until(r, never, &n);
}

void ranks_expect_failure(struct ranks *r, uint32_t slot, NRT_STATUS want, const char *text)
{
    struct err err = {0};
    bool joined;

    assert_int_equal(net_job_state(r->job[slot], &joined, &err), want);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
}
