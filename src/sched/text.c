/* SPDX-License-Identifier: Apache-2.0 */
/* Printing and reading of the text form; text.h has the grammar. The reader is a cursor over one
 * line: every read_* takes what it names or fails with what it wanted and what is there. */
#include "text.h"

#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"

/* ---- comparing ---- */

static bool refs_equal(const struct sched_ref *a, const struct sched_ref *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (a[i].buf != b[i].buf || a[i].tensor != b[i].tensor || a[i].rank != b[i].rank ||
            a[i].off != b[i].off || a[i].stride != b[i].stride)
            return false;
    return true;
}

bool sched_step_equal(const struct sched_step *a, const struct sched_step *b)
{
    return a->kind == b->kind && a->sem == b->sem && a->nsrc == b->nsrc && a->ndst == b->ndst &&
           a->phase == b->phase && a->peer == b->peer && a->value == b->value &&
           a->repeat == b->repeat && a->count == b->count && refs_equal(a->src, b->src, a->nsrc) &&
           refs_equal(a->dst, b->dst, a->ndst);
}

/* ---- printing ---- */

static bool buf_has_tensor(unsigned buf)
{
    return buf == SCHED_IN || buf == SCHED_OUT || buf == SCHED_LINE;
}

static void ref_print(const struct sched_ref *ref, uint32_t rank, struct strbuf *b)
{
    strbuf_put(b, sched_buf_name((enum sched_buf)ref->buf));
    if (buf_has_tensor(ref->buf))
        strbuf_printf(b, "[%u]", ref->tensor);
    if (ref->off)
        strbuf_printf(b, "+%" PRIu64, ref->off);
    if (ref->stride)
        strbuf_printf(b, "*%" PRId64, ref->stride);
    if (ref->rank != rank)
        strbuf_printf(b, "@%u", ref->rank);
}

static void refs_print(const struct sched_ref *ref, unsigned n, uint32_t rank, struct strbuf *b)
{
    for (unsigned i = 0; i < n && i < SCHED_REFS_MAX; i++) {
        if (i)
            strbuf_put(b, ", ");
        ref_print(&ref[i], rank, b);
    }
}

void sched_text_step_print(const struct sched_step *st, uint32_t rank, struct strbuf *b)
{
    strbuf_put(b, sched_kind_name((enum sched_kind)st->kind));
    switch (st->kind) {
    case SCHED_WAIT:
    case SCHED_EXPECT:
        strbuf_printf(b, " %s %" PRId32 " from %u", sched_sem_name((enum sched_sem)st->sem),
                      (int32_t)st->value, st->peer);
        return;
    case SCHED_SIGNAL:
        strbuf_printf(b, " %s to %u", sched_sem_name((enum sched_sem)st->sem), st->peer);
        return;
    default:
        break;
    }
    strbuf_printf(b, " %" PRIu64 " ", st->count);
    if (st->repeat > 1)
        strbuf_printf(b, "x %u ", st->repeat);
    refs_print(st->src, st->nsrc, rank, b);
    if (st->nsrc && st->ndst)
        strbuf_put(b, " -> ");
    refs_print(st->dst, st->ndst, rank, b);
    if (st->kind == SCHED_NET_SEND || st->kind == SCHED_PUT)
        strbuf_printf(b, " to %u", st->peer);
    if (st->kind == SCHED_NET_RECV || st->kind == SCHED_TAKE)
        strbuf_printf(b, " from %u", st->peer);
}

void sched_text_head_print(uint32_t ranks, uint32_t channels, struct strbuf *b)
{
    strbuf_printf(b, "schedule ranks %u channels %u\n", ranks, channels);
}

void sched_text_stream_print(const struct sched_text_stream *s, struct strbuf *b)
{
    strbuf_printf(b,
                  "rank %u channel %u node %u slot %" PRIu64 " temp %" PRIu64 " line %" PRIu64 "\n",
                  s->rank, s->channel, s->node, s->slot, s->temp, s->line);
}

void sched_text_line_print(const struct sched_step *st, uint32_t rank, uint64_t index,
                           const char *phase, struct strbuf *b)
{
    size_t begin, used;

    strbuf_printf(b, "%5" PRIu64 "  ", index);
    begin = b->len;
    sched_text_step_print(st, rank, b);
    used = b->len - begin;
    strbuf_printf(b, "%*s ; %u", used < 52 ? (int)(52 - used) : 0, "", st->phase);
    if (phase)
        strbuf_printf(b, " %s", phase);
    strbuf_put(b, "\n");
}

void sched_text_print(const struct sched_text *t, struct strbuf *b)
{
    sched_text_head_print(t->ranks, t->channels, b);
    for (size_t i = 0; i < (size_t)t->ranks * t->channels; i++) {
        const struct sched_text_stream *s = &t->stream[i];

        sched_text_stream_print(s, b);
        for (size_t k = 0; k < s->count; k++)
            sched_text_line_print(&s->step[k], s->rank, k, NULL, b);
    }
}

