/* SPDX-License-Identifier: Apache-2.0 */
/* Areas, leases and generations: area_make, lease_take, coll_comm_close and failure_spread
 * (src/coll/comm.c), look_around (src/coll/wait.c), device_lease_join, gen_close_locked and
 * lease_leave_all_locked (src/device/lease.c), extent_drop_locked (src/device/alloc.c).
 *
 * Two ranks open a communicator, raise a counter in each other's area, and close it, GENS times. One
 * of them may be killed at any moment: then somebody reclaims what it had, and a new process takes its
 * slot and its place in the next generation. A block of memory per rank holds its area; a tenant takes
 * blocks that are free. Nobody may write into a block that is not an area of the writer's generation,
 * nobody may wait for ever, and all memory comes back.
 *
 * Defects, one at a time:
 *   NO_LEASE     memory of the dead is free at once
 *   EARLY_LEAVE  the generation closes when its first member leaves
 *   LATE_LEASE   areas are used before everybody has said that its own is leased
 *   OPEN_FOR_ALL who opens the generation makes the others members, whether they come or not
 *   SLOT_LIVES   the slot is asked who lives, and not the lease
 *   NO_LOOK      a sleeper does not look at its peers */
#define GENS   2
#define FREE   100
#define TENANT 101

byte owner[2];   /* of the block: FREE, TENANT, or the generation whose area it is */
bit extent[2];   /* its owner has it allocated */
bit leased[2];   /* to the generation that is open */
byte open_gen;   /* 0: none */
bit member[2];
bit slot[2];     /* has a live process */
bit killed[2];   /* the process of the rank */
bit over[2];     /* and executes nothing any more */
byte now[2];     /* generation that the rank is in */
byte lost[2];    /* the bootstrap has seen the rank of this generation go */
byte told[2 * GENS + 2]; /* by generation and rank: exchanges entered, of 3 */
byte ended[2];   /* generation whose operation has ended at the rank */
byte counter[2];
bit word[2];     /* coll_area.failure */

inline block_settle(b) { /* extent_drop_locked, extent_release_locked */
    if
    :: !extent[b] && !leased[b] && owner[b] != TENANT -> owner[b] = FREE
    :: else
    fi
}

inline member_gone(m) { /* device_lease_leave, lease_leave_all_locked */
    member[m] = 0;
#ifdef EARLY_LEAVE
    member[1 - m] = 0;
#endif
    if
    :: !member[0] && !member[1] ->
        open_gen = 0;
        leased[0] = 0;
        leased[1] = 0
    :: else
    fi;
    block_settle(0);
    block_settle(1)
}

/* coll_exchange.all_gather: it fails when somebody who has not come is gone or has given up. */
inline exchange(n) {
    told[2 * g + me] = n;
    if
    :: told[2 * g + peer] >= n
    :: told[2 * g + peer] < n && (lost[peer] >= g || now[peer] > g) -> failed = 1
    fi
}

#ifdef NO_LOOK
#define GONE false
#else
#ifdef SLOT_LIVES
#define GONE (!slot[peer] && ended[peer] < g)
#else
#define GONE (!member[peer] && ended[peer] < g)
#endif
#endif

inline lease_take() {
    if
    :: me == 0 ->
        atomic {
            open_gen = g;
            member[0] = 1;
#ifdef OPEN_FOR_ALL
            member[1] = 1;
#endif
        }
    :: else
    fi;
    exchange(2);
    if
    :: !failed ->
        atomic { /* device_lease_join, device_lease_add */
            if
            :: open_gen == g ->
                member[me] = 1;
                leased[me] = 1
            :: else -> failed = 1
            fi
        }
    :: else
    fi;
#ifndef LATE_LEASE
    if
    :: !failed -> exchange(3)
    :: else
    fi
#endif
}

inline operation() {
    atomic {
        assert(owner[peer] == g);
        counter[peer]++
    };
    if
    :: counter[me] > 0 -> ended[me] = g
    :: word[me] -> failed = 1
    :: counter[me] == 0 && !word[me] && GONE -> failed = 1
    fi;
    if /* failure_spread */
    :: failed ->
        atomic {
            assert(owner[peer] == g);
            word[peer] = 1
        }
    :: else
    fi
}

proctype rank(byte me; byte g) {
    byte peer = 1 - me;
    bit failed;

    {
        do
        :: g <= GENS ->
            failed = 0;
            atomic {
                owner[me] == FREE ->
                owner[me] = g;
                extent[me] = 1;
                counter[me] = 0;
                word[me] = 0
            };
            now[me] = g;
            exchange(1);
            if
            :: !failed -> lease_take()
            :: else
            fi;
            if
            :: !failed -> operation()
            :: else
            fi;
            atomic { /* coll_comm_close */
                extent[me] = 0;
                if
                :: open_gen == g && member[me] -> member_gone(me)
                :: else -> block_settle(me)
                fi
            };
            g++;
            now[me] = g
        :: else -> break
        od
    } unless { killed[me] };
    over[me] = 1
}

proctype killer() {
    byte v;

    if
    :: v = 0
    :: v = 1
    :: goto nobody
    fi;
    killed[v] = 1;
    (over[v]);
    slot[v] = 0;
    lost[v] = now[v];
    atomic { /* slot_reclaim_all */
        extent[v] = 0;
#ifdef NO_LEASE
        leased[v] = 0;
#endif
        member_gone(v)
    };
    atomic {
        killed[v] = 0;
        over[v] = 0;
        slot[v] = 1;
        run rank(v, now[v] + 1)
    };
nobody:
    skip
}

proctype tenant(byte b) {
    byte times = 2;

    do
    :: times > 0 ->
        times--;
        if
        :: atomic { owner[b] == FREE -> owner[b] = TENANT }
        :: break
        fi;
        owner[b] = FREE
    :: else -> break
    od
}

init {
    atomic {
        owner[0] = FREE;
        owner[1] = FREE;
        slot[0] = 1;
        slot[1] = 1;
        run rank(0, 1);
        run rank(1, 1);
        run killer();
        run tenant(0);
        run tenant(1)
    };
    (_nr_pr == 1);
    assert(owner[0] == FREE && owner[1] == FREE && open_gen == 0)
}
