/* SPDX-License-Identifier: Apache-2.0 */
/* Inspect: docs/spec/api.md 8, functions 87 to 103. Here is what belongs to the process and not to
 * a session: a capture that was asked for before nrt_init, the two signals that end a process, and
 * its end.
 *
 * Signals are handled only while a capture is on, and only those that the program does not ignore.
 * The handler wakes the capture's thread; when that has written the files, the program's own action
 * is put back and the signal sent again, so that it does what it would have done. A program may put
 * an action of its own over the handler, and call the handler from there, at any later time: that
 * action stays, and the handler goes on to what it replaced first. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "api/api_int.h"
#include "nrt/nrt_profile.h"

struct nrt_inspect_config {
    struct inspect_config c;
};

/* Asked for before nrt_init. Synchronization: api_.lock. */
static enum { WAITING_NOTHING, WAITING_ENV, WAITING_OPTIONS } waiting_;
static struct inspect_config waiting_options_;

/* ---- signals ---- */

static const int signals[] = {SIGTERM, SIGINT};
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))
static _Atomic(struct inspect *) capture_; /* for the handler */
static struct taken {
    struct sigaction before; /* what the handler replaced last */
    struct sigaction under;  /* with buried: what it replaced where it lies */
    _Atomic bool handled;    /* for the capture that is on */
    _Atomic bool buried;     /* the program has put an action over the handler once */
} taken_[SIGNALS];

static void on_signal(int sig, siginfo_t *info, void *context);

static bool is_ours(const struct sigaction *act)
{
    return (act->sa_flags & SA_SIGINFO) && act->sa_sigaction == on_signal;
}

/* The handler is the capture's no more. */
static void put_back(unsigned k)
{
    struct taken *t = &taken_[k];
    struct sigaction now;

    if (!atomic_exchange(&t->handled, false))
        return;
    if (sigaction(signals[k], NULL, &now) == 0 && is_ours(&now)) {
        sigaction(signals[k], &t->before, NULL);
    } else if (!atomic_load(&t->buried)) {
        t->under = t->before;
        atomic_store(&t->buried, true);
    }
}

static void resume(int sig)
{
    for (unsigned k = 0; k < SIGNALS; k++)
        put_back(k);
    kill(getpid(), sig);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
    struct inspect *i = atomic_load(&capture_);
    struct taken *t = &taken_[sig == signals[0] ? 0 : 1];
    int saved = errno;

    if (!atomic_load(&t->handled))
        api_signal_chain(sig, atomic_load(&t->buried) ? &t->under : &t->before, info, context);
    else if (i)
        inspect_signal(i, sig);
    else
        resume(sig); /* the child of a fork */
    errno = saved;
}

static void signals_take(struct inspect *i)
{
    struct sigaction ours = {.sa_sigaction = on_signal, .sa_flags = SA_RESTART | SA_SIGINFO}, now;

    sigemptyset(&ours.sa_mask);
    atomic_store(&capture_, i);
    for (unsigned k = 0; k < SIGNALS; k++) {
        struct taken *t = &taken_[k];

        if (sigaction(signals[k], NULL, &now) != 0 ||
            (!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_IGN))
            continue;
        if (!is_ours(&now)) /* else the program has put it back, which it found when it buried it */
            t->before = now;
        else if (atomic_load(&t->buried))
            t->before = t->under;
        atomic_store(&t->handled, true);
        sigaction(signals[k], &ours, NULL);
    }
}

/* A signal that came when the capture's thread had ended already is for the program. */
static void signals_give(struct inspect *i)
{
    int sig;

    for (unsigned k = 0; k < SIGNALS; k++)
        put_back(k);
    atomic_store(&capture_, NULL);
    sig = inspect_signal_left(i);
    if (sig != 0)
        kill(getpid(), sig);
}

/* ---- beginning and ending ---- */

static pthread_mutex_t change_ = PTHREAD_MUTEX_INITIALIZER; /* one beginning or end at a time */

static NRT_STATUS begin(const char *func, const struct inspect_config *c)
{
    struct err err = {0};
    NRT_STATUS status;
    bool was;

    pthread_mutex_lock(&change_);
    was = inspect_on(api_.inspect);
    status = inspect_start(api_.inspect, c, &err);
    if (!was && inspect_on(api_.inspect))
        signals_take(api_.inspect);
    pthread_mutex_unlock(&change_);
    return status == NRT_SUCCESS ? status : api_fail(func, status, "%s", err.text);
}

