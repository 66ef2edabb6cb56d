/* SPDX-License-Identifier: Apache-2.0 */
/* Private to core/: the lowered program, the translated transfers, and the state of a run. */
#ifndef CORE_CORE_INT_H
#define CORE_CORE_INT_H

#include "base/checked.h"
#include "base/mem.h"
#include "core/backend.h"
#include "core/core.h"

/* Largest variable: sums of steps and sizes stay far from 2^63. */
#define CORE_VAR_MAX (INT64_C(1) << 56)

/* ---- transfers --------------------------------------------------------------------------------
 * One side of a transfer at byte granularity, innermost dimension first: the byte of index i lies
 * at off + sum step_k * i_k. For SBUF the steps are those of host rows when `mapped` is false (off
 * counts from the core's sbuf), else of the address map of neuroncore.md 1.2 (a pattern that walks
 * through partitions in a way no linear host pattern follows). */
#define DMA_DIMS 6 /* a tile of DMA_DYN: the element, four free dimensions, the partition */

struct dma_dim {
    uint64_t n;
    int64_t step;
};
struct dma_side {
    bool sbuf, mapped;
    uint8_t ndim; /* dimensions of one element are merged, so 0 can mean one byte */
    uint8_t dtype;
    uint8_t esize;
    uint32_t var; /* HBM: index of the variable */
    int64_t off;
    int64_t lo, hi; /* HBM: lowest byte, one past the highest, in the variable */
    struct dma_dim dim[DMA_DIMS];
};

/* Loops over both sides at once: unit consecutive elements (bytes for a copy) inside. */
#define DMA_NEST_MAX 12
struct dma_nest_dim {
    uint64_t n;
    int64_t src, dst; /* bytes */
};
struct dma_nest {
    uint64_t unit;
    unsigned ndim;
    struct dma_nest_dim dim[]; /* innermost first */
};

enum dma_plan_kind {
    PLAN_NOTHING,   /* a size is 0 */
    PLAN_COPY_NEST, /* bytes, both sides in common loops; transposes too */
    PLAN_COPY_ITER, /* bytes, the sides share no loop structure */
    PLAN_CAST_NEST, /* elements converted */
    PLAN_FOLD,      /* cast, add, fma, min, max in chunks of elements */
    PLAN_TRANSPOSE, /* element by element by index arithmetic */
};
struct dma_plan {
    uint8_t kind;
    uint8_t op; /* enum neff_op */
    uint8_t nfrom;
    bool has_constant;
    uint8_t rank, tsize; /* PLAN_TRANSPOSE: dimensions, bytes of an element */
    float constant;
    uint64_t elements;  /* of the destination (PLAN_TRANSPOSE: of tsize bytes) */
    uint64_t bytes;     /* written */
    uint64_t row_bytes; /* of them in a partition, if rows > 0 */
    uint8_t part, rows; /* rows > 0: row k moves between HBM and partition part + k (rows.c) */
    const float *scale;
    struct dma_side to;
    struct dma_side *from; /* nfrom */
    struct dma_nest *nest;
    uint64_t shape[DMA_DIMS]; /* PLAN_TRANSPOSE: source shape, outermost first */
};

/* A DMA group: what one trigger starts on one queue set, or the transfer of a DMA_DYN record. */
struct dma_group {
    uint32_t first, count; /* plans */
    uint32_t queue;
    uint32_t inc;     /* num_queues */
    int16_t sem;      /* -1: none */
    int16_t event;    /* -1: none */
    uint32_t nremote; /* semaphores of the other core */
    const uint32_t *remote;
    uint64_t bytes;  /* written */
    uint64_t max_ps; /* time of the busiest DMA engine, with the work of a hardware DGE */
};

/* One operand of a dynamic access: where in which memory, what register moves it. */
struct dyn_place {
    bool sbuf;
    uint8_t off_reg; /* ISA_NO_REG: none */
    uint8_t esize;
    uint32_t var;
    int64_t off_mul; /* bytes per unit of the register (or index) */
    int64_t lo, hi;  /* extent without the register: bytes of the variable or partition */
    int64_t bound_lo, bound_hi; /* what it may touch */
};

/* DMA_DYN. */
struct core_dyn {
    uint8_t op, index_side, oob, oob_reg;
    uint32_t group;
    uint32_t plan; /* of the whole transfer; with an index: of one row */
    struct dyn_place src, dst;
    /* vector offset: row w of the indexed side starts at index w times off_mul; on the other side
     * at the sum of these dimensions (innermost first) */
    uint32_t rows;     /* at most 128 */
    int64_t index_off; /* SBUF host offset of index 0; the others lie in the next partitions */
    uint8_t index_signed;
    uint8_t other_ndim;
    struct dma_dim other[DMA_DIMS];
};

