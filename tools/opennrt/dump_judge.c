/* SPDX-License-Identifier: Apache-2.0 */
/* Inside a core the judge follows waits: from the engine that failed to who changes what it waits
 * for, until it comes to an engine that does not wait, to a wait that nothing can end, or round in
 * a circle. Among ranks a failure of a rank's own comes before a death, and a death before waits;
 * among these, the rank that does something else than most in the same place, or else the rank that
 * the others' operations point to. */
#include "dump_judge.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "nrt/nrt_status.h"

const char *dump_cause_name(enum dump_cause c)
{
    static const char *const name[] = {"unknown",       "never raised", "deadlock", "endless",
                                       "out of bounds", "instruction",  "check",    "hardware",
                                       "death",         "collective"};

    return name[c];
}

/* ---- engines ---- */

void dump_engine_text(const struct dump_file *f, unsigned engine, struct strbuf *out)
{
    const struct dump_engine *e = &f->engine[engine];

    strbuf_printf(out, "%s record %" PRIu64, isa_engine_name(engine), e->record);
    if (e->has_instr) {
        struct strbuf text = {0};

        isa_print_record(&e->instr, &text);
        while (text.len > 0 && text.s[text.len - 1] == '\n')
            text.s[--text.len] = '\0';
        strbuf_printf(out, " `%s`", text.s ? text.s : "?");
        strbuf_fini(&text);
    } else if (e->op[0]) {
        strbuf_printf(out, " %s", e->op);
    }
    if (e->file[0])
        strbuf_printf(out, " (%s:%" PRIu64 ")", e->file, e->line);
}

static bool waits(const struct dump_engine *e)
{
    return e->present && !e->ended && e->waits[0];
}

static void wait_text(const struct dump_engine *e, struct strbuf *out)
{
    if (strcmp(e->waits, "event==") == 0)
        strbuf_printf(out, "waits for event %" PRIu32 " to be %s", e->id,
                      e->wanted ? "set" : "cleared");
    else
        strbuf_printf(out, "waits for semaphore %" PRIu32 " %s %" PRId64 ", value %" PRId64, e->id,
                      strcmp(e->waits, "semaphore==") == 0 ? "==" : ">=", e->wanted, e->value);
}

/* The other core's file of the same logical core and dump; -1: none. */
static int file_of_core(const struct dump_set *s, unsigned file, uint32_t core)
{
    const struct dump_file *f = &s->file[file];

    if (f->core == core)
        return (int)file;
    for (unsigned i = 0; i < s->n; i++) {
        const struct dump_file *o = &s->file[i];

        if (o->of == DUMP_OF_CORE && o->core == core && o->pid == f->pid && o->tid == f->tid &&
            o->log_id == f->log_id)
            return (int)i;
    }
    return -1;
}

/* ---- following waits ---- */

struct step {
    unsigned file, engine;
};

/* Who is to end the wait of an engine: one that will, else one that has. NULL: nobody. */
static const struct dump_raise *raiser(const struct dump_file *f, unsigned engine, bool ahead)
{
    const struct dump_engine *e = &f->engine[engine];
    bool event = strcmp(e->waits, "event==") == 0;
    const struct dump_raise *own = NULL;

    for (unsigned i = 0; i < f->raises; i++) {
        const struct dump_raise *r = &f->raise[i];

        if (r->event != event || r->id != e->id || (ahead ? r->ahead : r->behind) == 0)
            continue;
        if (r->core != f->core || r->engine != engine)
            return r;
        own = r;
    }
    return own;
}

static void never_raised(const struct dump_file *f, unsigned engine, struct dump_verdict *v)
{
    const struct dump_raise *r = raiser(f, engine, false);

    v->cause = DUMP_CAUSE_NEVER_RAISED;
    dump_engine_text(f, engine, &v->text);
    strbuf_put(&v->text, " ");
    wait_text(&f->engine[engine], &v->text);
    if (r)
        strbuf_printf(&v->text,
                      ", and nothing ahead changes it: the last that did is %s record %" PRIu64,
                      isa_engine_name(r->engine), r->record);
    else
        strbuf_put(&v->text, ", which nothing in the program changes");
}

