/* SPDX-License-Identifier: Apache-2.0 */
/* What an execution would take on a device, by the published costs: as a record of the log, and as
 * a piece of a timeline in a file, which several processes may share. */
#include "model/model_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/watched.h"
#include "time/timeline.h"

#define EVENTS_MAX (1u << 20)
#define PS_PER_US  1e6

bool devtime_open(struct frame *f)
{
    f->events.ev = mem_calloc(EVENTS_MAX, sizeof(*f->events.ev));
    f->events.cap = f->events.ev ? EVENTS_MAX : 0;
    watched_count(false, f->events.ev != NULL);
    return f->events.ev != NULL;
}

void devtime_close(struct frame *f)
{
    watched_count(f->events.ev != NULL, false);
    mem_free(f->events.ev);
}

static void log_report(const struct model *m, const struct instance *in,
                       const struct time_report *r)
{
    struct strbuf engines = {0}, colls = {0};
    uint64_t busy = 0, guess = 0;

    for (uint32_t c = 0; c < in->stage_count; c++)
        for (unsigned e = 0; e < ISA_ENGINES; e++) {
            busy += r->busy_ps[c][e];
            guess += r->guess_ps[c][e];
            if (r->busy_ps[c][e] > 0)
                strbuf_printf(&engines, ", %s %.3f", isa_engine_name(e),
                              (double)r->busy_ps[c][e] / PS_PER_US);
        }
    if (r->colls > 0)
        strbuf_printf(
            &colls,
            "; %llu collectives %.3f us, waited for others %.3f us, behind others %.3f us, "
            "under way %.3f us, alone %.3f us",
            (unsigned long long)r->colls, (double)r->coll_ps / PS_PER_US,
            (double)r->coll_late_ps / PS_PER_US, (double)r->coll_behind_ps / PS_PER_US,
            (double)r->coll_any_ps / PS_PER_US, (double)r->coll_alone_ps / PS_PER_US);
    LOGI(m->h->cfg.log, LOG_NMGR, "device_time",
         "model %s: device time %.3f us%s; busy (us)%s%s; unpublished costs guessed %.0f %%",
         m->neff->name, (double)r->total_ps / PS_PER_US, r->truncated ? " at least" : "",
         engines.s ? engines.s : "", colls.s ? colls.s : "",
         busy > 0 ? 100.0 * (double)guess / (double)busy : 0.0);
    strbuf_fini(&engines);
    strbuf_fini(&colls);
}

/* Packets are whole, and a file in append mode takes each write as a whole: the pieces of several
 * processes stand one behind the other. */
static NRT_STATUS append(const char *path, const uint8_t *bytes, size_t size, struct err *err)
{
    int fd = fd_keep(open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666));
    bool ok = fd >= 0 && fd_write_all(fd, bytes, size);
    int e = errno;

    if (fd >= 0)
        close(fd);
    return ok ? NRT_SUCCESS
              : err_set(err, NRT_FAILURE, "timeline %s: %s%s", path, strerror(e), fd_size_hint(e));
}

static const struct time_moves *moves_of(const void *arg, unsigned core, uint32_t entry)
{
    return coll_table_moves(arg, core, entry);
}

static NRT_STATUS timeline_write(const struct model *m, struct instance *in, const struct frame *f,
                                 const struct time_program *const *progs,
                                 const struct time_span *spans, uint64_t total_ps, struct err *err)
{
    const struct neff_subgraph *sg[CORE_MAX] = {NULL};
    struct timeline_core core = {.name = m->neff->name,
                                 .pid = getpid(),
                                 .vnc = in->lc->vnc,
                                 .rank = m->rank,
                                 .ranks = m->world};
    struct timeline_programs programs = {
        .progs = progs, .sg = sg, .moves = in->colls ? moves_of : NULL, .moves_arg = in->colls};
    struct timeline_run run = {.core = &core,
                               .facts = &timeline_program_facts,
                               .arg = &programs,
                               .events = &f->events,
                               .spans = spans,
                               .total_ps = total_ps};
    const uint8_t *bytes;
    size_t size;
    NRT_STATUS st;

    for (uint32_t c = 0; c < in->stage_count; c++)
        sg[c] = in->stage[c].sg;
    if (!in->timeline)
        in->timeline = timeline_create(core.pid, core.vnc);
    if (!in->timeline)
        return err_set(err, NRT_RESOURCE, "no host memory for a timeline");
    st = timeline_add(in->timeline, &run, &bytes, &size, err);
    if (!st)
        return append(m->env.timeline, bytes, size, err);
    timeline_destroy(in->timeline); /* the next execution tries again, with tracks of its own */
    in->timeline = NULL;
    return st;
}

void devtime_report(struct model *m, struct instance *in, struct frame *f)
{
    const struct time_program *progs[CORE_MAX];
    const struct time_kept *times;
    struct err err = {0};
    NRT_STATUS st;

    for (uint32_t c = 0; c < in->stage_count; c++)
        progs[c] = core_program_time(in->stage[c].prog);
    st = time_keeper_replay(&in->times, progs, in->stage_count, &f->events, m->env.timeline != NULL,
                            &times, &err);
    if (!st && m->env.device_time && log_on(m->h->cfg.log, LOG_NMGR, LOG_INFO))
        log_report(m, in, &times->report);
    if (!st && m->env.timeline)
        st = timeline_write(m, in, f, progs, times->spans, times->report.total_ps, &err);
    if (st)
        LOGW(m->h->cfg.log, LOG_NMGR, "device_time", "model %s: no device time: %s", m->neff->name,
             err.text);
}
