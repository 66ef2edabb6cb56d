/* SPDX-License-Identifier: Apache-2.0 */
/* Send and receive of tensors: docs/spec/api.md 6. The transport is net/pair.h; here are arguments,
 * limits, handles, and which cores are open.
 *
 * A request holds a slice of its tensor, so freeing the tensor meanwhile takes nothing away.
 * Closing a core first ends its handles, which waits for calls that use them, then the transport.
 */
#include <sched.h>

#include "api/api_int.h"
#include "base/settings.h"
#include "net/pair.h"
#include "nrt/nrt_async_sendrecv.h"
#include "run/place.h"

#define COMMS_MAX    64
#define PORT_DEFAULT 45645 /* of the published example */
#define TIMEOUT_S    30

enum core_state { CORE_CLOSED, CORE_OPEN, CORE_BROKEN /* its last close failed */ };

struct comm {
    struct comm *next;
    uint64_t token;
    struct net_pair *pair;
    struct sr_core *core;
    bool send;
    _Atomic bool connected;   /* tested to be */
    pthread_mutex_t lock;     /* requests */
    struct request *requests; /* not tested to their end */
};

struct request {
    struct request *next, **at;
    uint64_t token;
    struct comm *comm;
    struct net_transfer *transfer;
};

struct sr_core {
    struct sr_core *next;
    uint32_t lnc;
    enum core_state state;
    struct comm *comms;
    uint32_t count;
};

/* Synchronization: lock protects all but what is inside a communicator. */
struct sendrecv {
    pthread_mutex_t lock;
    struct net_pairs *pairs; /* while a core is open */
    uint32_t open;
    struct sr_core *cores;
};

static struct sendrecv sr_ = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct handle_slot *pin_comm(const nrt_async_sendrecv_comm_t *c)
{
    return handle_pin(&api_.comms, token_of(c));
}

static NRT_STATUS bad_comm(const char *func)
{
    return api_fail(func, NRT_INVALID_HANDLE, "not a communicator of this session");
}

/* ---- cores ---- */

static struct sr_core *core_find(int lnc)
{
    struct sr_core *c = sr_.cores;

    while (c && (lnc < 0 || c->lnc != (uint32_t)lnc))
        c = c->next;
    return c;
}

static struct sr_core *core_open(int lnc)
{
    struct sr_core *c = core_find(lnc);

    return c && c->state == CORE_OPEN ? c : NULL;
}

static struct sr_core *core_make(uint32_t lnc)
{
    struct sr_core *c = core_find((int)lnc);

    if (c)
        return c;
    c = mem_zalloc(sizeof(*c));
    if (c) {
        c->lnc = lnc;
        c->next = sr_.cores;
        sr_.cores = c;
    }
    return c;
}

static void warn_log(void *arg, const char *text)
{
    LOGW((struct log *)arg, LOG_NRT, "nrt_async_sendrecv_init", "%s", text);
}

/* Behind the proxies of all cores' links, where each has a CPU of its own. */
static void proxy_cpus(struct run_cpus *ret)
{
    const struct topo_instance *t = device_topo(api_.in);
    uint32_t core = device_vnc_core(api_.in, api_.first_vnc);

    (void)run_place_proxy(device_place(api_.in), topo_core_device(t, core),
                          topo_vnc_count(t, device_lnc(api_.in)) + api_.first_vnc, ret);
}

static NRT_STATUS pairs_make(struct err *err)
{
    const struct diag_sink sink = {.warn = warn_log, .arg = api_.log};
    struct net_pairs_config cfg = {
        .in = api_.in,
        .log = api_.log,
        .port = (uint16_t)settings_int("NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT", PORT_DEFAULT, 1,
                                       65535, &sink),
        .limit_ns =
            (uint64_t)settings_int("NEURON_RT_EXEC_TIMEOUT", TIMEOUT_S, 0, INT32_MAX, &sink) *
            1000000000u,
        .key = settings_str("OPENNRT_JOB_KEY", NULL),
        .share = true,
        .fabric = true};

    proxy_cpus(&cfg.cpus);
    return sr_.pairs ? NRT_SUCCESS : net_pairs_open(&cfg, &sr_.pairs, err);
}

static void pairs_drop(void)
{
    if (sr_.open > 0)
        return;
    net_pairs_close(sr_.pairs);
    sr_.pairs = NULL;
}

