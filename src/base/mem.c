/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/fault.h"

#define ARENA_ALIGN     16
#define ARENA_BLOCK_MIN 4096
#define ARENA_BLOCK_MAX (1024 * 1024)      /* of an arena of little */
#define ARENA_BLOCK_TOP (64 * 1024 * 1024) /* of one of much */
#define HUGE_PAGE       (2 * 1024 * 1024)
#define LARGE           (2 * HUGE_PAGE)

/* p; what is large asks for huge pages. Most of a load of a million instructions would else be the
 * first touch of each small one. */
static void *paged(void *p, size_t size)
{
    uintptr_t from = ((uintptr_t)p + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1);
    uintptr_t to = ((uintptr_t)p + size) & ~(uintptr_t)(HUGE_PAGE - 1);
    int saved = errno;

    if (p != NULL && size >= LARGE)
        madvise((void *)from, to - from, MADV_HUGEPAGE); /* NOLINT: the whole pages inside */
    errno = saved;
    return p;
}

void *mem_alloc(size_t size)
{
    if (fault_hit(FAULT_ALLOC))
        return NULL;
    return paged(malloc(size ? size : 1), size);
}

void *mem_zalloc(size_t size)
{
    return mem_calloc(1, size);
}

void *mem_calloc(size_t n, size_t size)
{
    if (fault_hit(FAULT_ALLOC))
        return NULL;
    if (n == 0 || size == 0)
        n = size = 1;
    return paged(calloc(n, size), n * size);
}

void *mem_realloc(void *p, size_t size)
{
    if (fault_hit(FAULT_ALLOC))
        return NULL;
    return paged(realloc(p, size ? size : 1), size);
}

void *mem_aligned(size_t align, size_t size)
{
    void *p;

    if (fault_hit(FAULT_ALLOC))
        return NULL;
    if (align < sizeof(void *))
        align = sizeof(void *);
    if (posix_memalign(&p, align, size ? size : 1) != 0)
        return NULL;
    return paged(p, size);
}

char *mem_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = mem_alloc(n);

    if (p != NULL)
        memcpy(p, s, n);
    return p;
}

void mem_free(void *p)
{
    free(p);
}

/* A block's payload follows its header; header and payload are ARENA_ALIGN-aligned. */
struct arena_block {
    struct arena_block *next;
    size_t size, used; /* of the payload */
    size_t pad;
};
_Static_assert(sizeof(struct arena_block) % ARENA_ALIGN == 0, "payload must stay aligned");

/* Blocks double, up to half of what there is, within the two limits. */
static size_t arena_block_size(const struct arena *a)
{
    size_t payload = a->head != NULL ? a->head->size * 2 : ARENA_BLOCK_MIN;
    size_t most = a->used_bytes / 2;

    if (most < ARENA_BLOCK_MAX)
        most = ARENA_BLOCK_MAX;
    if (most > ARENA_BLOCK_TOP)
        most = ARENA_BLOCK_TOP;
    return payload < most ? payload : most;
}

static struct arena_block *arena_block_new(struct arena *a, size_t size)
{
    size_t payload = arena_block_size(a), total;
    struct arena_block *b;

    if (payload < size)
        payload = size;
    if (size_add_over(payload, sizeof(*b), &total))
        return NULL;
    b = total < LARGE ? mem_alloc(total) : mem_aligned(HUGE_PAGE, total);
    if (b == NULL)
        return NULL;
    b->size = payload;
    b->used = 0;
    b->next = a->head;
    a->head = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
    struct arena_block *b = a->head;
    size_t padded;
    char *p;

    if (size_add_over(size ? size : 1, ARENA_ALIGN - 1, &padded))
        return NULL;
    padded &= ~(size_t)(ARENA_ALIGN - 1);
    if (b == NULL || b->size - b->used < padded) {
        b = arena_block_new(a, padded);
        if (b == NULL)
            return NULL;
    }
    p = (char *)(b + 1) + b->used;
    b->used += padded;
    a->used_bytes += padded;
    return memset(p, 0, padded);
}