static void deadlock(const struct dump_set *s, const struct step *step, unsigned from, unsigned n,
                     struct dump_verdict *v)
{
    v->cause = DUMP_CAUSE_DEADLOCK;
    if (n - from == 1)
        strbuf_put(&v->text, "an engine waits for what only itself would do later: ");
    else
        strbuf_put(&v->text, "engines wait for each other: ");
    for (unsigned i = from; i < n; i++) {
        const struct dump_file *f = &s->file[step[i].file];

        strbuf_put(&v->text, i > from ? "; " : "");
        dump_engine_text(f, step[i].engine, &v->text);
        strbuf_put(&v->text, " ");
        wait_text(&f->engine[step[i].engine], &v->text);
    }
}

#define STEPS (2 * ISA_ENGINES + 1)

/* From an engine on. False: its wait is for a collective, which the ranks know more about. */
static bool follow(const struct dump_set *s, struct step at, struct dump_verdict *v)
{
    struct step step[STEPS];

    for (unsigned n = 0; n < STEPS; n++) {
        const struct dump_file *f = &s->file[at.file];
        const struct dump_engine *e = &f->engine[at.engine];
        const struct dump_raise *r;
        int next;

        for (unsigned i = 0; i < n; i++)
            if (step[i].file == at.file && step[i].engine == at.engine) {
                v->file = (int)step[i].file;
                v->engine = step[i].engine;
                deadlock(s, step, i, n, v);
                return true;
            }
        step[n] = at;
        v->file = (int)at.file;
        v->engine = at.engine;
        v->has_engine = true;
        if (!waits(e)) {
            v->cause = DUMP_CAUSE_ENDLESS;
            dump_engine_text(f, at.engine, &v->text);
            strbuf_printf(&v->text, " runs on and on: %" PRIu64 " records so far", e->retired);
            return true;
        }
        r = raiser(f, at.engine, true);
        if (!r) {
            const struct dump_raise *done = raiser(f, at.engine, false);

            if (done && strcmp(done->by, "collective") == 0)
                return false;
            never_raised(f, at.engine, v);
            return true;
        }
        next = file_of_core(s, at.file, r->core);
        if (next < 0 || !s->file[next].engine[r->engine].present) {
            never_raised(f, at.engine, v);
            return true;
        }
        at = (struct step){(unsigned)next, r->engine};
    }
    return false;
}

/* ---- a core ---- */

/* Of an execution that failed while a record was carried out, or after its programs had ended: what
 * a program does has other statuses there, or its run an end of its own. */
static bool is_hardware(uint32_t status)
{
    return status == NRT_TIMEOUT || status == NRT_HW_ERROR ||
           status == NRT_EXEC_COMPLETED_WITH_ERR || status == NRT_EXEC_HW_ERR_HBM_UE ||
           status == NRT_EXEC_HW_ERR_NC_UE || status == NRT_EXEC_HW_ERR_DMA_ABORT ||
           status == NRT_EXEC_SW_NQ_OVERFLOW || status == NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE;
}

static void with_text(const struct dump_file *f, enum dump_cause cause, struct dump_verdict *v)
{
    v->cause = cause;
    strbuf_put(&v->text, f->text[0] ? f->text : f->status_name);
}

/* An instruction that failed. */
static void at_record(const struct dump_set *s, unsigned file, enum dump_cause cause,
                      struct dump_verdict *v)
{
    const struct dump_file *f = &s->file[file];
    int whose = file_of_core(s, file, f->end_core);

    v->cause = cause;
    v->engine = f->end_engine;
    v->has_engine = true;
    if (whose >= 0) {
        v->file = whose;
        dump_engine_text(&s->file[whose], f->end_engine, &v->text);
        strbuf_put(&v->text, ": ");
    }
    strbuf_put(&v->text, f->text);
}

