/* SPDX-License-Identifier: Apache-2.0 */
/* Reading an item: a name, then fields after colons. Fields without a key come first, in an order
 * that the name fixes; each key may stand once, and only with names that it means something for. */
#include "device/fault_item.h"

#include <string.h>

#include "isa/isa.h"

#define LATE_MS_MAX 3600000u

enum key { K_HIT, K_CORE, K_AFTER, K_DETAIL, K_COUNT, K_MODEL, K_P, K_SEED, K_AT, K_COUNT_OF_KEYS };

#define BIT(k)  (1u << (k))
#define EVERY   (BIT(K_AFTER) | BIT(K_COUNT) | BIT(K_P) | BIT(K_SEED))
#define POINT   (BIT(K_HIT) | BIT(K_COUNT) | BIT(K_P) | BIT(K_SEED))
#define STRIKES (EVERY | BIT(K_CORE) | BIT(K_DETAIL) | BIT(K_MODEL))
#define RECORD  (STRIKES | BIT(K_AT))
#define RANK    (EVERY | BIT(K_CORE))

static const char *const key_names[K_COUNT_OF_KEYS] = {"hit",   "core", "after", "detail", "count",
                                                       "model", "p",    "seed",  "at"};

static const struct name {
    const char *name;
    uint8_t kind, which;
    uint16_t keys;
    uint32_t detail;
} names[] = {
    {"alloc", DEVICE_FAULT_POINT, FAULT_ALLOC, POINT, 0},
    {"mmap", DEVICE_FAULT_POINT, FAULT_MMAP, POINT, 0},
    {"file", DEVICE_FAULT_POINT, FAULT_FILE, POINT, 0},
    {"lock", DEVICE_FAULT_POINT, FAULT_LOCK, POINT, 0},
    {"backing", DEVICE_FAULT_POINT, FAULT_BACKING, POINT, 0},
    {"thread", DEVICE_FAULT_POINT, FAULT_THREAD, POINT, 0},
    {"queue", DEVICE_FAULT_POINT, FAULT_QUEUE, POINT, 0},
    {"hbm-full", DEVICE_FAULT_POINT, FAULT_HBM, POINT, 0},
    {"queue-full", DEVICE_FAULT_POINT, FAULT_ASYNC, POINT, 0},
    {"net-loss", DEVICE_FAULT_POINT, FAULT_NET, POINT, 0},
    {"sram", DEVICE_FAULT_HW, DEVICE_HW_SRAM, RECORD, 0},
    {"hbm", DEVICE_FAULT_HW, DEVICE_HW_HBM, RECORD, 0},
    {"hbm-repairable", DEVICE_FAULT_HW, DEVICE_HW_HBM_REPAIRABLE, RECORD, 0},
    {"parity", DEVICE_FAULT_HW, DEVICE_HW_PARITY, RECORD, 0},
    {"dma-tx", DEVICE_FAULT_HW, DEVICE_HW_DMA_TX, RECORD, 0},
    {"dma-rx", DEVICE_FAULT_HW, DEVICE_HW_DMA_RX, RECORD, 0},
    {"device", DEVICE_FAULT_HW, DEVICE_HW_DEVICE, RECORD, 0},
    {"nq-overflow", DEVICE_FAULT_HW, DEVICE_HW_NQ, STRIKES, 0},
    {"notification", DEVICE_FAULT_HW, DEVICE_HW_NOTIFICATION, STRIKES, 0},
    {"semaphore", DEVICE_FAULT_SEMAPHORE, 0, STRIKES, 0},
    {"dead-rank", DEVICE_FAULT_DEAD, 0, RANK | BIT(K_MODEL) | BIT(K_AT), 0},
    {"late-rank", DEVICE_FAULT_LATE, 0, RANK | BIT(K_DETAIL), 100},
    {"slow-link", DEVICE_FAULT_LINK, 0, BIT(K_CORE) | BIT(K_DETAIL), 8},
};

struct text {
    const char *s;
    size_t n;
};

static bool text_is(struct text t, const char *word)
{
    return t.n == strlen(word) && memcmp(t.s, word, t.n) == 0;
}

/* Up to the next of this character, or all; the rest follows it. */
static struct text text_cut(struct text *rest, char at)
{
    const char *end = rest->n ? memchr(rest->s, at, rest->n) : NULL;
    struct text t = {rest->s, end ? (size_t)(end - rest->s) : rest->n};

    rest->s += t.n + (end != NULL);
    rest->n -= t.n + (end != NULL);
    return t;
}

static bool number_get(struct text t, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;

    if (t.n == 0 || t.n > 20)
        return false;
    for (size_t i = 0; i < t.n; i++) {
        if (t.s[i] < '0' || t.s[i] > '9' || __builtin_mul_overflow(v, UINT64_C(10), &v) ||
            __builtin_add_overflow(v, (uint64_t)(t.s[i] - '0'), &v))
            return false;
    }
    *ret = v;
    return v <= max;
}

static bool number32_get(struct text t, uint32_t *ret)
{
    uint64_t v;

    if (!number_get(t, UINT32_MAX - 1, &v))
        return false;
    *ret = (uint32_t)v;
    return true;
}

