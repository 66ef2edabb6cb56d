/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a profiler, the runs that it looks on at, and models that go. */
#include "diag/profile_int.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/settings.h"

static const struct {
    const char *name;
    unsigned mb;
} bufs[BUF_COUNT] = {
    [BUF_EVENT] = {"NEURON_RT_PROFILE_BUF_EVENT_MB", 64},
    [BUF_DMA] = {"NEURON_RT_PROFILE_BUF_DMA_MB", 128},
    [BUF_THROTTLE] = {"NEURON_RT_PROFILE_BUF_THROTTLE_MB", 64},
    [BUF_CC_INSTRUCTION] = {"NEURON_RT_PROFILE_BUF_CC_CORE_INSTRUCTION_MB", 64},
    [BUF_CC_EVENT] = {"NEURON_RT_PROFILE_BUF_CC_CORE_EVENT_MB", 64},
};
#define BUF_MB_MAX 65536

/* ---- what a run is wanted for ---- */

static struct time_events *run_begin(void *arg, const struct model_seen *s)
{
    struct profiler *p = arg;
    struct core_record *c = &p->cores[s->vnc];
    bool wanted;

    pthread_mutex_lock(&p->lock);
    wanted = c->rec.ev && (p->continuous || profiler_target_of(p, s->model) ||
                           p->capture & (PROFILER_SESSION | PROFILER_ON_FAIL) ||
                           (p->capture & PROFILER_MODELS && !profiler_capture_has(p, s)));
    profile_doc_free(c->kept);
    c->kept = NULL;
    c->seen = false;
    pthread_mutex_unlock(&p->lock);
    if (!wanted)
        return NULL;
    c->rec.count = 0;
    c->rec.dropped = 0;
    return &c->rec;
}

static void run_end(void *arg, const struct model_seen *s, const struct time_events *ev)
{
    struct profiler *p = arg;
    struct core_record *c = &p->cores[s->vnc];
    struct profile_run run;
    struct err err = {0};
    struct target *t;
    bool now;

    pthread_mutex_lock(&p->lock);
    t = profiler_target_of(p, s->model);
    now = t || p->capture & (PROFILER_SESSION | PROFILER_MODELS) ||
          (p->capture & PROFILER_ON_FAIL && s->status != NRT_SUCCESS);
    if (now && profile_run_make(&run, &c->times, s, ev, &err) != NRT_SUCCESS) {
        LOGE(p->cfg.log, LOG_NRT, "nrt_profile", "an execution is not in the profile: %s",
             err.text);
    } else if (now) {
        if (t)
            profile_doc_add(t->doc, &run);
        if (p->capture)
            profiler_capture_run(p, s, &run);
    }
    c->seen = p->continuous;
    c->last = *s;
    pthread_mutex_unlock(&p->lock);
}

/* ---- life ---- */

NRT_STATUS profiler_create(const struct profiler_config *cfg, struct profiler **ret,
                           struct err *err)
{
    struct profiler *p = mem_zalloc(sizeof(*p));

    if (p)
        p->cores = mem_calloc(cfg->vnc_count, sizeof(*p->cores));
    if (!p || !p->cores) {
        mem_free(p);
        return err_set(err, NRT_RESOURCE, "no host memory for the profiler");
    }
    p->cfg = *cfg;
    p->watch = (struct model_watch){.arg = p, .begin = run_begin, .end = run_end};
    for (unsigned i = 0; i < BUF_COUNT; i++)
        p->room[i] = (uint64_t)settings_int(bufs[i].name, bufs[i].mb, 1, BUF_MB_MAX, &cfg->sink)
                     << 20;
    pthread_mutex_init(&p->change, NULL);
    pthread_mutex_init(&p->lock, NULL);
    *ret = p;
    return NRT_SUCCESS;
}

void profiler_destroy(struct profiler *p)
{
    if (!p)
        return;
    if (p->users > 0)
        model_host_watch(p->cfg.host, NULL);
    while (p->targets) {
        struct target *t = p->targets;

        p->targets = t->next;
        profiler_target_free(t);
    }
    profiler_capture_drop(p);
    for (uint32_t i = 0; i < p->cfg.vnc_count; i++)
        profiler_core_drop(p, &p->cores[i]);
    mem_free(p->cores);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->change);
    mem_free(p);
}

void profiler_forget(struct profiler *p, const struct model *m)
{
    struct err err = {0};
    struct target *t;

    pthread_mutex_lock(&p->change);
    if (p->users == 0) { /* nobody waits for a core that runs something else */
        pthread_mutex_unlock(&p->change);
        return;
    }
    t = profiler_target_take(p, m);
    if (t) {
        LOGW(p->cfg.log, LOG_NRT, "nrt_unload", "the profile for %s ends without being written",
             t->path);
        profiler_target_free(t);
    }
    for (uint32_t i = 0; i < model_instance_count(m); i++) {
        uint32_t vnc = model_vnc(m, i);
        struct core_record *c = &p->cores[vnc];

        model_core_hold(p->cfg.host, vnc);
        if (c->seen && c->last.model == m) {
            c->seen = false;
            (void)profiler_last_make(p, vnc, &c->kept, &err);
        }
        time_keeper_drop(&c->times);
        model_core_release(p->cfg.host, vnc);
    }
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->on_file_count; i++)
        if (p->on_file[i].m == m)
            p->on_file[i].m = NULL; /* another model may get its address */
    for (uint32_t i = 0; p->session_docs && i < p->cfg.vnc_count; i++)
        if (p->session_docs[i])
            profile_doc_forget(p->session_docs[i], m);
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->change);
}
