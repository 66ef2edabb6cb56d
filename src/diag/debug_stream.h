/* SPDX-License-Identifier: Apache-2.0 */
/* What programs print: to the debug stream of the core, which one client of the process reads
 * (nrt/ndebug_stream.h), to files (NEURON_RT_DEBUG_OUTPUT_DIR), and texts to the log
 * (NEURON_RT_GPSIMD_STDOUT_QUEUE_SIZE_BYTES). docs/spec/debug-stream.md.
 *
 * A stream's descriptor is an eventfd that counts the events which are there, so it is readable as
 * long as there are some.
 *
 * Threads: any. */
#ifndef DIAG_DEBUG_STREAM_H
#define DIAG_DEBUG_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "nrt/ndebug_stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct log;
struct debug_streams;
struct model_print;

/* Reads the three variables. NRT_RESOURCE. */
NRT_STATUS debug_streams_create(uint32_t vnc_count, struct log *log, const struct diag_sink *sink,
                                struct debug_streams **ret, struct err *err);
/* Ends all connections; NULL is fine. */
void debug_streams_destroy(struct debug_streams *d);

/* NRT_INVALID: the core has a client; NRT_RESOURCE: no descriptor. */
NRT_STATUS debug_stream_connect(struct debug_streams *d, uint32_t vnc, int *ret_fd,
                                struct err *err);
/* False: not the descriptor of a connection. */
bool debug_stream_close(struct debug_streams *d, int fd);
/* The oldest event; *payload: free(). NRT_QUEUE_EMPTY: there is none; NRT_INVALID: not the
 * descriptor of a connection. */
NRT_STATUS debug_stream_read(struct debug_streams *d, int fd, ndebug_stream_event_header_t *header,
                             void **payload, struct err *err);

/* A program printed; the text that it prints goes to the log at the end of its execution. */
void debug_stream_print(void *streams, const struct model_print *p);
void debug_stream_ended(void *streams, uint32_t vnc);

#ifdef __cplusplus
}
#endif
#endif
