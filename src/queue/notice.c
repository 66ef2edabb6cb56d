/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for a completion: descriptors that poll, and threads, which wait until the request has
 * been told of as well. A notice is put into the list, and `waiting` raised, before `completed` is
 * read again; a worker raises `completed` before it reads `waiting`. So either the notice finds the
 * request complete, or the worker finds the notice; the same with `finished`.
 *
 * The caller may close its descriptor at any time, and the number may then be somebody else's: the
 * worker writes to a duplicate of its own. It gives the lock back meanwhile, since who is woken by
 * that often runs at once, in its place, and asks for the next handle. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "queue/queue_int.h"

static void readable(int fd)
{
    const uint64_t one = 1;
    ssize_t n;

    do /* the counter has room for it: nobody else writes */
        n = write(fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
}

/* All below: under the queue's lock. */

/* Takes out of the list the descriptors whose request is complete. */
static struct queue_notice *fds_due(struct queue *q, uint64_t completed)
{
    struct queue_notice **at = &q->notices, *due = NULL, *n;

    while ((n = *at)) {
        if (n->fd < 0 || n->num > completed) {
            at = &n->next;
            continue;
        }
        *at = n->next;
        n->next = due;
        due = n;
        atomic_fetch_sub(&q->waiting, 1);
    }
    return due;
}

static void threads_tell(struct queue *q, uint64_t completed)
{
    uint64_t finished = atomic_load(&q->finished);
    struct queue_notice **at = &q->notices, *n;
    bool any = false;

    /* Of what nobody is told, `finished` is raised first. Who has waited finds it complete. */
    if (finished > completed)
        finished = completed;
    while ((n = *at)) {
        if (n->fd >= 0 || n->num > finished) {
            at = &n->next;
            continue;
        }
        *at = n->next;
        atomic_fetch_sub(&q->waiting, 1);
        *n->told = true; /* n is on the stack of that thread, which has the lock next */
        any = true;
    }
    if (any)
        run_word_post(&q->moved);
}

/* Gives the lock back meanwhile. Threads are told of no more than descriptors were, by the last who
 * writes to some: they find those readable. */
static void tell(struct queue *q)
{
    uint64_t completed;
    struct queue_notice *n, *next;

    while ((n = fds_due(q, completed = atomic_load(&q->completed)))) {
        q->telling++;
        pthread_mutex_unlock(&q->lock);
        QUEUE_STEP();
        for (; n; n = next) {
            next = n->next;
            readable(n->fd);
            close(n->fd);
            mem_free(n);
        }
        pthread_mutex_lock(&q->lock);
        q->telling--;
    }
    if (q->telling == 0)
        threads_tell(q, completed);
}

void queue_notices_tell(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    tell(q);
    pthread_mutex_unlock(&q->lock);
}

static void notice_add(struct queue *q, struct queue_notice *n)
{
    n->next = q->notices;
    q->notices = n;
    atomic_fetch_add(&q->waiting, 1);
    QUEUE_STEP();
    tell(q); /* it may be over */
}

/* A descriptor of ours for the same counter. */
static int duplicate(int fd)
{
    return fault_hit(FAULT_FILE) ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

NRT_STATUS queue_notice_fd(struct queue_set *s, uint64_t seq, int *ret_fd, struct err *err)
{
    uint64_t num;
    struct queue *q = queue_of(s, seq, &num);
    struct queue_notice *n;
    int fd, e;

    if (!q)
        return err_set(err, NRT_INVALID, "no request has sequence %#llx", (unsigned long long)seq);
    fd = fault_hit(FAULT_FILE) ? -1 : fd_keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (fd < 0)
        return err_set(err, NRT_RESOURCE, "no descriptor for a completion: %s", strerror(errno));
    if (atomic_load(&q->completed) >= num) {
        readable(fd);
        *ret_fd = fd;
        return NRT_SUCCESS;
    }
    n = mem_zalloc(sizeof(*n));
    if (!n) {
        close(fd);
        return err_set(err, NRT_RESOURCE, "no host memory for a completion handle");
    }
    n->num = num;
    n->fd = duplicate(fd);
    if (n->fd < 0) {
        e = errno;
        close(fd);
        mem_free(n);
        return err_set(err, NRT_RESOURCE, "no descriptor for a completion: %s", strerror(e));
    }
    pthread_mutex_lock(&q->lock);
    notice_add(q, n);
    pthread_mutex_unlock(&q->lock);
    *ret_fd = fd;
    return NRT_SUCCESS;
}

void queue_wait(struct queue *q)
{
    bool told = false;
    struct queue_notice n = {
        .num = atomic_load(&q->issued) & QUEUE_NUM_MAX, .fd = -1, .told = &told};

    pthread_mutex_lock(&q->lock);
    notice_add(q, &n);
    while (!told) {
        uint32_t seen = run_word_load(&q->moved);

        pthread_mutex_unlock(&q->lock);
        run_wait(&q->moved, seen, RUN_FOREVER, NULL);
        pthread_mutex_lock(&q->lock);
    }
    pthread_mutex_unlock(&q->lock);
}

void queue_drain(struct queue_set *s, uint32_t core, enum queue_kind kind, unsigned queue)
{
    struct queue *q = queue_find(s, core, kind, queue);

    if (q)
        queue_wait(q);
}
