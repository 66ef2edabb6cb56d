/* SPDX-License-Identifier: Apache-2.0 */
/* Round robin over the rings of a DMA engine: see rings_int.h. While one ring alone has work, it is
 * served in one piece; who comes meanwhile cuts this at the end of the packet under way. */
#include "time/rings_int.h"

#include <string.h>

#include "base/broken.h"
#include "base/mem.h"

/* The oldest job of the next ring after the last one, going round. */
static size_t next_job(const struct rings *r)
{
    size_t best = 0;

    for (size_t i = 1; i < r->count; i++) {
        /* distance to the ring, going round; the ring itself is the farthest */
        uint32_t a = r->job[i].ring - r->last - 1, b = r->job[best].ring - r->last - 1;

        if (a < b)
            best = i;
    }
    return best;
}

static bool alone(const struct rings *r)
{
    for (size_t i = 1; i < r->count; i++)
        if (r->job[i].ring != r->job[0].ring)
            return false;
    return true;
}

static uint64_t serve(struct rings *r, uint64_t now_ps)
{
    const struct rings_job *j;
    uint64_t piece;

    if (r->count == 0) {
        r->until_ps = 0;
        return RINGS_IDLE;
    }
    r->served = next_job(r);
    j = &r->job[r->served];
    piece = j->left_ps;
    if (!alone(r) && j->packet_ps > 0 && j->packet_ps < piece && !BROKEN(OVL))
        piece = j->packet_ps;
    r->last = j->ring;
    r->since_ps = now_ps;
    r->until_ps = now_ps + piece;
    return r->until_ps;
}

bool rings_add(struct rings *r, const struct rings_job *job, uint64_t now_ps, uint64_t *ret_next)
{
    const struct rings_job *j;
    uint64_t packets, end;

    *ret_next = RINGS_IDLE;
    if (!mem_grow((void **)&r->job, &r->cap, r->count + 1, sizeof(r->job[0])))
        return false;
    r->job[r->count++] = *job;
    if (r->count == 1) {
        *ret_next = serve(r, now_ps);
        return true;
    }
    j = &r->job[r->served];
    if (job->ring == j->ring || j->packet_ps == 0 || j->packet_ps >= r->until_ps - r->since_ps)
        return true;
    packets = (now_ps - r->since_ps + j->packet_ps - 1) / j->packet_ps;
    end = r->since_ps + (packets ? packets : 1) * j->packet_ps;
    if (end < r->until_ps)
        *ret_next = r->until_ps = end;
    return true;
}

uint64_t rings_step(struct rings *r, bool *ret_done, uint32_t *ret_serial)
{
    struct rings_job *j = &r->job[r->served];
    uint64_t piece = r->until_ps - r->since_ps;

    r->busy_ps += piece;
    j->left_ps -= piece;
    *ret_done = j->left_ps == 0;
    *ret_serial = j->serial;
    if (*ret_done) {
        r->count--;
        memmove(j, j + 1, (r->count - r->served) * sizeof(*j));
    }
    return serve(r, r->until_ps);
}

void rings_fini(struct rings *r)
{
    mem_free(r->job);
    *r = (struct rings){0};
}
