/* SPDX-License-Identifier: Apache-2.0 */
/* Violations in words: where it happened, with whom, and for a deadlock who waits for whom. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check_int.h"

/* ---- violations ---- */

static void spot_text(const struct chk_spot *spot, char *text, size_t size)
{
    unsigned long long at = spot->element;

    switch (spot->buf) {
    case SCHED_IN:
    case SCHED_OUT:
        snprintf(text, size, "%s[%u] of rank %u, element %llu", sched_buf_name(spot->buf),
                 spot->tensor, spot->rank, at);
        return;
    case SCHED_LINE:
        snprintf(text, size, "line of rank %u written by rank %u, element %llu", spot->rank,
                 spot->tensor, at);
        return;
    default:
        snprintf(text, size, "%s of rank %u, element %llu", sched_buf_name(spot->buf), spot->rank,
                 at);
    }
}

bool chk_fail(struct chk *c, const struct chk_seq *s, enum sched_flaw flaw,
              const struct chk_spot *spot, const char *fmt, ...)
{
    struct sched_violation *v = &c->violation;
    char where[96] = "", text[320], at[48] = "at its end";
    va_list ap;

    v->flaw = flaw;
    v->operation = c->rank[s->rank].operation;
    if (v->operation == c->runs)
        v->operation--; /* found when all was over */
    v->rank = s->rank;
    v->channel = s->channel;
    v->step = s->step ? s->index : SCHED_AT_END;
    v->buf = SCHED_BUF_COUNT;
    if (spot) {
        v->buf = spot->buf;
        v->buf_rank = spot->rank;
        v->tensor = spot->tensor;
        v->element = spot->element;
        spot_text(spot, where, sizeof(where) - 2);
        strcat(where, " ");
    }
    if (s->step)
        snprintf(at, sizeof(at), "step %llu (%s)", (unsigned long long)s->index,
                 sched_kind_name((enum sched_kind)s->step->kind));
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->status = err_set(c->err, NRT_FAILURE, "%s: operation %u, rank %u, channel %u, %s: %s%s",
                        sched_flaw_name(flaw), v->operation, s->rank, s->channel, at, where, text);
    c->status = NRT_FAILURE;
    return false;
}

bool chk_no_memory(struct chk *c)
{
    c->status = err_set(c->err, NRT_RESOURCE, "no memory for the proof of a schedule");
    return false;
}

static void access_text(const struct chk *c, struct chk_access a, char *text, size_t size)
{
    const struct chk_seq *s;

    if (a.epoch >= CHK_MESSAGE_READ) {
        snprintf(text, size, "a message of the network that is under way");
        return;
    }
    s = &c->seq[a.seq];
    snprintf(text, size, "rank %u, channel %u", s->rank, s->channel);
}

bool chk_clash_report(struct chk *c, const struct chk_seq *s, enum chk_clash clash,
                      struct chk_spot spot, uint64_t base, const struct chk_found *found)
{
    char other[80];

    if (clash == CHK_FINE)
        return true;
    if (clash == CHK_MEMORY)
        return chk_no_memory(c);
    spot.element += found->element - base;
    access_text(c, found->other, other, sizeof(other));
    switch (clash) {
    case CHK_UNWRITTEN:
        return chk_fail(c, s, SCHED_FLAW_UNWRITTEN, &spot, "is read, but nobody wrote it");
    case CHK_READ_RACE:
        return chk_fail(c, s, SCHED_FLAW_READ_RACE, &spot,
                        "is read, and nothing orders that after the write by %s", other);
    case CHK_WRITE_RACE:
        return chk_fail(c, s, SCHED_FLAW_WRITE_RACE, &spot,
                        "is written, and nothing orders that with the write by %s", other);
    default:
        return chk_fail(c, s, SCHED_FLAW_REUSE, &spot,
                        "is written, and nothing orders that after the read by %s", other);
    }
}

/* ---- deadlock ---- */

/* The sequencer that s waits for: one that still has to act. NULL: there is none. */
static struct chk_seq *seq_blocker(struct chk *c, const struct chk_seq *s)
{
    struct chk_seq *b = chk_seq_of(c, s->step->peer, s->channel);

    if (c->rank[b->rank].operation == c->runs)
        return NULL;
    for (uint32_t ch = 0; b->state == CHK_ENDED && ch < c->channels; ch++)
        b = chk_seq_of(c, s->step->peer, ch); /* it waits for its rank's other channels */
    return b;
}

static void wait_text(const struct chk_seq *s, char *text, size_t size)
{
    const struct sched_step *st = s->step;

    if (st->kind == SCHED_TAKE)
        snprintf(text, size, "rank %u waits at step %llu for a line of rank %u", s->rank,
                 (unsigned long long)s->index, st->peer);
    else
        snprintf(text, size, "rank %u waits at step %llu for %s %d of rank %u", s->rank,
                 (unsigned long long)s->index, sched_sem_name((enum sched_sem)st->sem),
                 (int32_t)st->value, st->peer);
}

/* Nobody can run: follow who waits for whom, to a circle or to one that has ended. */
bool chk_deadlock_report(struct chk *c, struct chk_seq *s)
{
    char text[300] = "", one[96];
    size_t used = 0, links = 0;
    struct chk_seq *b = s, *end, *low;

    for (uint32_t i = 0; i < c->ranks * c->channels && b; i++) { /* into the circle, if any */
        s = b;
        b = seq_blocker(c, b);
    }
    end = b;
    low = s;
    for (b = end ? seq_blocker(c, s) : s; b != s; b = seq_blocker(c, b)) /* begin at the lowest */
        if (b->id < low->id)
            low = b;
    s = b = end ? low : s;
    do {
        if (used + sizeof(one) < sizeof(text)) {
            wait_text(b, one, sizeof(one));
            used +=
                (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", links ? "; " : "", one);
        }
        links++;
        b = end ? seq_blocker(c, b) : NULL;
    } while (b && b != s);
    if (!end)
        return chk_fail(c, s, SCHED_FLAW_DEADLOCK, NULL, "%s, which has ended", text);
    return chk_fail(c, s, SCHED_FLAW_DEADLOCK, NULL, "a circle of %zu: %s", links, text);
}