static NRT_STATUS begin_env(const char *func, const struct diag_sink *sink, bool asked)
{
    struct inspect_config c;
    struct err err = {0};
    NRT_STATUS status = inspect_config_env(&c, sink, &err);

    if (status != NRT_SUCCESS)
        return api_fail(func, status, "%s", err.text);
    if (asked && !c.enable && !c.on_fail)
        LOGW(api_.log, LOG_NRT, func,
             "nothing is captured: neither NEURON_RT_INSPECT_ENABLE nor NEURON_RT_INSPECT_ON_FAIL "
             "is set");
    status = begin(func, &c);
    inspect_config_fini(&c);
    return status;
}

static NRT_STATUS end(const char *func, enum inspect_end how)
{
    struct err err = {0};
    NRT_STATUS status;
    bool was;

    pthread_mutex_lock(&change_);
    was = inspect_on(api_.inspect);
    status = inspect_stop(api_.inspect, how, &err);
    if (was && !inspect_on(api_.inspect))
        signals_give(api_.inspect);
    pthread_mutex_unlock(&change_);
    return status == NRT_SUCCESS ? status : api_fail(func, status, "%s", err.text);
}

void api_inspect_init(const struct diag_sink *sink)
{
    if (waiting_ == WAITING_OPTIONS) {
        (void)begin("nrt_inspect_begin_with_options", &waiting_options_);
        inspect_config_fini(&waiting_options_);
    } else {
        (void)begin_env("nrt_init", sink, waiting_ == WAITING_ENV);
    }
    waiting_ = WAITING_NOTHING;
}

void api_inspect_close(void)
{
    (void)end("nrt_close", INSPECT_CLOSE);
}

void api_inspect_resume(int sig)
{
    resume(sig);
}

void api_inspect_forget(void)
{
    atomic_store(&capture_, NULL);
    pthread_mutex_init(&change_, NULL);
    waiting_ = WAITING_NOTHING;
}

/* The process ends without nrt_close. */
__attribute__((destructor)) static void at_exit(void)
{
    if (api_ready() && api_.inspect && inspect_on(api_.inspect))
        (void)end("exit", INSPECT_EXIT);
}

static bool copy_config(struct inspect_config *to, const struct inspect_config *from)
{
    *to = *from;
    to->dir = from->dir ? mem_strdup(from->dir) : NULL;
    return !from->dir || to->dir;
}

/* Before nrt_init: keep what was asked for; c NULL: the environment, as it is then. False: there is
 * a session. */
static bool keep(const struct inspect_config *c, NRT_STATUS *ret)
{
    struct inspect_config copy = {.dir = NULL};

    *ret = NRT_SUCCESS;
    pthread_mutex_lock(&api_.lock);
    if (api_ready()) {
        pthread_mutex_unlock(&api_.lock);
        return false;
    }
    if (c && !copy_config(&copy, c)) {
        *ret = NRT_RESOURCE;
        goto out_unlock;
    }
    if (waiting_ == WAITING_OPTIONS)
        inspect_config_fini(&waiting_options_);
    waiting_ = c ? WAITING_OPTIONS : WAITING_ENV;
    waiting_options_ = copy;

out_unlock:
    pthread_mutex_unlock(&api_.lock);
    return true;
}

API_EXPORT NRT_STATUS nrt_inspect_begin(void)
{
    struct run_caller caller;
    NRT_STATUS status;

    API_CALL();
    run_caller_enter(&caller);
    if (!keep(NULL, &status))
        status = begin_env(__func__, NULL, true);
    run_caller_leave(&caller);
    return status;
}

API_EXPORT NRT_STATUS nrt_inspect_begin_with_options(nrt_inspect_config_t *options)
{
    struct inspect_config defaults;
    struct run_caller caller;
    NRT_STATUS status;

    API_CALL();
    inspect_config_defaults(&defaults);
    run_caller_enter(&caller);
    if (!keep(options ? &options->c : &defaults, &status))
        status = begin(__func__, options ? &options->c : &defaults);
    else if (status != NRT_SUCCESS)
        status = api_fail(__func__, status, "no host memory for a capture's options");
    run_caller_leave(&caller);
    return status;
}

API_EXPORT NRT_STATUS nrt_inspect_stop(void)
{
    struct run_caller caller;
    NRT_STATUS status;

    API_NEED_READY();
    run_caller_enter(&caller);
    status = end(__func__, INSPECT_STOP);
    run_caller_leave(&caller);
    return status;
}

/* ---- options ---- */

