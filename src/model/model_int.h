/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_MODEL_INT_H
#define MODEL_MODEL_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/trace.h"
#include "coll/world.h"
#include "core/core.h"
#include "device/scratchpad.h"
#include "model/model.h"
#include "neff/neff.h"
#include "run/run.h"

/* A physical core of an owned logical core. */
struct phys {
    uint32_t index;  /* over the instance */
    uint32_t device; /* for messages */
    uint32_t nc;     /* within the device, for messages */
    struct core *core;
    struct scratchpad *pad;
};

/* An owned logical core. */
struct logical {
    uint32_t vnc; /* over the instance */
    uint32_t hbm;
    struct run_owner owner; /* whoever runs programs on it */
    pthread_mutex_t stage;  /* whoever loads or unloads on it */
    uint32_t models;        /* loaded; host lock */
    /* What the core's own clock showed at the end of the last execution that was captured; the
     * clock keeps up with the host's while the core idles. Owner word. */
    uint64_t clock_ns;
    struct phys phys[CORE_MAX];
};

/* late.c: loads of ranks that all live in this process. */
enum late_state {
    LATE_NOT,   /* nothing is left to be waited for */
    LATE_WAITS, /* for the loads of the other ranks */
    LATE_MEETS, /* all have come */
    LATE_FAILED /* they have met, and the load has failed */
};
struct late {
    struct late *next;
    struct model *model;        /* NULL: a rank that cannot load, for the reason why */
    uint32_t vnc;               /* counted from the first owned */
    uint32_t rank, world, base; /* of the model; base: what its rank 0 is globally */
    _Atomic unsigned state;     /* enum late_state; written under the lock */
    struct err err;             /* of LATE_FAILED, or why it could not */
};
struct late_loads {
    pthread_mutex_t lock;
    pthread_cond_t moved;    /* a state has changed */
    unsigned sleepers;       /* executions that wait for it */
    pthread_mutex_t meeting; /* before lock: one group at a time */
    struct late *first;      /* those that wait, in the order of their loads; and failures */
};

struct model_host {
    struct model_host_config cfg;
    const struct topo_instance *topo;
    unsigned lnc;
    enum isa_gen gen;
    struct run_pool *pool;
    pthread_mutex_t lock; /* ids and choice of cores */
    uint32_t next_id;
    struct diag_sink sink; /* warnings of pure rooms go to the log as NMGR */
    uint32_t count;
    struct logical *cores;
    bool share_weights;                      /* replicas on one HBM share their constants */
    const struct model_watch *_Atomic watch; /* NULL: nobody looks on */
    const uint32_t *faults;                  /* device_faults_armed */
    struct late_loads late;
};

/* What is read from the environment at each load. */
struct load_env {
    uint64_t timeout_ns;
    int64_t timeout_s;
    bool validate_hash, lenient, allow_legacy, stochastic_rounding, cpu_nodes;
    bool device_time;     /* is to be logged */
    const char *timeline; /* file that executions are added to, in the model's arena; NULL: none */
    uint64_t dma_packet;  /* bytes; 0: the default */
    uint64_t coll_packet_ps[TOPO_MAX_STREAMS]; /* what a packet of each stream takes */
    uint32_t sr_seed;
    uint64_t max_json;
    enum kernel_math math;
    unsigned checks;
};

/* Where one variable of a subgraph lies. */
struct var_place {
    void *va;
    uint64_t addr;
    bool placed; /* false: inputs and outputs, state buffers, variables without bytes */
};

enum { EXT_CODE, EXT_CONST, EXT_TMP, EXT_CELLS, EXT_RING_IO, EXT_RING_SPILL, EXT_COUNT };

/* One subgraph on its physical core. */
struct stage {
    struct phys *phys;
    const struct neff_subgraph *sg;
    struct core_program *prog;
    struct var_place *vars; /* sg->var_count */
    struct device_extent ext[EXT_COUNT];
    bool has[EXT_COUNT];
    bool consts_shared; /* ext[EXT_CONST] is another instance's */
    struct scratch_lease *lease;
    bool named; /* device_neff_add done */
};

/* Argument of a CPU node's function (behaviour.md 7); the layout is public. */
struct opennrt_cpu_buf {
    uint32_t size_of; /* bytes of this struct */
    uint32_t dtype;   /* nrt_dtype_t */
    uint32_t ndim;
    uint32_t pad;
    void *data;
    size_t size;
    const uint64_t *shape;
};
_Static_assert(sizeof(struct opennrt_cpu_buf) == 40, "functions of NEFFs are compiled against it");

