/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the checker: clocks (check_clock.c), values (check_value.c), memory (check_mem.c),
 * what the application does and sees (check_app.c), sequencers (check.c). */
#ifndef SCHED_CHECK_INT_H
#define SCHED_CHECK_INT_H

#include "sched/check.h"

/* ---- clocks: what a sequencer knows of all others ---- */

/* Sequencer rank * channels + channel counts its epochs from 1; a signal ends an epoch. The clock
 * of a sequencer holds, for each other, the last epoch that happened before its present. Clocks are
 * shared and copied on write, in chunks, since most signals carry the clock of the one before. */
struct chk_clock;
struct chk_clocks {
    uint32_t seqs, chunks;
    struct chk_chunk *free_chunks;
    struct chk_clock *free_clocks;
};

/* What a signal carries: the clock of its sender, who has time `epoch` itself. */
struct chk_stamp {
    struct chk_clock *clock; /* a reference */
    uint32_t seq, epoch;
    uint64_t when; /* logical time */
};

struct chk_clock *chk_clock_new(struct chk_clocks *k); /* knows nothing; NULL: memory */
struct chk_clock *chk_clock_ref(struct chk_clock *c);
void chk_clock_put(struct chk_clocks *k, struct chk_clock *c); /* NULL is fine */
uint32_t chk_clock_get(const struct chk_clock *c, uint32_t seq);
/* *mine learns what s carries. False: memory. */
bool chk_clock_join(struct chk_clocks *k, struct chk_clock **mine, const struct chk_stamp *s);
void chk_clocks_fini(struct chk_clocks *k); /* all clocks have been put */

/* ---- values ---- */

/* Elements are named, not computed. A value is a function of a position: a leaf is what the
 * application put into a tensor, a reduction applies its terms, each shifted. The element at place
 * i of a piece of memory is its value at position off + i. Equal values have equal numbers. */
enum chk_leaf { CHK_INPUT, CHK_STALE /* what an output held before */ };
#define CHK_NOTHING 0u /* the value of memory that nobody wrote */

struct chk_term {
    uint32_t value;
    uint64_t
        off; /* of values_reduce: position; inside a node: relative to the first, modulo 2^64 */
};

struct chk_value {
    uint32_t first, count; /* terms; count 0: a leaf */
    uint32_t next;         /* of the same hash */
    uint32_t rank;         /* leaf */
    uint16_t tensor;       /* below SCHED_TENSORS_MAX */
    uint8_t leaf, operation;
    bool complete; /* known to hold each rank's input once */
};

struct chk_values {
    struct chk_value *value; /* [0] stands for CHK_NOTHING */
    size_t count, cap;
    struct chk_term *term;
    size_t term_count, term_cap;
    uint32_t *bucket;
    size_t buckets;
    uint64_t *seen;         /* bit per rank, for chk_value_complete */
    struct chk_term *stack; /* of the same */
    size_t stack_cap;
};

/* CHK_NOTHING: memory is out. */
uint32_t chk_value_leaf(struct chk_values *v, enum chk_leaf leaf, uint32_t operation, uint32_t rank,
                        uint32_t tensor);
uint32_t chk_value_reduce(struct chk_values *v, const struct chk_term *terms, uint32_t n);
/* What a reduction should be: of the inputs `tensor` of all ranks, each once, at element `off`;
 * with starts, of rank r at element off + starts[r * stride]. */
struct chk_sum {
    uint32_t ranks, operation, tensor;
    uint64_t off;
    const uint32_t *starts;
    size_t stride;
};
/* Whether the value, at `off` of its first term, is that reduction, in any order. If not, text
 * (size bytes) says what is wrong; empty: memory is out. */
bool chk_value_complete(struct chk_values *v, uint32_t value, uint64_t off,
                        const struct chk_sum *sum, char *text, size_t size);
/* "element 17 of input 0 of rank 3, operation 1", "a reduction of 4 terms", ... */
void chk_value_text(const struct chk_values *v, uint32_t value, uint64_t off, char *text,
                    size_t size);
