/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt schedule: the tables of the variable forms, from lengths of blocks. A block's place is
 * what comes before it: in the source by destination, in the destination by source. */
#include "schedule_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* `wanted` numbers, no more and no less. */
static bool lengths_read(const char *text, uint64_t wanted, uint32_t *ret)
{
    for (uint64_t i = 0; i < wanted; i++) {
        char *end;
        unsigned long long v;

        errno = 0;
        v = strtoull(text, &end, 10);
        if (text[0] < '0' || text[0] > '9' || errno || v > UINT32_MAX ||
            *end != (i + 1 < wanted ? ',' : '\0')) {
            fprintf(stderr,
                    "opennrt schedule: --table wants %" PRIu64
                    " numbers with commas between, below 2^32; number %" PRIu64 " is \"%.20s\"\n",
                    wanted, i + 1, text);
            return false;
        }
        ret[i] = (uint32_t)v;
        text = end + 1;
    }
    return true;
}

/* Element i of the lengths is what rank s sends to d; all_gather_v reads column 0 only. */
static uint64_t length_at(enum sched_op op, uint32_t n, uint32_t s, uint32_t d)
{
    return op == SCHED_ALL_TO_ALL_V ? (uint64_t)s * n + d : op == SCHED_ALL_GATHER_V ? s : d;
}

static void larger(uint64_t *most, uint64_t value)
{
    *most = value > *most ? value : *most;
}

/* False: a place has no room in 32 bits. */
static bool places_fill(struct sched_request *req, const uint32_t *length, uint32_t *count,
                        uint32_t *from, uint32_t *to)
{
    uint32_t n = req->group->n;
    bool gathers = req->op == SCHED_ALL_GATHER_V;

    for (uint32_t r = 0; r < n; r++) {
        uint64_t sent = 0, taken = 0;

        for (uint32_t q = 0; q < n; q++) {
            size_t i = (size_t)r * n + q;

            if (sent > UINT32_MAX || taken > UINT32_MAX)
                return false;
            count[i] = length[length_at(req->op, n, r, q)];
            from[i] = gathers ? 0 : (uint32_t)sent;
            to[i] = (uint32_t)taken;
            sent += count[i];
            taken += length[length_at(req->op, n, q, r)];
        }
        larger(&req->in_elems, gathers ? count[(size_t)r * n] : sent);
        larger(&req->out_elems, req->op == SCHED_REDUCE_SCATTER_V ? length[r] : taken);
    }
    return true;
}

bool schedule_table_fill(const char *text, uint64_t each, struct sched_request *req,
                         uint32_t **ret_cells)
{
    uint32_t n = req->group->n, *cells, *length;
    uint64_t square = (uint64_t)n * n, lengths = req->op == SCHED_ALL_TO_ALL_V ? square : n;
    bool ok = true;

    if (n > SCHEDULE_TABLE_RANKS || each > UINT32_MAX) {
        fprintf(stderr,
                "opennrt schedule: %s takes at most %u ranks, and blocks below 2^32 elements\n",
                sched_op_name(req->op), SCHEDULE_TABLE_RANKS);
        return false;
    }
    cells = calloc(3 * square + lengths, sizeof(*cells));
    if (!cells) {
        fprintf(stderr, "opennrt schedule: no memory\n");
        return false;
    }
    length = cells + 3 * square;
    for (uint64_t i = 0; i < lengths; i++)
        length[i] = (uint32_t)each;
    if (text)
        ok = lengths_read(text, lengths, length);
    if (ok && !places_fill(req, length, cells, cells + square, cells + 2 * square)) {
        fprintf(stderr, "opennrt schedule: the blocks of a rank together exceed 2^32 elements\n");
        ok = false;
    }
    if (!ok) {
        free(cells);
        return false;
    }
    req->send_count = cells;
    req->send_displ = cells + square;
    req->recv_displ = cells + 2 * square;
    *ret_cells = cells;
    return true;
}
