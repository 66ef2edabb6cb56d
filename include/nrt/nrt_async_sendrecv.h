/* SPDX-License-Identifier: Apache-2.0 */
/* Sending and receiving tensors between logical cores, of one host or of two, driven by the host.
 * Names are those of the header nrt/nrt_async_sendrecv.h of the AWS Neuron SDK; docs/spec/api.md
 * section 6, and docs/sendrecv.md with an example.
 *
 * The feature is off unless NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED=1. A logical core is
 * initialised, then makes communicators, each to one peer core and in one direction: a send
 * communicator (connect) here meets a receive communicator (accept) there. On a communicator that
 * was tested to be connected, tensors are sent or received; the k-th send meets the k-th receive.
 *
 * Logical cores ("lnc") are numbers of the host's cores, whatever part of them the process sees.
 * The rules on states, handles and arguments at the head of nrt/nrt.h hold here too. Functions may
 * be called from any thread, except that init and close of one core, and tests of one communicator
 * or request, are for one thread at a time. */
#ifndef NRT_NRT_ASYNC_SENDRECV_H
#define NRT_NRT_ASYNC_SENDRECV_H

#include <stdbool.h>
#include <stddef.h>

#include "nrt/nrt.h"
#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nrt_async_sendrecv_comm nrt_async_sendrecv_comm_t;
typedef struct nrt_async_sendrecv_request nrt_async_sendrecv_request_t;

/* How many communicators one logical core may have, and how many requests of one communicator may
 * be waiting to be tested. */
NRT_STATUS nrt_async_sendrecv_get_max_num_communicators_per_lnc(int *num);
NRT_STATUS nrt_async_sendrecv_get_max_num_pending_request(int *num);

/* Prepare a core of this process. NRT_FAILURE: the feature is off, the core is not this process's
 * or is initialised already, its last close failed, or its port is taken. */
NRT_STATUS nrt_async_sendrecv_init(int lnc);
/* End all communicators and requests of the core; their handles are invalid afterwards, whatever is
 * returned. NRT_FAILURE: not initialised, or a communicator had not connected, or a request was
 * under way. Every init needs its close before nrt_close. */
NRT_STATUS nrt_async_sendrecv_close(int lnc);

/* Make a communicator that sends to, or receives from, core peer_lnc of the host at peer_ip, an
 * IPv4 or IPv6 address. Returns at once. NRT_RESOURCE: the core has as many as it may;
 * NRT_FAILURE: the core is not initialised, or peer_ip is no address. */
NRT_STATUS nrt_async_sendrecv_connect(const char *peer_ip, int peer_lnc, int lnc,
                                      nrt_async_sendrecv_comm_t **send_comm);
NRT_STATUS nrt_async_sendrecv_accept(const char *peer_ip, int peer_lnc, int lnc,
                                     nrt_async_sendrecv_comm_t **recv_comm);
/* Whether the communicator has found its peer. NRT_TIMEOUT: not within the time limit;
 * NRT_FAILURE: the peer refused, closed or died. */
NRT_STATUS nrt_async_sendrecv_test_comm(nrt_async_sendrecv_comm_t *comm, bool *done);

/* Start to send, or to receive into, `length` bytes of the tensor from `offset` on. Returns at
 * once. The bytes must be left alone until the request has been tested to its end. A receive may be
 * longer than what is sent to it. NRT_RESOURCE: too many requests are pending; NRT_FAILURE: the
 * communicator is of the other direction, was not tested to be connected, or has failed, or the
 * range is not inside the tensor. */
NRT_STATUS nrt_async_sendrecv_send_tensor(nrt_tensor_t *tensor, size_t offset, size_t length,
                                          nrt_async_sendrecv_comm_t *send_comm,
                                          nrt_async_sendrecv_request_t **request);
NRT_STATUS nrt_async_sendrecv_recv_tensor(nrt_tensor_t *tensor, size_t offset, size_t length,
                                          nrt_async_sendrecv_comm_t *recv_comm,
                                          nrt_async_sendrecv_request_t **request);
/* Whether the request is over: *done, and then *size, the bytes sent or received; the request is
 * gone then, and also when this fails. NRT_TIMEOUT: nothing moved within the time limit;
 * NRT_FAILURE: the peer died, closed, or sent more than fits. */
NRT_STATUS nrt_async_sendrecv_test_request(nrt_async_sendrecv_request_t *request, bool *done,
                                           size_t *size);
/* What was received by requests tested to their end before is in the core's memory after this. */
NRT_STATUS nrt_async_sendrecv_flush(int lnc);

#ifdef __cplusplus
}
#endif

#endif