/* ---- reading ---- */

struct cursor {
    const char *p, *end;
    struct err *err;
};

static void skip_blanks(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t'))
        c->p++;
}

static bool at_end(struct cursor *c)
{
    skip_blanks(c);
    return c->p == c->end;
}

static bool wrong(struct cursor *c, const char *what)
{
    int n;

    skip_blanks(c);
    n = c->end - c->p > 24 ? 24 : (int)(c->end - c->p);
    for (int i = 0; i < n; i++)
        if (c->p[i] < ' ' || c->p[i] > '~')
            n = i;
    err_set(c->err, NRT_INVALID, "%s expected, found \"%.*s\"", what, n, c->p);
    return false;
}

static bool word_byte(char b)
{
    return (b >= 'a' && b <= 'z') || b == '_';
}

static size_t word_length(const struct cursor *c)
{
    size_t n = 0;

    while (c->p + n < c->end && word_byte(c->p[n]))
        n++;
    return n;
}

/* Take this word or sign if it comes next. */
static bool take(struct cursor *c, const char *what)
{
    size_t n = strlen(what);

    skip_blanks(c);
    if (word_byte(what[0]) ? word_length(c) != n : (size_t)(c->end - c->p) < n)
        return false;
    if (memcmp(c->p, what, n) != 0)
        return false;
    c->p += n;
    return true;
}

static bool read_fixed(struct cursor *c, const char *what)
{
    return take(c, what) || wrong(c, what);
}

/* One of `count` names, by number. */
static bool read_name(struct cursor *c, const char *(*name)(unsigned), unsigned count,
                      const char *what, uint8_t *ret)
{
    for (unsigned i = 0; i < count; i++)
        if (take(c, name(i))) {
            *ret = (uint8_t)i;
            return true;
        }
    return wrong(c, what);
}

static const char *kind_name(unsigned i)
{
    return sched_kind_name((enum sched_kind)i);
}

static const char *sem_name(unsigned i)
{
    return sched_sem_name((enum sched_sem)i);
}

static const char *buf_name(unsigned i)
{
    return sched_buf_name((enum sched_buf)i);
}

static bool read_number(struct cursor *c, uint64_t max, const char *what, uint64_t *ret)
{
    uint64_t v = 0;
    const char *begin;

    skip_blanks(c);
    begin = c->p;
    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
        if (u64_mul_over(v, 10, &v) || u64_add_over(v, (uint64_t)(*c->p - '0'), &v) || v > max) {
            c->p = begin;
            return wrong(c, what);
        }
    if (c->p == begin)
        return wrong(c, what);
    *ret = v;
    return true;
}

static bool read_u32(struct cursor *c, const char *what, uint32_t *ret)
{
    uint64_t v;

    if (!read_number(c, UINT32_MAX, what, &v))
        return false;
    *ret = (uint32_t)v;
    return true;
}

/* A number that may be negative, of magnitude up to max. */
static bool read_signed(struct cursor *c, uint64_t max, const char *what, int64_t *ret)
{
    bool negative = take(c, "-");
    uint64_t v;

    if (!read_number(c, max, what, &v))
        return false;
    *ret = negative ? -(int64_t)v : (int64_t)v;
    return true;
}

static bool read_ref(struct cursor *c, uint32_t rank, struct sched_ref *ret)
{
    *ret = (struct sched_ref){.rank = rank};
    if (!read_name(c, buf_name, SCHED_BUF_COUNT, "a buffer", &ret->buf))
        return false;
    if (buf_has_tensor(ret->buf)) {
        if (!read_fixed(c, "[") || !read_u32(c, "a tensor", &ret->tensor) || !read_fixed(c, "]"))
            return false;
    }
    if (take(c, "+") && !read_number(c, UINT64_MAX, "an offset", &ret->off))
        return false;
    if (take(c, "*") && !read_signed(c, INT64_MAX, "a stride", &ret->stride))
        return false;
    return !take(c, "@") || read_u32(c, "a rank", &ret->rank);
}

static bool read_refs(struct cursor *c, uint32_t rank, struct sched_ref *ref, uint8_t *ret_n)
{
    uint8_t n = 0;

    do {
        if (n == SCHED_REFS_MAX)
            return wrong(c, "no more places");
        if (!read_ref(c, rank, &ref[n++]))
            return false;
    } while (take(c, ","));
    *ret_n = n;
    return true;
}

