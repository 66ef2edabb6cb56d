/* SPDX-License-Identifier: Apache-2.0 */
/* A capture while it runs, and its files. */
#include "diag/inspect.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "device/device.h"
#include "device/hostmem.h"
#include "diag/pb.h"
#include "diag/profile.h"
#include "model/model.h"
#include "run/run.h"

#define PATH_BYTES  1024
#define SAMPLE_NS   500000000u
#define SAMPLES_MAX (1u << 20)

struct sample {
    uint64_t ns; /* time of day */
    uint64_t user_us, system_us;
    uint64_t resident, available; /* bytes */
};

struct inspect {
    struct inspect_host h;
    pthread_mutex_t lock; /* starting and stopping */
    _Atomic bool on;
    struct inspect_config c; /* dir is not used: folder */
    char folder[PATH_BYTES];
    uint64_t start_ns;
    pthread_t thread;
    bool threaded;
    sem_t wake;
    _Atomic bool quit;
    _Atomic int sig; /* that came; 0: none */
    pthread_mutex_t samples_lock;
    struct sample *samples;
    size_t sample_count, sample_cap;
};

static bool has(const struct inspect *i, enum inspect_activity a)
{
    return i->c.enable && i->c.activities >> a & 1;
}

static uint64_t day_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- samples ---- */

/* Bytes of this process in the host's memory; 0: not known. */
static uint64_t resident(void)
{
    static const char label[] = "VmRSS:";
    char line[256];
    unsigned long long kb = 0;
    FILE *f = fopen("/proc/self/status", "re");

    while (f && kb == 0 && fgets(line, sizeof(line), f))
        if (strncmp(line, label, strlen(label)) == 0)
            (void)sscanf(line + strlen(label), "%llu", &kb);
    if (f)
        fclose(f);
    return kb * 1024;
}

static void sample_take(struct inspect *i)
{
    struct rusage u = {0};
    struct host_room room;
    struct sample s = {.ns = day_ns()};

    getrusage(RUSAGE_SELF, &u);
    s.user_us = (uint64_t)u.ru_utime.tv_sec * 1000000u + (uint64_t)u.ru_utime.tv_usec;
    s.system_us = (uint64_t)u.ru_stime.tv_sec * 1000000u + (uint64_t)u.ru_stime.tv_usec;
    if (has(i, INSPECT_HOST_MEMORY)) {
        s.resident = resident();
        host_room_get(i->h.in, &room);
        s.available = room.mem_avail;
    }
    pthread_mutex_lock(&i->samples_lock);
    if (i->sample_count < SAMPLES_MAX &&
        mem_grow((void **)&i->samples, &i->sample_cap, i->sample_count + 1, sizeof(s)))
        i->samples[i->sample_count++] = s;
    pthread_mutex_unlock(&i->samples_lock);
}

static void samples_drop(struct inspect *i)
{
    mem_free(i->samples);
    i->samples = NULL;
    i->sample_count = i->sample_cap = 0;
}

/* ---- files ---- */

static bool file_put(struct inspect *i, const char *name, const struct strbuf *b, struct err *err)
{
    char path[PATH_BYTES + 32];

    snprintf(path, sizeof(path), "%s/%s", i->folder, name);
    if (b->failed)
        err_set(err, NRT_RESOURCE, "no host memory for %s", path);
    else if (!fd_file_write(path, b->s ? b->s : "", b->len, false))
        err_set(err, NRT_FAILURE, "%s: %s", path, strerror(errno));
    else
        return true;
    return false;
}

static void event_put(struct strbuf *out, struct trace *t, const struct trace_event *e,
                      uint32_t core, struct strbuf *text)
{
    struct strbuf m = {0};

    text->len = 0;
    trace_event_json(t, e, core, text);
    pb_text(&m, 1, trace_type_name((enum trace_type)e->type));
    pb_uint(&m, 2, e->phase);
    pb_uint(&m, 3, e->tracking);
    pb_uint(&m, 4, e->ns + t->epoch_ns);
    if (core != TRACE_NO_CORE)
        pb_uint(&m, 5, core);
    pb_uint(&m, 6, e->tid);
    pb_text(&m, 7, text->s ? text->s : "");
    pb_message(out, 1, &m);
    strbuf_fini(&m);
}

static void trace_write(struct inspect *i, struct err *err)
{
    struct strbuf out = {0}, text = {0};
    struct trace_batch b;

    if (trace_look(i->h.trace, TRACE_BY_INSPECT, &b, err) != NRT_SUCCESS)
        return;
    for (uint64_t k = 0; k < b.count; k++)
        event_put(&out, i->h.trace, &b.ev[k], b.core[k], &text);
    pb_uint(&out, 2, b.stored);
    pb_uint(&out, 3, b.dropped);
    if (b.dropped > 0)
        LOGW(i->h.log, LOG_NRT, "nrt_inspect_stop",
             "%llu trace events were dropped during capture (stored %llu out of %llu total events)",
             (unsigned long long)b.dropped, (unsigned long long)(b.stored - b.dropped),
             (unsigned long long)b.stored);
    file_put(i, "ntrace.pb", &out, err);
    strbuf_fini(&text);
    strbuf_fini(&out);
    trace_batch_fini(&b);
}