/* Where a process was when it died: the first engine that had not ended. */
static void died(const struct dump_set *s, unsigned file, struct dump_verdict *v)
{
    const struct dump_file *f = &s->file[file];

    v->cause = DUMP_CAUSE_DEATH;
    strbuf_put(&v->text, f->text);
    if (f->signal)
        strbuf_printf(&v->text, " (%" PRId64 ")", f->signal);
    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        if (!f->running || !f->engine[e].present || f->engine[e].ended)
            continue;
        strbuf_put(&v->text, v->has_engine ? "; " : ", at ");
        dump_engine_text(f, e, &v->text);
        if (waits(&f->engine[e])) {
            strbuf_put(&v->text, ", which ");
            wait_text(&f->engine[e], &v->text);
        }
        if (!v->has_engine)
            v->engine = e;
        v->has_engine = true;
    }
    (void)s;
}

void dump_judge_core(const struct dump_set *s, unsigned file, struct dump_verdict *v)
{
    const struct dump_file *f = &s->file[file];
    int whose;

    *v = (struct dump_verdict){.file = (int)file, .has_rank = f->world > 1, .rank = f->rank};
    if (f->dead || f->signal) {
        died(s, file, v);
    } else if (!f->has_end) {
        with_text(f,
                  is_hardware(f->status)                     ? DUMP_CAUSE_HARDWARE
                  : f->status == NRT_EXEC_HW_ERR_COLLECTIVES ? DUMP_CAUSE_COLLECTIVE
                                                             : DUMP_CAUSE_UNKNOWN,
                  v);
    } else if (strcmp(f->end, "out of bounds") == 0) {
        at_record(s, file, DUMP_CAUSE_OUT_OF_BOUNDS, v);
    } else if (strcmp(f->end, "check") == 0) {
        with_text(f, DUMP_CAUSE_CHECK, v);
    } else if (strcmp(f->end, "collective") == 0) {
        with_text(f, DUMP_CAUSE_COLLECTIVE, v);
    } else if (strcmp(f->end, "hang") == 0 || strcmp(f->end, "timeout") == 0 ||
               strcmp(f->end, "stall") == 0) {
        whose = file_of_core(s, file, f->end_core);
        if (whose < 0 || !s->file[whose].engine[f->end_engine].present ||
            !follow(s, (struct step){(unsigned)whose, f->end_engine}, v)) {
            strbuf_fini(&v->text);
            v->text = (struct strbuf){0};
            with_text(f, DUMP_CAUSE_COLLECTIVE, v);
        }
    } else {
        at_record(s, file, is_hardware(f->status) ? DUMP_CAUSE_HARDWARE : DUMP_CAUSE_INSTRUCTION,
                  v);
    }
}

/* ---- ranks ---- */

/* The newest operation of a rank that did not end well, in its CC-core's file. */
static const struct dump_op *stuck(const struct dump_file *f)
{
    for (unsigned i = 0; i < f->ops; i++)
        if (!f->op[i].over || f->op[i].status != 0)
            return &f->op[i];
    return NULL;
}

static bool points_to(const struct dump_op *o, uint32_t *ret)
{
    if (o && o->failed)
        *ret = o->culprit;
    else if (o && o->waits)
        *ret = o->waits_for;
    return o && (o->failed || o->waits);
}

/* The rank that most operations point to, themselves not counted. */
static bool most_blamed(const struct dump_set *s, uint32_t *ret_rank, unsigned *ret_votes)
{
    *ret_votes = 0;
    for (unsigned i = 0; i < s->n; i++) {
        uint32_t rank = 0, other = 0;
        unsigned votes = 0;

        if (s->file[i].of != DUMP_OF_CC || !points_to(stuck(&s->file[i]), &rank) ||
            rank == s->file[i].rank)
            continue;
        for (unsigned k = 0; k < s->n; k++)
            votes += s->file[k].of == DUMP_OF_CC && points_to(stuck(&s->file[k]), &other) &&
                     other == rank && s->file[k].rank != rank;
        if (votes > *ret_votes) {
            *ret_votes = votes;
            *ret_rank = rank;
        }
    }
    return *ret_votes > 0;
}

