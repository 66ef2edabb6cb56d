/* SPDX-License-Identifier: Apache-2.0 */
/* Sleeping and waking between two ranks, with kernel and all: coll_bells_ring (src/coll/comm.c),
 * sleep_once (src/coll/wait.c), run_word_post and word_sleep (src/run/wait.c).
 *
 * Each rank runs OPS operations: it raises the other's counter, then waits until its own has come.
 * Nobody looks again after 100 ms here: a lost wake is a state in which nothing can go on, which spin
 * reports as an invalid end state. Memory is sequentially consistent; what the fences are for is the
 * business of litmus.py.
 *
 * Defects, one at a time:
 *   LOOK_FIRST     a sleeper looks at the counter before it says that it sleeps
 *   NO_LOOK        it does not look once more
 *   SEEN_LATE      it reads the bell after it has looked
 *   RING_FIRST     a raiser rings before it raises
 *   SLEEPERS_FIRST run_word_post reads the sleepers before it changes the value
 *   NO_SLEEPERS    word_sleep does not register */
#define OPS 3

byte counter[2];   /* at the rank, raised by the other */
bit sleeping[2];   /* coll_area.sleeping */
byte bell[2];      /* coll_area.bell.value */
byte sleepers[2];  /* coll_area.bell.sleepers */
bit in_kernel[2];  /* in FUTEX_WAIT */

/* FUTEX_WAIT compares and sleeps under one lock of the kernel. */
inline futex_wait(me, seen) {
    atomic {
        if
        :: bell[me] == seen -> in_kernel[me] = 1
        :: else
        fi
    }
    (in_kernel[me] == 0)
}

inline futex_wake(who) {
    in_kernel[who] = 0
}

inline run_word_post(who) {
#ifdef SLEEPERS_FIRST
    posted = sleepers[who];
    bell[who]++;
#else
    bell[who]++;
    posted = sleepers[who];
#endif
    if
    :: posted > 0 -> futex_wake(who)
    :: else
    fi
}

inline word_sleep(me, seen) {
#ifndef NO_SLEEPERS
    sleepers[me]++;
#endif
    futex_wait(me, seen);
#ifndef NO_SLEEPERS
    sleepers[me]--
#endif
}

inline coll_bells_ring(who) {
    if
    :: sleeping[who] -> run_word_post(who)
    :: else
    fi
}

inline sleep_once(me, want) {
    seen = bell[me];
#ifdef LOOK_FIRST
    reached = (counter[me] >= want);
    sleeping[me] = 1;
#else
    sleeping[me] = 1;
#ifdef NO_LOOK
    reached = false;
#else
    reached = (counter[me] >= want);
#endif
#endif
#ifdef SEEN_LATE
    seen = bell[me];
#endif
    if
    :: reached
    :: else -> word_sleep(me, seen)
    fi;
    sleeping[me] = 0
}

proctype rank(byte me) {
    byte op = 1, seen, posted;
    bit reached;
    byte peer = 1 - me;

    do
    :: op <= OPS ->
#ifdef RING_FIRST
        coll_bells_ring(peer);
        counter[peer]++;
#else
        counter[peer]++;
        coll_bells_ring(peer);
#endif
        do
        :: counter[me] >= op -> break
        :: else -> sleep_once(me, op)
        od;
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
