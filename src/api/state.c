/* SPDX-License-Identifier: Apache-2.0 */
/* nrt_init, nrt_close and what they hold. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "api/api_int.h"
#include "api/dump_int.h"
#include "coll/coll.h"
#include "base/broken.h"
#include "base/settings.h"
#include "base/watched.h"
#include "run/place.h"

struct api api_ = {.lock = PTHREAD_MUTEX_INITIALIZER,
                   .trace = TRACE_INIT,
                   .tensors = HANDLE_TABLE_INIT(HANDLE_TENSOR),
                   .sets = HANDLE_TABLE_INIT(HANDLE_SET),
                   .models = HANDLE_TABLE_INIT(HANDLE_MODEL),
                   .comms = HANDLE_TABLE_INIT(HANDLE_COMM),
                   .requests = HANDLE_TABLE_INIT(HANDLE_REQUEST),
                   .trackers = HANDLE_TABLE_INIT(HANDLE_TRACKER),
                   .contexts = HANDLE_TABLE_INIT(HANDLE_CONTEXT),
                   .dumps = DUMP_LATER_INIT};

/* ---- messages ---- */

static void fail_log(const char *func, const char *text)
{
    struct run_caller caller;
    struct log *lg = api_.log, *own = NULL;

    run_caller_enter(&caller); /* writing a line is a place where a thread can be cancelled */
    if (!lg)
        lg = own = log_open_env();
    LOGE(lg, LOG_NRT, func, "%s", text);
    log_close(own);
    run_caller_leave(&caller);
}

NRT_STATUS api_fail(const char *func, NRT_STATUS status, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fail_log(func, text);
    return status;
}

NRT_STATUS api_refuse(const char *func)
{
    if (atomic_load(&api_.state) == API_CLOSED)
        return api_fail(func, NRT_CLOSED, "the runtime is closed");
    return api_fail(func, NRT_UNINITIALIZED, "the runtime is not initialized");
}

/* ---- fork ---- */

static void table_forget(struct handle_table *t)
{
    pthread_mutex_init(&t->lock, NULL); /* a thread that is not here may have held it */
    for (uint32_t i = 0; i < t->used; i++) {
        struct handle_slot *s = &atomic_load(&t->chunk[i / HANDLE_CHUNK])[i % HANDLE_CHUNK];

        atomic_store(&s->token, 0);
        atomic_store(&s->pins, 0);
    }
    t->used = 0;
    t->free_head = 0;
}

/* In the child nothing of the parent is released: the session is put aside and never touched again.
 * Volatile, so that the pointers stay somewhere. */
static void *volatile forgotten_[10];

static void forked_child(void)
{
    if (atomic_load(&api_.state) == API_READY) {
        forgotten_[0] = api_.in;
        forgotten_[1] = api_.host;
        forgotten_[2] = api_.log;
        forgotten_[3] = api_.world;
        forgotten_[4] = api_.queues;
        forgotten_[5] = api_.profiler;
        forgotten_[6] = api_.inspect;
        forgotten_[7] = api_.debug;
        forgotten_[8] = api_.trace.rings;
        forgotten_[9] = api_.trace.names;
        api_.debug = NULL;
        api_.profiler = NULL;
        api_.inspect = NULL;
        api_.in = NULL;
        api_.host = NULL;
        api_.world = NULL;
        api_.queues = NULL;
        api_.log = NULL;
    }
    watched_forget();
    trace_forget(&api_.trace);
    api_inspect_forget();
    dump_later_forget(&api_.dumps);
    queue_forget();
    atomic_store(&api_.state, API_UNINIT);
    pthread_mutex_init(&api_.lock, NULL);
    table_forget(&api_.tensors);
    table_forget(&api_.sets);
    table_forget(&api_.models);
    table_forget(&api_.comms);
    table_forget(&api_.requests);
    table_forget(&api_.trackers);
    table_forget(&api_.contexts);
    api_sendrecv_forget();
    async_exec_forget();
}

static pthread_once_t once_ = PTHREAD_ONCE_INIT;

static void once(void)
{
    struct handle_table *tables[] = {&api_.tensors,  &api_.sets,     &api_.models,  &api_.comms,
                                     &api_.requests, &api_.trackers, &api_.contexts};
    uint32_t seed[2] = {0};

    pthread_atfork(api_sendrecv_fork_begin, api_sendrecv_fork_end, forked_child);
    /* So that handles of another copy of this library are not taken for ours: the bits of a session
     * alone would be the same for one pair of copies in two thousand. */
    if (getrandom(seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed)) {
        seed[0] = (uint32_t)time(NULL);
        seed[1] = (uint32_t)((uintptr_t)&api_ >> 12); /* of no other copy in this process */
    }
    api_.session = seed[0];
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        tables[i]->gen_first = seed[1];
}