/* How a node's tensor is reached: an input or output of the model, or an intermediate. */
enum slot_kind { SLOT_IN, SLOT_OUT, SLOT_MID };
struct slot_ref {
    enum slot_kind kind;
    uint32_t index;
};

/* One input or output of a node. */
struct node_io {
    const struct neff_tensor *t;
    struct slot_ref ref;
    uint32_t var[CORE_MAX]; /* NeuronCore: variable in each subgraph, NEFF_NONE: not there */
};

typedef int32_t (*cpu_fn)(uint32_t n_in, const struct opennrt_cpu_buf *in, uint32_t n_out,
                          struct opennrt_cpu_buf *out);

struct node {
    const struct neff_node *n;
    uint32_t in_count, out_count;
    struct node_io *in, *out;
    /* CPU */
    void *lib;
    cpu_fn fn;
};

struct mid {
    uint64_t size;
};

/* One execution in flight of an instance. The arrays are made with the frame, staging when a call
 * first needs it. */
struct frame {
    struct frame *next;
    uint64_t bound;                /* key of the call that is bound; 0: none */
    struct core_binding **binding; /* [node * CORE_MAX + core], NULL for CPU nodes */
    struct core_run *run;          /* [node] */
    /* Where the core reaches an input or output, and where its user's bytes are. The two differ for
     * host memory and for repeated inputs, which are copied. */
    struct model_arg *in, *out;
    const void **in_from;
    void **out_to;
    bool copies; /* some of them are not where the core finds them, or are fed back */
    struct model_arg *stage_in, *stage_out; /* va NULL: not needed yet */
    struct model_arg *mid;
    struct opennrt_cpu_buf *cpu; /* room for the largest CPU node */
    struct core_report report;
    /* Of this execution so far: its time on the core; its waits, copies and CPU nodes. */
    uint64_t core_ns, host_ns, flops;
    struct time_events events; /* ev NULL: nobody wants device time */
};

struct instance {
    struct logical *lc;
    uint32_t stage_count;
    struct stage stage[CORE_MAX];
    struct coll_table *colls; /* NULL: the NEFF has no collectives */
    bool ready;               /* the other ranks are in this load, too, and hear how it ends */
    pthread_mutex_t frames_lock;
    struct frame *frames; /* free ones; the only one when solo */
    /* What the address cells (pointer, dge-table) hold now; owner word. */
    const struct frame *cells_of;
    uint64_t cells_bound;
    uint64_t busy_ns;          /* of the current microsecond of nc_time_in_use; owner word */
    struct timeline *timeline; /* OPENNRT_TIMELINE; made by its first execution; owner word */
    struct time_keeper times;  /* of its executions, where device time is wanted; owner word */
};

struct model {
    struct model_host *h;
    struct neff *neff;
    struct load_env env;
    uint32_t id;
    uint32_t trace_name;
    uint32_t rank, world; /* of its collectives; world at least 1 */
    bool met;             /* the other ranks know whether this one can load, or cannot be told */
    struct late late;     /* its load has not waited for the other ranks */
    struct arena arena;
    uint32_t in_count, out_count;
    struct model_tensor *in, *out;
    uint32_t mid_count;
    struct mid *mids;
    uint32_t node_count;
    struct node *nodes;
    bool solo; /* one NeuronCore node and no intermediates: one frame does, under the owner word */
    uint32_t cpu_io_max; /* most inputs plus outputs of a CPU node */
    uint32_t instance_count;
    struct instance *inst;
};

/* graph.c */
NRT_STATUS graph_build(struct model *m, struct err *err);
void graph_fini(struct model *m);

/* load.c: the end of a load with the other ranks, which do the same at the same time. */
NRT_STATUS model_meet(struct model *m, struct err *err);
void model_log_failed(const struct model *m, const struct err *err);

/* late.c */
void late_init(struct late_loads *ll);
void late_fini(struct late_loads *ll); /* after the models */
/* Whether the load is one that does not wait; ret: who it is. */
bool late_may(struct model_host *h, const struct model_where *where, uint32_t vnc,
              struct late *ret);
/* The rank has done its own part. The last of the ranks meets the others here, for all: then the
 * status is that of the load. */
NRT_STATUS late_come(struct model *m, struct err *err);
/* The rank cannot load: executions of the others fail, until it can. */
void late_refuse(struct model_host *h, const struct late *who, const char *why);
/* For an execution: until the ranks have met. NRT_TIMEOUT: not within the limit of the execution;
 * NRT_FAILURE: a rank could not load; else the failure of the load. Logs. */
