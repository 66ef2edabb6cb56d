/* SPDX-License-Identifier: Apache-2.0 */
/* Lines and signatures: put, take, same_operation and the two sets (src/coll/run.c).
 *
 * Two ranks exchange a line in each of OPS operations; no other signal holds them together. A line is
 * two words of payload and a sequence number; payloads are the number of the operation, so a word of
 * another one shows. The kind of operation 3 may differ between the ranks: then none of them may use
 * the payload.
 *
 * Defects, one at a time:
 *   ONE_SET      one set of lines instead of two used in turn
 *   FLAG_FIRST   put writes the sequence number before the payload
 *   ANY_SEQ      take accepts any sequence number that is not 0
 *   NO_SIGNATURE take does not compare signatures
 *   LATE_SIGNATURE put writes the signature after the sequence number */
#define OPS 4
#ifdef ONE_SET
#define SET(op) 0
#else
#define SET(op) ((op) % 2)
#endif

typedef line {
    byte data[2];
    byte signature;
    byte seq
};
typedef area {
    line set[2]
};
area at[2];     /* lines at the rank, written by the other */
bit failure[2]; /* coll_area.failure */

inline put(peer, op, kind) {
#ifdef FLAG_FIRST
    at[peer].set[SET(op)].signature = kind;
    at[peer].set[SET(op)].seq = op;
    at[peer].set[SET(op)].data[0] = op;
    at[peer].set[SET(op)].data[1] = op;
#else
    at[peer].set[SET(op)].data[0] = op;
    at[peer].set[SET(op)].data[1] = op;
#ifdef LATE_SIGNATURE
    at[peer].set[SET(op)].seq = op;
    at[peer].set[SET(op)].signature = kind;
#else
    at[peer].set[SET(op)].signature = kind;
    at[peer].set[SET(op)].seq = op;
#endif
#endif
}

#ifdef ANY_SEQ
#define THERE(me, op) (at[me].set[SET(op)].seq != 0)
#else
#define THERE(me, op) (at[me].set[SET(op)].seq == op)
#endif

byte chosen[2]; /* the kind of operation 3, where they may differ; for the assertion */

proctype rank(byte me) {
    byte op = 1, word, kind;
    byte peer = 1 - me;

    do
    :: op <= OPS ->
        if
        :: kind = 1
        :: op == 3 -> kind = 2
        fi;
        if
        :: op == 3 -> chosen[me] = kind
        :: else
        fi;
        put(peer, op, kind);
        if
        :: THERE(me, op)
        :: failure[me] -> break
        fi;
#ifndef NO_SIGNATURE
        if
        :: at[me].set[SET(op)].signature != kind -> /* coll_fail tells both; the first one stays */
            failure[me] = 1;
            failure[peer] = 1;
            break
        :: else
        fi;
#endif
        assert(op != 3 || chosen[peer] == kind);
        word = at[me].set[SET(op)].data[0];
        assert(word == op);
        word = at[me].set[SET(op)].data[1];
        assert(word == op);
        op++
    :: else -> break
    od
}

init {
    atomic {
        run rank(0);
        run rank(1)
    }
}
