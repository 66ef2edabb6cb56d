/* SPDX-License-Identifier: Apache-2.0 */
/* Debug stream: what programs print on the device, as events that the process which owns the core
 * reads. Names and layouts are those of the header nrt/ndebug_stream.h of the AWS Neuron SDK;
 * docs/spec/api.md section 10. The rules on states, arguments and threads at the head of nrt/nrt.h
 * hold here too; all calls need nrt_init.
 *
 * Threads: different streams in parallel, one stream by one thread at a time. */
#ifndef NRT_NDEBUG_STREAM_H
#define NRT_NDEBUG_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ndebug_stream_event_type {
    NDEBUG_STREAM_EVENT_TYPE_INVALID = 0,
    NDEBUG_STREAM_EVENT_TYPE_DEBUG_TENSOR_READ = 1,
} ndebug_stream_event_type_t;

typedef struct ndebug_stream_event_header {
    uint64_t data_size; /* bytes of the payload, all of it */
    uint32_t type;      /* ndebug_stream_event_type_t */
    char reserved[52];
} ndebug_stream_event_header_t;

/* A tensor that a program printed. */
typedef struct ndebug_stream_payload_debug_tensor_read {
    char prefix[512];          /* NUL-terminated */
    uint32_t logical_nc_id;    /* core, as the other calls count them */
    uint32_t pipe;             /* where to print it: 0 stdout, 1 stderr */
    char tensor_dtype[16];     /* NUL-terminated: "float32", ... */
    uint64_t tensor_shape[8];  /* outermost dimension first; unused ones are 0 */
    uint64_t tensor_data_size; /* bytes at tensor_data */
    char reserved0[416];
    char tensor_data[];
} ndebug_stream_payload_debug_tensor_read_t;

/* Become the one client of a core's stream. *stream_fd is good for poll, select and epoll, which
 * report it readable while events are there, and for the two functions below; nothing else may be
 * done with it. Events from before are not seen. The stream holds
 * NEURON_RT_DEBUG_STREAM_BUFFER_SIZE events (65536); what comes while it is full is dropped.
 * NRT_INVALID: stream_fd is NULL, the core is not one of this process, or has a client;
 * NRT_RESOURCE. */
NRT_STATUS nrt_debug_client_connect(int logical_nc_idx, int *stream_fd);

/* End the connection, and the descriptor; what was not read is lost. Nothing happens when it is
 * not one of a connection. */
void nrt_debug_client_connect_close(int stream_fd);

/* Take the oldest event. *payload is the caller's, for free(). NRT_INVALID: header or payload is
 * NULL, or stream_fd is not one of a connection; NRT_QUEUE_EMPTY: there is no event. */
NRT_STATUS nrt_debug_client_read_one_event(int stream_fd, ndebug_stream_event_header_t *header,
                                           void **payload);

#ifdef __cplusplus
}
#endif
#endif