bool chk_values_init(struct chk_values *v, uint32_t ranks);
void chk_values_fini(struct chk_values *v);

/* ---- memory ---- */

/* Epochs of what a message of the network does; seq is then its number. Its read of the source is
 * over for whoever knows that the sender saw it complete or that the receiver saw it arrive; its
 * write of the destination for whoever knows the latter. */
#define CHK_MESSAGE_READ  (UINT32_MAX - 1)
#define CHK_MESSAGE_WRITE UINT32_MAX

struct chk_access { /* epoch 0: none */
    uint32_t seq, epoch;
};

struct chk_piece {
    uint64_t begin, off;
    uint32_t value;
    struct chk_access write, read; /* last write; one read since */
    uint32_t more, more_cap;
    struct chk_access *more_reads; /* reads that nothing orders with each other */
};

struct chk_bunch { /* neighbouring pieces, at least one */
    struct chk_piece *piece;
    size_t count, cap;
    uint64_t begin; /* of its first piece */
};
struct chk_mem { /* one buffer: pieces cover it without gaps */
    struct chk_bunch *bunch;
    size_t bunches, cap;
    uint64_t elems;
};

struct chk_run { /* elements of one value, as read or to be written */
    uint64_t len, off;
    uint32_t value;
};
struct chk_runs {
    struct chk_run *run;
    size_t count, cap;
};

/* The sequencer that reads or writes. */
struct chk_who {
    uint32_t seq, epoch;
    const struct chk_clock *clock;
    const struct chk_transfer *transfer; /* all of them, by number */
};

enum chk_clash { CHK_FINE, CHK_UNWRITTEN, CHK_READ_RACE, CHK_WRITE_RACE, CHK_REUSE, CHK_MEMORY };
struct chk_found { /* where a clash is, and with whom */
    uint64_t element;
    struct chk_access other;
};

bool chk_mem_init(struct chk_mem *m, uint64_t elems);
void chk_mem_fini(struct chk_mem *m);
/* Read [off, off + len), inside the buffer: fills runs, notes the read as `as` (which is who's own
 * present, or a message's). */
enum chk_clash chk_mem_read(struct chk_mem *m, uint64_t off, uint64_t len,
                            const struct chk_who *who, struct chk_access as, struct chk_runs *runs,
                            struct chk_found *found);
/* Write the runs, whose lengths add up to len. */
enum chk_clash chk_mem_write(struct chk_mem *m, uint64_t off, uint64_t len,
                             const struct chk_who *who, struct chk_access as,
                             const struct chk_runs *runs, struct chk_found *found);
bool chk_runs_add(struct chk_runs *r, uint64_t len, uint32_t value, uint64_t off);

/* ---- sequencers ---- */

enum chk_state { CHK_READY, CHK_WAITS, CHK_ENDED };

struct chk_seq {
    uint32_t rank, channel, id;
    enum chk_state state;
    bool queued;
    const struct sched_step *step; /* the one that waits */
    uint64_t index;
    struct chk_clock *clock;
    uint32_t epoch;
    uint64_t now; /* logical time */
};

struct chk_rank {
    uint32_t operation;                     /* in progress; equal to runs: all done */
    uint32_t ended;                         /* channels whose streams have ended */
    uint32_t counters;                      /* list of those at this rank, by index + 1 */
    uint32_t entered[SCHED_CHECK_RUNS_MAX]; /* epoch of sequencer (rank, 0) */
};

struct chk_signal {
    struct chk_stamp stamp;
    struct chk_signal *next;
};

struct chk_counter {
    uint32_t to, from;
    uint8_t sem;
    bool expects;
    uint16_t channel;
    uint32_t next; /* of the same owner */
    uint32_t raised, joined;
    int64_t base, largest, expected;
    uint32_t gained[SCHED_CHECK_RUNS_MAX], accounted[SCHED_CHECK_RUNS_MAX];
    struct chk_signal *first, *last; /* raised and not yet joined */
};