static NRT_STATUS init_locked(int lnc, struct err *err)
{
    struct sr_core *c;
    NRT_STATUS st;

    if (lnc < 0 || (uint32_t)lnc < api_.first_vnc ||
        (uint32_t)lnc - api_.first_vnc >= api_.vnc_count)
        return err_set(err, NRT_FAILURE,
                       "logical core %d is not one of this process, which has %u to %u", lnc,
                       api_.first_vnc, api_.first_vnc + api_.vnc_count - 1);
    c = core_make((uint32_t)lnc);
    if (!c)
        return err_set(err, NRT_FAILURE, "no host memory for logical core %d", lnc);
    if (c->state == CORE_OPEN)
        return err_set(err, NRT_FAILURE, "logical core %d is initialised already", lnc);
    if (c->state == CORE_BROKEN)
        return err_set(err, NRT_FAILURE, "the last close of logical core %d failed", lnc);
    st = pairs_make(err);
    if (st == NRT_SUCCESS)
        st = net_pairs_listen(sr_.pairs, c->lnc, err);
    if (st != NRT_SUCCESS) {
        pairs_drop();
        return NRT_FAILURE; /* the only error documented */
    }
    c->state = CORE_OPEN;
    sr_.open++;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_async_sendrecv_init(int lnc)
{
    struct run_caller caller;
    struct err err = {0};
    NRT_STATUS st;

    API_NEED_READY();
    if (!settings_bool("NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED", false, NULL))
        return api_fail(__func__, NRT_FAILURE,
                        "send and receive is off: set "
                        "NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED=1");
    run_caller_enter(&caller);
    pthread_mutex_lock(&sr_.lock);
    st = init_locked(lnc, &err);
    pthread_mutex_unlock(&sr_.lock);
    if (st != NRT_SUCCESS)
        st = api_fail(__func__, st, "%s", err.text);
    run_caller_leave(&caller);
    return st;
}

static void comm_free(struct comm *m)
{
    struct request *r;

    while ((r = m->requests)) {
        m->requests = r->next;
        net_transfer_free(r->transfer);
        mem_free(r);
    }
    net_pair_free(m->pair);
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

/* Ends the tokens of a communicator that has none itself any more; false: another thread has ended
 * one and is about to remove its request. */
static bool requests_end(struct comm *m)
{
    bool all = true;

    pthread_mutex_lock(&m->lock);
    for (struct request *r = m->requests; r && all; r = r->next) {
        if (r->token && !handle_take(&api_.requests, r->token))
            all = false;
        else
            r->token = 0;
    }
    pthread_mutex_unlock(&m->lock);
    return all;
}

/* Tokens end one by one, each when the calls that use it have returned; then nothing can reach the
 * core any more. */
static void core_end(struct sr_core *c, struct net_pairs_left *left)
{
    struct comm *m;

    for (m = c->comms; m; m = m->next) {
        handle_take(&api_.comms, m->token);
        while (!requests_end(m))
            sched_yield();
    }
    net_pairs_leave(sr_.pairs, c->lnc, left);
    while ((m = c->comms)) {
        c->comms = m->next;
        comm_free(m);
    }
    c->count = 0;
    c->state = CORE_CLOSED;
    sr_.open--;
    pairs_drop();
}

API_EXPORT NRT_STATUS nrt_async_sendrecv_close(int lnc)
{
    struct net_pairs_left left = {0};
    struct run_caller caller;
    struct sr_core *c;

    API_NEED_READY();
    run_caller_enter(&caller);
    pthread_mutex_lock(&sr_.lock);
    c = core_open(lnc);
    if (c) {
        core_end(c, &left);
        if (left.unconnected > 0 || left.in_flight > 0)
            c->state = CORE_BROKEN;
    }
    pthread_mutex_unlock(&sr_.lock);
    run_caller_leave(&caller);
    if (!c)
        return api_fail(__func__, NRT_FAILURE, "logical core %d is not initialised", lnc);
    if (left.unconnected > 0 || left.in_flight > 0)
        return api_fail(__func__, NRT_FAILURE,
                        "logical core %d is closed with %u communicators that have not connected "
                        "and %u requests under way",
                        lnc, left.unconnected, left.in_flight);
    return NRT_SUCCESS;
}

void api_sendrecv_end(void)
{
    struct net_pairs_left left;
    struct sr_core *c;

    pthread_mutex_lock(&sr_.lock);
    while ((c = sr_.cores)) {
        if (c->state == CORE_OPEN) {
            LOGW(api_.log, LOG_NRT, "nrt_close",
                 "logical core %u has not been closed with nrt_async_sendrecv_close", c->lnc);
            core_end(c, &left);
        }
        sr_.cores = c->next;
        mem_free(c);
    }
    pthread_mutex_unlock(&sr_.lock);
}

static void *volatile forgotten_[2];

void api_sendrecv_fork_begin(void)
{
    pthread_mutex_lock(&sr_.lock);
    if (sr_.pairs)
        net_pairs_fork_begin(sr_.pairs);
}

void api_sendrecv_fork_end(void)
{
    if (sr_.pairs)
        net_pairs_fork_end(sr_.pairs);
    pthread_mutex_unlock(&sr_.lock);
}

void api_sendrecv_forget(void)
{
    pthread_mutex_init(&sr_.lock, NULL);
    if (sr_.pairs)
        net_pairs_fork_child(sr_.pairs);
    forgotten_[0] = sr_.pairs; /* the parent's: its thread is not here */
    forgotten_[1] = sr_.cores;
    sr_.pairs = NULL;
    sr_.cores = NULL;
    sr_.open = 0;
}

/* ---- limits ---- */

API_EXPORT NRT_STATUS nrt_async_sendrecv_get_max_num_communicators_per_lnc(int *num)
{
    API_NEED_READY();
    API_NEED(num, "num is NULL");
    *num = COMMS_MAX;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_async_sendrecv_get_max_num_pending_request(int *num)
{
    API_NEED_READY();
    API_NEED(num, "num is NULL");
    *num = NET_PAIR_PENDING_MAX;
    return NRT_SUCCESS;
}

/* ---- communicators ---- */

static NRT_STATUS comm_open_locked(bool send, const char *ip, int peer_lnc, int lnc,
                                   struct comm **ret, struct err *err)
{
    struct sr_core *c = core_open(lnc);
    struct comm *m;
    NRT_STATUS st;

    if (!c)
        return err_set(err, NRT_FAILURE, "logical core %d is not initialised", lnc);
    if (peer_lnc < 0)
        return err_set(err, NRT_FAILURE, "%d is no logical core", peer_lnc);
    if (c->count >= COMMS_MAX)
        return err_set(err, NRT_RESOURCE, "logical core %d has %d communicators already", lnc,
                       COMMS_MAX);
    m = mem_zalloc(sizeof(*m));
    if (!m)
        return err_set(err, NRT_FAILURE, "no host memory for a communicator");
    pthread_mutex_init(&m->lock, NULL);
    m->core = c;
    m->send = send;
    st = net_pair_open(sr_.pairs, send, ip, (uint32_t)peer_lnc, c->lnc, &m->pair, err);
    if (st != NRT_SUCCESS) {
        comm_free(m);
        return NRT_FAILURE;
    }
    m->token = handle_new(&api_.comms, api_.session, m);
    m->next = c->comms; /* also without a token: the transport has the pair until the core ends */
    c->comms = m;
    c->count++;
    if (!m->token)
        return err_set(err, NRT_FAILURE, "no room for another communicator");
    *ret = m;
    return NRT_SUCCESS;
}

static NRT_STATUS comm_open(const char *func, bool send, const char *ip, int peer_lnc, int lnc,
                            nrt_async_sendrecv_comm_t **ret)
{
    struct run_caller caller;
    struct err err = {0};
    struct comm *m = NULL;
    NRT_STATUS st;

    if (!ip || !ret)
        return api_fail(func, NRT_INVALID, "peer_ip or the communicator's place is NULL");
    run_caller_enter(&caller);
    pthread_mutex_lock(&sr_.lock);
    st = comm_open_locked(send, ip, peer_lnc, lnc, &m, &err);
    if (st == NRT_SUCCESS)
        *ret = (nrt_async_sendrecv_comm_t *)(uintptr_t)m->token;
    pthread_mutex_unlock(&sr_.lock);
    run_caller_leave(&caller);
    return st == NRT_SUCCESS ? st : api_fail(func, st, "%s", err.text);
}

API_EXPORT NRT_STATUS nrt_async_sendrecv_connect(const char *peer_ip, int peer_lnc, int lnc,
                                                 nrt_async_sendrecv_comm_t **send_comm)
{
    API_NEED_READY();
    return comm_open(__func__, true, peer_ip, peer_lnc, lnc, send_comm);
}

API_EXPORT NRT_STATUS nrt_async_sendrecv_accept(const char *peer_ip, int peer_lnc, int lnc,
                                                nrt_async_sendrecv_comm_t **recv_comm)
{
    API_NEED_READY();
    return comm_open(__func__, false, peer_ip, peer_lnc, lnc, recv_comm);
}

API_EXPORT NRT_STATUS nrt_async_sendrecv_test_comm(nrt_async_sendrecv_comm_t *comm, bool *done)
{
    struct handle_slot *slot;
    struct err err = {0};
    bool connected = false;
    struct comm *m;
    NRT_STATUS st;

    API_NEED_READY();
    API_NEED(done, "done is NULL");
    slot = pin_comm(comm);
    if (!slot)
        return bad_comm(__func__);
    m = slot->obj;
    st = net_pair_state(m->pair, &connected, &err);
    if (st == NRT_SUCCESS && connected)
        atomic_store_explicit(&m->connected, true, memory_order_relaxed);
    handle_unpin(slot);
    if (st != NRT_SUCCESS)
        return api_fail(__func__, st == NRT_TIMEOUT ? st : NRT_FAILURE, "%s", err.text);
    *done = connected;
    return NRT_SUCCESS;
}

/* ---- requests ---- */

static void slice_release(void *arg)
{
    tensor_destroy(arg);
}

/* The tensor's range as memory of a transfer, which owns it. */
static NRT_STATUS memory_of(const struct tensor *t, size_t offset, size_t length,
                            struct net_pair_memory *ret, struct err *err)
{
    struct tensor *slice;

    if (tensor_create_slice(t, offset, length, NULL, &slice, err) != NRT_SUCCESS)
        return NRT_FAILURE;
    if (length > 0 && tensor_prepare(slice, err) != NRT_SUCCESS) {
        tensor_destroy(slice);
        return NRT_FAILURE;
    }
    *ret = (struct net_pair_memory){
        .p = slice->va, .size = length, .release = slice_release, .arg = slice};
    if (tensor_is_device(slice)) {
        ret->device = true;
        ret->addr = slice->store->mem.addr + slice->off;
        ret->generation = slice->store->mem.generation;
        ret->extent = slice->store->mem.index;
    }
    return NRT_SUCCESS;
}

static void request_add(struct comm *m, struct request *r)
{
    pthread_mutex_lock(&m->lock);
    r->next = m->requests;
    r->at = &m->requests;
    if (r->next)
        r->next->at = &r->next;
    m->requests = r;
    pthread_mutex_unlock(&m->lock);
}

/* Whoever closes the core waits for this: what it frees is left alone after the unlock. */
static void request_remove(struct request *r)
{
    net_transfer_free(r->transfer);
    pthread_mutex_lock(&r->comm->lock);
    *r->at = r->next;
    if (r->next)
        r->next->at = r->at;
    pthread_mutex_unlock(&r->comm->lock);
    mem_free(r);
}

/* Starts it, with the communicator pinned. The handle is made first: a transfer cannot be taken
 * back. */
static NRT_STATUS request_start(struct comm *m, const struct tensor *t, size_t offset,
                                size_t length, uint64_t *ret_token, struct err *err)
{
    struct request *r = mem_zalloc(sizeof(*r));
    struct net_pair_memory memory;
    NRT_STATUS st;

    if (!r)
        return err_set(err, NRT_FAILURE, "no host memory for a request");
    r->comm = m;
    st = memory_of(t, offset, length, &memory, err);
    if (st != NRT_SUCCESS)
        goto out_free;
    r->token = handle_new(&api_.requests, api_.session, r);
    if (!r->token) {
        st = err_set(err, NRT_FAILURE, "no room for another request");
        goto out_memory;
    }
    st = net_transfer_start(m->pair, &memory, &r->transfer, err);
    if (st != NRT_SUCCESS)
        goto out_token;
    *ret_token = r->token; /* before it is in the list: it may be gone right afterwards */
    request_add(m, r);
    return NRT_SUCCESS;

out_token:
    handle_take(&api_.requests, r->token);
out_memory:
    slice_release(memory.arg);
out_free:
    mem_free(r);
    return st;
}

static NRT_STATUS start(const char *func, bool send, const nrt_tensor_t *tensor, size_t offset,
                        size_t length, const nrt_async_sendrecv_comm_t *comm,
                        nrt_async_sendrecv_request_t **ret)
{
    struct handle_slot *slot, *of_tensor;
    struct run_caller caller;
    struct err err = {0};
    uint64_t token = 0;
    struct comm *m;
    NRT_STATUS st;

    if (!ret)
        return api_fail(func, NRT_INVALID, "request is NULL");
    slot = pin_comm(comm);
    if (!slot)
        return bad_comm(func);
    m = slot->obj;
    of_tensor = handle_pin(&api_.tensors, token_of(tensor));
    run_caller_enter(&caller);
    if (!of_tensor)
        st = err_set(&err, NRT_INVALID_HANDLE, "not a tensor of this session");
    else if (m->send != send)
        st = err_set(&err, NRT_FAILURE, "this communicator %s", m->send ? "sends" : "receives");
    else if (!atomic_load_explicit(&m->connected, memory_order_relaxed))
        st = err_set(&err, NRT_FAILURE,
                     "the communicator has not been tested to be connected "
                     "(nrt_async_sendrecv_test_comm)");
    else
        st = request_start(m, of_tensor->obj, offset, length, &token, &err);
    run_caller_leave(&caller);
    if (of_tensor)
        handle_unpin(of_tensor);
    handle_unpin(slot);
    if (st != NRT_SUCCESS)
        return api_fail(func, st, "%s", err.text);
    *ret = (nrt_async_sendrecv_request_t *)(uintptr_t)token;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_async_sendrecv_send_tensor(nrt_tensor_t *tensor, size_t offset,
                                                     size_t length,
                                                     nrt_async_sendrecv_comm_t *send_comm,
                                                     nrt_async_sendrecv_request_t **request)
{
    API_NEED_READY();
    return start(__func__, true, tensor, offset, length, send_comm, request);
}

API_EXPORT NRT_STATUS nrt_async_sendrecv_recv_tensor(nrt_tensor_t *tensor, size_t offset,
                                                     size_t length,
                                                     nrt_async_sendrecv_comm_t *recv_comm,
                                                     nrt_async_sendrecv_request_t **request)
{
    API_NEED_READY();
    return start(__func__, false, tensor, offset, length, recv_comm, request);
}

/* Looks at it, which may move bytes of any request; one that is over, or has failed, is removed. */
static NRT_STATUS request_test(uint64_t token, bool *ret_over, uint64_t *ret_size, struct err *err)
{
    struct handle_slot *slot = handle_pin(&api_.requests, token);
    struct request *r;
    NRT_STATUS st;

    if (!slot)
        return err_set(err, NRT_INVALID_HANDLE, "not a request of this session, or it is over");
    r = slot->obj;
    st = net_transfer_test(r->transfer, ret_over, ret_size, err);
    handle_unpin(slot);
    if (st == NRT_SUCCESS && !*ret_over)
        return NRT_SUCCESS;
    r = handle_take(&api_.requests, token);
    if (r)
        request_remove(r);
    return st == NRT_SUCCESS || st == NRT_TIMEOUT ? st : NRT_FAILURE;
}

API_EXPORT NRT_STATUS nrt_async_sendrecv_test_request(nrt_async_sendrecv_request_t *request,
                                                      bool *done, size_t *size)
{
    struct run_caller caller;
    struct err err = {0};
    uint64_t moved = 0;
    bool over = false;
    NRT_STATUS st;

    API_NEED_READY();
    API_NEED(done && size, "done or size is NULL");
    run_caller_enter(&caller);
    st = request_test(token_of(request), &over, &moved, &err);
    run_caller_leave(&caller);
    if (st != NRT_SUCCESS)
        return api_fail(__func__, st, "%s", err.text);
    if (over)
        *size = moved;
    *done = over;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_async_sendrecv_flush(int lnc)
{
    bool open;

    API_NEED_READY();
    pthread_mutex_lock(&sr_.lock);
    open = core_open(lnc) != NULL;
    pthread_mutex_unlock(&sr_.lock);
    if (!open)
        return api_fail(__func__, NRT_FAILURE, "logical core %d is not initialised", lnc);
    /* Nothing to wait for: a test that says "done" has seen the bytes, and the lock just taken puts
     * them before all that the caller does next. */
    return NRT_SUCCESS;
}