/* REG_LOAD, REG_STORE. */
struct core_place {
    struct dyn_place at;
    int64_t off; /* host offset in SBUF or offset in the variable, without the register */
    uint8_t dtype;
};

/* ---- lowered records ---- */

enum core_op_kind {
    OP_NOP,
    OP_KERNEL,
    OP_PRINT, /* a kernel whose result is shown */
    OP_END,
    OP_MOVE,
    OP_ALU,
    OP_LOAD,
    OP_STORE,
    OP_BRANCH,
    OP_TRIGGER,
    OP_DYN,
    OP_RANGE_CLEAR,
    OP_COVERED, /* inside a run that an earlier record's kernel op covers */
    OP_FAULT,   /* stands where core_run.fault is to strike (fault.c) */
    /* These can wait in their middle, after their updates at read: */
    OP_BARRIER,
    OP_COLLECTIVE,
};

struct core_op {
    uint8_t kind;
    uint8_t nwaits, nread, ncomplete;
    uint8_t sub, rd, ra, rb; /* register forms; collective: sub is the stream */
    uint32_t next;           /* record after this one */
    uint32_t target; /* branch: record; kernel, dyn, place, trigger: index of its description;
                        collective: index in sg->colls */
    int32_t imm;    /* trigger: number of groups; range clear: count; collective: semaphore or -1 */
    uint32_t waits; /* first in core_program.waits */
    uint32_t updates;
    uint32_t cost_ps;
};
static_assert(sizeof(struct core_op) == 32, "two records per cache line");

struct core_cond { /* a wait */
    uint8_t kind, index, reg, pad;
    int32_t value;
};
struct core_upd {
    uint8_t kind, index, reg, peer;
    int32_t value;
};

struct core_code {
    uint32_t count;
    struct core_op *ops;
    uint16_t *opcodes;
    struct time_cost *cost;
    uint8_t *dependent;
    struct isa_record *records; /* only kept when checks ask for it */
};

struct core_program {
    /* The head: backend.c's. */
    const struct core_backend *backend;
    struct core *core;
    const struct neff_subgraph *sg;
    struct core_options opt;
    struct arena arena;
    bool *var_used; /* per variable of sg: program_use_var */
    uint32_t nvar_used;
    bool uses_peer; /* the back end's to set, as time */
    bool prints;    /* and is among the watched (base/watched.h) for it */
    struct time_program time;
    void *own; /* of back ends other than the walker */
    /* The walker's. */
    struct core_code code[ISA_ENGINES];
    struct kernel_op *kops;
    struct core_cond *waits;
    struct core_upd *updates;
    struct dma_plan *plans;
    struct dma_group *groups;
    struct core_dyn *dyns;
    struct core_place *places;
    size_t nkops, nwaits, nupdates, nplans, ngroups, ndyns, nplaces;
    size_t cap_kops, cap_waits, cap_updates, cap_plans, cap_groups, cap_dyns, cap_places;
    int8_t *queue_engine;   /* per queue set: the engine that triggers it, -1 */
    uint32_t *queue_first;  /* per queue set: its first DMA engine */
    uint32_t *queue_sorted; /* isa_dyn.queue -> index in sg->queues */
    struct core_var_index {
        int64_t id;
        uint32_t index;
    } * var_index;         /* by id */
    uint64_t sems_used[4]; /* bit per semaphore that a run may change, on either core */
    uint32_t engines;      /* bit per engine that has records */
    uint64_t records, descriptors;
    uint64_t dma_start_ps;   /* from a trigger to the first byte */
    struct time_xfer *xfers; /* per group; engine_ps lies in the arena */
    size_t cap_xfers;
    struct core_check *check; /* OPENNRT_CHECK, else NULL */
};

struct core_binding {
    const struct core_program *program;
    uint64_t serial;  /* core_binding_serial */
    uint32_t missing; /* used variables without an address */
    struct core_addr {
        uint8_t *host;
        uint64_t size;
    } var[];
};

/* ---- the state of a run ---- */

