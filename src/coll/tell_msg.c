/* SPDX-License-Identifier: Apache-2.0 */
/* Messages about a communicator: made, and read from bytes that anybody may have sent. */
#include <inttypes.h>
#include <string.h>

#include "coll/tell_int.h"

struct tell_head tell_head_make(enum tell_kind kind, uint32_t rank)
{
    return (struct tell_head){
        .magic = TELL_MAGIC, .version = COLL_VERSION, .rank = rank, .kind = kind};
}

size_t tell_msg_size(const struct topo_group *g, enum tell_kind kind)
{
    return sizeof(struct tell_head) +
           (kind == TELL_HELLO ? 0 : g->per_node * sizeof(struct coll_said)) +
           (kind == TELL_FAILURE ? COLL_WHY_MAX : 0);
}

/* What every version has: a message of another one is refused by its name, whatever else it is. */
static NRT_STATUS version_check(const struct topo_group *g, const void *p, size_t size,
                                struct err *err)
{
    uint32_t common[3]; /* magic, version, rank */

    if (size < sizeof(common))
        return err_set(err, NRT_INVALID, "a message about the communicator has %zu bytes", size);
    memcpy(common, p, sizeof(common));
    if (common[0] != TELL_MAGIC)
        return err_set(err, NRT_INVALID,
                       "a message that is not about the communicator, of %zu bytes", size);
    if (common[2] >= g->n)
        return err_set(err, NRT_INVALID,
                       "a message about the communicator says that it comes from rank %" PRIu32
                       " of %" PRIu32,
                       common[2], g->n);
    if (common[1] != COLL_VERSION)
        return err_set(err, NRT_INVALID,
                       "rank %" PRIu32 " (world rank %" PRIu32 ") has version %" PRIu32
                       " of the messages of collectives, this rank has version %u: all ranks must "
                       "run the same version of the runtime",
                       common[2], g->rank[common[2]], common[1], COLL_VERSION);
    return NRT_SUCCESS;
}

NRT_STATUS tell_msg_read(const struct topo_group *g, uint32_t me, const void *p, size_t size,
                         struct tell_head *ret, struct err *err)
{
    NRT_STATUS st = version_check(g, p, size, err);
    uint64_t count;

    if (st)
        return st;
    if (size < sizeof(*ret))
        return err_set(err, NRT_INVALID, "a message about the communicator has %zu bytes of %zu",
                       size, sizeof(*ret));
    memcpy(ret, p, sizeof(*ret));
    if (g->node[ret->rank] == g->node[me])
        return err_set(err, NRT_INVALID,
                       "rank %" PRIu32 ", of the same node, sends a message about the communicator",
                       ret->rank);
    if (ret->kind >= TELL_KINDS)
        return err_set(err, NRT_INVALID,
                       "rank %" PRIu32 " sends a message of kind %" PRIu32
                       " about the communicator",
                       ret->rank, ret->kind);
    count = ret->kind == TELL_HELLO ? 0 : g->per_node;
    if (ret->count != count || size != tell_msg_size(g, (enum tell_kind)ret->kind))
        return err_set(err, NRT_INVALID,
                       "rank %" PRIu32 " tells how %" PRIu64
                       " ranks stand, in %zu bytes, where %" PRIu64 " should be told of",
                       ret->rank, ret->count, size, count);
    return NRT_SUCCESS;
}

struct coll_said tell_msg_said(const void *p, uint32_t index)
{
    struct coll_said said;

    memcpy(&said, (const uint8_t *)p + sizeof(struct tell_head) + index * sizeof(said),
           sizeof(said));
    return said;
}

void tell_msg_say(void *p, uint32_t index, const struct coll_said *said)
{
    memcpy((uint8_t *)p + sizeof(struct tell_head) + index * sizeof(*said), said, sizeof(*said));
}

static size_t why_at(const struct topo_group *g)
{
    return tell_msg_size(g, TELL_FAILURE) - COLL_WHY_MAX;
}

void tell_msg_why(const struct topo_group *g, const void *p, char text[COLL_WHY_MAX + 1])
{
    memcpy(text, (const uint8_t *)p + why_at(g), COLL_WHY_MAX);
    text[COLL_WHY_MAX] = '\0';
}

void tell_msg_say_why(const struct topo_group *g, void *p, const char text[COLL_WHY_MAX + 1])
{
    memcpy((uint8_t *)p + why_at(g), text, COLL_WHY_MAX);
}
