/* SPDX-License-Identifier: Apache-2.0 */
#include "result.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void cc_result_init(struct cc_result *r, const struct cc_job *job, const char *token)
{
    memset(r, 0, sizeof(*r));
    r->job = job;
    r->token = token;
    r->reading = -1;
}

void cc_result_fini(struct cc_result *r)
{
    for (unsigned s = 0; s < CC_STREAMS_MAX; s++)
        mem_free(r->us[s]);
    mem_free(r->hash);
    memset(r, 0, sizeof(*r));
}

static NRT_STATUS bad(const struct cc_result *r, struct err *err, const char *what)
{
    return err_set(err, NRT_INVALID, "data collector: %s: \"%.60s\"", what, r->line);
}

/* The next word of the line as a number up to max. */
static bool word_number(char **save, int base, uint64_t max, uint64_t *ret)
{
    const char *w = strtok_r(NULL, " ", save);
    unsigned long long v;
    char *end;

    if (w == NULL || strlen(w) > 20 || w[strspn(w, "0123456789abcdef")] != '\0')
        return false;
    errno = 0;
    v = strtoull(w, &end, base);
    if (*end != '\0' || end == w || errno != 0 || v > max)
        return false;
    *ret = v;
    return true;
}

/* Takes as long whatever the token, so that it cannot be guessed byte by byte. */
static bool token_equal(const char *a, const char *b)
{
    size_t n = strlen(b);
    unsigned differ = strlen(a) != n;

    for (size_t i = 0; i < n && a[i] != '\0'; i++)
        differ |= (unsigned char)a[i] ^ (unsigned char)b[i];
    return differ == 0;
}

static NRT_STATUS greeting(struct cc_result *r, char **save, const char *first, struct err *err)
{
    uint64_t version, node, nodes;
    const char *token;

    if (strcmp(first, "nccom-test") != 0 || !word_number(save, 10, UINT32_MAX, &version))
        return bad(r, err, "no greeting");
    if (version != 1)
        return bad(r, err, "another version of nccom-test");
    token = strtok_r(NULL, " ", save);
    if (token == NULL || !token_equal(token, r->token))
        return err_set(err, NRT_INVALID, "data collector: a node of another job");
    if (!word_number(save, 10, UINT32_MAX, &node) || !word_number(save, 10, UINT32_MAX, &nodes))
        return bad(r, err, "no node");
    if (nodes != r->job->o.nodes || node >= nodes)
        return bad(r, err, "not a node of this job");
    r->node = (uint32_t)node;
    r->greeted = true;
    return NRT_SUCCESS;
}

static NRT_STATUS times_start(struct cc_result *r, char **save, struct err *err)
{
    uint64_t s, n;

    if (!word_number(save, 10, CC_STREAMS_MAX - 1, &s) || s >= r->job->stream_count ||
        r->us[s] != NULL || !word_number(save, 10, UINT32_MAX, &n) || n != r->job->counts.execs)
        return bad(r, err, "not the times of a stream");
    r->us[s] = mem_calloc(n, sizeof(double));
    if (r->us[s] == NULL)
        return err_set(err, NRT_RESOURCE, "out of host memory");
    r->reading = (int)s;
    return NRT_SUCCESS;
}

static NRT_STATUS time_add(struct cc_result *r, struct err *err)
{
    uint32_t *n = &r->times[r->reading];
    char *end;
    double ns = strtod(r->line, &end);

    if (end == r->line || *end != '\0' || !(ns >= 0 && ns < 1e18))
        return bad(r, err, "not a time");
    r->us[r->reading][(*n)++] = ns / 1000;
    if (*n == r->job->counts.execs)
        r->reading = -1;
    return NRT_SUCCESS;
}

static NRT_STATUS hash_add(struct cc_result *r, char **save, struct err *err)
{
    size_t most = (size_t)CC_STREAMS_MAX * CC_LISTS_MAX * r->job->o.ranks;
    uint64_t s, l, g, h;

    if (r->hash_count >= most || !word_number(save, 10, r->job->stream_count - 1, &s) ||
        !word_number(save, 10, CC_LISTS_MAX - 1, &l) ||
        !word_number(save, 10, r->job->o.ranks - 1, &g) || !word_number(save, 16, UINT64_MAX, &h))
        return bad(r, err, "not a hash");
    if (!mem_grow((void **)&r->hash, &r->hash_cap, r->hash_count + 1, sizeof(*r->hash)))
        return err_set(err, NRT_RESOURCE, "out of host memory");
    r->hash[r->hash_count++] = (struct cc_hash_line){(uint32_t)s, (uint32_t)l, (uint32_t)g, h};
    return NRT_SUCCESS;
}

/* A word of small letters. */
static bool word_name(char **save, char ret[CC_WORD_MAX])
{
    const char *w = strtok_r(NULL, " ", save);

    if (w == NULL || strlen(w) >= CC_WORD_MAX ||
        w[strspn(w, "abcdefghijklmnopqrstuvwxyz_")] != '\0')
        return false;
    snprintf(ret, CC_WORD_MAX, "%s", w);
    return true;
}

