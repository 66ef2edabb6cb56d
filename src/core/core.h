/* SPDX-License-Identifier: Apache-2.0 */
/* The software NeuronCore: prepare a subgraph once, bind variables to memory, run. Semantics:
 * docs/spec/neuroncore.md sections 1, 5, 6; docs/core.md explains the loop.
 *
 * Life: core_create (one per physical core) -> core_program_create (per load and core) ->
 * core_binding_create (per set of addresses) -> core_run (per execution), or its parts: core_start,
 * core_progress until it ended, core_finish. A program belongs to its core and must be destroyed
 * before it; a binding belongs to its program.
 *
 * Threads: a core is driven by one thread at a time (the caller holds the logical core's owner
 * word), which may be another one for each call; nothing here locks. Programs and bindings are
 * read only while running.
 *
 * Errors: this room logs nothing; struct err and struct core_report carry facts and texts. */
#ifndef CORE_CORE_H
#define CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "isa/isa.h"
#include "kernel/kernel.h"
#include "neff/neff.h"
#include "time/time.h"
#include "topo/group.h"

#ifdef __cplusplus
extern "C" {
#endif

struct device_live_page; /* device/device.h */
struct run_pool;
struct core;
struct core_program;
struct core_binding;
struct core_backend; /* core/backend.h */

#define CORE_MAX 2 /* physical cores of a logical core */

/* ---- the core ---- */

struct core_config {
    enum isa_gen gen;
    struct run_pool *pool;         /* kernels may use it; NULL: one thread */
    struct device_live_page *live; /* borrowed; NULL: none (tests) */
};
/* Allocates SBUF, PSUM and generators (lazily backed). NRT_RESOURCE when memory is out. */
NRT_STATUS core_create(const struct core_config *cfg, struct core **ret, struct err *err);
void core_destroy(struct core *core); /* NULL is fine */
/* Forget everything: SBUF and PSUM zero, generators as new. For NEURON_RT_RESET_CORES and after a
 * failed execution when the caller wants it; not needed for correctness. */
void core_reset(struct core *core);
/* Memories and generators, for dumps, tests and initial contents. */
struct kernel_core *core_kernel(struct core *core);
int32_t core_semaphore(const struct core *core, unsigned index); /* as the last run left it */
bool core_event(const struct core *core, unsigned index);
uint32_t core_register(const struct core *core, unsigned engine, unsigned reg);

/* ---- what lies outside ------------------------------------------------------------------------
 * A program meets work of rooms above this one (collectives) only through this table, which the
 * upper room fills. The core tells that an engine started an operation, lets the outside work when
 * it is driven itself, and takes the signals that end operations. Every function is called by the
 * thread that drives the core, between core_start and core_finish; none may block except wait,
 * none may call back into this room except core_binding_get, core_binding_serial and
 * core_binding_sbuf. */

/* An engine started an operation: TRIGGER_COLLECTIVE. */
struct core_trigger {
    uint8_t core, engine; /* who: physical core of the logical core, engine */
    uint32_t record;      /* its record, for messages */
    uint32_t op;          /* index in sg->colls */
    uint8_t stream;       /* of the operation: below TOPO_MAX_STREAMS */
    uint32_t serial;      /* unique in the run, rising */
    int16_t semaphore;    /* of core `core`: what the record asks to raise; -1: nothing */
    uint64_t ps;          /* device time of the trigger in this run, running estimate */
    bool recorded;        /* the run has an event record: arrival_ps of the signal is wanted */
    const struct neff_subgraph *sg;
    const struct core_binding *binding; /* addresses: core_binding_get */
};

/* An operation ended: its semaphore is raised by 1. */
struct core_signal {
    const struct core_trigger *of; /* as it was given to trigger; valid until the next trigger */
    NRT_STATUS status;             /* not NRT_SUCCESS: the run ends with it (CORE_END_OUTSIDE) */
    const char *text; /* then: one line for the report, valid until the next call; or NULL */
    /* Device time of this run: when the last of the other members entered (0: not known, or the run
     * is not recorded), and how long the operation lasts, alone on the device, from the later of
     * that and its turn in its stream. */
    uint64_t arrival_ps, lasts_ps;
    /* That each DMA engine of the logical core works for it; that one of its packets takes. */
    uint64_t engines_ps, packet_ps;
};

struct core_outside {
    void *arg; /* first argument of every function */
    /* Accept the operation; it reads and writes the binding's memory from now until its signal was
     * taken or abandon returned. NRT_QUEUE_FULL: its stream has no room; the engine waits and tries
     * again after the next signal. Any other failure ends the run with that status and err. */
    NRT_STATUS (*trigger)(void *arg, const struct core_trigger *t, struct err *err);
    /* Work for what was started, at most about `budget` steps; returns how many were done. May be
     * called when there is nothing to do. */
    uint64_t (*progress)(void *arg, uint64_t budget);
    /* The core has nothing else to do and something is outstanding: look for a short while, some
     * microseconds, for something to do, and do it. False: nothing came. It spares the core the
     * look at the clock and the call of wait that follow. NULL: none. */
    bool (*poll)(void *arg);
    /* The next signal, in the order in which the outside decided them; false: none now. Not asked
     * while *signals is there and 0. */
    bool (*take)(void *arg, struct core_signal *ret);
    const uint32_t *signals;
    /* Whether a signal may still come without any engine doing anything: accepted operations whose
     * signal was not taken. While true, an engine that waits is not a local hang and the run has
     * not ended. */
    bool (*outstanding)(void *arg);
    /* A number that differs whenever a rank that this core waits for retired anything. NULL: only
     * this core counts for the wall-time limit. */
    uint64_t (*beat)(void *arg);
    /* Sleep until progress or take may find something, at most limit_ns (UINT64_MAX: the outside's
     * own limit; it may always return early). NULL: core_run polls without pause. */
    void (*wait)(void *arg, uint64_t limit_ns);
    /* The run ended while operations were outstanding, for the reason `why` (a line): none of them
     * may touch memory of this run or signal any more when this returns. */
    void (*abandon)(void *arg, const char *why);
};

/* ---- programs ---- */

enum { CORE_CHECK_RACE = 1, CORE_CHECK_UNINIT = 2 };

#define CORE_DMA_PACKET 4096u /* default, and the least; of descriptors that a DGE makes, too */

struct core_options {
    unsigned lnc;             /* physical cores of the logical core, 1 or 2; 0 counts as 1 */
    enum kernel_math math;    /* OPENNRT_MATH=exact: KERNEL_MATH_EXACT */
    bool stochastic_rounding; /* NEURON_RT_STOCHASTIC_ROUNDING_EN at load */
    uint32_t sr_seed;         /* NEURON_RT_STOCHASTIC_ROUNDING_SEED */
    bool check_nan;           /* report NaNs generated (behaviour.md 8.2) */
    bool saturate_ocp;
    uint64_t dma_packet; /* bytes of the packets of prebuilt rings; 0: CORE_DMA_PACKET */
    unsigned checks;     /* CORE_CHECK_*: OPENNRT_CHECK; costs much time */
    /* Borrowed for the program's life. NULL: programs with collectives are refused by opcode. The
     * programs of one logical core get the same table. */
    const struct core_outside *outside;
    const struct core_backend *backend; /* NULL: the walker of records */
    const struct diag_sink *sink;       /* warnings of the checker; used during create only */
};

/* Check (isa_check_program) and lower all engines' records, translate all descriptors. Linear in
 * records and descriptors. sg is borrowed for the program's life except its instruction bytes,
 * which are read here only. It passed neff_check with the core's partition size; descriptors are
 * checked again against variables, since this code dereferences them. NRT_INVALID with text;
 * NRT_RESOURCE. */
NRT_STATUS core_program_create(struct core *core, const struct neff_subgraph *sg,
                               const struct core_options *opt, struct core_program **ret,
                               struct err *err);
void core_program_destroy(struct core_program *p); /* NULL is fine */

struct core_program_info {
    uint64_t records, descriptors, transfers; /* transfers: DMA groups */
    uint64_t host_bytes;                      /* private memory of the lowered program */
    bool uses_peer;                           /* signals or barriers to the other core */
};
void core_program_info(const struct core_program *p, struct core_program_info *ret);

/* ---- bindings ---- */

/* Where each variable of the subgraph lies in this process. state-buffer variables need no address;
 * the others need one before a run if a descriptor or instruction names them. */
NRT_STATUS core_binding_create(const struct core_program *p, struct core_binding **ret,
                               struct err *err);
void core_binding_destroy(struct core_binding *b);
/* var: index in sg->vars. size: bytes at host; at least the variable's size, else NRT_INVALID. May
 * be called again at any time no run uses b: a store of two words. The memory stays the caller's.
 */
NRT_STATUS core_binding_set(struct core_binding *b, uint32_t var, void *host, uint64_t size,
                            struct err *err);
/* Copy all addresses of `from` (same program): the start of a new set's binding. */
void core_binding_copy(struct core_binding *b, const struct core_binding *from);
/* NRT_INVALID naming a variable that the program uses and that has no address. core_start checks
 * this too (one flag). */
NRT_STATUS core_binding_check(const struct core_binding *b, struct err *err);
/* Where a variable lies; NULL: no address, or no such variable. */
void *core_binding_get(const struct core_binding *b, uint32_t var, uint64_t *ret_size);
/* A number that no other binding has, nor this one with other addresses. */
uint64_t core_binding_serial(const struct core_binding *b);
/* The SBUF that b's program works on: partition p begins at the result + p * *ret_stride. */
uint8_t *core_binding_sbuf(const struct core_binding *b, size_t *ret_stride);

/* ---- running ---- */

/* What a device_print shows: valid during the call. */
struct core_print {
    unsigned core, engine;
    uint32_t record;
    const struct kernel_print *tile;
};
/* Called by the thread that drives the core; may not call into this room. */
struct core_printer {
    void *arg;
    void (*print)(void *arg, const struct core_print *p);
};

/* What a run is made to meet. */
struct core_fault {
    unsigned core; /* of the logical core */
    /* It ends when this engine comes to this record, before which strike is called; a record that
     * shares one kernel with those before it is met with the first of them. -1: no record. */
    int engine;
    uint32_t record;
    void *arg;
    NRT_STATUS (*strike)(void *arg, struct err *err); /* the status of the run; not NRT_SUCCESS */
    /* This semaphore keeps its value, whatever is done to it (but by CORE_BARRIER and the clearing
     * of a range). -1: none does. */
    int semaphore;
};

struct core_run {
    unsigned count; /* 1, or 2 for LNC 2 */
    struct core_program *program[CORE_MAX];
    const struct core_binding *binding[CORE_MAX];
    /* NEURON_RT_EXEC_TIMEOUT * 10^9; 0: no limit. Of device time, and of wall time in which nothing
     * outside that this core waits for, nor the core, did anything. */
    uint64_t timeout_ns;
    uint64_t (*now_ns)(void *arg); /* wall clock of that; NULL: run_now_ns */
    void *now_arg;
    uint64_t start_ns; /* run_now_ns when it begins, for the live page; 0: it asks the clock */
    const int *cancel; /* read atomically now and then; nonzero ends the run. NULL: none */
    struct time_events *events; /* NULL: no event record */
    uint32_t neff;              /* shown in the live page */
    /* Where the programs' instructions lie in HBM, engine by engine; shown too. 0: nowhere. */
    uint64_t code_addr[CORE_MAX], code_bytes[CORE_MAX];
    const struct core_printer *printer; /* NULL: device_print does nothing */
    const struct core_fault *fault;     /* NULL: none */
};

enum core_end {
    CORE_END_DONE = 0,  /* NRT_SUCCESS, or NRT_EXEC_COMPLETED_WITH_NUM_ERR */
    CORE_END_HANG,      /* NRT_TIMEOUT: nothing outstanding can wake an engine */
    CORE_END_TIMEOUT,   /* NRT_TIMEOUT: device time is over */
    CORE_END_OOB,       /* NRT_EXEC_OOB */
    CORE_END_FAULT,     /* NRT_INVALID and others: text says */
    CORE_END_CHECK,     /* OPENNRT_CHECK found something: NRT_EXEC_COMPLETED_WITH_ERR */
    CORE_END_CANCELLED, /* NRT_FAILURE */
    CORE_END_STALL,     /* NRT_TIMEOUT: what it waits for outside did nothing for timeout_ns */
    CORE_END_OUTSIDE,   /* an operation outside failed: its status */
};

/* One engine when the run ended. Strings are the subgraph's or static. */
struct core_engine_state {
    bool present, ended, stalled;
    uint32_t record; /* program counter */
    uint32_t opcode;
    const char *op_name;                  /* text form's name */
    const char *file, *label, *source_op; /* debug info or NULL */
    uint32_t line;                        /* 0: unknown */
    /* stalled: the first condition that does not hold */
    uint8_t wait_kind; /* enum isa_wait_kind; 0: not a wait */
    uint8_t wait_index;
    int32_t wanted, value;
    uint64_t since_ns; /* the clock when it began to wait, or shortly before */
    bool barrier;      /* inside CORE_BARRIER */
    bool full;         /* the stream of its collective had no room */
};

struct core_stats {
    uint64_t records;                  /* retired, both cores */
    uint64_t flops;                    /* model FLOPs of them */
    uint64_t transfers;                /* completed */
    uint64_t dma_bytes;                /* written by them */
    uint64_t skipped;                  /* rows or transfers dropped by oob skip */
    uint64_t nan_count;                /* instructions that generated a NaN (check_nan) */
    uint64_t sem_errors, event_errors; /* wraps; double set or clear */
    uint64_t device_ns; /* running estimate of device time (time_replay gives the exact one) */
};

struct core_report {
    NRT_STATUS status;
    enum core_end end;
    struct core_stats stats;
    /* Below: only filled when end is not DONE. */
    unsigned core, engine; /* who failed (OOB, FAULT) */
    uint32_t record;
    bool dynamic_dma;      /* OOB of an indirect transfer, else of an instruction */
    bool embedding_update; /* of one on a queue set of that type */
    struct err err;        /* one line: what, where (record, source line) */
    unsigned count;
    struct core_engine_state engines[CORE_MAX][ISA_ENGINES];
    uint32_t pending_transfers; /* triggered and not done */
    struct {
        uint8_t index;
        int32_t value;
    } semaphores[CORE_MAX][ISA_SEMAPHORES]; /* the nonzero ones */
    uint16_t semaphore_count[CORE_MAX];
};

/* One execution of a logical core, on the calling thread, from reset semaphores to the end of all
 * engines, transfers and operations outside. No allocation, no system call (except those of
 * outside.wait). Returns report->status. */
NRT_STATUS core_run(const struct core_run *run, struct core_report *report);

/* The same in parts. A logical core is named by its first physical core, run->program[0]'s.
 *
 * Start: semaphores and engines at their beginning; run and report are borrowed until core_finish.
 * Not NRT_SUCCESS (NRT_INVALID: missing addresses, programs that do not fit together; NRT_FAILURE:
 * the core runs already; NRT_RESOURCE: no memory for checks): report is filled, the core is as
 * before, core_finish is not called. */
NRT_STATUS core_start(const struct core_run *run, struct core_report *report);

enum core_step {
    CORE_STEP_IDLE,    /* nothing was started */
    CORE_STEP_BUDGET,  /* the budget is used up; there is more to do */
    CORE_STEP_OUTSIDE, /* nothing to do until something outside happens: core_wait, or come back */
    CORE_STEP_DONE,    /* ended (also with NaNs found): core_finish tells */
    CORE_STEP_FAILED,  /* ended otherwise: core_finish tells why */
};
/* Do at most about `budget` records and transfers (at least one if there is one), then return.
 * Never blocks; may be called at any time, also when idle or ended. The order in which engines and
 * transfers run does not depend on how the work is cut into budgets. ret_did (may be NULL): how
 * many were done. */
enum core_step core_progress(struct core *core, uint64_t budget, uint64_t *ret_did);
/* After CORE_STEP_OUTSIDE: sleep until something outside may have changed or the wall-time limit
 * may have passed. */
void core_wait(struct core *core);
/* End the execution: fill the report and return report->status; the core is idle again. Of a run
 * that did not end yet the rest is abandoned: CORE_END_CANCELLED. NRT_FAILURE when nothing was
 * started. */
NRT_STATUS core_finish(struct core *core);

/* The failure as lines of text for the log: engines with record, source line and wait, nonzero
 * semaphores. Each line ends with a newline. */
void core_report_text(const struct core_report *report, struct strbuf *out);

/* The DMA queue sets of a core when its last run ended, for dumps: a line each, and one for each
 * transfer that was triggered and is not done, up to `max` of them:
 *   ring queue="q" number=0 engine=sp head=3 tail=2
 *   transfer queue="q" engine=sp record=4 semaphore=3 adds=16 bytes=64 copies=1 to="c" to_at=0
 *     from="a" from_at=0
 * Valid between core_finish and the next core_start of the logical core whose run it was; program:
 * that run's on this core. line is called with text without a newline. No memory, no lock. */
void core_dump_rings(const struct core *first, const struct core_program *program, unsigned max,
                     void (*line)(void *arg, const char *text), void *arg);

/* For reports: bytes that a prepared transfer writes (index as in time_program.xfers); records of
 * an engine's program, and their opcodes. */
uint64_t core_program_xfer_bytes(const struct core_program *p, uint32_t index);
uint32_t core_program_records(const struct core_program *p, unsigned engine);
uint32_t core_program_opcode(const struct core_program *p, unsigned engine, uint32_t record);

/* The facts that time_replay needs; valid as long as p. */
const struct time_program *core_program_time(const struct core_program *p);

#ifdef __cplusplus
}
#endif
#endif
