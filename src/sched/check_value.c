/* SPDX-License-Identifier: Apache-2.0 */
/* Values: a table of leaves and reductions in which equal things have equal numbers. A reduction of
 * the elements [o, o + len) of several inputs is one value for every o: what is kept is the
 * distance between its terms, so slices and channels of one chunk share it. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "check_int.h"

static uint64_t hash_step(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

static uint64_t leaf_hash(unsigned leaf, uint32_t operation, uint32_t rank, uint32_t tensor)
{
    return hash_step(hash_step(hash_step(leaf + 1, operation), rank), tensor);
}

static uint64_t terms_hash(const struct chk_term *terms, uint32_t n)
{
    uint64_t h = 7;

    for (uint32_t i = 0; i < n; i++)
        h = hash_step(hash_step(h, terms[i].value), terms[i].off - terms[0].off);
    return h;
}

static uint64_t value_hash(const struct chk_values *v, uint32_t i)
{
    const struct chk_value *x = &v->value[i];

    if (x->count)
        return terms_hash(v->term + x->first, x->count);
    return leaf_hash(x->leaf, x->operation, x->rank, x->tensor);
}

bool chk_values_init(struct chk_values *v, uint32_t ranks)
{
    v->buckets = 1024;
    v->bucket = mem_calloc(v->buckets, sizeof(*v->bucket));
    v->seen = mem_calloc(ranks / 64 + 1, sizeof(*v->seen));
    if (!v->bucket || !v->seen || !mem_grow((void **)&v->value, &v->cap, 1, sizeof(*v->value)))
        return false;
    v->value[0] = (struct chk_value){0};
    v->count = 1;
    return true;
}

void chk_values_fini(struct chk_values *v)
{
    mem_free(v->value);
    mem_free(v->term);
    mem_free(v->bucket);
    mem_free(v->seen);
    mem_free(v->stack);
}

static bool buckets_grow(struct chk_values *v)
{
    size_t n = v->buckets * 2;
    uint32_t *b = mem_calloc(n, sizeof(*b));

    if (!b)
        return false;
    for (uint32_t i = 1; i < v->count; i++) {
        uint32_t *head = &b[value_hash(v, i) & (n - 1)];

        v->value[i].next = *head;
        *head = i;
    }
    mem_free(v->bucket);
    v->bucket = b;
    v->buckets = n;
    return true;
}

static uint32_t value_add(struct chk_values *v, struct chk_value x, uint64_t hash)
{
    uint32_t *head;

    if (v->count == UINT32_MAX || (v->count >= v->buckets && !buckets_grow(v)) ||
        !mem_grow((void **)&v->value, &v->cap, v->count + 1, sizeof(*v->value)))
        return CHK_NOTHING;
    head = &v->bucket[hash & (v->buckets - 1)];
    x.next = *head;
    *head = (uint32_t)v->count;
    v->value[v->count] = x;
    return (uint32_t)v->count++;
}

uint32_t chk_value_leaf(struct chk_values *v, enum chk_leaf leaf, uint32_t operation, uint32_t rank,
                        uint32_t tensor)
{
    uint64_t hash = leaf_hash(leaf, operation, rank, tensor);

    for (uint32_t i = v->bucket[hash & (v->buckets - 1)]; i; i = v->value[i].next) {
        const struct chk_value *x = &v->value[i];

        if (x->count == 0 && x->leaf == leaf && x->operation == operation && x->rank == rank &&
            x->tensor == tensor)
            return i;
    }
    return value_add(v,
                     (struct chk_value){.rank = rank,
                                        .tensor = (uint16_t)tensor,
                                        .leaf = (uint8_t)leaf,
                                        .operation = (uint8_t)operation},
                     hash);
}

static bool terms_equal(const struct chk_term *a, const struct chk_term *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (a[i].value != b[i].value || a[i].off - a[0].off != b[i].off - b[0].off)
            return false;
    return true;
}

uint32_t chk_value_reduce(struct chk_values *v, const struct chk_term *terms, uint32_t n)
{
    uint64_t hash;

    if (n == 1)
        return terms[0].value; /* rounding what is rounded changes nothing */
    hash = terms_hash(terms, n);
    for (uint32_t i = v->bucket[hash & (v->buckets - 1)]; i; i = v->value[i].next)
        if (v->value[i].count == n && terms_equal(v->term + v->value[i].first, terms, n))
            return i;
    if (v->term_count + n > UINT32_MAX ||
        !mem_grow((void **)&v->term, &v->term_cap, v->term_count + n, sizeof(*v->term)))
        return CHK_NOTHING;
    for (uint32_t i = 0; i < n; i++)
        v->term[v->term_count + i] = (struct chk_term){terms[i].value, terms[i].off - terms[0].off};
    v->term_count += n;
    return value_add(v, (struct chk_value){.first = (uint32_t)(v->term_count - n), .count = n},
                     hash);
}