struct chk_put {
    uint32_t operation;
    uint64_t off, len;
    bool taken;
    struct chk_stamp stamp;
};

struct chk_line { /* LINE of (to, channel), written by from */
    uint32_t to, from, channel;
    struct chk_mem *set; /* two, for even and for odd operations */
    struct chk_put *put;
    size_t put_count, put_cap;
};

struct chk_transfer {   /* one message of the network */
    bool given, posted; /* by the sender, by the receiver */
    uint32_t send_operation, post_operation;
    uint64_t send_step, post_step, off, to_off, len, to_len;
    struct chk_mem *mem, *to_mem;
    struct chk_runs runs;               /* what is sent, until both sides are there */
    struct chk_stamp stamp, post_stamp; /* of sender and receiver when they posted */
    struct sched_ref to_ref;            /* for words */
    struct chk_access sent, arrived;    /* by whom and when that was seen */
};

struct chk_wire { /* messages from one rank to another on a channel */
    uint32_t from, to, channel;
    uint32_t sends, posts;  /* so far */
    uint32_t sent, arrived; /* seen to be complete */
    uint32_t *transfer;     /* numbers of transfers, in order */
    size_t cap;
};

struct chk_map { /* (to, from, sem, channel) to an index */
    uint64_t *key;
    uint32_t *index; /* + 1; 0: free */
    size_t cap, count;
};

struct chk_same { /* all_reduce: what the first rank to finish held */
    uint64_t begin, end;
    uint32_t value;
};
struct chk_standard {
    struct chk_same *range;
    size_t count, cap;
};

struct chk {
    const struct sched_request *req;
    const struct sched_check_source *source;
    const struct sched_check_options *options;
    uint32_t ranks, channels, runs;
    struct chk_clocks clocks;
    struct chk_values values;
    struct chk_seq *seq;
    struct chk_rank *rank;
    uint32_t *queue; /* ring of ready sequencers */
    uint32_t queue_first, queue_count;
    uint32_t done[SCHED_CHECK_RUNS_MAX]; /* ranks that finished this operation */
    struct chk_mem *tensor;              /* [rank][tensor][IN, OUT]; in place only OUT is used */
    struct chk_mem *channel;             /* [rank][channel][SLOT, TEMP] */
    struct chk_map counter_of, line_of, wire_of, flow_of;
    struct chk_counter *counter;
    size_t counter_count, counter_cap;
    struct chk_line *line;
    size_t line_count, line_cap;
    struct chk_wire *wire;
    size_t wire_count, wire_cap;
    struct chk_transfer *transfer;
    size_t transfer_count, transfer_cap;
    struct chk_signal *free_signals;
    struct chk_runs read[SCHED_REFS_MAX], made; /* scratch of one step */
    struct chk_standard *standard;              /* [operation][tensor] */
    struct sched_counts counts;
    size_t flow_cap;
    struct sched_violation violation;
    NRT_STATUS status;
    struct err *err;
};

/* Elements of IN and OUT of a rank; and where an element of IN or OUT lies. */
uint64_t chk_tensor_elems(const struct chk *c, enum sched_buf buf, uint32_t tensor);
struct chk_mem *chk_tensor_mem(struct chk *c, enum sched_buf buf, uint32_t rank, uint32_t tensor,
                               uint64_t *off);
/* Check the request for what the checker itself computes with. */
NRT_STATUS chk_request_check(const struct sched_request *req, uint32_t ranks, struct err *err);
/* The application of a rank: fill its tensors for an operation; look at them after it. False:
 * stopped, c->status says why. */
bool chk_app_fill(struct chk *c, uint32_t rank, uint32_t operation);
bool chk_app_look(struct chk *c, uint32_t rank, uint32_t operation);

/* ---- tables (check_table.c): found, or made; NULL: memory ---- */

/* The element of a growing array that belongs to a key; *ret_new: just added, zeroed. */
void *chk_map_element(struct chk_map *m, uint64_t key, void **array, size_t *count, size_t *cap,
                      size_t size, bool *ret_new);
