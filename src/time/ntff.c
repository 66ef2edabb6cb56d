/* SPDX-License-Identifier: Apache-2.0 */
/* NTFF: the reader, which trusts nothing, and the writer. */
#include "time/ntff.h"

#include <string.h>

/* ---- reading ---- */

static const struct {
    const char *name;
    uint32_t item;
} kinds[NTFF_SECTIONS + 1] = {
    [NTFF_TEXTS] = {"texts", 1},
    [NTFF_MODELS] = {"models", sizeof(struct ntff_model)},
    [NTFF_RECORDS] = {"records", sizeof(struct ntff_record)},
    [NTFF_XFERS] = {"transfers", sizeof(struct ntff_xfer)},
    [NTFF_EXECS] = {"executions", sizeof(struct ntff_exec)},
    [NTFF_EVENTS] = {"events", sizeof(struct ntff_event)},
};

static NRT_STATUS head_check(const struct ntff_head *h, size_t size, struct err *err)
{
    if (memcmp(h->magic, NTFF_MAGIC, sizeof(h->magic)) != 0)
        return err_set(err, NRT_INVALID, "this is no device profile of OpenNRT");
    if (h->version != NTFF_VERSION)
        return err_set(err, NRT_INVALID, "the profile has version %u, this program reads %u",
                       h->version, NTFF_VERSION);
    if (h->sections != NTFF_SECTIONS)
        return err_set(err, NRT_INVALID, "the profile has %u sections, not %u", h->sections,
                       NTFF_SECTIONS);
    if (h->size != size)
        return err_set(err, NRT_INVALID, "the profile is %llu bytes long, its head says %llu",
                       (unsigned long long)size, (unsigned long long)h->size);
    return NRT_SUCCESS;
}

static NRT_STATUS section_check(const struct ntff_section *s, unsigned type, size_t size,
                                struct err *err)
{
    if (s->type != type || s->item != kinds[type].item)
        return err_set(err, NRT_INVALID, "section %u is of type %u with items of %u bytes", type,
                       s->type, s->item);
    if (s->off % 8 != 0 || s->off > size || s->count > (size - s->off) / s->item)
        return err_set(err, NRT_INVALID, "the %s (%llu at %llu) are outside the profile",
                       kinds[type].name, (unsigned long long)s->count, (unsigned long long)s->off);
    return NRT_SUCCESS;
}

static NRT_STATUS bad(struct err *err, unsigned type, uint64_t at, const char *what)
{
    return err_set(err, NRT_INVALID, "the profile's %s: number %llu: %s", kinds[type].name,
                   (unsigned long long)at, what);
}

static bool is_text(const struct ntff *n, uint32_t text)
{
    return text < n->text_bytes; /* the last byte is a NUL */
}

static bool is_range(uint64_t first, uint64_t count, uint64_t all)
{
    return first <= all && count <= all - first;
}

static NRT_STATUS models_check(const struct ntff *n, struct err *err)
{
    uint64_t record = 0, xfer = 0; /* up to here they belong to models before */

    for (uint64_t i = 0; i < n->model_count; i++) {
        const struct ntff_model *m = &n->models[i];

        if (!is_text(n, m->name))
            return bad(err, NTFF_MODELS, i, "its name is no text");
        if (m->gen < ISA_V2 || m->gen > ISA_V4)
            return bad(err, NTFF_MODELS, i, "its generation");
        if (m->cores < 1 || m->cores > TIME_CORES)
            return bad(err, NTFF_MODELS, i, "the number of cores");
        if (!is_range(m->first_record, m->records, n->record_count) || m->first_record < record)
            return bad(err, NTFF_MODELS, i, "its records");
        if (!is_range(m->first_xfer, m->xfers, n->xfer_count) || m->first_xfer < xfer)
            return bad(err, NTFF_MODELS, i, "its transfers");
        record = (uint64_t)m->first_record + m->records;
        xfer = (uint64_t)m->first_xfer + m->xfers;
    }
    return NRT_SUCCESS;
}

static NRT_STATUS programs_check(const struct ntff *n, struct err *err)
{
    for (uint64_t i = 0; i < n->record_count; i++) {
        const struct ntff_record *r = &n->records[i];

        if (r->core >= TIME_CORES || r->engine >= ISA_ENGINES)
            return bad(err, NTFF_RECORDS, i, "its core or engine");
        if (!is_text(n, r->file) || !is_text(n, r->label) || !is_text(n, r->op))
            return bad(err, NTFF_RECORDS, i, "one of its texts");
    }
    for (uint64_t i = 0; i < n->xfer_count; i++)
        if (n->xfers[i].core >= TIME_CORES || n->xfers[i].first_engine >= TIME_DMA_ENGINES ||
            n->xfers[i].engines > TIME_DMA_ENGINES)
            return bad(err, NTFF_XFERS, i, "its core or engines");
    return NRT_SUCCESS;
}