struct core_engine {
    uint32_t pc;
    bool present, ended;
    bool stalled; /* some of its conditions do not hold; registered as a waiter of each */
    bool granted; /* all held at one moment since: the record starts without testing again */
    bool barrier; /* arrived at CORE_BARRIER, waits for the peer */
    bool full;    /* its collective was refused for lack of room; tries again after a signal */
    uint8_t nconds;
    struct core_cond barrier_cond;
    const struct core_cond *conds;
    uint64_t clock_ps; /* running estimate of device time */
    uint64_t retired;
    uint64_t since_ns; /* stalled: when it began to wait, by exec_moment */
    uint32_t regs[ISA_REGS];
};

/* A triggered static transfer. */
struct core_pending {
    uint32_t group;
    uint32_t serial;
    uint8_t core, engine;
    uint16_t next; /* later one of the same queue set, or in the free list; CORE_NOBODY: none */
    uint32_t record;
    uint64_t ready_ps;
};
#define CORE_PENDING 256
#define CORE_NOBODY  UINT16_MAX

/* A queue set of one core while something of it is pending. */
struct core_queue {
    uint64_t clock_ps;                /* when its last transfer ended, by the running estimate */
    uint16_t oldest, newest;          /* of core_exec.pending; CORE_NOBODY: nothing pending */
    struct core_queue *above, *below; /* in the stack of queue sets with pending transfers */
};

struct core {
    struct kernel_core kc;
    struct device_live_page *live;
    int32_t *sem; /* own_sem, or the live page's */
    int32_t own_sem[ISA_SEMAPHORES];
    uint64_t dirty[4]; /* semaphores the last run may have left nonzero */
    uint64_t events[4];
    uint16_t sem_waiters[ISA_SEMAPHORES]; /* bit core * 8 + engine */
    uint16_t event_waiters[ISA_EVENTS];
    struct core_engine engine[ISA_ENGINES];
    uint32_t engines;          /* those present: of the last program started */
    bool waiting_events;       /* event_waiters may hold bits of the last run */
    struct kernel_rng dma_rng; /* stochastic rounding of DMA casts */
    uint32_t sr_seed;
    bool sr_seeded;
    struct core_queue *queues; /* per queue set of the largest program */
    size_t queue_cap;
    bool no_events;                     /* the live page shows none */
    const struct core_program *shown;   /* whose program counters the live page has */
    const struct core_backend *running; /* of the run that core_start began; NULL: idle */
    struct core_exec *exec;             /* allocated with the core, so a run allocates nothing */
    uint8_t *staging;                   /* DMA_STAGING bytes for conversions */
};

#define DMA_CHUNK   1024 /* elements converted at once */
#define DMA_STAGING (DMA_CHUNK * 8 * 4)

struct dma_where { /* base addresses of a transfer */
    struct core *core;
    const struct core_binding *b;
    int64_t src_shift, dst_shift; /* bytes added to from[0] and to (dynamic offsets) */
};

/* What was put off to run row by row (rows.c): in order, of one core. */
#define CORE_ROWS 96
struct core_row_entry {
    const struct kernel_op *op;  /* this or */
    const struct dma_plan *plan; /* this */
    uint8_t part, rows;
    bool spared; /* plan: nobody would see its bytes in SBUF, or an op writes them to HBM itself;
                    op: a later one is one pass with it */
    struct kernel_elsewhere elsewhere;   /* op: operands that are in HBM instead */
    const struct core_row_entry *before; /* op: the one before it that is one pass with it */
};

struct core_exec {
    const struct core_run *run;
    struct core_report *report;
    struct core *core[CORE_MAX];
    unsigned count;
    bool ended;                  /* status and end are final */
    uint32_t ready, later, full; /* bit core * 8 + engine */
    uint32_t turn_left;          /* records that turn_unit may still run before the others */
    uint8_t turn_unit;
    const struct core_outside *outside; /* of the programs, or NULL */
    /* Since when nothing moved, here and outside: looked at only when the core waits for outside.
     */
    uint64_t stall_since, stall_beat;
    bool stalls;
    /* The host's time not long ago: exec_moment. left: how often it may still be taken. */
    uint64_t moment_ns, moment_work;
    uint32_t moment_left;
    uint64_t outside_ps;                  /* end of the last operation outside, running estimate */
    uint64_t stream_ps[TOPO_MAX_STREAMS]; /* and of the last one of each stream */
    uint64_t limit_ps, dma_start_ps;
    uint64_t sems_used[4]; /* by either core's program */
    bool looked;           /* one of the next two is there */
    struct time_events *events;
    struct core_check *check; /* of the first program, or NULL */
    struct arena patches;     /* of a run with a fault: what its programs were before (fault.c) */
    struct fault_patch *patch;
    struct core_pending pending[CORE_PENDING];
    struct core_queue *top; /* the queue set triggered last, of those with pending transfers */
    uint16_t free;          /* first unused entry of pending */
    uint32_t npending;
    uint32_t serial;
    struct core_rows {
        struct dma_where where;
        unsigned count;
        unsigned first, end; /* partitions of all */
        uint32_t row_bytes;  /* of the largest operand in a partition, at most a step's */
        struct core_row_entry entry[CORE_ROWS];
    } rows;
    NRT_STATUS status; /* first failure */
    enum core_end end;
    unsigned fail_core, fail_engine;
    bool fail_dynamic;
    bool fail_embedding; /* in a transfer of an embedding_update queue set */
    struct core_stats st;
};

