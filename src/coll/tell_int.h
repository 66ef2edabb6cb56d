/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of what ranks of different nodes tell each other about a communicator (tell.c): a head,
 * and in all but a greeting what each rank of the node has published. Numbers are in the order of
 * the host, which is the same on all nodes of a job. Pure: nothing is sent or received here.
 *
 * Bytes come from the network, so nothing is believed before tell_msg_read has said so; after it,
 * numbers that are only shown (struct coll_said) are still anything. */
#ifndef COLL_TELL_INT_H
#define COLL_TELL_INT_H

#include "coll/coll_int.h"

#define TELL_MAGIC UINT32_C(0x6c6c6574) /* "tell" */

/* All but TELL_HELLO carry how the ranks of the node stand; TELL_ASK wants a TELL_STATE for it, and
 * TELL_FAILURE says why, behind the rest. */
enum tell_kind { TELL_HELLO, TELL_STATE, TELL_FAILURE, TELL_ASK, TELL_KINDS };

struct tell_head {
    uint32_t magic, version, rank; /* who tells; these three are at their place in every version */
    uint32_t kind;
    uint64_t failure; /* TELL_FAILURE: as in coll_area; TELL_HELLO: 0, or it is none, for the sake
                         of the rank before this number */
    uint64_t count;   /* of struct coll_said that follow: the ranks of the node, by index;
                         TELL_HELLO: 0 */
};

/* A head of this version. */
struct tell_head tell_head_make(enum tell_kind kind, uint32_t rank);
/* Of a message of a kind in a group, bytes; TELL_FAILURE is the longest. */
size_t tell_msg_size(const struct topo_group *g, enum tell_kind kind);
/* Checks a message that rank me of the group has received; *ret is its head, in host memory.
 * NRT_INVALID: the text says what is wrong with it, and names both versions where they differ. */
NRT_STATUS tell_msg_read(const struct topo_group *g, uint32_t me, const void *p, size_t size,
                         struct tell_head *ret, struct err *err);
/* What rank number `index` of the sender's node has published, of a message that was read and has
 * as many. */
struct coll_said tell_msg_said(const void *p, uint32_t index);
/* Why the culprit of a TELL_FAILURE that was read has failed: COLL_WHY_MAX bytes, cut at a NUL. */
void tell_msg_why(const struct topo_group *g, const void *p, char text[COLL_WHY_MAX + 1]);
/* And its place in a message to be sent. */
void tell_msg_say_why(const struct topo_group *g, void *p, const char text[COLL_WHY_MAX + 1]);
/* The same for what a rank has published. */
void tell_msg_say(void *p, uint32_t index, const struct coll_said *said);

#endif