/* ---- environment ---- */

static void warn_log(void *arg, const char *text)
{
    LOGW((struct log *)arg, LOG_NRT, "nrt_init", "%s", text);
}

/* Of a variable that asks for a failure: who mistypes it takes the program's silence for success.
 */
static void error_log(void *arg, const char *text)
{
    LOGE((struct log *)arg, LOG_NRT, "nrt_init", "%s", text);
}

static void debug_log(void *arg, const char *text)
{
    LOGD((struct log *)arg, LOG_NRT, "nrt_init", "%s", text);
}

/* The variables that are no more, and the values of those that are only accepted. */
static void environment_check(struct log *lg)
{
    const struct diag_sink sink = {.warn = warn_log, .arg = lg};

    settings_check(&sink);
}

static bool nan_is_error(const struct diag_sink *sink)
{
    return strcasecmp(settings_str("NEURON_RT_NUMERICAL_ERRORS_VERBOSITY", ""), "critical") == 0 ||
           settings_bool("NEURON_FAIL_ON_NAN", false, sink);
}

static NRT_STATUS dump_inputs_env(const struct diag_sink *sink)
{
    const char *name = "NEURON_RT_DBG_DUMP_INPUTS_ON_ERR";

    if (!getenv(name))
        name = "NEURON_RT_DUMP_INPUTS_ON_ERR"; /* its older name */
    return (NRT_STATUS)settings_int(name, 0, 0, 65535, sink);
}

static bool no_devices(void)
{
    return strcmp(settings_str("OPENNRT_INSTANCE_TYPE", ""), "none") == 0;
}

NRT_STATUS api_topo_env(struct api_topo *ret, struct err *err)
{
    struct device_config cfg = {0};
    struct device_instance *in;
    NRT_STATUS status;

    ret->topo = NULL;
    ret->lnc = 1;
    if (no_devices())
        return NRT_SUCCESS;

    status = device_config_env(&cfg, err);
    if (status != NRT_SUCCESS)
        return status;
    cfg.observe = true;
    status = device_instance_open(&cfg, &in, err);
    if (status != NRT_SUCCESS && status != NRT_INVALID_HANDLE)
        return status;
    if (status == NRT_SUCCESS) {
        ret->topo = device_topo(in);
        device_instance_close(in);
    } else { /* there is none */
        err_clear(err);
        ret->topo = topo_instance_find(cfg.type ? cfg.type : "trn1.2xlarge");
        if (!ret->topo)
            return err_set(err, NRT_INVALID, "unknown instance type \"%s\"", cfg.type);
    }
    ret->lnc = cfg.lnc ? cfg.lnc : ret->topo->lnc_default;
    if (!topo_lnc_ok(ret->topo, ret->lnc))
        return err_set(err, NRT_INVALID, "logical core size %u is not valid on %s", ret->lnc,
                       ret->topo->name);
    return NRT_SUCCESS;
}

/* ---- init and close ---- */

static NRT_STATUS claim(struct device_instance *in, const struct diag_sink *sink,
                        struct cores_wish *wish, const char **ret_where, struct err *err)
{
    uint32_t total = topo_vnc_count(device_topo(in), device_lnc(in));
    NRT_STATUS status = cores_wish_env(total, sink, wish, err);

    *ret_where = "nrt_init";
    if (status != NRT_SUCCESS)
        return status;
    *ret_where = "nrt_allocate_neuron_cores";
    if (wish->fixed)
        return device_cores_claim(in, wish->first, wish->count, err);
    return device_cores_claim_run(in, wish->count, &wish->first, err);
}

/* The last words of a process of this instance, wherever it has gone. */
static void dead_process(void *lg, struct device_instance *in, int pid, const uint32_t *cores,
                         unsigned count)
{
    struct dump_config dump;

    for (unsigned i = 0; i < count; i++)
        coll_flight_dead(in, cores[i], pid,
                         settings_str("NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY", DUMPDIR_DEFAULT), lg);
    dump_config_env(&dump, in, lg);
    dump.later = &api_.dumps;
    dump_dead(&dump, pid, cores, count);
}

/* The process ends without nrt_close: what is to be told of others that are dead is told. */
__attribute__((destructor)) static void at_exit(void)
{
    dump_later_wait(&api_.dumps);
}

/* Where the programs of the session print. */
static struct model_printer printer_;