static NRT_STATUS execs_check(const struct ntff *n, struct err *err)
{
    uint64_t event = 0; /* up to here they belong to executions before */

    for (uint64_t i = 0; i < n->exec_count; i++) {
        if (n->execs[i].model >= n->model_count)
            return bad(err, NTFF_EXECS, i, "its model");
        if (!is_range(n->execs[i].first_event, n->execs[i].events, n->event_count) ||
            n->execs[i].first_event < event)
            return bad(err, NTFF_EXECS, i, "its events");
        event = n->execs[i].first_event + n->execs[i].events;
    }
    for (uint64_t i = 0; i < n->event_count; i++) {
        const struct ntff_event *e = &n->events[i];

        if (e->kind < TIME_EV_WAIT || e->kind > TIME_EV_COLL_PACKET)
            return bad(err, NTFF_EVENTS, i, "its kind");
        if (e->unit >> 3 >= TIME_CORES || (e->unit & 7) >= ISA_ENGINES)
            return bad(err, NTFF_EVENTS, i, "its engine");
        if (e->end_ps < e->start_ps)
            return bad(err, NTFF_EVENTS, i, "it ends before it starts");
    }
    return NRT_SUCCESS;
}

NRT_STATUS ntff_open(const void *bytes, size_t size, struct ntff *ret, struct err *err)
{
    const struct ntff_section *s = (const void *)((const char *)bytes + sizeof(struct ntff_head));
    const size_t least = sizeof(struct ntff_head) + NTFF_SECTIONS * sizeof(struct ntff_section);
    const void *at[NTFF_SECTIONS + 1];
    NRT_STATUS st = NRT_SUCCESS;
    struct ntff n = {.head = bytes};

    if (size < least)
        return err_set(err, NRT_INVALID, "a profile has at least %zu bytes, this has %zu", least,
                       size);
    st = head_check(n.head, size, err);
    for (unsigned t = 1; st == NRT_SUCCESS && t <= NTFF_SECTIONS; t++) {
        st = section_check(&s[t - 1], t, size, err);
        if (st == NRT_SUCCESS)
            at[t] = (const char *)bytes + s[t - 1].off;
    }
    if (st != NRT_SUCCESS)
        return st;
    n.texts = at[NTFF_TEXTS];
    n.text_bytes = s[NTFF_TEXTS - 1].count;
    n.models = at[NTFF_MODELS];
    n.model_count = s[NTFF_MODELS - 1].count;
    n.records = at[NTFF_RECORDS];
    n.record_count = s[NTFF_RECORDS - 1].count;
    n.xfers = at[NTFF_XFERS];
    n.xfer_count = s[NTFF_XFERS - 1].count;
    n.execs = at[NTFF_EXECS];
    n.exec_count = s[NTFF_EXECS - 1].count;
    n.events = at[NTFF_EVENTS];
    n.event_count = s[NTFF_EVENTS - 1].count;
    if (n.text_bytes == 0 || n.texts[0] != '\0' || n.texts[n.text_bytes - 1] != '\0')
        return err_set(err, NRT_INVALID, "the profile's texts do not begin and end with NUL");
    st = models_check(&n, err);
    if (st == NRT_SUCCESS)
        st = programs_check(&n, err);
    if (st == NRT_SUCCESS)
        st = execs_check(&n, err);
    if (st == NRT_SUCCESS)
        *ret = n;
    return st;
}

/* ---- writing ---- */

void ntff_doc_fini(struct ntff_doc *d)
{
    strbuf_fini(&d->texts);
    strbuf_fini(&d->models);
    strbuf_fini(&d->records);
    strbuf_fini(&d->xfers);
    strbuf_fini(&d->execs);
    strbuf_fini(&d->events);
    *d = (struct ntff_doc){0};
}

uint32_t ntff_doc_text(struct ntff_doc *d, const char *text)
{
    uint32_t at;

    if (d->texts.len == 0)
        strbuf_putn(&d->texts, "", 1);
    if (!text || !text[0])
        return 0;
    at = (uint32_t)d->texts.len;
    strbuf_putn(&d->texts, text, strlen(text) + 1);
    return at;
}

uint32_t ntff_doc_model(struct ntff_doc *d, const struct ntff_model *m)
{
    struct ntff_model copy = *m;

    copy.first_record = d->record_count;
    copy.first_xfer = d->xfer_count;
    copy.records = copy.xfers = 0;
    strbuf_putn(&d->models, (const char *)&copy, sizeof(copy));
    return d->model_count++;
}

/* The model added last; NULL: memory is out. */
static struct ntff_model *last_model(struct ntff_doc *d)
{
    if (d->models.failed || d->models.len < sizeof(struct ntff_model))
        return NULL;
    return (struct ntff_model *)(void *)(d->models.s + d->models.len - sizeof(struct ntff_model));
}

void ntff_doc_record(struct ntff_doc *d, const struct ntff_record *r)
{
    struct ntff_model *m = last_model(d);

    if (m)
        m->records++;
    d->record_count++;
    strbuf_putn(&d->records, (const char *)r, sizeof(*r));
}