/* "wait SEM VALUE from PEER", "expect ...", "signal SEM to PEER". */
static bool read_sync(struct cursor *c, struct sched_step *st)
{
    int64_t value;

    if (!read_name(c, sem_name, SCHED_SEM_COUNT, "a counter", &st->sem))
        return false;
    if (st->kind == SCHED_SIGNAL)
        return read_fixed(c, "to") && read_u32(c, "a rank", &st->peer);
    if (!read_signed(c, INT32_MAX, "a value", &value))
        return false;
    st->value = (uint32_t)value;
    return read_fixed(c, "from") && read_u32(c, "a rank", &st->peer);
}

static bool read_move(struct cursor *c, uint32_t rank, struct sched_step *st)
{
    bool out = st->kind == SCHED_NET_RECV,
         in = st->kind == SCHED_NET_SEND || st->kind == SCHED_TAKE;

    st->repeat = 1;
    if (!read_number(c, UINT64_MAX, "a count", &st->count) ||
        (take(c, "x") && !read_u32(c, "a repeat", &st->repeat)))
        return false;
    if (st->repeat == 0)
        return wrong(c, "a repeat of 1 or more");
    if (!out && !read_refs(c, rank, st->src, &st->nsrc))
        return false;
    if (!in && !out && !read_fixed(c, "->"))
        return false;
    if (!in && !read_refs(c, rank, st->dst, &st->ndst))
        return false;
    if (st->kind == SCHED_PUT || st->kind == SCHED_NET_SEND)
        return read_fixed(c, "to") && read_u32(c, "a rank", &st->peer);
    if (st->kind == SCHED_TAKE || st->kind == SCHED_NET_RECV)
        return read_fixed(c, "from") && read_u32(c, "a rank", &st->peer);
    return true;
}

static bool read_step(struct cursor *c, uint32_t rank, struct sched_step *st)
{
    uint64_t number;

    memset(st, 0, sizeof(*st));
    skip_blanks(c);
    if (c->p < c->end && *c->p >= '0' && *c->p <= '9' &&
        !read_number(c, UINT64_MAX, "a step's number", &number))
        return false;
    if (!read_name(c, kind_name, SCHED_KIND_COUNT, "a step", &st->kind))
        return false;
    if (st->kind == SCHED_WAIT || st->kind == SCHED_SIGNAL || st->kind == SCHED_EXPECT
            ? !read_sync(c, st)
            : !read_move(c, rank, st))
        return false;
    if (take(c, ";")) {
        if (!read_number(c, UINT16_MAX, "a phase", &number))
            return false;
        st->phase = (uint16_t)number;
        c->p = c->end; /* its name */
    }
    return at_end(c) || wrong(c, "the end of the line");
}

/* The line without its comment. */
static struct cursor cursor_of(const char *line, size_t size, struct err *err)
{
    const char *hash = memchr(line, '#', size);

    return (struct cursor){line, hash ? hash : line + size, err};
}

NRT_STATUS sched_text_step_parse(const char *line, size_t size, uint32_t rank,
                                 struct sched_step *ret, struct err *err)
{
    struct cursor c = cursor_of(line, size, err);

    return read_step(&c, rank, ret) ? NRT_SUCCESS : NRT_INVALID;
}

static bool read_head(struct cursor *c, struct sched_text *t)
{
    if (!read_fixed(c, "schedule") || !read_fixed(c, "ranks") ||
        !read_u32(c, "a number of ranks", &t->ranks) || !read_fixed(c, "channels") ||
        !read_u32(c, "a number of channels", &t->channels))
        return false;
    if (t->ranks == 0 || t->channels == 0 || t->channels > SCHED_CHANNELS_MAX ||
        t->ranks > SCHED_TEXT_RANKS_MAX / t->channels) {
        err_set(c->err, NRT_INVALID, "%u ranks with %u channels", t->ranks, t->channels);
        return false;
    }
    return at_end(c) || wrong(c, "the end of the line");
}

/* "rank 0 channel 0 node 0 slot 256 parity temp 0 line 0", all after the channel optional. */
static bool read_stream(struct cursor *c, struct sched_text *t, struct sched_text_stream **ret)
{
    struct sched_text_stream *s;
    uint32_t rank, channel;

    if (!read_u32(c, "a rank", &rank) || !read_fixed(c, "channel") ||
        !read_u32(c, "a channel", &channel))
        return false;
    if (rank >= t->ranks || channel >= t->channels) {
        err_set(c->err, NRT_INVALID, "rank %u, channel %u of %u and %u", rank, channel, t->ranks,
                t->channels);
        return false;
    }
    s = &t->stream[(size_t)rank * t->channels + channel];
    if (s->count) {
        err_set(c->err, NRT_INVALID, "a second stream of rank %u, channel %u", rank, channel);
        return false;
    }
    *ret = s;
    if (take(c, "node") && !read_u32(c, "a node", &s->node))
        return false;
    if ((take(c, "slot") && !read_number(c, INT64_MAX, "a size", &s->slot)) ||
        (take(c, "temp") && !read_number(c, INT64_MAX, "a size", &s->temp)) ||
        (take(c, "line") && !read_number(c, INT64_MAX, "a size", &s->line)))
        return false;
    return at_end(c) || wrong(c, "the end of the line");
}