/* Who can look on at what the cores do. */
static NRT_STATUS looks_on(struct device_instance *in, struct model_host *host,
                           const struct cores_wish *wish, struct log *lg,
                           const struct diag_sink *sink, struct profiler **ret_profiler,
                           struct inspect **ret_inspect, struct err *err)
{
    struct profiler_config pc = {.in = in,
                                 .host = host,
                                 .log = lg,
                                 .first_vnc = wish->first,
                                 .vnc_count = wish->count,
                                 .sink = *sink};
    struct inspect_host ih = {.in = in,
                              .trace = &api_.trace,
                              .log = lg,
                              .first_vnc = wish->first,
                              .vnc_count = wish->count,
                              .resume = api_inspect_resume};
    NRT_STATUS status = profiler_create(&pc, ret_profiler, err);

    if (status != NRT_SUCCESS)
        return status;
    ih.profiler = *ret_profiler;
    status = inspect_create(&ih, ret_inspect, err);
    if (status != NRT_SUCCESS)
        profiler_destroy(*ret_profiler);
    return status;
}

/* Of the threads that carry out a core's requests. */
static bool core_cpus(void *arg, uint32_t core, struct run_cpus *ret)
{
    const struct device_instance *in = arg;
    uint32_t phys = device_vnc_core(in, api_.first_vnc + core);

    return run_place_worker(device_place(in), topo_core_device(device_topo(in), phys), ret);
}

static NRT_STATUS session_open(struct log *lg, struct err *err, const char **ret_where)
{
    struct diag_sink sink = {.warn = warn_log, .debug = debug_log, .arg = lg};
    struct model_host_config hc = {.log = lg};
    struct queue_config qc = {.log = lg};
    struct device_config cfg = {0};
    struct device_instance *in = NULL;
    struct coll_world_config wc = {.log = lg, .sink = sink};
    struct coll_world *world = NULL;
    struct model_host *host = NULL;
    struct queue_set *queues = NULL;
    struct debug_streams *debug = NULL;
    struct profiler *profiler = NULL;
    struct inspect *inspect = NULL;
    struct cores_wish wish;
    NRT_STATUS status;

    *ret_where = "nrt_init";
    if (no_devices())
        return err_set(err, NRT_FAILURE,
                       "Unable to determine Neuron Driver version. Please check aws-neuron-dkms "
                       "package is installed.");
    status = device_config_env(&cfg, err);
    if (status != NRT_SUCCESS)
        return status;
    cfg.log = lg;
    cfg.on_dead = dead_process;
    cfg.on_dead_arg = lg;
    status = device_instance_open(&cfg, &in, err);
    if (status != NRT_SUCCESS)
        return status;

    status = claim(in, &sink, &wish, ret_where, err);
    if (status != NRT_SUCCESS)
        goto out_instance;
    *ret_where = "nrt_init";

    status = trace_open(&api_.trace, wish.count, err);
    if (status != NRT_SUCCESS)
        goto out_instance;
    wc.in = in;
    wc.trace = &api_.trace;
    wc.first_vnc = wish.first;
    wc.vnc_count = wish.count;
    status = coll_world_create(&wc, &world, err);
    if (status != NRT_SUCCESS)
        goto out_trace;
    hc.in = in;
    hc.trace = &api_.trace;
    hc.world = world;
    hc.first_vnc = wish.first;
    hc.vnc_count = wish.count;
    hc.check_nan = nan_is_error(&sink);
    hc.dge_notifications = settings_bool("NEURON_RT_ENABLE_DGE_NOTIFICATIONS", false, &sink);
    status = debug_streams_create(wish.count, lg, &sink, &debug, err);
    if (status != NRT_SUCCESS)
        goto out_world;
    printer_ = (struct model_printer){
        .arg = debug, .print = debug_stream_print, .ended = debug_stream_ended};
    hc.printer = &printer_;
    status = model_host_create(&hc, &host, err);
    if (status != NRT_SUCCESS)
        goto out_debug;
    qc.cores = wish.count;
    qc.cpus = core_cpus;
    qc.cpus_arg = in;
    status = queue_set_create(&qc, &queues, err);
    if (status != NRT_SUCCESS)
        goto out_host;
    status = looks_on(in, host, &wish, lg, &sink, &profiler, &inspect, err);
    if (status != NRT_SUCCESS)
        goto out_queues;
    if (settings_bool("NEURON_RT_RESET_CORES", true, &sink))
        device_cores_reset(in); /* the memories of a core are the process's own: new */
    device_fault_env(in, &(struct diag_sink){.warn = error_log, .arg = lg});
    api_.inflight = (unsigned)settings_int("NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS", 0, 0,
                                           INT32_MAX, &sink);
    if (api_.inflight > 0)
        LOGW(lg, LOG_NRT, "nrt_init",
             "NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS: implicit asynchronous execution is "
             "deprecated, use the calls of nrt/nrt_async.h");

    dump_config_env(&api_.dump, in, lg);
    api_.in = in;
    api_.world = world;
    api_.host = host;
    api_.queues = queues;
    api_.debug = debug;
    api_.profiler = profiler;
    api_.inspect = inspect;
    api_.first_vnc = wish.first;
    api_.vnc_count = wish.count;
    api_.dump_inputs_on = dump_inputs_env(&sink);
    return NRT_SUCCESS;

out_queues:
    queue_set_destroy(queues);
out_host:
    model_host_destroy(host);
out_debug:
    debug_streams_destroy(debug);
out_world:
    coll_world_destroy(world);
out_trace:
    trace_close(&api_.trace);
out_instance:
    device_instance_close(in);
    return status;
}