void ntff_doc_xfer(struct ntff_doc *d, const struct ntff_xfer *x)
{
    struct ntff_model *m = last_model(d);

    if (m)
        m->xfers++;
    d->xfer_count++;
    strbuf_putn(&d->xfers, (const char *)x, sizeof(*x));
}

static void exec_put(struct ntff_doc *d, const struct ntff_exec *e, uint64_t first, uint64_t count)
{
    struct ntff_exec copy = *e;

    copy.first_event = first;
    copy.events = count;
    strbuf_putn(&d->execs, (const char *)&copy, sizeof(copy));
    d->exec_count++;
    d->event_count += count;
}

void ntff_doc_exec_like(struct ntff_doc *d, const struct ntff_exec *e, uint32_t like)
{
    struct ntff_exec of;

    if (d->execs.failed)
        return;
    memcpy(&of, d->execs.s + (size_t)like * sizeof(of), sizeof(of));
    exec_put(d, e, of.first_event, of.events);
}

void ntff_doc_exec(struct ntff_doc *d, const struct ntff_exec *e, const struct time_event *ev,
                   const struct time_span *spans, uint64_t count)
{
    exec_put(d, e, d->events.len / sizeof(struct ntff_event), count);
    for (uint64_t i = 0; i < count; i++) {
        struct ntff_event x = {.kind = ev[i].kind,
                               .unit = ev[i].unit,
                               .index = ev[i].index,
                               .op = ev[i].op,
                               .value = ev[i].value,
                               .id = ev[i].id,
                               .extra = ev[i].extra,
                               .start_ps = spans[i].start_ps,
                               .end_ps = spans[i].end_ps};

        strbuf_putn(&d->events, (const char *)&x, sizeof(x));
    }
}

/* The two sections as the file has them: every execution with events of its own. */
static void execs_write(const struct ntff_doc *d, struct strbuf *out)
{
    struct ntff_exec e;
    uint64_t first = 0;

    for (size_t at = 0; at < d->execs.len; at += sizeof(e)) {
        memcpy(&e, d->execs.s + at, sizeof(e));
        e.first_event = first;
        first += e.events;
        strbuf_putn(out, (const char *)&e, sizeof(e));
    }
}

static void events_write(const struct ntff_doc *d, struct strbuf *out)
{
    const size_t item = sizeof(struct ntff_event);
    struct ntff_exec e;

    for (size_t at = 0; at < d->execs.len; at += sizeof(e)) {
        memcpy(&e, d->execs.s + at, sizeof(e));
        if (e.events > 0)
            strbuf_putn(out, d->events.s + e.first_event * item, (size_t)e.events * item);
    }
}

NRT_STATUS ntff_doc_write(const struct ntff_doc *d, struct strbuf *out, struct err *err)
{
    static const char zeros[8];
    const struct strbuf no_text = {.s = (char *)(uintptr_t) "", .len = 1};
    const struct strbuf *part[NTFF_SECTIONS + 1] = {[NTFF_TEXTS] =
                                                        d->texts.len ? &d->texts : &no_text,
                                                    [NTFF_MODELS] = &d->models,
                                                    [NTFF_RECORDS] = &d->records,
                                                    [NTFF_XFERS] = &d->xfers,
                                                    [NTFF_EXECS] = &d->execs,
                                                    [NTFF_EVENTS] = &d->events};
    struct ntff_section s[NTFF_SECTIONS];
    struct ntff_head h = {.version = NTFF_VERSION,
                          .sections = NTFF_SECTIONS,
                          .size = sizeof(h) + sizeof(s),
                          .dropped_execs = d->dropped_execs,
                          .dropped_events = d->dropped_events};
    bool failed = false;

    memcpy(h.magic, NTFF_MAGIC, sizeof(h.magic));
    for (unsigned t = 1; t <= NTFF_SECTIONS; t++) {
        uint64_t bytes = t == NTFF_EVENTS ? d->event_count * kinds[t].item : part[t]->len;

        failed = failed || part[t]->failed;
        s[t - 1] = (struct ntff_section){
            .type = t, .item = kinds[t].item, .off = h.size, .count = bytes / kinds[t].item};
        h.size += (bytes + 7) & ~UINT64_C(7);
    }
    strbuf_putn(out, (const char *)&h, sizeof(h));
    strbuf_putn(out, (const char *)s, sizeof(s));
    for (unsigned t = 1; !failed && t <= NTFF_SECTIONS; t++) {
        if (t == NTFF_EXECS)
            execs_write(d, out);
        else if (t == NTFF_EVENTS)
            events_write(d, out);
        else if (part[t]->len > 0)
            strbuf_putn(out, part[t]->s, part[t]->len);
        strbuf_putn(out, zeros, (8 - part[t]->len % 8) % 8);
    }
    if (failed || out->failed)
        return err_set(err, NRT_RESOURCE, "no host memory for a device profile");
    return NRT_SUCCESS;
}
