/* SPDX-License-Identifier: Apache-2.0 */
/* Loaded NEFFs: check, place in HBM, prepare on cores, walk the graph of nodes, unload.
 *
 *   struct model_host   the logical cores of this process and what all models share
 *     struct model      one nrt_load: name, id, tensors, nodes, one instance per replica
 *       instance        programs, constants and scratch on one logical core
 *         frame         what one execution in flight needs: bindings, intermediates, staging
 *
 * Threads: model_load, model_unload and model_execute may be called together. The program runs on
 * the calling thread, which holds its logical core; CPU nodes run on the calling thread without it,
 * so N threads pipeline. The caller keeps a model alive while it is used and unloads it once.
 *
 * This room logs what goes wrong, once, in the documented words (behaviour.md 6 to 8). */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/err.h"
#include "device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

struct log;
struct trace;
struct trace_event;
struct core;
struct core_program;
struct core_report;
struct neff_subgraph;
struct coll_world;
struct model_host;
struct model;
struct core_program;
struct neff_subgraph;
struct time_events;

#define MODEL_FIRST_ID 1001u

/* ---- what programs print ---- */

/* A tile that a program shows with device_print; valid during the call. */
struct model_print {
    uint32_t vnc;       /* counted from the first owned core */
    const char *prefix; /* label of the instruction in the debug information, else "print_<id>" */
    enum dtype dtype;
    unsigned ndim;
    const uint64_t *shape; /* outermost first: partitions, then the tile's dimensions */
    const void *data;
    uint64_t bytes;
};
/* By the thread that runs the program, holding the logical core. */
struct model_printer {
    void *arg;
    void (*print)(void *arg, const struct model_print *p);
    void (*ended)(void *arg, uint32_t vnc); /* the run that printed is over */
};

/* ---- the host of models ---- */

struct model_host_config {
    struct device_instance *in; /* borrowed; its cores are claimed */
    struct log *log;            /* borrowed, may be NULL */
    struct coll_world *world;   /* borrowed: who carries out collectives, of the same cores; NULL:
                                   NEFFs with collectives are refused */
    uint32_t first_vnc;         /* over the instance */
    uint32_t vnc_count;         /* owned logical cores */
    bool check_nan;             /* numerical errors are reported */
    bool dge_notifications;     /* NEURON_RT_ENABLE_DGE_NOTIFICATIONS */
    struct trace *trace;        /* borrowed: where events go; NULL: nowhere */
    bool account_only;          /* a load takes the HBM that it would take, and does nothing else:
                                   code of any encoding is not looked at, no memory is backed, no
                                   library opened, no rank met; model_execute must not be called */
    const struct model_printer *printer; /* borrowed; NULL: prints are dropped */
};
NRT_STATUS model_host_create(const struct model_host_config *cfg, struct model_host **ret,
                             struct err *err);
void model_host_destroy(struct model_host *h); /* after its models are unloaded; NULL is fine */

/* ---- models ---- */

/* One input or output of the model. */
struct model_tensor {
    const char *name;
    uint64_t size; /* bytes */
    unsigned ndim; /* at least 1 */
    const uint64_t *shape;
    enum dtype dtype; /* DT_INVALID: the NEFF does not say */
};

/* Where a model is loaded, and who it is to its collectives. */
struct model_where {
    int32_t vnc;        /* first logical core, counted from the first owned; -1: choose */
    uint32_t vnc_count; /* instances; 1 when world is not 0 */
    /* Rank of a world: the ranks load together, and the core's global communicator is made if it
     * has none. world 0: alone; each instance is a world of its own. */
    uint32_t rank, world;
};

/* Reads the per-load variables of the environment (behaviour.md 1.1). Borrows bytes for the call.
 * With collectives over several ranks it blocks until the others load, too, unless all ranks are of
 * this process: then the last one does it for all, and executions wait. The text of a failure
 * is logged and given in err. */
NRT_STATUS model_load(struct model_host *h, const void *bytes, size_t size,
                      const struct model_where *where, struct model **ret, struct err *err);
/* Instead of model_load, by a caller that cannot get so far: the ranks that wait fail, and their
 * logs say why. */
void model_refuse(struct model_host *h, const struct model_where *where, const char *why);
/* Of a host that only accounts: takes the memory that the first execution with tensors in host
 * memory would take for their copies, too. NRT_RESOURCE: no room, reported. */
