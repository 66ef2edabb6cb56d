/* SPDX-License-Identifier: Apache-2.0 */
/* An operation at the root, as root_op.c and root_cross.c see it. */
#ifndef NET_ROOT_OP_INT_H
#define NET_ROOT_OP_INT_H

#include "net/net_int.h"

struct root_op {
    struct root_op *next;
    uint32_t group, seq, n;
    uint8_t kind;
    char call[MSG_CALL_MAX]; /* what the first member is in; "": it did not say */
    bool failed;             /* kept so that late members learn it, too */
    NRT_STATUS status;
    uint32_t culprit;
    char text[MSG_TEXT_MAX];
    uint32_t *ranks;         /* n, in the group's order */
    bool *in;                /* n: has entered */
    bool *waits;             /* n: and does nothing else */
    struct msg_bytes *parts; /* n; owned copies */
    uint32_t entered, first; /* how many; index of the one that came first */
    uint64_t begun, deadline, next_report;
    uint64_t stuck; /* since when its members wait crosswise; 0: they do not */
    bool stays;     /* root_cross.c: cannot end as ranks wait now */
};

/* op->text says why. */
void root_op_fail(struct root_ops *o, struct root_op *op, NRT_STATUS status, uint32_t culprit);

/* Operations that can never end, because ranks that they miss wait in others that can never end:
 * two ranks that make two calls in opposite order. Fails those that have been so for cross_ns. */
void root_cross_check(struct root_ops *o, uint64_t now);

#endif