static NRT_STATUS means(struct cc_result *r, char **save, struct err *err)
{
    uint64_t s;

    return word_number(save, 10, r->job->stream_count - 1, &s) &&
                   word_name(save, r->algorithm[s]) && word_name(save, r->variant[s])
               ? NRT_SUCCESS
               : bad(r, err, "not an algorithm");
}

static NRT_STATUS end(struct cc_result *r, char **save, struct err *err)
{
    const char *w = strtok_r(NULL, " ", save);

    r->ok = w != NULL && strcmp(w, "ok") == 0;
    if (!r->ok && (w == NULL || strcmp(w, "failed") != 0))
        return bad(r, err, "no end");
    for (unsigned s = 0; s < r->job->stream_count && r->ok; s++)
        if (r->us[s] == NULL || r->times[s] != r->job->counts.execs)
            return bad(r, err, "times are missing");
    if (!r->ok)
        snprintf(r->text, sizeof(r->text), "%s", *save != NULL ? *save : "");
    r->ended = true;
    return NRT_SUCCESS;
}

static NRT_STATUS progress(struct cc_result *r, char **save, struct err *err)
{
    uint64_t done, of;

    if (!word_number(save, 10, UINT32_MAX, &done) || !word_number(save, 10, UINT32_MAX, &of) ||
        done > of)
        return bad(r, err, "not a progress");
    r->done = (uint32_t)done;
    r->of = (uint32_t)of;
    return NRT_SUCCESS;
}

static NRT_STATUS line_take(struct cc_result *r, struct err *err)
{
    char copy[CC_LINE_MAX], *save = NULL, *first;

    if (r->ended)
        return bad(r, err, "more after the end");
    if (r->reading >= 0)
        return time_add(r, err);
    memcpy(copy, r->line, sizeof(copy));
    first = strtok_r(copy, " ", &save);
    if (first == NULL)
        return bad(r, err, "an empty line");
    if (!r->greeted)
        return greeting(r, &save, first, err);
    if (strcmp(first, "progress") == 0)
        return progress(r, &save, err);
    if (strcmp(first, "times") == 0)
        return times_start(r, &save, err);
    if (strcmp(first, "hash") == 0)
        return hash_add(r, &save, err);
    if (strcmp(first, "means") == 0)
        return means(r, &save, err);
    if (strcmp(first, "end") == 0)
        return end(r, &save, err);
    return bad(r, err, "not understood");
}

NRT_STATUS cc_result_take(struct cc_result *r, const char *bytes, size_t size, struct err *err)
{
    for (size_t i = 0; i < size; i++) {
        NRT_STATUS st;

        if (bytes[i] != '\n') {
            if (r->len + 1 >= sizeof(r->line) || (unsigned char)bytes[i] < 0x20)
                return err_set(err, NRT_INVALID, "data collector: not a line of text");
            r->line[r->len++] = bytes[i];
            continue;
        }
        r->line[r->len] = '\0';
        st = line_take(r, err);
        r->len = 0;
        if (st != NRT_SUCCESS)
            return st;
    }
    return NRT_SUCCESS;
}

void cc_results_merge(const struct cc_result *nodes, uint32_t count, unsigned stream, double *us)
{
    for (uint32_t i = 0; i < nodes[0].job->counts.execs; i++) {
        us[i] = 0;
        for (uint32_t n = 0; n < count; n++)
            if (nodes[n].us[stream][i] > us[i])
                us[i] = nodes[n].us[stream][i];
    }
}

static int hash_order(const void *a, const void *b)
{
    const struct cc_hash_line *x = a, *y = b;
    uint64_t p = ((uint64_t)x->stream << 48) | ((uint64_t)x->list << 32) | x->group;
    uint64_t q = ((uint64_t)y->stream << 48) | ((uint64_t)y->list << 32) | y->group;

    return (p > q) - (p < q);
}

bool cc_results_equal(const struct cc_result *nodes, uint32_t count, struct cc_hash_line *ret)
{
    struct cc_hash_line *all;
    size_t n = 0, k = 0;
    bool equal = true;

    for (uint32_t i = 0; i < count; i++)
        n += nodes[i].hash_count;
    all = mem_calloc(n + 1, sizeof(*all));
    if (all == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (nodes[i].hash_count > 0)
            memcpy(all + k, nodes[i].hash, nodes[i].hash_count * sizeof(*all));
        k += nodes[i].hash_count;
    }
    qsort(all, n, sizeof(*all), hash_order);
    for (size_t i = 1; i < n && equal; i++)
        if (hash_order(&all[i - 1], &all[i]) == 0 && all[i - 1].hash != all[i].hash) {
            *ret = all[i];
            equal = false;
        }
    mem_free(all);
    return equal;
}

/* ---- node lists ---- */

bool cc_first_host(const char *list, char *buf, size_t size)
{
    size_t n = strcspn(list, "[,"), digits;

    if (list[n] != '[') {
        digits = 0;
    } else {
        digits = strspn(list + n + 1, "0123456789");
        if (digits == 0 || strchr("-,]", list[n + 1 + digits]) == NULL || !list[n + 1 + digits])
            return false;
    }
    if (n + digits == 0 || n + digits >= size)
        return false;
    memcpy(buf, list, n);
    memcpy(buf + n, list + n + 1, digits);
    buf[n + digits] = '\0';
    return true;
}