void *arena_calloc(struct arena *a, size_t n, size_t size)
{
    size_t total;

    if (size_mul_over(n, size, &total))
        return NULL;
    return arena_alloc(a, total);
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *p = arena_alloc(a, len + 1);

    if (p != NULL)
        memcpy(p, s, len);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

void arena_fini(struct arena *a)
{
    struct arena_block *b = a->head;

    while (b != NULL) {
        struct arena_block *next = b->next;

        mem_free(b);
        b = next;
    }
    memset(a, 0, sizeof(*a));
}

bool mem_grow(void **pp, size_t *cap, size_t need, size_t elem_size)
{
    size_t n = *cap, bytes;
    void *p;

    if (need <= n)
        return true;
    if (size_mul_over(n, 2, &n) || n < need)
        n = need;
    if (n < 8)
        n = 8;
    if (size_mul_over(n, elem_size, &bytes))
        return false;
    p = mem_realloc(*pp, bytes);
    if (p == NULL)
        return false;
    *pp = p;
    *cap = n;
    return true;
}

struct str_map_slot {
    char *key; /* NULL: free */
    uint64_t hash, value;
};

static uint64_t rotl(uint64_t v, int n)
{
    return v << n | v >> (64 - n);
}

#define SIP_ROUND                                       \
    do {                                                \
        v0 += v1, v2 += v3;                             \
        v1 = rotl(v1, 13) ^ v0, v3 = rotl(v3, 16) ^ v2; \
        v0 = rotl(v0, 32);                              \
        v2 += v1, v0 += v3;                             \
        v1 = rotl(v1, 17) ^ v2, v3 = rotl(v3, 21) ^ v0; \
        v2 = rotl(v2, 32);                              \
    } while (0)

/* SipHash-1-3 keyed with the 16 random bytes that the kernel gives every process at exec, so that a
 * file cannot choose keys that collide. */
static uint64_t str_hash(const char *s)
{
    const void *seed = (const void *)getauxval(AT_RANDOM); /* NOLINT: an address by contract */
    uint64_t k[2] = {0x9E3779B97F4A7C15u, 0xD1B54A32D192ED03u};
    uint64_t v0, v1, v2, v3, m;
    size_t n = strlen(s), left = n;

    if (seed != NULL)
        memcpy(k, seed, sizeof(k));
    v0 = k[0] ^ 0x736F6D6570736575u;
    v1 = k[1] ^ 0x646F72616E646F6Du;
    v2 = k[0] ^ 0x6C7967656E657261u;
    v3 = k[1] ^ 0x7465646279746573u;
    for (; left >= 8; left -= 8, s += 8) {
        memcpy(&m, s, 8);
        v3 ^= m;
        SIP_ROUND;
        v0 ^= m;
    }
    m = 0;
    memcpy(&m, s, left);
    m |= (uint64_t)n << 56;
    v3 ^= m;
    SIP_ROUND;
    v0 ^= m;
    v2 ^= 0xFF;
    SIP_ROUND;
    SIP_ROUND;
    SIP_ROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

/* The slot of key, or the free slot where it would go. The table is never full. */
static struct str_map_slot *str_map_find(const struct str_map *m, const char *key, uint64_t hash)
{
    size_t i = hash & (m->cap - 1);

    while (m->slots[i].key != NULL) {
        if (m->slots[i].hash == hash && strcmp(m->slots[i].key, key) == 0)
            break;
        i = (i + 1) & (m->cap - 1);
    }
    return &m->slots[i];
}

static bool str_map_resize(struct str_map *m)
{
    struct str_map bigger = {.count = m->count};

    if (size_mul_over(m->cap ? m->cap : 8, 2, &bigger.cap))
        return false;
    bigger.slots = mem_calloc(bigger.cap, sizeof(*bigger.slots));
    if (bigger.slots == NULL)
        return false;
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].key != NULL)
            *str_map_find(&bigger, m->slots[i].key, m->slots[i].hash) = m->slots[i];
    }
    mem_free(m->slots);
    *m = bigger;
    return true;
}

bool str_map_put(struct str_map *m, const char *key, uint64_t value, bool *ret_existed)
{
    uint64_t hash = str_hash(key);
    struct str_map_slot *slot;
    char *copy;

    if (m->count + 1 > m->cap / 4 * 3 && !str_map_resize(m))
        return false;
    slot = str_map_find(m, key, hash);
    if (slot->key == NULL) {
        copy = mem_strdup(key);
        if (copy == NULL)
            return false;
        *slot = (struct str_map_slot){.key = copy, .hash = hash, .value = value};
        m->count++;
        if (ret_existed != NULL)
            *ret_existed = false;
    } else if (ret_existed != NULL) {
        *ret_existed = true;
    }
    return true;
}

bool str_map_get(const struct str_map *m, const char *key, uint64_t *ret_value)
{
    const struct str_map_slot *slot;

    if (m->cap == 0)
        return false;
    slot = str_map_find(m, key, str_hash(key));
    if (slot->key == NULL)
        return false;
    *ret_value = slot->value;
    return true;
}

void str_map_fini(struct str_map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        mem_free(m->slots[i].key);
    mem_free(m->slots);
    memset(m, 0, sizeof(*m));
}
