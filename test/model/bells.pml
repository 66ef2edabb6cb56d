/* SPDX-License-Identifier: Apache-2.0 */
/* A rank that sleeps on the bells of two communicators at once, and a peer in each that raises and
 * rings: sleep_once and first_moving (src/coll/wait.c), words_sleep (src/run/wait.c), and
 * futex_waitv of the kernel, which takes one word after the other.
 *
 * Each peer raises OPS times; the rank is done when all has come. Nobody looks again after a while: a
 * lost wake is a state in which nothing can go on. Waking with a single bell is wake.pml's business.
 *
 * Defects, one at a time:
 *   FIRST_ONLY     it sleeps on the first bell only
 *   ONE_SLEEPER    it registers as a sleeper at the first bell only
 *   LATE_SLEEPER   it registers at a bell after the kernel has compared
 *   ONE_SAYS       it says for the first communicator only that it sleeps
 *   LOOK_FIRST     it looks at the first counter before it says that it sleeps
 *   SEEN_LATE      it reads the bells after it has looked
 *   NO_COMPARE     the kernel compares the first word only */
#define OPS 2

byte counter[2];  /* of the communicator, raised by its peer */
bit sleeping[2];  /* coll_area.sleeping */
byte bell[2];     /* coll_area.bell.value */
byte sleepers[2]; /* coll_area.bell.sleepers */
bit queued[2];    /* the kernel has the rank at this word */
bit woken;        /* by one of them */

inline run_word_post(who) {
    bell[who]++;
    if
    :: sleepers[who] > 0 ->
        atomic {
            if
            :: queued[who] -> woken = 1
            :: else
            fi
        }
    :: else
    fi
}

proctype peer(byte me) {
    byte op = 0;

    do
    :: op < OPS ->
        counter[me]++;
        if
        :: sleeping[me] -> run_word_post(me)
        :: else
        fi;
        op++
    :: else -> break
    od
}

/* Compares and queues under the lock of the word; a word that differs ends it. */
inline queue(w, compare) {
    atomic {
        if
        :: compare && bell[w] != seen[w] -> differs = true
        :: else -> queued[w] = 1
        fi
    }
}

inline words_sleep() {
    differs = false;
    woken = 0;
#ifndef LATE_SLEEPER
    sleepers[0]++;
#ifndef ONE_SLEEPER
    sleepers[1]++;
#endif
#endif
    queue(0, true);
#ifndef FIRST_ONLY
    if
    :: differs
#ifdef NO_COMPARE
    :: else -> queue(1, false)
#else
    :: else -> queue(1, true)
#endif
    fi;
#endif
#ifdef LATE_SLEEPER
    sleepers[0]++;
    sleepers[1]++;
#endif
    if
    :: differs
    :: else -> (woken == 1)
    fi;
    atomic {
        queued[0] = 0;
        queued[1] = 0
    }
    sleepers[0] = 0;
    sleepers[1] = 0
}

#define MOVING(c) (counter[c] > had[c])

proctype rank() {
    byte had[2], seen[2];
    bool differs, moving;

    do
    :: had[0] < OPS || had[1] < OPS ->
        seen[0] = bell[0];
#ifdef LOOK_FIRST
        moving = MOVING(0);
#endif
        sleeping[0] = 1;
        seen[1] = bell[1];
#ifndef ONE_SAYS
        sleeping[1] = 1;
#endif
#ifndef LOOK_FIRST
        moving = MOVING(0);
#endif
        moving = moving || MOVING(1);
#ifdef SEEN_LATE
        seen[0] = bell[0];
        seen[1] = bell[1];
#endif
        if
        :: moving
        :: else -> words_sleep()
        fi;
        sleeping[0] = 0;
        sleeping[1] = 0;
        had[0] = counter[0];
        had[1] = counter[1]
    :: else -> break
    od
}

init {
    atomic {
        run rank();
        run peer(0);
        run peer(1)
    }
}
