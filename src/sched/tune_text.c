/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of tune.h as text. The reader takes bytes of a file that anybody may have written: numbers
 * are limited, so that every table it returns is one that sched_tuning_decide could have made. */
#include <inttypes.h>
#include <string.h>

#include "sched/tune.h"

#define WORDS_MAX 10
#define HEADER    "opennrt-tune"
#define VERSION   1

/* ---- printing ---- */

static const char *crowd_name(bool crowded)
{
    return crowded ? "crowded" : "spread";
}

void sched_tune_rule_print(const struct sched_tune_rule *r, struct strbuf *out)
{
    strbuf_printf(out, "%s %s to ", sched_op_name((enum sched_op)r->op), crowd_name(r->crowded));
    if (r->size_max)
        strbuf_printf(out, "%" PRIu64, r->size_max);
    else
        strbuf_put(out, "any");
    strbuf_printf(out, " %s %s slice %" PRIu32,
                  sched_variant_name((enum sched_variant)r->means.variant),
                  r->means.around ? "around" : "through", r->means.slice);
}

void sched_tuning_print(const struct sched_tuning *t, struct strbuf *out)
{
    strbuf_printf(out, "%s %d\n", HEADER, VERSION);
    if (t->host[0])
        strbuf_printf(out, "host %s\n", t->host);
    for (unsigned c = 0; c < 2; c++)
        strbuf_printf(out, "wait %s spins %" PRIu32 " yields %" PRIu32 "\n", crowd_name(c),
                      t->patience[c].spins, t->patience[c].yields);
    for (unsigned i = 0; i < t->count; i++) {
        sched_tune_rule_print(&t->rule[i], out);
        strbuf_put(out, "\n");
    }
}

/* ---- reading ---- */

struct word {
    const char *s;
    size_t n;
};

struct line {
    unsigned number;
    const char *rest; /* after the first word, for host */
    size_t rest_size;
    struct word word[WORDS_MAX];
    unsigned words;
};

struct reader {
    const char *at, *end;
    struct line line;
    struct err *err;
    bool seen[2]; /* wait lines */
};