/* dma_plan.c */
NRT_STATUS dma_plan_static(struct core_program *p, const struct neff_desc *d, struct dma_plan *ret,
                           struct err *err);
NRT_STATUS dma_plan_copy(struct core_program *p, struct dma_plan *plan, struct err *err);
NRT_STATUS dma_plan_transpose(struct core_program *p, struct dma_plan *plan, struct err *err);
uint64_t dma_side_count(const struct dma_side *s); /* bytes */
void dma_side_merge(struct dma_side *s);
bool dma_side_extent(const struct dma_side *s, int64_t *ret_lo, int64_t *ret_hi);
struct dma_loops {
    unsigned ndim;
    struct dma_nest_dim dim[DMA_NEST_MAX];
};
bool dma_loops_refine(const struct dma_dim *a, unsigned na, const struct dma_dim *b, unsigned nb,
                      struct dma_loops *ret);
struct dma_nest *dma_nest_make(struct core_program *p, struct dma_loops *l, int64_t ses,
                               int64_t des);
bool dma_side_groups(const struct dma_side *s, const uint64_t *size, unsigned groups,
                     struct dma_dim (*ret)[DMA_NEST_MAX], unsigned *ret_n);
unsigned dma_transpose_axis(unsigned rank, unsigned k); /* source axis of destination axis k */
/* Time that each DMA engine of a set of q spends (neuroncore.md 5.1 and 5.6), in ps, added to
 * ret[0 .. q - 1]. */
void dma_plan_split(const struct core_program *p, const struct dma_plan *plan, unsigned q,
                    uint64_t *ret);

/* dma_run.c */
/* Returns whether a NaN was generated (only when the core checks). */
bool dma_plan_run(const struct dma_plan *plan, const struct dma_where *w);
/* Rows [first, end) of a plan that has rows. */
void dma_plan_run_rows(const struct dma_plan *plan, const struct dma_where *w, unsigned first,
                       unsigned end);

struct dma_iter {
    uint8_t *base;
    size_t sbuf_stride;
    const struct dma_side *s;
    uint64_t run;   /* contiguous bytes */
    uint64_t pos;   /* in the run */
    unsigned first; /* first dimension above the run */
    uint64_t idx[DMA_DIMS];
    int64_t off;
    uint8_t *p; /* start of the run */
};
void dma_iter_init(struct dma_iter *it, const struct dma_side *s, const struct dma_where *w,
                   int64_t shift);
void dma_iter_next(struct dma_iter *it); /* the next run */
void dma_iter_read(struct dma_iter *it, void *buf, uint64_t n);
void dma_iter_write(struct dma_iter *it, const void *buf, uint64_t n);

/* rows.c */
void dma_plan_find_rows(const struct core *core, struct dma_plan *plan); /* PLAN_COPY_NEST */

/* dyn.c */
NRT_STATUS dyn_lower(struct core_program *p, unsigned engine, const struct isa_record *rec,
                     uint32_t *ret_index, struct err *err);
/* access: of check_xfer_start, for x->check. */
NRT_STATUS dyn_run(struct core_exec *x, unsigned core, unsigned engine, const struct core_dyn *d,
                   uint32_t access, uint64_t *ret_bytes, struct err *err);
NRT_STATUS place_lower(struct core_program *p, const struct isa_seq *s, uint32_t *ret_index,
                       struct err *err);
/* Pointer to the element, NULL with err when out of bounds. */
uint8_t *place_resolve(const struct core_place *pl, struct core *c, const struct core_binding *b,
                       const uint32_t *regs, struct err *err);