NRT_STATUS model_account_copies(struct model *m, struct err *err);
/* Whether the NEFF has collectives, for which a load takes channel buffers besides. */
bool model_has_collectives(const struct model *m);
/* Nobody may be using the model. */
void model_unload(struct model *m);

const char *model_name(const struct model *m);
uint32_t model_id(const struct model *m);                     /* h_nn */
uint32_t model_vnc(const struct model *m, uint32_t instance); /* counted from the first owned */
uint32_t model_instance_count(const struct model *m);
/* Whether an execution waits for nobody: no collectives with other ranks, no code of the user. */
bool model_runs_alone(const struct model *m);
uint32_t model_input_count(const struct model *m);
uint32_t model_output_count(const struct model *m);
const struct model_tensor *model_input(const struct model *m, uint32_t i);
const struct model_tensor *model_output(const struct model *m, uint32_t i);
const uint8_t *model_hash(const struct model *m); /* of the NEFF's header: 32 bytes */
uint32_t model_rank(const struct model *m);
/* Whose event it is: its name and rank. */
void model_trace_fields(const struct model *m, struct trace_event *e);
/* HBM (over the instance) of an instance's logical core. */
uint32_t model_hbm(const struct model *m, uint32_t instance);

/* ---- who looks on ---- */

/* A run of a program on a logical core. */
struct model_seen {
    const struct model *model;
    uint32_t instance, vnc; /* vnc: counted from the first owned core */
    unsigned cores;         /* physical ones */
    const struct core_program *prog[2];
    const struct neff_subgraph *sg[2];
    uint64_t run; /* number on the logical core, from 1 */
    /* When it has ended: */
    uint64_t start_ns, end_ns; /* run_now_ns */
    NRT_STATUS status;
};

/* Whoever records what the cores do. Both are called by the thread that runs the program, holding
 * the logical core; they call nothing of this room but the accessors of the model. */
struct model_watch {
    void *arg;
    /* A run is about to start: where its events go, with a count of 0; NULL: nowhere. */
    struct time_events *(*begin)(void *arg, const struct model_seen *s);
    /* It has ended; ev: what begin gave, which is not NULL. */
    void (*end)(void *arg, const struct model_seen *s, const struct time_events *ev);
};
/* From now on w looks on (borrowed; NULL: nobody), at runs that begin: one under way goes on with
 * whoever looked on at its beginning, and is not waited for, since on another core it may wait for
 * the caller's rank. Operations of models that are loaded while somebody looks on tell how long
 * they last on a device. */
void model_host_watch(struct model_host *h, const struct model_watch *w);
/* No run starts on this core between the two. */
void model_core_hold(struct model_host *h, uint32_t vnc);
void model_core_release(struct model_host *h, uint32_t vnc);

/* ---- execution ---- */

/* Memory of one input or output: at least as large as the model_tensor. */
struct model_arg {
    void *va;
    uint64_t size; /* bytes at va */
    uint64_t addr; /* device address; meaningful for device memory */
    bool device;   /* on the instance's HBM; else host memory, which is copied in or out */
};

/* An execution that ended otherwise than well, while its core is as the failure left it. */
struct model_failure {
    NRT_STATUS status;
    const char *text; /* why, one line */
    const struct model *model;
    const uint8_t *uuid;              /* 16 bytes */
    const struct core_report *report; /* NULL: the core did not run, or did so to its end */
    unsigned count;                   /* physical cores */
    struct model_failure_core {
        uint32_t index;                     /* over the instance */
        const struct core *core;            /* with report: for core_dump_rings */
        const struct core_program *program; /* with report */
        const struct neff_subgraph *sg;
    } core[2];
};

/* A set of arguments, resolved by the caller. serial is unique among all that were ever used with
 * the model and not 0: an instance that meets the serial it saw last skips the binding. */
struct model_call {
    uint64_t serial;
    const struct model_arg *in;  /* model_input_count of them */
    const struct model_arg *out; /* model_output_count of them */
    int repeat;                  /* at least 1; from the second run on, input k is output k */
    /* Told before the failed core is reset, on the calling thread, which holds it; NULL: nobody. */
    void (*failed)(void *arg, const struct model_failure *f);
    void *failed_arg;
};

/* One execution (or call->repeat) on an instance; logs failures. Calls that meet on one logical
 * core run in the order in which they asked for it. On the hot path: one owner word, no allocation,
 * no system call. */
NRT_STATUS model_execute(struct model *m, uint32_t instance, const struct model_call *call,
                         struct err *err);

#ifdef __cplusplus
}
#endif
#endif