API_EXPORT NRT_STATUS nrt_inspect_config_allocate(nrt_inspect_config_t **options)
{
    nrt_inspect_config_t *o;

    API_NEED(options, "options is NULL");
    o = mem_alloc(sizeof(*o));
    if (!o)
        return api_fail(__func__, NRT_RESOURCE, "no host memory for options");
    inspect_config_defaults(&o->c);
    *options = o;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_inspect_config_set_defaults(nrt_inspect_config_t *options)
{
    API_NEED(options, "options is NULL");
    inspect_config_fini(&options->c);
    inspect_config_defaults(&options->c);
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_inspect_config_free(nrt_inspect_config_t *options)
{
    API_NEED(options, "options is NULL");
    inspect_config_fini(&options->c);
    mem_free(options);
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_inspect_config_set_session_id(nrt_inspect_config_t *options,
                                                        int session_id)
{
    API_NEED(options, "options is NULL");
    options->c.session = session_id;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_inspect_config_set_output_dir(nrt_inspect_config_t *options,
                                                        const char *output_dir)
{
    char *copy;

    API_NEED(options && output_dir && output_dir[0],
             "options or output_dir is NULL, or output_dir is empty");
    copy = mem_strdup(output_dir);
    if (!copy)
        return api_fail(__func__, NRT_RESOURCE, "no host memory for the name of a folder");
    mem_free(options->c.dir);
    options->c.dir = copy;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_inspect_config_set_sys_trace_max_events_per_nc(
    nrt_inspect_config_t *options, uint64_t sys_trace_max_events_per_nc)
{
    API_NEED(options, "options is NULL");
    options->c.trace.max_events = sys_trace_max_events_per_nc;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_inspect_config_set_capture_enabled_for_nc(nrt_inspect_config_t *options,
                                                                    uint32_t nc_idx, bool enabled)
{
    API_NEED(options, "options is NULL");
    trace_config_core(&options->c.trace, nc_idx, enabled);
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_inspect_config_set_capture_enabled_for_event_type_string(
    nrt_inspect_config_t *options, const char *event_type, bool enabled)
{
    return api_trace_type_set(__func__, options ? &options->c.trace : NULL, event_type, enabled);
}

API_EXPORT NRT_STATUS nrt_inspect_config_set_enable_inspect(nrt_inspect_config_t *options,
                                                            bool enable_inspect)
{
    API_NEED(options, "options is NULL");
    options->c.enable = enable_inspect;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_inspect_config_set_enable_inspect_on_fail(nrt_inspect_config_t *options,
                                                                    bool enable_inspect_on_fail)
{
    API_NEED(options, "options is NULL");
    options->c.on_fail = enable_inspect_on_fail;
    return NRT_SUCCESS;
}

/* ---- activities ---- */

static NRT_STATUS activities(const char *func, unsigned on, const char ***ret, size_t *ret_count)
{
    const char *names[INSPECT_ACTIVITIES];
    size_t n = 0;

    for (unsigned a = 0; a < INSPECT_ACTIVITIES; a++)
        if (on >> a & 1)
            names[n++] = inspect_activity_name((enum inspect_activity)a);
    return api_strings(func, names, n, ret, ret_count);
}

API_EXPORT NRT_STATUS nrt_inspect_config_get_all_activity_types(const char ***activity_types,
                                                                size_t *count)
{
    API_NEED(activity_types && count, "activity_types or count is NULL");
    return activities(__func__, ~0u, activity_types, count);
}

API_EXPORT NRT_STATUS nrt_inspect_config_get_enabled_activity_types(nrt_inspect_config_t *options,
                                                                    const char ***activity_types,
                                                                    size_t *count)
{
    API_NEED(options && activity_types && count, "options, activity_types or count is NULL");
    return activities(__func__, options->c.activities, activity_types, count);
}

API_EXPORT void nrt_inspect_config_free_activity_types(const char **activity_types, size_t count)
{
    api_strings_free(activity_types, count);
}

API_EXPORT NRT_STATUS nrt_inspect_config_set_activity(nrt_inspect_config_t *options,
                                                      const char *activity_type, bool enabled)
{
    unsigned bits = 0;

    API_NEED(options && activity_type, "options or activity_type is NULL");
    for (unsigned a = 0; a < INSPECT_ACTIVITIES; a++)
        if (strcmp(activity_type, "all") == 0 ||
            strcmp(activity_type, inspect_activity_name((enum inspect_activity)a)) == 0)
            bits |= 1u << a;
    if (bits == 0)
        return api_fail(__func__, NRT_INVALID, "\"%s\" is not an activity", activity_type);
    options->c.activities = enabled ? options->c.activities | bits : options->c.activities & ~bits;
    return NRT_SUCCESS;
}
