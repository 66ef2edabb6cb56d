/* SPDX-License-Identifier: Apache-2.0 */
/* Status codes of the Neuron Runtime. Names and values are those of the public header
 * nrt/nrt_status.h of the AWS Neuron SDK; docs/spec/api.md section 2 says when each is given. */
#ifndef NRT_NRT_STATUS_H
#define NRT_NRT_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    NRT_SUCCESS = 0,
    NRT_FAILURE = 1,            /* unspecific failure; a name that is not in a tensor set */
    NRT_INVALID = 2,            /* invalid argument, NEFF, instruction or descriptor */
    NRT_INVALID_HANDLE = 3,     /* a handle that the library did not return */
    NRT_RESOURCE = 4,           /* host or device memory, or another resource, is exhausted */
    NRT_TIMEOUT = 5,            /* execution, completion wait or connection timed out */
    NRT_HW_ERROR = 6,           /* device failure */
    NRT_QUEUE_FULL = 7,         /* the queue of execution requests is full */
    NRT_LOAD_NOT_ENOUGH_NC = 9, /* the NEFF needs more cores than the process owns */
    NRT_UNSUPPORTED_NEFF_VERSION = 10, /* NEFF version or feature bits are not supported */
    NRT_FAIL_HOST_MEM_ALLOC = 11,      /* kept for compatibility, never returned */
    NRT_UNINITIALIZED = 13,            /* call before nrt_init */
    NRT_CLOSED = 14,                   /* call after nrt_close */
    NRT_QUEUE_EMPTY = 15,              /* read from a queue with nothing in it */
    NRT_EXEC_UNIT_UNRECOVERABLE = 101, /* the execution unit failed for good */

    NRT_EXEC_BAD_INPUT = 1002,              /* invalid input given to an execution */
    NRT_EXEC_COMPLETED_WITH_NUM_ERR = 1003, /* completed, but produced NaN */
    NRT_EXEC_COMPLETED_WITH_ERR = 1004,     /* completed with a logical or physical error */
    NRT_EXEC_NC_BUSY = 1005,            /* the core is locked by another model, thread or process */
    NRT_EXEC_OOB = 1006,                /* an indirect copy or update went out of bounds */
    NRT_COLL_PENDING = 1100,            /* the collective is still pending */
    NRT_EXEC_HW_ERR_COLLECTIVES = 1200, /* stuck in a collective */
    NRT_EXEC_HW_ERR_HBM_UE = 1201,      /* uncorrectable HBM error that cannot be repaired */
    NRT_EXEC_HW_ERR_NC_UE = 1202,       /* uncorrectable error of on-chip memory */
    NRT_EXEC_HW_ERR_DMA_ABORT = 1203,   /* a DMA engine aborted */
    NRT_EXEC_SW_NQ_OVERFLOW = 1204,     /* a notification queue overflowed */
    NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE = 1205, /* uncorrectable HBM error that can be repaired */
    NRT_NETWORK_PROXY_FAILURE = 1206,         /* the network proxy failed */
} NRT_STATUS;

/* Name of a status, for example "NRT_EXEC_OOB"; "UNKNOWN STATUS" for any other number.
 * Static storage, never NULL. Callable in any state, from any thread. */
const char *nrt_get_status_as_str(NRT_STATUS status);

#ifdef __cplusplus
}
#endif
#endif
