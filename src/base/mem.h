/* SPDX-License-Identifier: Apache-2.0 */
/* Host memory: allocation through fault points, arenas, growing arrays, a string-keyed map. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

/* malloc and friends behind the fault point "alloc" (fault.h). NULL when memory is out or the point
 * fires. mem_calloc checks n * size; mem_zalloc zero-fills. mem_free takes NULL. Any thread. */
void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_calloc(size_t n, size_t size);
void *mem_realloc(void *p, size_t size);
void *mem_aligned(size_t align, size_t size); /* align: power of two; free with mem_free */
char *mem_strdup(const char *s);
void mem_free(void *p);

/* An arena: everything of one parsed object, freed at once. Zero-initialise; one thread at a time.
 */
struct arena {
    struct arena_block *head;
    size_t used_bytes; /* handed out so far */
};
void *arena_alloc(struct arena *a, size_t size); /* zeroed, 16-byte aligned; NULL if out */
void *arena_calloc(struct arena *a, size_t n, size_t size); /* zeroed; NULL on overflow too */
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_strdup(struct arena *a, const char *s);
void arena_fini(struct arena *a); /* frees all; the arena is empty and usable again */

/* Grow the array *pp (elements of elem_size bytes, capacity *cap) to hold need elements, doubling.
 * False (array unchanged) when memory is out. */
bool mem_grow(void **pp, size_t *cap, size_t need, size_t elem_size);

/* A map from strings to uint64; keys are copied. Open addressing; one thread at a time. Hash is
 * seeded per process, so hostile key sets do not make it quadratic. */
struct str_map {
    struct str_map_slot *slots;
    size_t cap, count;
};
/* False: no memory, map unchanged. An existing key keeps its value; ret_existed may be NULL. */
bool str_map_put(struct str_map *m, const char *key, uint64_t value, bool *ret_existed);
bool str_map_get(const struct str_map *m, const char *key, uint64_t *ret_value);
void str_map_fini(struct str_map *m);

#endif