NRT_STATUS late_wait(struct model *m, struct err *err);
void late_forget(struct model *m); /* it goes */

/* devtime.c: OPENNRT_DEVICE_TIME, OPENNRT_TIMELINE. open: room for the events of f; false: no
 * memory. report: what the execution whose events f holds would take on a device, as one INFO
 * record and as a piece of the timeline. Under the owner word. */
bool devtime_open(struct frame *f);
void devtime_close(struct frame *f);
void devtime_report(struct model *m, struct instance *in, struct frame *f);

/* cpu.c */
NRT_STATUS cpu_open(struct model *m, struct node *n, struct err *err);
NRT_STATUS cpu_run(struct model *m, const struct node *n, struct frame *f, struct err *err);

/* place.c */
NRT_STATUS stage_place(struct model *m, struct instance *in, uint32_t core, struct err *err);
NRT_STATUS stages_fill(struct model *m, struct err *err);
void stage_remove(struct model *m, struct instance *in, uint32_t core);
NRT_STATUS extent_va(struct model_host *h, const struct device_extent *x, void **ret,
                     struct err *err);

/* frame.c */
NRT_STATUS frame_create(struct model *m, struct instance *in, struct frame **ret, struct err *err);
void frame_destroy(struct model *m, struct frame *f); /* extents stay the NEFF's; NULL is fine */
/* Make the frame reach the memory of this call. */
NRT_STATUS frame_bind(struct model *m, struct instance *in, struct frame *f,
                      const struct model_call *call, struct err *err);
/* Memory for the copies of all inputs and outputs, as the first call with host tensors takes it. */
NRT_STATUS frame_account_copies(struct model *m, struct instance *in, struct err *err);
/* Fill pointers and dge-tables; owner word. */
void frame_cells(struct model *m, struct instance *in, struct frame *f);

/* report.c: the log lines of failed executions */
void report_failure(struct model *m, struct instance *in, const struct core_report *r);
/* The run ended and the notification of that did not come (NRT_TIMEOUT), or its queue overflowed
 * (NRT_EXEC_SW_NQ_OVERFLOW): the documented line, which goes into err as well. */
void report_no_notification(struct model *m, struct instance *in, NRT_STATUS status,
                            struct err *err);

/* fault.c */
struct run_fault {
    struct model *m;
    struct device_fault what;
    bool strikes; /* when the run has ended */
    struct core_fault run;
};
/* What a run that begins is to meet, if anything: by core_run.fault (the result; NULL: nothing), or
 * by ret->strikes when it has ended. ret lives as long as the run. The core is owned. */
const struct core_fault *fault_of_run(struct model *m, const struct instance *in,
                                      struct run_fault *ret);
/* The hardware's error at the end of a run: its status, after what is to be said about it here. */
NRT_STATUS fault_ended(struct model *m, struct instance *in, NRT_STATUS status, struct err *err);

/* What a run prints, on its way to the host's printer. */
struct printing {
    const struct model *m;
    const struct instance *in;
    struct core_printer printer;
    unsigned count;
};
/* observe.c: what is seen of a run of the core, what it prints, and the faults that it is to
 * meet, when there is anything of that (watched_any). By the thread that owns the core. begin: the
 * run is about to start at its start_ns; ran: it has run (what it is to meet at its end; NULL:
 * nothing); end: status is its. */
struct observed {
    bool traced;
    uint64_t seq;                    /* of the executions of the core in this session, from 1 */
    uint64_t exec_id, running_id;    /* of the pairs of events */
    uint64_t clock_ns;               /* of the core when it started */
    const struct model_watch *watch; /* who looked on when it began; with events only */
    struct time_events *events;      /* that it gave; NULL: nobody looked on, or wants to know */
    struct model_seen run;           /* then */
    struct run_fault fault;
    struct printing printing;
};
/* Executions since the core was taken. */
uint64_t model_core_ran(const struct model_host *h, const struct logical *lc);
void observe_begin(struct model *m, struct instance *in, struct frame *f, struct core_run *run,
                   struct observed *ret) __attribute__((cold));
const struct device_fault *observe_ran(struct frame *f, struct core_run *run,
                                       const struct observed *o) __attribute__((cold));
void observe_end(struct model *m, struct instance *in, const struct frame *f, NRT_STATUS status,
                 const struct observed *o) __attribute__((cold));

#endif
