/* SPDX-License-Identifier: Apache-2.0 */
/* Core dumps of the session. */
#ifndef API_DUMP_INT_H
#define API_DUMP_INT_H

#include "api/api_int.h"
#include "diag/dump.h"

/* Of one execution: passed to the model as model_call.failed_arg, with api_dump_failed. */
struct exec_dump {
    const char *func; /* the API call */
    bool taken;
    struct dump dump;
};
void api_dump_failed(void *exec_dump, const struct model_failure *f);
/* After the failure has been reported: the log's tail goes in. */
void api_dump_finish(struct exec_dump *x);

/* OPENNRT_SIGNAL_DUMP=1: handlers that write the dumps of the cores that are at work and go on to
 * what was there before. start: after the session is there; stop: before it goes. */
void api_signal_dump_start(void);
void api_signal_dump_stop(void);

#endif
