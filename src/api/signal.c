/* SPDX-License-Identifier: Apache-2.0 */
/* What the two sorts of handlers, of dumps and of captures, share. */
#include "api/api_int.h"

/* The default action comes when the handler has returned: the signal is blocked until then. */
void api_signal_chain(int sig, const struct sigaction *before, siginfo_t *info, void *context)
{
    if (before->sa_flags & SA_SIGINFO) {
        before->sa_sigaction(sig, info, context);
    } else if (before->sa_handler == SIG_DFL) {
        sigaction(sig, before, NULL);
        raise(sig);
    } else if (before->sa_handler != SIG_IGN) {
        before->sa_handler(sig);
    }
}
