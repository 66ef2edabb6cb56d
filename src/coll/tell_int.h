/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of what ranks of different nodes tell each other about a communicator (tell.c): a head,
 * and in a TELL_STATE what each rank of the node has published. Numbers are in the order of the
 * host, which is the same on all nodes of a job. Pure: nothing is sent or received here.
 *
 * Bytes come from the network, so nothing is believed before tell_msg_read has said so; after it,
 * numbers that are only shown (struct coll_said) are still anything. */
#ifndef COLL_TELL_INT_H
#define COLL_TELL_INT_H

#include "coll/coll_int.h"

#define TELL_MAGIC UINT32_C(0x6c6c6574) /* "tell" */

enum tell_kind { TELL_HELLO, TELL_STATE, TELL_FAILURE, TELL_KINDS };

struct tell_head {
    uint32_t magic, version, rank; /* who tells; these three are at their place in every version */
    uint32_t kind;
    uint64_t failure; /* TELL_FAILURE: as in coll_area */
    uint64_t count;   /* of struct coll_said that follow; TELL_STATE: the ranks of the node, by
                         index; else 0 */
};

/* A head of this version. */
struct tell_head tell_head_make(enum tell_kind kind, uint32_t rank);
/* Of the longest message in a group, bytes. */
size_t tell_msg_size(const struct topo_group *g);
/* Checks a message that rank me of the group has received; *ret is its head, in host memory.
 * NRT_INVALID: the text says what is wrong with it, and names both versions where they differ. */
NRT_STATUS tell_msg_read(const struct topo_group *g, uint32_t me, const void *p, size_t size,
                         struct tell_head *ret, struct err *err);
/* What rank number `index` of the sender's node has published, of a TELL_STATE that was read. */
struct coll_said tell_msg_said(const void *p, uint32_t index);
/* And its place in a message to be sent. */
void tell_msg_say(void *p, uint32_t index, const struct coll_said *said);

#endif
