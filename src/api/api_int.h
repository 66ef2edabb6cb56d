/* SPDX-License-Identifier: Apache-2.0 */
/* The one place with state of the process: the session that nrt_init makes.
 *
 *   UNINIT --nrt_init--> READY --nrt_close--> CLOSED --nrt_init--> READY ...
 *      ^                   |
 *      +-- fork: child ----+   (the parent's session is forgotten there, not released)
 */
#ifndef API_API_INT_H
#define API_API_INT_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "api/handle_int.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/trace.h"
#include "coll/world.h"
#include "device/device.h"
#include "diag/debug_stream.h"
#include "diag/dump.h"
#include "diag/inspect.h"
#include "diag/profile.h"
#include "model/model.h"
#include "nrt/nrt.h"
#include "nrt/nrt_experimental.h"
#include "nrt/nrt_version.h"
#include "queue/queue.h"
#include "run/run.h"
#include "tensor/tensor.h"

#define API_EXPORT        __attribute__((visibility("default")))
#define API_VERSION_MAJOR 2

enum api_state { API_UNINIT, API_READY, API_CLOSED };

struct api {
    _Atomic int state;    /* enum api_state */
    pthread_mutex_t lock; /* nrt_init and nrt_close */
    uint32_t session;     /* of the current or last nrt_init */
    struct log *log;
    struct trace trace;
    struct device_instance *in;
    struct coll_world *world; /* ranks and collectives of the owned cores */
    struct model_host *host;
    struct queue_set *queues;
    struct debug_streams *debug;
    struct profiler *profiler;
    struct inspect *inspect;
    uint32_t first_vnc, vnc_count; /* owned logical cores */
    NRT_STATUS dump_inputs_on;     /* 0: off */
    struct dump_config dump;       /* of core dumps */
    struct dump_later dumps;       /* of the dead */
    unsigned inflight;             /* of the implicit mode; 0: off */
    struct handle_table tensors, sets, models, comms, requests, trackers, contexts;
};

extern struct api api_;

/* A loaded model behind a handle. */
#define API_BINDINGS 8
struct api_model {
    struct model *m;
    _Atomic uint32_t turn;    /* of replicas */
    _Atomic uint32_t last;    /* binding used last */
    _Atomic uint32_t last_us; /* of the last execution by a worker; UINT32_MAX: none yet */
    struct binding *bindings; /* API_BINDINGS of them */
};

static inline bool api_ready(void)
{
    return __builtin_expect(atomic_load_explicit(&api_.state, memory_order_acquire) == API_READY,
                            1);
}

