/* SPDX-License-Identifier: Apache-2.0 */
/* Vector clocks for many sequencers: an array of chunks of 64 epochs. Clocks and chunks are counted
 * and copied on write, so a signal costs a reference, and a join only the chunks that differ; where
 * one side knows all that the other knows, the chunk itself is shared. */
#include <string.h>

#include "base/mem.h"
#include "check_int.h"

#define CHUNK_BITS 6u
#define CHUNK_SIZE (1u << CHUNK_BITS)

struct chk_chunk {
    struct chk_chunk *next_free;
    uint32_t refs;
    uint32_t epoch[CHUNK_SIZE];
};

struct chk_clock {
    struct chk_clock *next_free;
    uint32_t refs;
    struct chk_chunk *chunk[]; /* NULL: all 0 */
};

static struct chk_chunk *chunk_new(struct chk_clocks *k, const struct chk_chunk *like)
{
    struct chk_chunk *h = k->free_chunks;

    if (h)
        k->free_chunks = h->next_free;
    else if (!(h = mem_alloc(sizeof(*h))))
        return NULL;
    h->refs = 1;
    if (like)
        memcpy(h->epoch, like->epoch, sizeof(h->epoch));
    else
        memset(h->epoch, 0, sizeof(h->epoch));
    return h;
}

static void chunk_put(struct chk_clocks *k, struct chk_chunk *h)
{
    if (h && --h->refs == 0) {
        h->next_free = k->free_chunks;
        k->free_chunks = h;
    }
}

struct chk_clock *chk_clock_new(struct chk_clocks *k)
{
    struct chk_clock *c = k->free_clocks;
    size_t size;

    k->chunks = (k->seqs + CHUNK_SIZE - 1) / CHUNK_SIZE;
    size = sizeof(*c) + k->chunks * sizeof(c->chunk[0]);
    if (c)
        k->free_clocks = c->next_free;
    else if (!(c = mem_alloc(size)))
        return NULL;
    memset(c, 0, size);
    c->refs = 1;
    return c;
}

struct chk_clock *chk_clock_ref(struct chk_clock *c)
{
    c->refs++;
    return c;
}

void chk_clock_put(struct chk_clocks *k, struct chk_clock *c)
{
    if (!c || --c->refs)
        return;
    for (uint32_t i = 0; i < k->chunks; i++)
        chunk_put(k, c->chunk[i]);
    c->next_free = k->free_clocks;
    k->free_clocks = c;
}

uint32_t chk_clock_get(const struct chk_clock *c, uint32_t seq)
{
    const struct chk_chunk *h = c->chunk[seq >> CHUNK_BITS];

    return h ? h->epoch[seq & (CHUNK_SIZE - 1)] : 0;
}

/* Make *slot, which may be shared, one that only this clock has. */
static bool chunk_own(struct chk_clocks *k, struct chk_chunk **slot)
{
    struct chk_chunk *h;

    if (*slot && (*slot)->refs == 1)
        return true;
    if (!(h = chunk_new(k, *slot)))
        return false;
    chunk_put(k, *slot);
    *slot = h;
    return true;
}

static bool chunk_join(struct chk_clocks *k, struct chk_chunk **mine, struct chk_chunk *theirs)
{
    unsigned less = 0, more = 0;

    if (*mine == theirs || !theirs)
        return true;
    if (*mine) {
        for (unsigned i = 0; i < CHUNK_SIZE; i++) {
            less |= (*mine)->epoch[i] < theirs->epoch[i];
            more |= (*mine)->epoch[i] > theirs->epoch[i];
        }
        if (!less)
            return true;
    }
    if (!more) { /* they know all that I know */
        theirs->refs++;
        chunk_put(k, *mine);
        *mine = theirs;
        return true;
    }
    if (!chunk_own(k, mine))
        return false;
    for (unsigned i = 0; i < CHUNK_SIZE; i++) {
        uint32_t a = (*mine)->epoch[i], b = theirs->epoch[i];

        (*mine)->epoch[i] = a > b ? a : b;
    }
    return true;
}

static bool clock_own(struct chk_clocks *k, struct chk_clock **mine)
{
    struct chk_clock *c;

    if ((*mine)->refs == 1)
        return true;
    if (!(c = chk_clock_new(k)))
        return false;
    for (uint32_t i = 0; i < k->chunks; i++) {
        c->chunk[i] = (*mine)->chunk[i];
        if (c->chunk[i])
            c->chunk[i]->refs++;
    }
    chk_clock_put(k, *mine);
    *mine = c;
    return true;
}

bool chk_clock_join(struct chk_clocks *k, struct chk_clock **mine, const struct chk_stamp *s)
{
    struct chk_chunk **own;

    if (chk_clock_get(*mine, s->seq) >= s->epoch)
        return true; /* who knows an epoch of s->seq knows what s->seq knew in it */
    if (!clock_own(k, mine))
        return false;
    for (uint32_t i = 0; i < k->chunks; i++)
        if (!chunk_join(k, &(*mine)->chunk[i], s->clock->chunk[i]))
            return false;
    own = &(*mine)->chunk[s->seq >> CHUNK_BITS];
    if (!chunk_own(k, own))
        return false;
    (*own)->epoch[s->seq & (CHUNK_SIZE - 1)] = s->epoch;
    return true;
}

void chk_clocks_fini(struct chk_clocks *k)
{
    while (k->free_clocks) {
        struct chk_clock *c = k->free_clocks;

        k->free_clocks = c->next_free;
        mem_free(c);
    }
    while (k->free_chunks) {
        struct chk_chunk *h = k->free_chunks;

        k->free_chunks = h->next_free;
        mem_free(h);
    }
}