static const char *const leaf_names[] = {"input", "the old content of output"};

void chk_value_text(const struct chk_values *v, uint32_t value, uint64_t off, char *text,
                    size_t size)
{
    const struct chk_value *x = &v->value[value];

    if (value == CHK_NOTHING)
        snprintf(text, size, "nothing");
    else if (x->count)
        snprintf(text, size, "a reduction of %u terms", x->count);
    else
        snprintf(text, size, "element %llu of %s %u of rank %u, operation %u",
                 (unsigned long long)off, leaf_names[x->leaf], x->tensor, x->rank, x->operation);
}

/* One leaf of a reduction that should be complete. */
static bool leaf_fits(struct chk_values *v, const struct chk_value *x, uint64_t off,
                      const struct chk_sum *sum, char *text, size_t size)
{
    uint64_t bit = (uint64_t)1 << (x->rank & 63);

    if (x->leaf != CHK_INPUT || x->operation != sum->operation || x->tensor != sum->tensor) {
        snprintf(text, size, "a reduction with a term from %s %u of rank %u, operation %u",
                 leaf_names[x->leaf], x->tensor, x->rank, x->operation);
        return false;
    }
    if (off != sum->off + (sum->starts ? sum->starts[x->rank * sum->stride] : 0)) {
        snprintf(text, size, "a reduction with element %llu of rank %u", (unsigned long long)off,
                 x->rank);
        return false;
    }
    if (v->seen[x->rank / 64] & bit) {
        snprintf(text, size, "a reduction with the contribution of rank %u twice", x->rank);
        return false;
    }
    v->seen[x->rank / 64] |= bit;
    return true;
}

static bool complete_before(const struct chk_value *x, uint64_t off, const struct chk_sum *sum,
                            char *text, size_t size)
{
    snprintf(text, size, "the complete reduction of tensor %u in operation %u at element %llu",
             x->tensor, x->operation, (unsigned long long)off);
    return x->operation == sum->operation && x->tensor == sum->tensor && off == sum->off;
}

/* A complete reduction of elements at one place is one at every place. */
static void complete_keep(struct chk_value *x, const struct chk_sum *sum)
{
    if (x->count == 0 || sum->starts)
        return;
    x->complete = true;
    x->operation = (uint8_t)sum->operation;
    x->tensor = (uint16_t)sum->tensor;
}

/* Each inner node has at least two terms and the walk ends at the second visit of a rank, so it
 * takes at most two steps per rank. */
bool chk_value_complete(struct chk_values *v, uint32_t value, uint64_t off,
                        const struct chk_sum *sum, char *text, size_t size)
{
    uint32_t found = 0;
    size_t depth = 0;

    if (v->value[value].complete)
        return complete_before(&v->value[value], off, sum, text, size);
    memset(v->seen, 0, (sum->ranks / 64 + 1) * sizeof(*v->seen));
    if (value == CHK_NOTHING || !mem_grow((void **)&v->stack, &v->stack_cap, 1, sizeof(*v->stack)))
        return false;
    v->stack[depth++] = (struct chk_term){value, off};
    while (depth) {
        struct chk_term at = v->stack[--depth];
        const struct chk_value *x = &v->value[at.value];

        if (x->count == 0) {
            if (!leaf_fits(v, x, at.off, sum, text, size))
                return false;
            found++;
            continue;
        }
        if (!mem_grow((void **)&v->stack, &v->stack_cap, depth + x->count, sizeof(*v->stack)))
            return false;
        for (uint32_t i = 0; i < x->count; i++) {
            const struct chk_term *t = &v->term[x->first + i];

            v->stack[depth++] = (struct chk_term){t->value, at.off + t->off};
        }
    }
    if (found != sum->ranks) {
        uint32_t r = 0;

        while (v->seen[r / 64] >> (r & 63) & 1)
            r++;
        snprintf(text, size, "a reduction of %u of %u ranks, without rank %u", found, sum->ranks,
                 r);
        return false;
    }
    complete_keep(&v->value[value], sum);
    return true;
}