/* A part of an operation's text "#1 all_reduce by mesh (push) of 32 bytes float32, communicator 5,
 * member 0 of 4 (0,1,2,3): ...": from the first `from` behind `behind`, to the first `to` after
 * that. */
struct part {
    const char *s;
    size_t len;
};

static struct part part_of(const char *text, const char *behind, char from, const char *to)
{
    const char *p = strstr(text, behind), *start = p ? strchr(p, from) : NULL;
    const char *end = start ? strstr(start, to) : NULL;

    return end ? (struct part){start, (size_t)(end - start)} : (struct part){"", 0};
}

static bool part_equal(struct part a, struct part b)
{
    return a.len == b.len && memcmp(a.s, b.s, a.len) == 0;
}

static struct part what_of(const struct dump_op *o)
{
    return part_of(o->text, "#", ' ', ", communicator");
}

/* Operations of the same number of the same group of ranks, which so are to be the same. The number
 * of a communicator tells nothing: each node counts its own. */
static bool same_place(const struct dump_op *a, const struct dump_op *b)
{
    static const char comm[] = ", communicator ";

    return a->sequence == b->sequence &&
           part_equal(part_of(a->text, comm, '(', ")"), part_of(b->text, comm, '(', ")"));
}

/* How many operations a rank has begun in the place of `o`: a group may have several communicators.
 * *ret_same: one of them is what `o` is. */
static unsigned count_in_place(const struct dump_file *f, const struct dump_op *o, bool *ret_same)
{
    unsigned n = 0;

    *ret_same = false;
    for (unsigned k = 0; k < f->ops; k++) {
        if (!same_place(o, &f->op[k]))
            continue;
        n++;
        *ret_same = *ret_same || part_equal(what_of(o), what_of(&f->op[k]));
    }
    return n;
}

/* How many ranks do in the place of `o`, of file `mine`, the same, and how many something else. Who
 * has begun fewer there may still come to it. */
static void count_same(const struct dump_set *s, const struct dump_file *mine,
                       const struct dump_op *o, unsigned *ret_same, unsigned *ret_others)
{
    bool same;
    unsigned own = count_in_place(mine, o, &same), n;

    *ret_same = *ret_others = 0;
    for (unsigned i = 0; i < s->n; i++) {
        if (s->file[i].of != DUMP_OF_CC)
            continue;
        n = count_in_place(&s->file[i], o, &same);
        *ret_same += same;
        *ret_others += !same && n >= own;
    }
}

/* The rank that does something else than most do in the same place: who compared first, and with
 * whom, says nothing about who is right. */
static const struct dump_file *odd_one(const struct dump_set *s, unsigned *ret_others)
{
    const struct dump_file *odd = NULL;
    unsigned least = 0, same, others;

    for (unsigned i = 0; i < s->n; i++) {
        const struct dump_op *o = s->file[i].of == DUMP_OF_CC ? stuck(&s->file[i]) : NULL;

        if (!o || what_of(o).len == 0)
            continue;
        count_same(s, &s->file[i], o, &same, &others);
        if (same >= others || (odd && same >= least))
            continue;
        odd = &s->file[i];
        least = same;
        *ret_others = others;
    }
    return odd;
}

static int file_of_rank(const struct dump_set *s, enum dump_of of, uint32_t rank)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->file[i].of == of && s->file[i].rank == rank)
            return (int)i;
    return -1;
}

/* Who has the most to say of a failure between ranks: who found it rather than who was stopped by
 * that. but: the rank that is not asked. NULL: nobody. */
static const struct dump_file *teller(const struct dump_set *s, uint32_t but)
{
    const struct dump_file *stopped = NULL;

    for (unsigned i = 0; i < s->n; i++) {
        const struct dump_file *f = &s->file[i];

        if (f->of != DUMP_OF_CORE || f->rank == but || !f->text[0])
            continue;
        if (!strstr(f->text, " was stopped: "))
            return f;
        if (!stopped)
            stopped = f;
    }
    return stopped;
}