/* loop.c */
NRT_STATUS loop_start(const struct core_run *run, struct core_report *report);
enum core_step loop_run(struct core *core, uint64_t budget, uint64_t *ret_did);
NRT_STATUS loop_finish(struct core *core);

/* program.c */
NRT_STATUS program_no_memory(struct err *err);
/* Groups of one engine by id: those that one trigger starts lie together. */
struct core_trig {
    uint32_t id, index; /* index: position in the file, keeps equal ids in order */
    uint32_t group;     /* first in p->groups, after translation */
};
/* Translate the groups of an engine; t: room for one each, sorted by id. */
NRT_STATUS program_groups(struct core_program *p, unsigned engine, struct core_trig *t,
                          struct err *err);
uint32_t program_var(const struct core_program *p, uint32_t var_id); /* NEFF_NONE */
void program_use_var(struct core_program *p, uint32_t var);
void program_use_sem(struct core_program *p, unsigned sem);
NRT_STATUS program_add_plan(struct core_program *p, const struct dma_plan *plan, struct err *err);
/* split_ps: time of each DMA engine of the set (dma_plan_split in bytes through time_dma_ps). */
enum core_descriptors { CORE_PREBUILT, CORE_DGE_SW, CORE_DGE_HW }; /* who makes them */
NRT_STATUS program_add_group(struct core_program *p, struct dma_group *g, unsigned engine,
                             const uint64_t *split_ps, enum core_descriptors by, struct err *err);

/* lower.c */
NRT_STATUS program_engine(struct core_program *p, unsigned engine, struct isa_check_env *env,
                          struct err *err);

/* core.c */
void core_seed_sr(struct core *core, uint32_t seed);
NRT_STATUS core_queues_grow(struct core *core, size_t queues, struct err *err);

/* check.c: OPENNRT_CHECK. All but create and destroy are called between check_start and
 * check_finish of a run. */
NRT_STATUS check_create(struct core_program *p, struct err *err);
void check_destroy(struct core_check *k);
bool check_start(struct core_check *k, const struct core_exec *x); /* false: no memory */
void check_wait(struct core_check *k, unsigned core, unsigned engine, const struct core_cond *w,
                int32_t want);
void check_update(struct core_check *k, unsigned core, unsigned engine, unsigned to, unsigned kind,
                  unsigned index, int32_t value);
void check_compute(const struct core_exec *x, struct core_check *k, unsigned core, unsigned engine,
                   uint32_t record);
void check_bytes(const struct core_exec *x, struct core_check *k, unsigned core, unsigned engine,
                 const uint8_t *p, uint64_t n, bool write);
void check_trigger(struct core_check *k, unsigned core, unsigned engine, uint32_t slot);
uint32_t check_xfer_start(struct core_check *k, unsigned core, unsigned engine, uint32_t record,
                          uint32_t queue, uint32_t slot);
void check_xfer_signal(struct core_check *k, unsigned core, uint32_t queue, unsigned to, bool event,
                       unsigned index, int32_t value);
void check_plan(const struct core_exec *x, struct core_check *k, uint32_t id,
                const struct dma_plan *plan, const struct dma_where *w);
void check_coll_start(const struct core_exec *x, struct core_check *k,
                      const struct core_trigger *t);
void check_coll_signal(struct core_check *k, const struct core_trigger *t, int32_t value);
NRT_STATUS check_finish(struct core_check *k, struct err *err);

/* outside.c */
void outside_wait(struct core *core);
NRT_STATUS outside_lower(struct core_program *p, const struct isa_seq *s, struct core_op *op,
                         struct err *err);

/* xfer.c */
void exec_pending_reset(struct core_exec *x);

/* fault.c: a run with core_run.fault. The programs are as the fault wants them from begin to end.
 * False: no memory, and the programs are as they were. */
bool fault_begin(struct core_exec *x);
void fault_end(struct core_exec *x);
/* OP_FAULT. */
void fault_strike(struct core_exec *x, unsigned core, unsigned engine);

/* report.c */
void report_fill(struct core_exec *x);

/* live.c */
void live_start(struct core *c, const struct core_run *run);
void live_engine(struct core *c, unsigned engine);
void live_end(struct core *c);
int32_t *live_semaphores(struct device_live_page *live);
void live_rings_clear(struct core *c, uint32_t queues);
void live_ring_head(struct core *c, uint32_t queue); /* a transfer was triggered */
void live_ring_tail(struct core *c, uint32_t queue); /* one is done */

#endif