/* Why a call cannot run now, logged: NRT_UNINITIALIZED or NRT_CLOSED. */
NRT_STATUS api_refuse(const char *func);
/* Log one line at ERROR for the API function and return status. Any state. */
NRT_STATUS api_fail(const char *func, NRT_STATUS status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A call of the program as a pair of trace events. They go to the ring of the core that the call is
 * about, which the call tells when it knows (api_call_core): the start is kept back until then. */
struct api_call {
    uint64_t ns, id;
    uint32_t core;
    uint16_t type; /* enum trace_type; TRACE_NONE: not traced, and nothing else is set */
    bool told;     /* the start has been stored */
    struct api_call *outer;
};
/* known: what a place in the code remembers about its function: its type, plus 1. */
void api_call_begin(struct api_call *c, const char *func, _Atomic uint16_t *known);
void api_call_core_traced(uint32_t core);
void api_call_end_traced(struct api_call *c);

/* The call that this thread is in is about a core (logical, counted from the first owned one). */
static inline void api_call_core(uint32_t core)
{
    if (trace_on(&api_.trace))
        api_call_core_traced(core);
}

static inline void api_call_end(struct api_call *c)
{
    if (__builtin_expect(c->type != TRACE_NONE, 0))
        api_call_end_traced(c);
}

/* At the head of an exported function, where its trace events begin; they end when it returns. */
#define API_CALL()                                                        \
    struct api_call api_call_now_ __attribute__((cleanup(api_call_end))); \
    static _Atomic uint16_t api_call_known_;                              \
    api_call_now_.type = TRACE_NONE;                                      \
    if (trace_on(&api_.trace))                                            \
    api_call_begin(&api_call_now_, __func__, &api_call_known_)

/* One event inside a call, in the ring of a core; a stop carries a value. */
void api_trace_start(enum trace_type type, uint32_t core, const struct model *m, uint64_t id);
void api_trace_stop(enum trace_type type, uint32_t core, const struct model *m, uint64_t id,
                    uint64_t value);

/* tensor_read and tensor_write, with their events. */
NRT_STATUS api_move_traced(struct tensor *t, bool in, void *buf, uint64_t off, uint64_t size,
                           struct err *err);

static inline NRT_STATUS api_move_out(struct tensor *t, void *buf, uint64_t off, uint64_t size,
                                      struct err *err)
{
    if (trace_on(&api_.trace))
        return api_move_traced(t, false, buf, off, size, err);
    return tensor_read(t, buf, off, size, err);
}

static inline NRT_STATUS api_move_in(struct tensor *t, const void *buf, uint64_t off, uint64_t size,
                                     struct err *err)
{
    if (trace_on(&api_.trace))
        return api_move_traced(t, true, (void *)(uintptr_t)buf, off, size, err);
    return tensor_write(t, buf, off, size, err);
}

#define API_NEED_READY()                 \
    API_CALL();                          \
    do {                                 \
        if (!api_ready())                \
            return api_refuse(__func__); \
    } while (0)
#define API_NEED(cond, what)                                    \
    do {                                                        \
        if (__builtin_expect(!(cond), 0))                       \
            return api_fail(__func__, NRT_INVALID, "%s", what); \
    } while (0)

static inline uint64_t token_of(const void *handle)
{
    return (uint64_t)(uintptr_t)handle;
}

/* For a handler of a signal: do what `before` says, which it has replaced. */
void api_signal_chain(int sig, const struct sigaction *before, siginfo_t *info, void *context);

/* A capture of the process (inspect.c): begins what the environment or an earlier call asked for;
 * ends it with the session. Around a fork, in the child: forgets it. */
void api_inspect_init(const struct diag_sink *sink);
void api_inspect_close(void);
void api_inspect_resume(int sig);
void api_inspect_forget(void);

/* A copy of n texts for the program, which frees the array and each of them; logs for func. Not an
 * array of no bytes: n may be 0. */
NRT_STATUS api_strings(const char *func, const char *const *texts, size_t n, const char ***ret,
                       size_t *ret_count);
void api_strings_free(const char **texts, size_t n); /* NULL is fine */

/* Whether a capture holds events of the type of this name; logs for func. NRT_INVALID: c or the
 * name is NULL, or there is no such type. */
NRT_STATUS api_trace_type_set(const char *func, struct trace_config *c, const char *event_type,
                              bool enabled);

/* Selection of cores from the environment (behaviour.md 2). */
struct cores_wish {
    bool fixed;            /* NEURON_RT_VISIBLE_CORES: exactly [first, first + count) */
    uint32_t first, count; /* not fixed: any run of count */
};
/* total: logical cores of the instance. NRT_INVALID with text: malformed, or outside. */
NRT_STATUS cores_wish_env(uint32_t total, const struct diag_sink *sink, struct cores_wish *ret,
                          struct err *err);

/* What the environment says about the instance, without creating or attaching to one for long. */
struct api_topo {
    const struct topo_instance *topo; /* NULL: no devices */
    unsigned lnc;
};
NRT_STATUS api_topo_env(struct api_topo *ret, struct err *err);

/* nrt_load and nrt_load_collectives; the arguments have been checked. */
NRT_STATUS api_model_load(const char *func, const void *neff_bytes, size_t size,
                          const struct model_where *where, nrt_model_t **model);
/* End of a model: also used by nrt_close. */
void api_model_destroy(struct api_model *am);
void api_bindings_destroy(struct binding *b);
struct binding *api_bindings_create(void);

/* The information dump, after an execution that failed (behaviour.md 5). */
void api_infodump(NRT_STATUS status, const char *func, uint32_t vnc);
bool api_infodump_wanted(NRT_STATUS status);

/* Send and receive (sendrecv.c): closes what a session has left open, before the rest of the
 * session ends. Around a fork: keeps everything as it is until the end, in the parent; forgets all,
 * in the child, and closes its copies of the sockets. */
void api_sendrecv_end(void);
void api_sendrecv_fork_begin(void);
void api_sendrecv_fork_end(void);
void api_sendrecv_forget(void);

/* async_coll.c: a context that was prepared, and not scheduled. */
struct api_context;
void api_context_destroy(struct api_context *ctx);

/* Whether the calling thread may wait for requests: not one that carries them out, in a callback.
 */
bool api_may_wait(void);
/* async_exec.c: in the child of a fork. */
void async_exec_forget(void);

/* Inputs to files (behaviour.md 8.4). */
void api_dump_inputs(const struct model *m, const struct model_arg *in);

#endif