static NRT_STATUS bad(struct reader *r, const char *what)
{
    return err_set(r->err, NRT_INVALID, "line %u: %s", r->line.number, what);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Cuts the next line into words, without its comment. More words than any line has are an error
 * where they are met: the count tells. */
static bool line_next(struct reader *r)
{
    struct line *l = &r->line;
    const char *end, *p = r->at, *hash;

    if (r->at == r->end)
        return false;
    end = memchr(p, '\n', (size_t)(r->end - p));
    r->at = end ? end + 1 : r->end;
    end = end ? end : r->end;
    hash = memchr(p, '#', (size_t)(end - p));
    end = hash ? hash : end;
    while (end > p && is_space(end[-1]))
        end--;
    *l = (struct line){.number = l->number + 1};
    while (p < end) {
        const char *start;

        while (p < end && is_space(*p))
            p++;
        start = p;
        while (p < end && !is_space(*p))
            p++;
        if (p == start)
            break;
        if (l->words < WORDS_MAX)
            l->word[l->words] = (struct word){start, (size_t)(p - start)};
        l->words++;
        if (l->words == 1) {
            l->rest = p + (p < end);
            l->rest_size = (size_t)(end - l->rest);
        }
    }
    return true;
}

static bool is(const struct line *l, unsigned i, const char *text)
{
    return l->word[i].n == strlen(text) && memcmp(l->word[i].s, text, l->word[i].n) == 0;
}

static bool number(const struct line *l, unsigned i, uint64_t least, uint64_t most, uint64_t *ret)
{
    uint64_t v = 0;

    for (size_t k = 0; k < l->word[i].n; k++) {
        char c = l->word[i].s[k];

        if (c < '0' || c > '9' || v > (UINT64_MAX - 9) / 10)
            return false;
        v = v * 10 + (uint64_t)(c - '0');
    }
    *ret = v;
    return l->word[i].n > 0 && v >= least && v <= most;
}

static bool crowd(const struct line *l, unsigned i, bool *ret)
{
    *ret = is(l, i, "crowded");
    return *ret || is(l, i, "spread");
}

static NRT_STATUS host_read(struct reader *r, struct sched_tuning *t)
{
    const struct line *l = &r->line;

    if (l->rest_size == 0 || l->rest_size >= sizeof(t->host))
        return bad(r, "the host has no name, or one that is too long");
    if (t->host[0])
        return bad(r, "a second host");
    for (size_t i = 0; i < l->rest_size; i++)
        if ((unsigned char)l->rest[i] < 0x20 || (unsigned char)l->rest[i] > 0x7e)
            return bad(r, "a name of a host is printable ASCII");
    memcpy(t->host, l->rest, l->rest_size);
    t->host[l->rest_size] = 0;
    return NRT_SUCCESS;
}

static NRT_STATUS wait_read(struct reader *r, struct sched_tuning *t)
{
    const struct line *l = &r->line;
    uint64_t spins, yields;
    bool crowded;

    if (l->words != 6 || !crowd(l, 1, &crowded) || !is(l, 2, "spins") ||
        !number(l, 3, 0, SCHED_PATIENCE_MAX, &spins) || !is(l, 4, "yields") ||
        !number(l, 5, 0, SCHED_PATIENCE_MAX, &yields))
        return bad(r, "expected wait spread|crowded spins N yields N, up to a million");
    if (r->seen[crowded])
        return bad(r, "a second line for this crowd");
    r->seen[crowded] = true;
    t->patience[crowded] = (struct sched_patience){(uint32_t)spins, (uint32_t)yields};
    return NRT_SUCCESS;
}

static bool name_find(const struct line *l, unsigned i, const char *(*name)(unsigned),
                      unsigned count, uint8_t *ret)
{
    for (unsigned k = 0; k < count; k++)
        if (is(l, i, name(k))) {
            *ret = (uint8_t)k;
            return true;
        }
    return false;
}

static const char *op_text(unsigned i)
{
    return sched_op_name((enum sched_op)i);
}

static const char *variant_text(unsigned i)
{
    return sched_variant_name((enum sched_variant)i);
}

static NRT_STATUS rule_read(struct reader *r, struct sched_tuning *t)
{
    const struct line *l = &r->line;
    struct sched_tune_rule rule = {0};
    uint64_t slice;

    if (l->words != 8 || !name_find(l, 0, op_text, SCHED_OP_COUNT, &rule.op) ||
        !crowd(l, 1, &rule.crowded) || !is(l, 2, "to") ||
        !(is(l, 3, "any") || number(l, 3, 1, UINT64_MAX, &rule.size_max)) ||
        !name_find(l, 4, variant_text, SCHED_VARIANT_COUNT, &rule.means.variant) ||
        !(is(l, 5, "through") || is(l, 5, "around")) || !is(l, 6, "slice") ||
        !number(l, 7, SCHED_SLICE_MIN, SCHED_SLICE_MAX, &slice))
        return bad(r, "expected OPERATION spread|crowded to BYTES|any VARIANT through|around slice "
                      "BYTES (4096 to 16777216)");
    if (slice & (slice - 1))
        return bad(r, "a slice is a power of two");
    if (t->count == SCHED_TUNE_RULES_MAX)
        return bad(r, "too many rules");
    rule.means.around = is(l, 5, "around");
    rule.means.slice = (uint32_t)slice;
    t->rule[t->count++] = rule;
    return NRT_SUCCESS;
}

static NRT_STATUS header_read(struct reader *r)
{
    uint64_t version;

    while (line_next(r) && r->line.words == 0)
        ;
    if (r->line.words != 2 || !is(&r->line, 0, HEADER) ||
        !number(&r->line, 1, 0, UINT32_MAX, &version))
        return bad(r, "this is no table of opennrt tune");
    return version == VERSION ? NRT_SUCCESS : bad(r, "the table is of another version");
}

NRT_STATUS sched_tuning_parse(const char *text, size_t size, struct sched_tuning *ret,
                              struct err *err)
{
    struct reader r = {.at = text, .end = text + size, .err = err};
    NRT_STATUS st;

    memset(ret, 0, sizeof(*ret));
    if (size > SCHED_TUNE_TEXT_MAX)
        return err_set(err, NRT_INVALID, "%zu bytes; a table has up to %u", size,
                       SCHED_TUNE_TEXT_MAX);
    st = header_read(&r);
    while (!st && line_next(&r)) {
        if (r.line.words == 0)
            continue;
        if (is(&r.line, 0, "host"))
            st = host_read(&r, ret);
        else if (is(&r.line, 0, "wait"))
            st = wait_read(&r, ret);
        else
            st = rule_read(&r, ret);
    }
    if (!st && !(r.seen[0] && r.seen[1]))
        st = err_set(err, NRT_INVALID, "a wait line is missing");
    return st;
}