static void info_write(struct inspect *i, struct err *err)
{
    struct strbuf out = {0};
    char id[128];

    snprintf(id, sizeof(id), "opennrt-%s", device_instance_name(i->h.in));
    pb_text(&out, 1, id);
    pb_uint(&out, 2, (uint64_t)getpid());
    pb_uint(&out, 3, (uint64_t)(int64_t)i->c.session);
    pb_uint(&out, 4, i->start_ns);
    pb_uint(&out, 5, day_ns());
    pb_uint(&out, 6, i->h.first_vnc);
    pb_uint(&out, 7, i->h.vnc_count);
    for (unsigned a = 0; a < INSPECT_ACTIVITIES; a++)
        if (has(i, (enum inspect_activity)a))
            pb_text(&out, 8, inspect_activity_name((enum inspect_activity)a));
    pb_text(&out, 9, device_topo(i->h.in)->name);
    file_put(i, "trace_info.pb", &out, err);
    strbuf_fini(&out);
}

static void samples_write(struct inspect *i, bool cpu, struct err *err)
{
    struct strbuf out = {0}, m = {0};

    pthread_mutex_lock(&i->samples_lock);
    for (size_t k = 0; k < i->sample_count; k++) {
        const struct sample *s = &i->samples[k];

        pb_uint(&m, 1, s->ns);
        pb_uint(&m, 2, cpu ? s->user_us : s->resident);
        pb_uint(&m, 3, cpu ? s->system_us : s->available);
        pb_message(&out, 1, &m);
    }
    pthread_mutex_unlock(&i->samples_lock);
    if (cpu)
        pb_uint(&out, 2, run_cpu_count());
    file_put(i, cpu ? "cpu_util.pb" : "host_mem.pb", &out, err);
    strbuf_fini(&m);
    strbuf_fini(&out);
}

void inspect_loaded(struct inspect *i, const struct model *m, const void *neff, size_t size)
{
    char path[PATH_BYTES + 64], hash[PROFILER_HASH_TEXT];

    pthread_mutex_lock(&i->lock);
    if (atomic_load(&i->on)) {
        profiler_hash_text(model_hash(m), hash);
        snprintf(path, sizeof(path), "%s/neff_%s.neff", i->folder, hash);
        if (!fd_file_write(path, neff, size, true) && errno != EEXIST)
            LOGE(i->h.log, LOG_NRT, "nrt_load", "%s: %s", path, strerror(errno));
    }
    pthread_mutex_unlock(&i->lock);
}

/* ---- the end ---- */

/* Everything but the thread; the lock is held. */
static NRT_STATUS finish(struct inspect *i, enum inspect_end how, struct err *err)
{
    struct err ignored = {0};

    if (has(i, INSPECT_CPU) || has(i, INSPECT_HOST_MEMORY))
        sample_take(i);
    if (has(i, INSPECT_SYSTEM))
        trace_write(i, err);
    (void)profiler_capture_write(i->h.profiler, err);
    if (has(i, INSPECT_CPU))
        samples_write(i, true, err);
    if (has(i, INSPECT_HOST_MEMORY))
        samples_write(i, false, err);
    info_write(i, err);
    if (err->status != NRT_SUCCESS && how == INSPECT_STOP)
        return err->status;
    atomic_store(&i->on, false);
    if (has(i, INSPECT_SYSTEM))
        (void)trace_stop(i->h.trace, TRACE_BY_INSPECT, &ignored);
    profiler_capture_stop(i->h.profiler, how != INSPECT_EXIT);
    samples_drop(i);
    return err->status;
}

static void thread_end(struct inspect *i)
{
    if (!i->threaded)
        return;
    atomic_store(&i->quit, true);
    sem_post(&i->wake);
    pthread_join(i->thread, NULL);
    i->threaded = false;
}

NRT_STATUS inspect_stop(struct inspect *i, enum inspect_end how, struct err *err)
{
    NRT_STATUS status = NRT_SUCCESS;

    pthread_mutex_lock(&i->lock);
    if (atomic_load(&i->on))
        status = finish(i, how, err);
    pthread_mutex_unlock(&i->lock);
    if (!atomic_load(&i->on))
        thread_end(i); /* it may be waiting for the lock, to do the same for a signal */
    return status;
}

/* ---- the thread ---- */

