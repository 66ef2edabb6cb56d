/* SPDX-License-Identifier: Apache-2.0 */
/* OPENNRT_SIGNAL_DUMP=1: a dump at the moment of a signal that ends the program. The handler uses
 * what a handler may (dump.quick), once, and goes on to what was installed before. */
#include "api/dump_int.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/settings.h"

/* The last two only where the program has no handler of its own: it may live on. */
static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE,  SIGILL,  SIGABRT,
                              SIGTRAP, SIGSYS, SIGQUIT, SIGTERM, SIGHUP};
#define SIGNALS       (sizeof(signals) / sizeof(signals[0]))
#define SIGNALS_FATAL (SIGNALS - 2)

/* Synchronization: written by nrt_init and nrt_close under their lock, before `on` is set and after
 * it is cleared. */
static struct {
    _Atomic bool on;
    atomic_flag dumped;
    struct sigaction old[SIGNALS];
    bool installed[SIGNALS];
} handlers_ = {.dumped = ATOMIC_FLAG_INIT};

static void dump_all(int sig)
{
    struct device_instance *in = api_.in;
    static char text[] = "ended by a signal";
    struct dump d = {.cfg = &api_.dump,
                     .status = NRT_FAILURE,
                     .call = "nrt_execute",
                     .text = text,
                     .quick = true,
                     .signal = sig};
    uint32_t first = device_vnc_core(in, api_.first_vnc), n = api_.vnc_count * device_lnc(in);

    if (!dump_enabled(&api_.dump))
        return;
    dump_begin(&d, first);
    for (uint32_t c = first; c < first + n; c++) {
        struct device_live_page *p = device_live(in, c);

        if (atomic_load_explicit(&p->last_neff, memory_order_relaxed) == 0)
            continue;
        dump_core(&d, c, NULL, 0);
        atomic_store_explicit(&p->dumped, 1, memory_order_relaxed);
    }
    dump_log(&d);
    dump_end(&d);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
    int saved = errno;

    if (atomic_load(&handlers_.on) && api_ready() && !device_instance_forked(api_.in) &&
        !atomic_flag_test_and_set(&handlers_.dumped))
        dump_all(sig);
    errno = saved;
    for (unsigned i = 0; i < SIGNALS; i++)
        if (signals[i] == sig)
            api_signal_chain(sig, &handlers_.old[i], info, context);
}

void api_signal_dump_start(void)
{
    struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_ONSTACK};

    if (!settings_bool("OPENNRT_SIGNAL_DUMP", false, NULL))
        return;
    sa.sa_sigaction = on_signal;
    sigemptyset(&sa.sa_mask);
    for (unsigned i = 0; i < SIGNALS; i++) {
        struct sigaction *old = &handlers_.old[i];

        if (handlers_.installed[i] || sigaction(signals[i], NULL, old) != 0 ||
            (i >= SIGNALS_FATAL && ((old->sa_flags & SA_SIGINFO) || old->sa_handler != SIG_DFL)))
            continue;
        handlers_.installed[i] = sigaction(signals[i], &sa, NULL) == 0;
    }
    atomic_store(&handlers_.on, true);
}

/* A handler that the program has put over ours stays, and may still call ours, which then does
 * nothing but go on. */
void api_signal_dump_stop(void)
{
    struct sigaction now;

    atomic_store(&handlers_.on, false);
    for (unsigned i = 0; i < SIGNALS; i++) {
        if (!handlers_.installed[i] || sigaction(signals[i], NULL, &now) != 0 ||
            !(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_signal)
            continue;
        sigaction(signals[i], &handlers_.old[i], NULL);
        handlers_.installed[i] = false;
    }
}
