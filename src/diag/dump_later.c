/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of neuron-dump that nobody waits for. A process that attaches after many have died would
 * else stand in nrt_init until the last of them is described; their files are there by then, and
 * neuron-dump adds nothing of theirs to those. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "diag/dump_int.h"
#include "run/run.h"

struct dump_run {
    struct dump_run *next;
    struct dump d;
    struct dump_config cfg; /* of d */
};

/* The next one; NULL: there is none, and the thread ends. */
static struct dump_run *next(struct dump_later *l)
{
    struct dump_run *r;

    pthread_mutex_lock(&l->lock);
    r = l->first;
    if (r)
        l->first = r->next;
    else
        l->running = false;
    pthread_mutex_unlock(&l->lock);
    return r;
}

static void *thread_main(void *arg)
{
    struct dump_later *l = arg;
    struct dump_run *r;

    while ((r = next(l))) {
        dump_tool(&r->d);
        mem_free(r);
    }
    return NULL;
}

/* The lock is held, and nothing runs. */
static bool start(struct dump_later *l)
{
    struct err err = {0};

    if (l->joinable)
        pthread_join(l->thread, NULL); /* it has ended, or is about to without the lock */
    l->running = run_thread_start(&l->thread, thread_main, l, "nrt-dumps", &err) == NRT_SUCCESS;
    l->joinable = l->running;
    return l->running;
}

static bool put(struct dump_later *l, struct dump_run *r)
{
    struct dump_run **at = &l->first;
    bool ok;

    pthread_mutex_lock(&l->lock);
    while (*at)
        at = &(*at)->next;
    *at = r;
    ok = l->running || start(l);
    if (!ok)
        *at = NULL;
    pthread_mutex_unlock(&l->lock);
    return ok;
}

void dump_tool_later(struct dump *d)
{
    struct dump_run *r = d->cfg->later ? mem_alloc(sizeof(*r)) : NULL;

    if (r) {
        r->next = NULL;
        r->cfg = *d->cfg;
        r->d = *d;
        r->d.cfg = &r->cfg;
        r->d.text = NULL; /* what is borrowed and not for neuron-dump */
        r->d.dir_fd = -1;
    }
    if (r && put(d->cfg->later, r))
        return;
    mem_free(r);
    dump_tool(d);
}

void dump_later_wait(struct dump_later *l)
{
    pthread_mutex_lock(&l->lock);
    while (l->joinable) {
        pthread_t t = l->thread; /* a later one may be started while this one is joined */

        l->joinable = false;
        pthread_mutex_unlock(&l->lock);
        pthread_join(t, NULL);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
}

void dump_later_forget(struct dump_later *l)
{
    *l = (struct dump_later)DUMP_LATER_INIT;
}