API_EXPORT NRT_STATUS nrt_init(nrt_framework_type_t framework, const char *fw_version,
                               const char *fal_version)
{
    struct run_caller caller;
    struct err err = {0};
    const char *where = __func__;
    struct log *lg;
    NRT_STATUS status = NRT_SUCCESS;

    if (BROKEN(API))
        return NRT_FAILURE;
    API_NEED(framework > NRT_FRAMEWORK_TYPE_INVALID && framework <= NRT_FRAMEWORK_TYPE_PRECHECK,
             "framework is not a framework type");

    if (!api_may_wait()) /* nrt_close may wait for this callback */
        return api_ready() ? NRT_SUCCESS
                           : api_fail(__func__, NRT_INVALID, "called from a callback");
    run_caller_enter(&caller);
    pthread_once(&once_, once);
    pthread_mutex_lock(&api_.lock);
    if (atomic_load(&api_.state) == API_READY)
        goto out_unlock;

    lg = log_open_env();
    if (!lg) {
        status = NRT_RESOURCE;
        goto out_unlock;
    }
    environment_check(lg);
    status = session_open(lg, &err, &where);
    if (status != NRT_SUCCESS) {
        LOGE(lg, LOG_NRT, where, "%s", err.text);
        dump_later_wait(&api_.dumps);
        log_close(lg);
        goto out_unlock;
    }
    api_.session++;
    api_.log = lg;
    LOGI(lg, LOG_NRT, __func__,
         "OpenNRT %s on a software device: instance \"%s\" of type %s, cores nc%u-nc%u, framework "
         "%d \"%s\" \"%s\"",
         OPENNRT_VERSION, device_instance_name(api_.in), device_topo(api_.in)->name, api_.first_vnc,
         api_.first_vnc + api_.vnc_count - 1, (int)framework, fw_version ? fw_version : "",
         fal_version ? fal_version : "");
    api_inspect_init(&(struct diag_sink){.warn = warn_log, .debug = debug_log, .arg = lg});
    atomic_store_explicit(&api_.state, API_READY, memory_order_release);
    api_signal_dump_start();

out_unlock:
    pthread_mutex_unlock(&api_.lock);
    run_caller_leave(&caller);
    return status;
}

API_EXPORT void nrt_close(void)
{
    struct run_caller caller;
    uint32_t models = 0, sets = 0, tensors = 0, trackers = 0, contexts = 0;
    void *obj;

    if (!api_may_wait()) {
        api_fail(__func__, NRT_INVALID, "a callback must not wait for executions");
        return;
    }
    run_caller_enter(&caller);
    pthread_mutex_lock(&api_.lock);
    if (atomic_load(&api_.state) != API_READY)
        goto out_unlock;

    api_signal_dump_stop();
    atomic_store_explicit(&api_.state, API_CLOSED, memory_order_release);
    queue_set_stop(api_.queues);
    api_inspect_close();
    api_sendrecv_end();
    while ((obj = handle_take_any(&api_.trackers, &trackers)))
        queue_tracker_unref(obj);
    while ((obj = handle_take_any(&api_.contexts, &contexts)))
        api_context_destroy(obj);
    while ((obj = handle_take_any(&api_.models, &models)))
        api_model_destroy(obj);
    while ((obj = handle_take_any(&api_.sets, &sets)))
        tensor_set_destroy(obj);
    while ((obj = handle_take_any(&api_.tensors, &tensors)))
        tensor_destroy(obj);
    queue_set_destroy(api_.queues);
    inspect_destroy(api_.inspect);
    profiler_destroy(api_.profiler);
    model_host_destroy(api_.host);
    debug_streams_destroy(api_.debug);
    coll_world_destroy(api_.world);
    device_instance_close(api_.in);
    dump_later_wait(&api_.dumps);
    trace_close(&api_.trace);
    LOGI(api_.log, LOG_NRT, __func__, "closed");
    log_close(api_.log);
    api_.queues = NULL;
    api_.debug = NULL;
    api_.profiler = NULL;
    api_.inspect = NULL;
    api_.host = NULL;
    api_.world = NULL;
    api_.in = NULL;
    api_.log = NULL;

out_unlock:
    pthread_mutex_unlock(&api_.lock);
    run_caller_leave(&caller);
}