/* 0 to 1, as "1", "0.25" or ".25": up to nine places. */
static bool chance_get(struct text t, uint64_t *ret)
{
    struct text rest = t, whole = text_cut(&rest, '.');
    bool point = whole.n < t.n;
    uint64_t v = 0, places = 0, unit = 1;

    if (whole.n > 0 && !number_get(whole, 1, &v))
        return false;
    if (point && (rest.n > 9 || !number_get(rest, UINT64_MAX, &places)))
        return false;
    if ((whole.n == 0 && !point) || (v == 1 && places > 0))
        return false;
    for (size_t i = 0; i < rest.n; i++)
        unit *= 10;
    *ret = (v << 32) + (places << 32) / unit;
    return true;
}

/* An engine's name, a point, the number of its record. */
static bool record_get(struct text t, struct fault_item *ret)
{
    struct text engine = text_cut(&t, '.');

    ret->engine = -1;
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        if (text_is(engine, isa_engine_name(e)))
            ret->engine = (int)e;
    return ret->engine >= 0 && number32_get(t, &ret->record);
}

static bool model_get(struct text t, struct fault_item *ret)
{
    if (t.n == 0 || t.n >= sizeof(ret->model) || memchr(t.s, 0, t.n))
        return false;
    memcpy(ret->model, t.s, t.n);
    ret->model[t.n] = '\0';
    return true;
}

static bool field_get(enum key key, struct text t, struct fault_item *ret)
{
    uint32_t hit;

    switch (key) {
    case K_HIT: /* counted from 1 */
        if (!number32_get(t, &hit) || hit == 0)
            return false;
        ret->after = hit - 1;
        return true;
    case K_CORE:
        return number32_get(t, &ret->core);
    case K_AFTER:
        return number32_get(t, &ret->after);
    case K_DETAIL:
        return number32_get(t, &ret->detail);
    case K_COUNT:
        return number32_get(t, &ret->count);
    case K_MODEL:
        return model_get(t, ret);
    case K_P:
        return chance_get(t, &ret->odds.of32);
    case K_SEED:
        return number_get(t, UINT64_MAX, &ret->odds.seed);
    case K_AT:
        return record_get(t, ret);
    case K_COUNT_OF_KEYS:
        break;
    }
    return false;
}

/* What field number `at` without a key stands for. */
static enum key key_by_place(const struct name *n, unsigned at)
{
    static const enum key order[] = {K_CORE, K_AFTER, K_DETAIL};

    if (n->keys & BIT(K_HIT))
        return at == 0 ? K_HIT : K_COUNT_OF_KEYS;
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        if (n->keys & BIT(order[i]) && at-- == 0)
            return order[i];
    return K_COUNT_OF_KEYS;
}

static const struct name *name_find(struct text t)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (text_is(t, names[i].name))
            return &names[i];
    return NULL;
}

/* Of a field: its key, and in *t what is left of it. */
static enum key key_find(const struct name *n, unsigned at, bool keyed, struct text *t)
{
    struct text rest = *t, word = text_cut(&rest, '=');
    enum key k = K_HIT;

    if (word.n == t->n)
        return keyed ? K_COUNT_OF_KEYS : key_by_place(n, at);
    *t = rest;
    while (k < K_COUNT_OF_KEYS && !text_is(word, key_names[k]))
        k++;
    return k < K_COUNT_OF_KEYS && n->keys & BIT(k) ? k : K_COUNT_OF_KEYS;
}

/* What fits no item, whatever the name. */
static NRT_STATUS item_check(const struct fault_item *it, struct err *err)
{
    if (it->kind == DEVICE_FAULT_SEMAPHORE && it->detail >= ISA_SEMAPHORES)
        return err_set(err, NRT_INVALID, "there is no semaphore %u", it->detail);
    if (it->kind == DEVICE_FAULT_LINK && it->detail == 0)
        return err_set(err, NRT_INVALID, "a link that is 0 times slower");
    if (it->kind == DEVICE_FAULT_LATE && it->detail > LATE_MS_MAX)
        return err_set(err, NRT_INVALID, "a rank is at most %u ms late", LATE_MS_MAX);
    return NRT_SUCCESS;
}

NRT_STATUS fault_item_parse(const char *text, size_t size, struct fault_item *ret, struct err *err)
{
    struct text rest = {text, size}, word = text_cut(&rest, ':');
    const struct name *n = name_find(word);
    bool more = word.n < size, keyed = false;
    unsigned seen = 0;

    if (!n)
        return err_set(err, NRT_INVALID, "there is no fault of this name");
    *ret = (struct fault_item){.kind = (enum device_fault_kind)n->kind,
                               .core = DEVICE_NONE,
                               .count = 1,
                               .detail = n->detail,
                               .odds.of32 = FAULT_ALWAYS,
                               .engine = -1};
    if (ret->kind == DEVICE_FAULT_POINT)
        ret->point = (enum fault_point)n->which;
    else
        ret->hw = (enum device_hw_error)n->which;
    if (!more)
        return err_set(err, NRT_INVALID, "%s wants at least one field", n->name);
    for (unsigned at = 0; more; at++) {
        struct text field = text_cut(&rest, ':');
        enum key k = key_find(n, at, keyed, &field);

        more = rest.s > field.s + field.n;
        keyed = keyed || field.s[-1] == '=';
        if (k == K_COUNT_OF_KEYS)
            return err_set(err, NRT_INVALID, "field %u is none of %s", at + 1, n->name);
        if (seen & BIT(k))
            return err_set(err, NRT_INVALID, "%s stands there twice", key_names[k]);
        seen |= BIT(k);
        if (!field_get(k, field, ret))
            return err_set(err, NRT_INVALID, "the value of %s is not one", key_names[k]);
    }
    return item_check(ret, err);
}
