#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the fences and orders of the protocol between ranks are for, under the memory model of C11.

    litmus.py <source folder> [name...]

A small checker: every execution of a few lines of several threads is built (which write each read sees,
in which order writes to a place happen) and judged by the axioms of RC11, the repaired C11 model of Lahav,
Vafeiadis, Kang, Hur and Dreyer (PLDI 2017), with release sequences as in C++20. Each test names an outcome
that must not be, and defects (a fence gone, a weaker order, two lines swapped) with which it can be: a test
that forbids nothing, or whose defects change nothing, fails. Data races on plain memory are forbidden, too.

Each test is tied to the code: the lines of the functions that it stands for must be there, in that order.
"""
import itertools
import os
import re
import sys

# ---- programs --------------------------------------------------------------------------------------

NA, RLX, ACQ, REL, AR, SC = "na", "rlx", "acq", "rel", "ar", "sc"


def st(loc, val, mo):
    return ("st", loc, val, mo)


def ld(reg, loc, mo):
    return ("ld", reg, loc, mo)


def add(loc, mo):
    return ("add", loc, mo)


def cas0(loc, val, mo):
    """Stores val where 0 is; a failed one is a relaxed read."""
    return ("cas", loc, val, mo)


def fence(mo):
    return ("fence", mo)


def when(reg, value, *body):
    return ("when", reg, value, list(body))


class Event:
    __slots__ = ("n", "t", "kind", "loc", "mo", "r", "w", "pos")

    def __init__(self, t, kind, loc, mo, r=None, w=None):
        self.t, self.kind, self.loc, self.mo, self.r, self.w = t, kind, loc, mo, r, w


def traces(t, code, domain):
    """All runs of one thread, reads guessed: (events, registers)."""
    done = []

    def run(code, events, regs):
        if not code:
            done.append((events, regs))
            return
        op, rest = code[0], code[1:]
        if op[0] == "st":
            run(rest, events + [Event(t, "W", op[1], op[3], w=op[2])], regs)
        elif op[0] == "ld":
            for v in domain[op[2]]:
                run(rest, events + [Event(t, "R", op[2], op[3], r=v)], dict(regs, **{op[1]: v}))
        elif op[0] == "add":
            for v in domain[op[1]]:
                run(rest, events + [Event(t, "U", op[1], op[2], r=v, w=v + 1)], regs)
        elif op[0] == "cas":
            for v in domain[op[1]]:
                e = Event(t, "U", op[1], op[3], r=v, w=op[2]) if v == 0 else Event(t, "R", op[1], RLX, r=v)
                run(rest, events + [e], regs)
        elif op[0] == "fence":
            run(rest, events + [Event(t, "F", None, op[1])], regs)
        else:
            run((op[3] if regs.get(op[1]) == op[2] else []) + rest, events, regs)

    run(list(code), [], {})
    return done


# ---- relations as sets of pairs, over event numbers -------------------------------------------------

def compose(a, b):
    by = {}
    for x, y in b:
        by.setdefault(x, []).append(y)
    return {(x, z) for x, y in a for z in by.get(y, ())}


def closure(a):
    out = set(a)
    while True:
        more = compose(out, out) - out
        if not more:
            return out
        out |= more


def acyclic(a):
    return all(x != y for x, y in closure(a))


def releases(e):
    return e.mo in (REL, AR, SC)


def acquires(e):
    return e.mo in (ACQ, AR, SC)


class Execution:
    def __init__(self, events, rf, mo):
        """rf: read -> write; mo: per place, writes in order; numbers are positions in events."""
        self.ev = events
        n = range(len(events))
        ids = {(i, i) for i in n}
        sb = {(i, j) for i in n for j in n if events[i].t == events[j].t and events[i].pos < events[j].pos}
        sb |= {(i, j) for i in n for j in n if events[i].t < 0 <= events[j].t}  # initial values come first
        rfs = {(w, r) for r, w in rf.items()}
        mos = {(a, b) for order in mo.values() for a, b in itertools.combinations(order, 2)}
        rb = {(r, w2) for r, w in rf.items() for w1, w2 in mos if w1 == w and w2 != r}
        self.rf, self.mos = rf, mos
        fences = {i for i in n if events[i].kind == "F"}
        # rs = [W] ; (rf ; rmw)*, a read-modify-write being one event here
        chain = closure({(w, r) for w, r in rfs if events[r].kind == "U"}) | ids
        writes = {i for i in n if events[i].kind in "WU" and events[i].mo != NA}
        reads = {i for i in n if events[i].kind in "RU" and events[i].mo != NA}
        starts = {(i, i) for i in writes if releases(events[i])}
        starts |= {(f, w) for f, w in sb if f in fences and releases(events[f]) and w in writes}
        ends = {(i, i) for i in reads if acquires(events[i])}
        ends |= {(r, f) for r, f in sb if f in fences and acquires(events[f]) and r in reads}
        sw = compose(compose(compose(starts, {c for c in chain if c[0] in writes}), rfs), ends)
        self.hb = hb = closure(sb | sw)
        eco = closure(rfs | mos | rb)
        self.ok = (all((b, a) not in hb for a, b in hb) and
                   all((b, a) not in hb for a, b in eco) and
                   all(a != b for a, b in eco) and  # coherence, and atomicity of read-modify-writes
                   acyclic(sb | rfs) and self.sc(sb, hb, eco, mos, rb, fences))

    def sc(self, sb, hb, eco, mos, rb, fences):
        ev = self.ev

        def same(a, b):
            return ev[a].loc is not None and ev[a].loc == ev[b].loc

        diff = {(a, b) for a, b in sb if not same(a, b)}
        scb = sb | compose(compose(diff, hb), diff) | {(a, b) for a, b in hb if same(a, b)} | mos | rb
        scf = {f for f in fences if ev[f].mo == SC}
        sce = {i for i in range(len(ev)) if ev[i].mo == SC}
        left = {(i, i) for i in sce} | {(f, x) for f, x in hb if f in scf}
        right = {(i, i) for i in sce} | {(x, f) for x, f in hb if f in scf}
        psc = compose(compose(left, scb), right)
        between = hb | compose(compose(hb, eco), hb)
        psc |= {(a, b) for a, b in between if a in scf and b in scf}
        return acyclic(psc)

    def race(self):
        ev = self.ev
        for a, b in itertools.combinations(range(len(ev)), 2):
            x, y = ev[a], ev[b]
            if (x.loc is not None and x.loc == y.loc and x.t != y.t and NA in (x.mo, y.mo) and
                    (x.kind in "WU" or y.kind in "WU") and (a, b) not in self.hb and (b, a) not in self.hb):
                return True
        return False


def executions(threads):
    """(registers, execution) of every consistent execution; registers of all threads together."""
    domain = {}

    def places(code):
        for op in code:
            if op[0] == "when":
                places(op[3])
            elif op[0] == "fence":
                continue
            else:
                loc = op[2] if op[0] == "ld" else op[1]
                domain.setdefault(loc, {0})
                if op[0] in ("st", "cas"):
                    domain[loc].add(op[2])
                elif op[0] == "add":
                    domain[loc].add(max(domain[loc]) + 1)

    for code in threads:
        places(code)
    for combination in itertools.product(*(traces(t, c, domain) for t, c in enumerate(threads))):
        events, regs = [], {}
        for loc in sorted(domain):
            events.append(Event(-1, "W", loc, NA, w=0))
        for trace, r in combination:
            events += trace
            regs.update(r)
        for i, e in enumerate(events):
            e.n = e.pos = i
        reads = [i for i, e in enumerate(events) if e.kind in "RU"]
        sources = [[w for w, e in enumerate(events) if e.kind in "WU" and e.loc == events[r].loc and
                    e.w == events[r].r and w != r] for r in reads]
        orders = []
        for loc in sorted(domain):
            first = [i for i, e in enumerate(events) if e.kind in "WU" and e.loc == loc]
            orders.append([(first[0],) + p for p in itertools.permutations(first[1:])])
        for choice in itertools.product(*sources):
            for mo in itertools.product(*orders):
                x = Execution(events, dict(zip(reads, choice)), dict(zip(sorted(domain), mo)))
                if x.ok:
                    yield regs, x


# ---- the tests ------------------------------------------------------------------------------------------

def bells(raiser_fence=SC, sleeper_fence=SC, sleeper_first=True):
    """A raiser raises, then looks who sleeps; a sleeper says that it sleeps, then looks once more."""
    say = [st("sleeping", 1, RLX)] + ([fence(sleeper_fence)] if sleeper_fence else [])
    look = [ld("reached", "counter", ACQ)]
    return [[st("counter", 1, REL)] + ([fence(raiser_fence)] if raiser_fence else []) +
            [ld("rings", "sleeping", RLX)],
            say + look if sleeper_first else look + say]


def futex(post=SC, look=SC, register=SC, value=SC):
    """run_word_post changes the value, then reads the sleepers; a sleeper registers, then the kernel
    compares the value (under its lock: sequentially consistent as seen from here)."""
    return [[add("value", post), ld("wakes", "sleepers", look)],
            [add("sleepers", register), ld("seen", "value", value)]]


def failing(post_first=False, look_first=False, before=ACQ):
    """A failure is written into the area, then the bell is posted whether or not the rank sleeps."""
    tell, post = [cas0("failure", 1, SC)], [add("bell", SC), ld("wakes", "sleepers", SC)]
    seen, look = [ld("before", "bell", before)], [ld("failed", "failure", RLX)]
    return [post + tell if post_first else tell + post,
            (look + seen if look_first else seen + look) + [add("sleepers", SC), ld("seen", "bell", SC)]]


def line(publish=REL, see=ACQ, back=REL, back_see=ACQ, flag_first=False):
    """A line, taken, and the same line used again after something has come back."""
    fill = [st("data", 1, NA), st("signature", 1, RLX)]
    flag = [st("seq", 1, publish)]
    return [(flag + fill if flag_first else fill + flag) +
            [ld("answer", "back", back_see), when("answer", 1, st("data", 2, NA), st("seq", 2, publish))],
            [ld("seq", "seq", see),
             when("seq", 1, ld("sig", "signature", RLX), ld("data", "data", NA), st("back", 1, back))]]


def signal(raise_mo=REL, reach=ACQ):
    """Tensor, its address and the signature of the operation, published by a counter; the tensor of the
    other side is written, and a second counter says so."""
    return [[st("tensor", 1, NA), st("address", 1, RLX), st("signature", 1, RLX), st("counter", 1, raise_mo)],
            [ld("come", "counter", reach),
             when("come", 1, ld("sig", "signature", RLX), ld("at", "address", RLX), ld("got", "tensor", NA))]]


def ending(ended=REL, see=ACQ):
    """A rank raises its last counter, ends and leaves; who finds it gone looks whether it had ended, and
    then for the counter."""
    return [[st("counter", 1, RLX), st("ended", 1, ended)],
            [ld("had", "ended", see), when("had", 1, ld("come", "counter", ACQ))]]


def holding(commit=REL, see=ACQ):
    """An extent that device_lease_hold remembers: its entry is filled, then committed as live."""
    return [[st("generation", 1, RLX), st("state", 1, commit)],
            [ld("live", "state", see), when("live", 1, ld("is", "generation", RLX))]]


def saying(none=True, apart=REL, mark=REL, see=ACQ, between=ACQ):
    """What a rank says of its operation 0 becomes what it says of operation 2, with a mark of none (9)
    meanwhile; somebody reads the mark, the words, and the mark again."""
    return [([st("mark", 9, RLX)] if none else []) + ([fence(apart)] if apart else []) +
            [st("words", 2, RLX), st("mark", 2, mark)],
            [ld("is", "mark", see), ld("words", "words", RLX)] + ([fence(between)] if between else []) +
            [ld("still", "mark", RLX)]]


TESTS = [
    {"name": "bells", "make": bells,
     "never": lambda r: r["rings"] == 0 and r["reached"] == 0,
     "why": "the sleeper sleeps on and nobody rings",
     "defects": {"the raiser's fence is gone": {"raiser_fence": None},
                 "the sleeper's fence is gone": {"sleeper_fence": None},
                 "the raiser's fence only acquires and releases": {"raiser_fence": AR},
                 "the sleeper's fence only acquires and releases": {"sleeper_fence": AR},
                 "the sleeper looks before it says so": {"sleeper_first": False}},
     "code": [("src/coll/comm.c", "coll_bells_ring",
               ["atomic_thread_fence(memory_order_seq_cst)", "->sleeping, memory_order_relaxed", "run_word_post("]),
              ("src/coll/run.c", "progress", ["coll_bells_ring(c)", "return COLL_MOVED"]),
              ("src/coll/run.c", "coll_begin", ["lines_first(c, p)", "coll_bells_ring(c)"]),
              ("src/coll/run.c", "counter_raise", ["memory_order_release", "peer_rung("]),
              ("src/coll/run.c", "put", ["line_end(", "peer_rung("]),
              ("src/coll/run.c", "line_end", ["memory_order_release"]),
              ("src/coll/wait.c", "sleep_once",
               ["seen[i] = run_word_load(", "->sleeping, 1, memory_order_relaxed",
                "atomic_thread_fence(memory_order_seq_cst)", "first_moving(", "run_wait_any("]),
              ("src/coll/wait.c", "first_moving", ["coll_progress("])]},
    {"name": "futex", "make": futex,
     "never": lambda r: r["wakes"] == 0 and r["seen"] == 0,
     "why": "the kernel lets it sleep and nobody wakes it",
     "defects": {"the value changes relaxed": {"post": RLX},
                 "the sleepers are read relaxed": {"look": RLX},
                 "a sleeper registers relaxed": {"register": RLX}},
     "code": [("src/run/wait.c", "run_word_post", ["fetch_add(&w->value, 1, __ATOMIC_SEQ_CST)", "wake_sleepers("]),
              ("src/run/wait.c", "wake_sleepers", ["load_n(&w->sleepers, __ATOMIC_SEQ_CST)", "FUTEX_WAKE"]),
              ("src/run/wait.c", "word_sleep",
               ["fetch_add(&w->sleepers, 1, __ATOMIC_SEQ_CST)", "FUTEX_WAIT", "fetch_sub(&w->sleepers"]),
              ("src/run/wait.c", "words_sleep",
               ["fetch_add(&w[i]->sleepers, 1, __ATOMIC_SEQ_CST)", "SYS_futex_waitv", "fetch_sub(&w[i]->sleepers"])]},
    {"name": "failing", "make": failing,
     "never": lambda r: r["before"] == r["seen"] and r["failed"] == 0 and r["wakes"] == 0,
     "why": "a rank sleeps although a failure was announced",
     "defects": {"the bell is posted before the failure is told": {"post_first": True},
                 "the bell is read after the look": {"look_first": True},
                 "the bell is read relaxed": {"before": RLX}},
     "code": [("src/coll/comm.c", "failure_spread", ["atomic_compare_exchange_strong(", "run_word_post("]),
              ("src/coll/coll_int.h", "coll_failed_elsewhere", ["->failure, memory_order_relaxed"])]},
    {"name": "line", "make": line,
     "never": lambda r: r["seq"] == 1 and (r["sig"] != 1 or r["data"] != 1),
     "why": "a line is taken that is not complete, or of another operation",
     "defects": {"the sequence number is written relaxed": {"publish": RLX},
                 "the sequence number is read relaxed": {"see": RLX},
                 "the sequence number is written first": {"flag_first": True},
                 "what comes back is written relaxed": {"back": RLX},
                 "what comes back is read relaxed": {"back_see": RLX}},
     "code": [("src/coll/run.c", "put", ["line_copy(line->data", "line_end("]),
              ("src/coll/run.c", "line_end",
               ["line->signature, c->run->plan->signature, memory_order_relaxed",
                "line->seq, (uint32_t)c->seq, memory_order_release"]),
              ("src/coll/run.c", "take",
               [".seq, memory_order_acquire", "signature, memory_order_relaxed", "line_copy(to"])]},
    {"name": "signal", "make": signal,
     "never": lambda r: r["come"] == 1 and (r["sig"] != 1 or r["at"] != 1 or r["got"] != 1),
     "why": "a counter has come, and not what it stands for",
     "defects": {"a counter is raised relaxed": {"raise_mo": RLX},
                 "a counter is read relaxed": {"reach": RLX}},
     "code": [("src/coll/run.c", "counter_raise", ["++*mine", "memory_order_release"]),
              ("src/coll/run.c", "reached", ["memory_order_acquire", "signature["])]},
    {"name": "ending", "make": ending,
     "never": lambda r: r["had"] == 1 and r["come"] == 0,
     "why": "a rank that had ended is blamed",
     "defects": {"the end is written relaxed": {"ended": RLX},
                 "the end is read relaxed": {"see": RLX}},
     "code": [("src/coll/run.c", "operation_end", ["publish.ended, c->seq, memory_order_release"]),
              ("src/coll/wait.c", "look_around", ["device_lease_look(", "publish.ended, memory_order_acquire"])]},
    {"name": "saying", "make": saying,
     "never": lambda r: r["is"] == r["still"] and r["is"] != 9 and r["words"] != r["is"],
     "why": "the words of one operation under the mark of another",
     "defects": {"there is no mark of none": {"none": False},
                 "the words may be seen before the mark of none": {"apart": None},
                 "the mark is written relaxed": {"mark": RLX},
                 "the mark is read relaxed": {"see": RLX},
                 "the mark may be read again before the words": {"between": None}},
     "code": [("src/coll/run.c", "publish",
               ["op[i].mark, COLL_MARK_NONE(i), memory_order_relaxed", "atomic_thread_fence(memory_order_release)",
                "op[i].what, p->said.what, memory_order_relaxed", "op[i].how, p->said.how, memory_order_relaxed",
                "op[i].mark, (uint64_t)(uint32_t)c->seq << 32 | p->signature, memory_order_release"]),
              ("src/coll/wait.c", "op_said",
               ["op[i].mark, memory_order_acquire", "op[i].what, memory_order_relaxed", "op[i].how, memory_order_relaxed",
                "atomic_thread_fence(memory_order_acquire)", "op[i].mark, memory_order_relaxed",
                "op.mark = COLL_MARK_NONE(i)"])]},
    {"name": "holding", "make": holding,
     "never": lambda r: r["live"] == 1 and r["is"] == 0,
     "why": "an extent is taken for the one that it was before",
     "defects": {"the entry is committed relaxed": {"commit": RLX},
                 "the state is read relaxed": {"see": RLX}},
     "code": [("src/device/lease.c", "extent_is",
               ["x->state, memory_order_acquire", "x->generation, memory_order_relaxed"]),
              ("src/device/alloc.c", "extent_take_locked", ["x->generation", "COMMIT(in, x->state, EXT_TAKEN)"])]},
]


# ---- running -------------------------------------------------------------------------------------------

def missing_registers_are_minus_one(regs):
    return type("Regs", (dict,), {"__missing__": lambda self, key: -1})(regs)


def judge(test, options):
    """(executions, whether the outcome or a race is possible)."""
    count, bad = 0, None
    for regs, x in executions(test["make"](**options)):
        count += 1
        r = missing_registers_are_minus_one(regs)
        if test["never"](r):
            bad = test["why"]
        elif x.race():
            bad = bad or "a data race"
    return count, bad


def body_of(text, function):
    found = re.search(r"^[a-zA-Z].*\b%s\([^;{]*\)\n\{\n(.*?)^\}" % function, text, re.S | re.M)
    return found.group(1) if found else None


def tie(source, test):
    """What of the code the test stands for is not there: a sentence, or None."""
    for path, function, lines in test["code"]:
        with open(os.path.join(source, path), encoding="utf-8") as f:
            body = body_of(f.read(), function)
        if body is None:
            return "%s has no function %s" % (path, function)
        body = re.sub(r"\s+", " ", body)
        at = 0
        for line in lines:
            at = body.find(line, at)
            if at < 0:
                return "%s in %s: \"%s\" is not there, or not in its place" % (function, path, line)
            at += len(line)
    return None


def known_results():
    """The checker itself: store buffering, message passing, load buffering, 2+2W, coherence."""
    def possible(threads, outcome):
        return any(outcome(missing_registers_are_minus_one(r)) for r, _ in executions(threads))

    def both_zero(r):
        return r["a"] == 0 and r["b"] == 0

    def sb(mo_w, mo_r, f=None):
        return [[st("x", 1, mo_w)] + ([fence(f)] if f else []) + [ld("a", "y", mo_r)],
                [st("y", 1, mo_w)] + ([fence(f)] if f else []) + [ld("b", "x", mo_r)]]

    def mp(mo_w, mo_r):
        return [[st("x", 1, RLX), st("y", 1, mo_w)], [ld("a", "y", mo_r), ld("b", "x", RLX)]]

    def stale(r):
        return r["a"] == 1 and r["b"] == 0

    return [("store buffering, release and acquire", possible(sb(REL, ACQ), both_zero), True),
            ("store buffering, seq_cst", possible(sb(SC, SC), both_zero), False),
            ("store buffering, relaxed with seq_cst fences", possible(sb(RLX, RLX, SC), both_zero), False),
            ("store buffering, relaxed with acq_rel fences", possible(sb(RLX, RLX, AR), both_zero), True),
            ("message passing, release and acquire", possible(mp(REL, ACQ), stale), False),
            ("message passing, relaxed", possible(mp(RLX, RLX), stale), True),
            ("message passing, release and relaxed", possible(mp(REL, RLX), stale), True),
            ("load buffering", possible([[ld("a", "x", RLX), st("y", 1, RLX)], [ld("b", "y", RLX), st("x", 1, RLX)]],
                                        lambda r: r["a"] == 1 and r["b"] == 1), False),
            ("two reads of one place", possible([[st("x", 1, RLX)], [ld("a", "x", RLX), ld("b", "x", RLX)]],
                                                lambda r: r["a"] == 1 and r["b"] == 0), False),
            ("two increments", possible([[add("x", RLX), ld("a", "x", RLX)], [add("x", RLX), ld("b", "x", RLX)]],
                                        lambda r: r["a"] == 1 and r["b"] == 1), False)]


def main():
    source, names = sys.argv[1], sys.argv[2:]
    failed = 0
    for what, is_possible, should in known_results():
        if is_possible != should:
            print("FAILED checker: %s is %s" % (what, "possible" if is_possible else "impossible"))
            failed += 1
    for test in TESTS:
        if names and test["name"] not in names:
            continue
        count, bad = judge(test, {})
        if bad or count == 0:
            print("FAILED %s: %s" % (test["name"], bad or "no execution"))
            failed += 1
        away = tie(source, test)
        if away:
            print("FAILED %s: %s" % (test["name"], away))
            failed += 1
        for what, options in test["defects"].items():
            _, bad = judge(test, options)
            if not bad:
                print("FAILED %s: %s, and nothing is found" % (test["name"], what))
                failed += 1
        print("%s: %d executions, %d defects" % (test["name"], count, len(test["defects"])))
    print("%d failed" % failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