void chk_map_fini(struct chk_map *m);
uint64_t chk_pair_key(const struct chk *c, uint32_t to, uint32_t from, unsigned sem,
                      uint32_t channel);
struct chk_counter *chk_counter_get(struct chk *c, uint32_t to, uint32_t from, unsigned sem,
                                    uint32_t channel);
struct chk_line *chk_line_get(struct chk *c, uint32_t to, uint32_t from, uint32_t channel);
struct chk_wire *chk_wire_get(struct chk *c, uint32_t from, uint32_t to, uint32_t channel);

/* ---- sequencers (check.c) ---- */

struct chk_seq *chk_seq_of(struct chk *c, uint32_t rank, uint32_t channel);
struct chk_who chk_who_is(const struct chk *c, const struct chk_seq *s);
/* A stamp of the present of s; what s does next is not covered by it. */
struct chk_stamp chk_seq_stamp(struct chk_seq *s);
bool chk_seq_learn(struct chk *c, struct chk_seq *s, const struct chk_stamp *stamp);
/* `from` has raised a counter of (rank, channel), or filled its line (sem SCHED_SEM_COUNT). */
void chk_seq_wake(struct chk *c, uint32_t rank, uint32_t channel, uint32_t from, unsigned sem);

/* ---- steps that move (check_move.c), that order (check_sync.c) ---- */

struct chk_spot { /* an element, for messages */
    enum sched_buf buf;
    uint32_t rank, tensor;
    uint64_t element;
};

struct chk_operand { /* a place, found */
    struct chk_mem *mem;
    uint64_t off; /* in mem */
    int64_t stride;
    uint64_t shift; /* off minus the offset that the step names, modulo 2^64 */
};

uint32_t chk_node_of(const struct chk *c, uint32_t rank);
bool chk_operand_find(struct chk *c, const struct chk_seq *s, const struct sched_ref *ref,
                      struct chk_operand *ret);
bool chk_operand_read(struct chk *c, const struct chk_seq *s, const struct sched_ref *ref,
                      const struct chk_operand *o, struct chk_access as, struct chk_runs *runs);
bool chk_operand_write(struct chk *c, const struct chk_seq *s, const struct sched_ref *ref,
                       const struct chk_operand *o, struct chk_access as,
                       const struct chk_runs *runs);
struct chk_spot chk_ref_spot(const struct sched_ref *ref);
/* The present step of s. False: stopped. *ret_waits: it must be tried again when woken. */
bool chk_step_move(struct chk *c, struct chk_seq *s); /* COPY, REDUCE, and the bytes of PUT */
bool chk_step_count(struct chk *c, const struct chk_seq *s);
bool chk_step_wait(struct chk *c, struct chk_seq *s, bool *ret_waits);
bool chk_step_signal(struct chk *c, struct chk_seq *s);
bool chk_step_expect(struct chk *c, const struct chk_seq *s);
bool chk_step_put(struct chk *c, struct chk_seq *s);
bool chk_step_take(struct chk *c, struct chk_seq *s, bool *ret_waits);
bool chk_step_net(struct chk *c, struct chk_seq *s);

/* ---- violations (check_report.c) ---- */

/* Stop with a violation at the present step of s (or at its end: s->step NULL); always false. buf
 * SCHED_BUF_COUNT: no element. The text is put after "operation 1, rank 3, channel 0, step 17: ".
 */
bool chk_fail(struct chk *c, const struct chk_seq *s, enum sched_flaw flaw,
              const struct chk_spot *spot, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
bool chk_no_memory(struct chk *c); /* false */
/* Report a clash that chk_mem_read or chk_mem_write found; false unless it is CHK_FINE. */
bool chk_clash_report(struct chk *c, const struct chk_seq *s, enum chk_clash clash,
                      struct chk_spot spot, uint64_t base, const struct chk_found *found);
/* Nobody can run, s least of all; always false. */
bool chk_deadlock_report(struct chk *c, struct chk_seq *s);

#endif