static NRT_STATUS streams_init(struct sched_text *t)
{
    t->stream = mem_calloc((size_t)t->ranks * t->channels, sizeof(*t->stream));
    if (!t->stream)
        return NRT_RESOURCE;
    for (uint32_t r = 0; r < t->ranks; r++)
        for (uint32_t ch = 0; ch < t->channels; ch++) {
            t->stream[(size_t)r * t->channels + ch].rank = r;
            t->stream[(size_t)r * t->channels + ch].channel = ch;
        }
    return NRT_SUCCESS;
}

static NRT_STATUS read_line(struct cursor *c, struct sched_text *t, struct sched_text_stream **now)
{
    struct sched_text_stream *s = *now;

    if (at_end(c))
        return NRT_SUCCESS;
    if (!t->stream)
        return read_head(c, t) ? streams_init(t) : NRT_INVALID;
    if (take(c, "rank"))
        return read_stream(c, t, now) ? NRT_SUCCESS : NRT_INVALID;
    if (!s) {
        wrong(c, "rank");
        return NRT_INVALID;
    }
    if (!mem_grow((void **)&s->step, &s->cap, s->count + 1, sizeof(*s->step)))
        return NRT_RESOURCE;
    if (!read_step(c, s->rank, &s->step[s->count]))
        return NRT_INVALID;
    s->count++;
    return NRT_SUCCESS;
}

NRT_STATUS sched_text_parse(const char *text, size_t size, struct sched_text **ret, struct err *err)
{
    struct sched_text *t = mem_zalloc(sizeof(*t));
    struct sched_text_stream *now = NULL;
    NRT_STATUS status = t ? NRT_SUCCESS : NRT_RESOURCE;
    const char *p = text, *end = text + size;
    unsigned number = 0;

    while (status == NRT_SUCCESS && p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p)), *stop = newline ? newline : end;
        struct err own = {0};
        struct cursor c = cursor_of(p, (size_t)(stop - p), &own);

        number++;
        status = read_line(&c, t, &now);
        if (status == NRT_INVALID)
            err_set(err, status, "line %u: %s", number, own.text);
        p = newline ? newline + 1 : end;
    }
    if (status == NRT_SUCCESS && !t->stream)
        status = err_set(err, NRT_INVALID, "no schedule in the text");
    if (status == NRT_RESOURCE)
        err_set(err, status, "no memory for the text of a schedule");
    if (status != NRT_SUCCESS) {
        sched_text_destroy(t);
        return status;
    }
    *ret = t;
    return NRT_SUCCESS;
}

void sched_text_destroy(struct sched_text *t)
{
    if (!t)
        return;
    for (size_t i = 0; t->stream && i < (size_t)t->ranks * t->channels; i++)
        mem_free(t->stream[i].step);
    mem_free(t->stream);
    mem_free(t);
}

/* ---- a text as a source of steps ---- */

static size_t reader_index(const struct sched_text_reader *r, uint32_t rank, uint32_t channel)
{
    return (size_t)rank * r->text->channels + channel;
}

static const struct sched_step *source_next(void *ctx, uint32_t rank, uint32_t channel)
{
    struct sched_text_reader *r = ctx;
    size_t i = reader_index(r, rank, channel);
    const struct sched_text_stream *s = &r->text->stream[i];

    return r->at[i] < s->count ? &s->step[r->at[i]++] : NULL;
}

static void source_rewind(void *ctx, uint32_t rank, uint32_t channel)
{
    struct sched_text_reader *r = ctx;

    r->at[reader_index(r, rank, channel)] = 0;
}

static uint64_t source_elems(void *ctx, enum sched_buf buf, uint32_t rank, uint32_t channel)
{
    const struct sched_text_reader *r = ctx;
    const struct sched_text_stream *s = &r->text->stream[reader_index(r, rank, channel)];

    return buf == SCHED_SLOT ? s->slot : buf == SCHED_TEMP ? s->temp : s->line;
}

static uint32_t source_node(void *ctx, uint32_t rank)
{
    const struct sched_text_reader *r = ctx;

    return r->text->stream[reader_index(r, rank, 0)].node;
}

void sched_text_source(struct sched_text_reader *reader, struct sched_check_source *ret)
{
    *ret = (struct sched_check_source){.ctx = reader,
                                       .next = source_next,
                                       .rewind = source_rewind,
                                       .buffer_elems = source_elems,
                                       .node = source_node};
}