static void blame_rank(const struct dump_set *s, uint32_t rank, unsigned votes,
                       struct dump_verdict *v)
{
    int cc = file_of_rank(s, DUMP_OF_CC, rank);
    const struct dump_op *o = cc >= 0 ? stuck(&s->file[cc]) : NULL;
    const struct dump_file *why = teller(s, rank);

    *v = (struct dump_verdict){.cause = DUMP_CAUSE_COLLECTIVE,
                               .file = file_of_rank(s, DUMP_OF_CORE, rank),
                               .has_rank = true,
                               .rank = rank};
    strbuf_printf(&v->text, "%u rank%s wait%s for rank %" PRIu32, votes, votes == 1 ? "" : "s",
                  votes == 1 ? "s" : "", rank);
    if (o)
        strbuf_printf(&v->text, ", which was in %s", o->text);
    else if (v->file < 0)
        strbuf_put(&v->text, ", which has left no dump: it was not in an execution, or runs on");
    if (why)
        strbuf_printf(&v->text, "; they say: %s", why->text);
}

static void blame_odd(const struct dump_set *s, const struct dump_file *odd, unsigned others,
                      struct dump_verdict *v)
{
    const struct dump_op *o = stuck(odd);
    const struct part what = what_of(o);
    const struct dump_file *why = teller(s, UINT32_MAX); /* who compared may be either */

    *v = (struct dump_verdict){.cause = DUMP_CAUSE_COLLECTIVE,
                               .file = file_of_rank(s, DUMP_OF_CORE, odd->rank),
                               .has_rank = true,
                               .rank = odd->rank};
    strbuf_printf(
        &v->text,
        "rank %" PRIu32 " does%.*s as operation %" PRIu64 " where %u other%s something else",
        odd->rank, (int)what.len, what.s, o->sequence, others, others == 1 ? " does" : "s do");
    if (why)
        strbuf_printf(&v->text, "; rank %" PRIu32 " says: %s", why->rank, why->text);
}

/* Earlier and graver first: a rank's own failure, then a death. One that is still being written, or
 * was cut short, does not say whose it is, and the others' files may. */
static int weight(const struct dump_set *s, const struct dump_verdict *v)
{
    switch (v->cause) {
    case DUMP_CAUSE_UNKNOWN:
        return 0;
    case DUMP_CAUSE_COLLECTIVE:
        return 1;
    case DUMP_CAUSE_DEATH:
        return s->file[v->file].has_job ? 2 : 1;
    default:
        return 3;
    }
}

void dump_judge(const struct dump_set *s, struct dump_verdict *v)
{
    unsigned votes;
    uint32_t rank = 0;
    bool blamed = most_blamed(s, &rank, &votes);
    const struct dump_file *odd;

    *v = (struct dump_verdict){.file = -1};
    for (unsigned i = 0; i < s->n; i++) {
        struct dump_verdict w;
        bool better;

        if (s->file[i].of != DUMP_OF_CORE)
            continue;
        dump_judge_core(s, i, &w);
        better = v->file < 0 || weight(s, &w) > weight(s, v);
        /* Of several that died the others were waiting for one. */
        if (!better && weight(s, &w) == weight(s, v) && blamed)
            better = w.has_rank && w.rank == rank && !(v->has_rank && v->rank == rank);
        if (better) {
            strbuf_fini(&v->text);
            *v = w;
        } else {
            strbuf_fini(&w.text);
        }
    }
    odd = weight(s, v) < 2 ? odd_one(s, &votes) : NULL;
    if (odd) {
        strbuf_fini(&v->text);
        blame_odd(s, odd, votes, v);
    } else if (blamed && weight(s, v) < 2) {
        strbuf_fini(&v->text);
        blame_rank(s, rank, votes, v);
    }
    if (!v->text.s)
        strbuf_put(&v->text, "there is no file of a core");
}