static void *thread_main(void *arg)
{
    struct inspect *i = arg;

    for (;;) {
        struct timespec until;
        int sig;

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += SAMPLE_NS;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        while (sem_timedwait(&i->wake, &until) != 0 && errno == EINTR)
            ;
        sig = atomic_exchange(&i->sig, 0);
        if (sig != 0) {
            struct err err = {0};

            pthread_mutex_lock(&i->lock);
            if (atomic_load(&i->on) && finish(i, INSPECT_EXIT, &err) != NRT_SUCCESS)
                LOGE(i->h.log, LOG_NRT, "nrt_inspect_stop", "%s", err.text);
            pthread_mutex_unlock(&i->lock);
            i->h.resume(sig);
            profiler_capture_stop(i->h.profiler, true); /* the program has survived it */
        }
        if (atomic_load(&i->quit))
            return NULL;
        if (atomic_load(&i->on) && (has(i, INSPECT_CPU) || has(i, INSPECT_HOST_MEMORY)))
            sample_take(i);
    }
}

void inspect_signal(struct inspect *i, int sig)
{
    atomic_store(&i->sig, sig);
    sem_post(&i->wake);
}

int inspect_signal_left(struct inspect *i)
{
    return atomic_exchange(&i->sig, 0);
}

/* ---- the start ---- */

static NRT_STATUS folder_make(struct inspect *i, const struct inspect_config *c, struct err *err)
{
    int n = snprintf(i->folder, sizeof(i->folder), "%s/opennrt-%s_pid_%d",
                     c->dir ? c->dir : INSPECT_DIR, device_instance_name(i->h.in), (int)getpid());

    if (n < 0 || (size_t)n >= sizeof(i->folder))
        return err_set(err, NRT_FAILURE, "the folder's name is too long");
    if (!fd_folders_make(i->folder))
        return err_set(err, NRT_FAILURE, "%s: %s", i->folder, strerror(errno));
    return NRT_SUCCESS;
}

static NRT_STATUS devices_start(struct inspect *i, struct err *err)
{
    unsigned what = i->c.on_fail ? PROFILER_ON_FAIL : 0;

    if (has(i, INSPECT_DEVICE))
        what |= i->c.whole_session ? PROFILER_SESSION : PROFILER_MODELS;
    return what ? profiler_capture_start(i->h.profiler, what, i->folder, i->c.session, err)
                : NRT_SUCCESS;
}

NRT_STATUS inspect_start(struct inspect *i, const struct inspect_config *c, struct err *err)
{
    struct err ignored = {0};
    NRT_STATUS status;

    if (atomic_load(&i->on))
        return err_set(err, NRT_FAILURE, "a capture is on already");
    if (!c->enable && !c->on_fail)
        return NRT_SUCCESS;
    thread_end(i); /* of a capture that a signal has ended */
    pthread_mutex_lock(&i->lock);
    i->c = *c;
    i->c.dir = NULL;
    status = folder_make(i, c, err);
    if (status != NRT_SUCCESS)
        goto out_unlock;
    i->start_ns = day_ns();
    if (has(i, INSPECT_SYSTEM))
        status = trace_start(i->h.trace, TRACE_BY_INSPECT, &c->trace, err);
    if (status != NRT_SUCCESS)
        goto out_unlock;
    status = devices_start(i, err);
    if (status != NRT_SUCCESS)
        goto out_trace;
    atomic_store(&i->quit, false);
    if (has(i, INSPECT_CPU) || has(i, INSPECT_HOST_MEMORY))
        sample_take(i);
    atomic_store(&i->on, true);
    status = run_thread_start(&i->thread, thread_main, i, "nrt-inspect", err);
    i->threaded = status == NRT_SUCCESS;
    if (status == NRT_SUCCESS)
        goto out_unlock;
    atomic_store(&i->on, false);
    samples_drop(i);
    profiler_capture_stop(i->h.profiler, true);

out_trace:
    if (has(i, INSPECT_SYSTEM))
        (void)trace_stop(i->h.trace, TRACE_BY_INSPECT, &ignored);
out_unlock:
    pthread_mutex_unlock(&i->lock);
    return status;
}

bool inspect_on(const struct inspect *i)
{
    return atomic_load(&i->on);
}

NRT_STATUS inspect_create(const struct inspect_host *h, struct inspect **ret, struct err *err)
{
    struct inspect *i = mem_zalloc(sizeof(*i));

    if (!i)
        return err_set(err, NRT_RESOURCE, "no host memory for captures");
    i->h = *h;
    pthread_mutex_init(&i->lock, NULL);
    pthread_mutex_init(&i->samples_lock, NULL);
    sem_init(&i->wake, 0, 0);
    *ret = i;
    return NRT_SUCCESS;
}

void inspect_destroy(struct inspect *i)
{
    if (!i)
        return;
    thread_end(i);
    mem_free(i->samples);
    sem_destroy(&i->wake);
    pthread_mutex_destroy(&i->samples_lock);
    pthread_mutex_destroy(&i->lock);
    mem_free(i);
}
