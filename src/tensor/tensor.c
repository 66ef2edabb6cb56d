/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/tensor.h"

#include <sched.h>
#include <string.h>

#include "base/checked.h"
#include "kernel/kernel.h"

#define HOST_ALIGN    64
#define WAIT_WARN_NS  UINT64_C(30000000000)
#define WAIT_SLICE_NS UINT64_C(100000000) /* how often a sleeper looks whether the tensor lives */

/* States of a store's bytes. */
enum { STORE_CLEAN, STORE_DIRTY, STORE_BUSY };

/* ---- stores ---- */

static struct tensor_store *store_ref(struct tensor_store *st)
{
    if (st)
        __atomic_fetch_add(&st->refs, 1, __ATOMIC_RELAXED);
    return st;
}

static void store_unref(struct tensor_store *st)
{
    if (!st || __atomic_fetch_sub(&st->refs, 1, __ATOMIC_ACQ_REL) != 1)
        return;
    if (st->place == TENSOR_DEVICE)
        device_free(st->in, &st->mem, NULL);
    else if (st->in)
        device_host_mem_add(st->in, DEVICE_HOST_TENSOR, -(int64_t)st->size);
    mem_free(st->host_mem);
    mem_free(st);
}

/* Make every byte of the store readable as what its owner wrote or zero. The bytes [off, off +
 * size) are about to be overwritten by the caller: when that is all of them, zeroing is left out
 * and true is returned; the caller then ends with store_written. */
static bool store_clean(struct tensor_store *st, uint64_t off, uint64_t size, struct err *err,
                        NRT_STATUS *ret_status)
{
    uint32_t dirty = STORE_DIRTY;

    *ret_status = NRT_SUCCESS;
    if (__builtin_expect(__atomic_load_n(&st->state, __ATOMIC_ACQUIRE) == STORE_CLEAN, 1))
        return false;

    while (!__atomic_compare_exchange_n(&st->state, &dirty, STORE_BUSY, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_ACQUIRE)) {
        if (dirty == STORE_CLEAN)
            return false;
        dirty = STORE_DIRTY;
        sched_yield(); /* somebody zeroes or overwrites all of it: a bounded copy */
    }
    if (off == 0 && size == st->size)
        return true;

    *ret_status = device_extent_zero(st->in, &st->mem, 0, st->mem.size, err);
    __atomic_store_n(&st->state, *ret_status == NRT_SUCCESS ? STORE_CLEAN : STORE_DIRTY,
                     __ATOMIC_RELEASE);
    return false;
}

static void store_written(struct tensor_store *st, bool done)
{
    __atomic_store_n(&st->state, done ? STORE_CLEAN : STORE_DIRTY, __ATOMIC_RELEASE);
}

/* Memory behind [off, off + size) of the store, for access. */
static NRT_STATUS store_back(struct tensor_store *st, uint64_t off, uint64_t size,
                             enum device_access access, struct err *err)
{
    NRT_STATUS status;
    void *p;

    if (st->place != TENSOR_DEVICE)
        return NRT_SUCCESS;
    status = device_map(st->in, st->mem.addr + off, size, access, &p, err);
    if (status == NRT_SUCCESS && off == 0 && size == st->size && access == DEVICE_RW &&
        __atomic_load_n(&st->state, __ATOMIC_ACQUIRE) == STORE_CLEAN)
        __atomic_store_n(&st->ready, 1, __ATOMIC_RELEASE);
    return status;
}

#define LARGE ((uint64_t)2 << 20) /* worth telling the device about */

static void store_copied(struct tensor_store *st, uint64_t off, uint64_t size)
{
    if (st->place == TENSOR_DEVICE)
        device_copied(st->in, st->mem.addr + off, size);
}

static inline bool store_ready(const struct tensor_store *st)
{
    return __builtin_expect(__atomic_load_n(&st->ready, __ATOMIC_ACQUIRE), 1);
}

static NRT_STATUS store_create_device(struct device_instance *in, uint32_t core, uint64_t size,
                                      const char *name, struct tensor_store **ret, bool *ret_logged,
                                      struct err *err)
{
    struct device_alloc a = {.core = core,
                             .neff = DEVICE_NONE,
                             .cat = DEVICE_CAT_TENSOR,
                             .flags = DEVICE_ALLOC_DIRTY,
                             .size = size,
                             .name = name};
    struct tensor_store *st = mem_zalloc(sizeof(*st));
    uint32_t dev, hbm;
    uint64_t hbm_size;
    void *base;
    NRT_STATUS status;

    if (!st)
        return err_set(err, NRT_RESOURCE, "no host memory for a tensor");

    *ret_logged = true;
    status = device_alloc(in, &a, &st->mem, err);
    if (status != NRT_SUCCESS)
        goto out_free;
    *ret_logged = false;

    hbm = DEVICE_ADDR_HBM(st->mem.addr);
    dev = topo_hbm_device(device_topo(in), hbm);
    status =
        device_hbm_va(in, dev, hbm - dev * device_topo(in)->hbms_per_device, &base, &hbm_size, err);
    if (status != NRT_SUCCESS)
        goto out_extent;

    st->refs = 1;
    st->place = TENSOR_DEVICE;
    st->state = st->mem.dirty ? STORE_DIRTY : STORE_CLEAN;
    st->va = (uint8_t *)base + DEVICE_ADDR_OFF(st->mem.addr);
    st->size = size;
    st->in = in;
    st->core = core;
    *ret = st;
    return NRT_SUCCESS;

out_extent:
    device_free(in, &st->mem, NULL);
out_free:
    mem_free(st);
    return status;
}

static NRT_STATUS store_create_host(struct device_instance *in, enum tensor_place place,
                                    uint64_t size, struct tensor_store **ret, struct err *err)
{
    struct tensor_store *st = mem_zalloc(sizeof(*st));
    size_t total;

    if (!st)
        goto out_memory;
    /* calloc gives large blocks as untouched zero pages. */
    if (size_add_over(size, HOST_ALIGN, &total))
        goto out_free;
    st->host_mem = mem_zalloc(total);
    if (!st->host_mem)
        goto out_free;

    st->refs = 1;
    st->place = place;
    st->state = STORE_CLEAN;
    st->ready = 1;
    st->va = (uint8_t *)(((uintptr_t)st->host_mem + HOST_ALIGN - 1) & ~(uintptr_t)(HOST_ALIGN - 1));
    st->size = size;
    st->in = in;
    if (in)
        device_host_mem_add(in, DEVICE_HOST_TENSOR, (int64_t)size);
    *ret = st;
    return NRT_SUCCESS;

out_free:
    mem_free(st);
out_memory:
    return err_set(err, NRT_RESOURCE, "no host memory for a tensor of %llu bytes",
                   (unsigned long long)size);
}

/* ---- tensors ---- */

/* Takes the caller's reference on st, also on failure. */
static NRT_STATUS tensor_create(struct tensor_store *st, uint64_t off, uint64_t size,
                                const char *name, struct tensor **ret, struct err *err)
{
    struct tensor *t = mem_zalloc(sizeof(*t));

    if (t && name && name[0]) {
        t->name = mem_strdup(name);
        if (!t->name) {
            mem_free(t);
            t = NULL;
        }
    }
    if (!t) {
        store_unref(st);
        return err_set(err, NRT_RESOURCE, "no host memory for a tensor");
    }

    t->store = st;
    t->off = off;
    t->size = size;
    t->va = st ? st->va + off : NULL;
    *ret = t;
    return NRT_SUCCESS;
}

NRT_STATUS tensor_create_device(struct device_instance *in, uint32_t core, uint64_t size,
                                const char *name, struct tensor **ret, bool *ret_logged,
                                struct err *err)
{
    struct tensor_store *st = NULL;
    NRT_STATUS status;

    *ret_logged = false;
    if (size != 0) {
        status = store_create_device(in, core, size, name, &st, ret_logged, err);
        if (status != NRT_SUCCESS)
            return status;
    }
    return tensor_create(st, 0, size, name, ret, err);
}

NRT_STATUS tensor_create_host(struct device_instance *in, enum tensor_place place, uint64_t size,
                              const char *name, struct tensor **ret, struct err *err)
{
    struct tensor_store *st = NULL;
    NRT_STATUS status;

    if (place == TENSOR_HOST && size > TENSOR_HOST_MAX)
        return err_set(err, NRT_INVALID, "a host tensor of %llu bytes is larger than %llu",
                       (unsigned long long)size, (unsigned long long)TENSOR_HOST_MAX);
    if (size != 0) {
        status = store_create_host(in, place, size, &st, err);
        if (status != NRT_SUCCESS)
            return status;
    }
    return tensor_create(st, 0, size, name, ret, err);
}

NRT_STATUS tensor_create_empty(const char *name, struct tensor **ret, struct err *err)
{
    return tensor_create(NULL, 0, 0, name, ret, err);
}

NRT_STATUS tensor_create_slice(const struct tensor *src, uint64_t off, uint64_t size,
                               const char *name, struct tensor **ret, struct err *err)
{
    if (!range_ok(off, size, src->size))
        return err_set(err, NRT_INVALID, "slice of %llu bytes at %llu is outside %llu bytes",
                       (unsigned long long)size, (unsigned long long)off,
                       (unsigned long long)src->size);
    return tensor_create(store_ref(src->store), src->off + off, size, name, ret, err);
}

void tensor_destroy(struct tensor *t)
{
    if (!t)
        return;
    store_unref(t->store);
    mem_free(t->name);
    mem_free(t);
}

NRT_STATUS tensor_attach(struct tensor *t, void *buf, uint64_t size, struct err *err)
{
    struct tensor_store *st = NULL;

    if (!buf && size != 0)
        return err_set(err, NRT_INVALID, "no buffer for %llu bytes", (unsigned long long)size);
    if (size > UINTPTR_MAX - (uintptr_t)buf)
        return err_set(err, NRT_INVALID, "%llu bytes do not fit behind address %p",
                       (unsigned long long)size, buf);
    if (buf) {
        st = mem_zalloc(sizeof(*st));
        if (!st)
            return err_set(err, NRT_RESOURCE, "no host memory to attach a buffer");
        st->refs = 1;
        st->place = TENSOR_VIRTUAL;
        st->ready = 1;
        st->va = buf;
        st->size = size;
    }

    store_unref(t->store);
    t->store = st;
    t->va = buf;
    t->off = 0;
    t->size = size;
    t->attached++;
    return NRT_SUCCESS;
}

/* The slow part of every access: zeroing, memory behind the range. Cancelling the thread in here
 * would leave the store busy. overwrite: all of the range is about to be written; *ret_whole then
 * tells to end with store_written. */
static NRT_STATUS access_begin(struct tensor_store *st, uint64_t off, uint64_t size, bool overwrite,
                               enum device_access access, bool *ret_whole, struct err *err)
{
    struct run_caller caller;
    NRT_STATUS status;

    run_caller_enter(&caller);
    *ret_whole = overwrite ? store_clean(st, off, size, err, &status)
                           : store_clean(st, UINT64_MAX, 0, err, &status);
    if (status == NRT_SUCCESS && size != 0)
        status = store_back(st, off, size, access, err);
    if (status != NRT_SUCCESS && *ret_whole) {
        store_written(st, false);
        *ret_whole = false;
    }
    run_caller_leave(&caller);
    return status;
}

NRT_STATUS tensor_prepare(const struct tensor *t, struct err *err)
{
    bool whole;

    if (!t->store || store_ready(t->store))
        return NRT_SUCCESS;
    return access_begin(t->store, t->off, t->size, false, DEVICE_RW, &whole, err);
}

uint32_t tensor_hbm(const struct tensor *t)
{
    return tensor_is_device(t) ? DEVICE_ADDR_HBM(t->store->mem.addr) : DEVICE_NONE;
}

/* ---- transfers ---- */

NRT_STATUS tensor_check_range(const struct tensor *t, uint64_t off, uint64_t size, const void *buf,
                              struct err *err)
{
    if (__builtin_expect(!range_ok(off, size, t->size), 0))
        return err_set(err, NRT_INVALID,
                       "%llu bytes at %llu are outside tensor \"%s\" of %llu bytes",
                       (unsigned long long)size, (unsigned long long)off, t->name ? t->name : "",
                       (unsigned long long)t->size);
    if (__builtin_expect(!buf && size != 0, 0))
        return err_set(err, NRT_INVALID, "no buffer for %llu bytes", (unsigned long long)size);
    return NRT_SUCCESS;
}

/* The caller's bytes may be the tensor's own: its address is public. */
static inline void bytes_move(void *dst, const void *src, uint64_t size)
{
    uintptr_t d = (uintptr_t)dst, s = (uintptr_t)src;

    if (__builtin_expect(d - s < size || s - d < size, 0))
        memmove(dst, src, size);
    else
        kernel_copy(dst, src, size);
}

NRT_STATUS tensor_read(const struct tensor *t, void *buf, uint64_t off, uint64_t size,
                       struct err *err)
{
    NRT_STATUS status = tensor_check_range(t, off, size, buf, err);
    bool whole;

    if (status != NRT_SUCCESS || size == 0)
        return status;
    if (!store_ready(t->store)) {
        status = access_begin(t->store, t->off + off, size, false, DEVICE_READ, &whole, err);
        if (status != NRT_SUCCESS)
            return status;
    }
    bytes_move(buf, t->va + off, size);
    if (size >= LARGE)
        store_copied(t->store, t->off + off, size);
    return NRT_SUCCESS;
}

NRT_STATUS tensor_write(struct tensor *t, const void *buf, uint64_t off, uint64_t size,
                        struct err *err)
{
    NRT_STATUS status = tensor_check_range(t, off, size, buf, err);
    bool whole = false;

    if (status != NRT_SUCCESS || size == 0)
        return status;
    if (!store_ready(t->store)) {
        status = access_begin(t->store, t->off + off, size, true, DEVICE_RW, &whole, err);
        if (status != NRT_SUCCESS)
            return status;
    }
    bytes_move(t->va + off, buf, size);
    if (size >= LARGE)
        store_copied(t->store, t->off + off, size);
    if (whole)
        store_written(t->store, true);
    return NRT_SUCCESS;
}

NRT_STATUS tensor_memset(struct tensor *t, uint64_t off, int value, uint64_t size, struct err *err)
{
    NRT_STATUS status = tensor_check_range(t, off, size, t, err);
    bool whole = false;

    if (status != NRT_SUCCESS || size == 0)
        return status;
    if (!store_ready(t->store)) {
        status = access_begin(t->store, t->off + off, size, true, DEVICE_RW, &whole, err);
        if (status != NRT_SUCCESS)
            return status;
    }
    memset(t->va + off, value & 0xff, size);
    if (whole)
        store_written(t->store, true);
    return NRT_SUCCESS;
}

NRT_STATUS tensor_copy(const struct tensor *src, uint64_t src_off, struct tensor *dst,
                       uint64_t dst_off, uint64_t size, struct err *err)
{
    NRT_STATUS status = tensor_check_range(src, src_off, size, src, err);
    bool whole = false;

    if (status == NRT_SUCCESS)
        status = tensor_check_range(dst, dst_off, size, dst, err);
    if (status != NRT_SUCCESS)
        return status;
    if (tensor_is_device(src) && tensor_is_device(dst) && tensor_hbm(src) != tensor_hbm(dst))
        return err_set(err, NRT_INVALID,
                       "tensors \"%s\" on HBM %u and \"%s\" on HBM %u are not on one HBM",
                       src->name ? src->name : "", tensor_hbm(src), dst->name ? dst->name : "",
                       tensor_hbm(dst));
    if (size == 0)
        return NRT_SUCCESS;

    if (!store_ready(src->store)) {
        status =
            access_begin(src->store, src->off + src_off, size, false, DEVICE_READ, &whole, err);
        if (status != NRT_SUCCESS)
            return status;
    }
    whole = false;
    if (!store_ready(dst->store)) {
        status = access_begin(dst->store, dst->off + dst_off, size, true, DEVICE_RW, &whole, err);
        if (status != NRT_SUCCESS)
            return status;
    }
    memmove(dst->va + dst_off, src->va + src_off, size);
    if (whole)
        store_written(dst->store, true);
    return NRT_SUCCESS;
}

/* ---- queued executions ---- */

void tensor_queued(struct tensor *t, bool begin)
{
    struct tensor_store *st = t->store;

    if (!st)
        return;
    if (begin)
        __atomic_fetch_add(&st->queued, 1, __ATOMIC_SEQ_CST);
    else if (__atomic_fetch_sub(&st->queued, 1, __ATOMIC_SEQ_CST) == 1)
        run_word_post(&st->idle);
}

bool tensor_is_queued(const struct tensor *t)
{
    return t->store && __atomic_load_n(&t->store->queued, __ATOMIC_SEQ_CST) != 0;
}

void tensor_wait_idle(struct tensor *t)
{
    while (tensor_is_queued(t)) {
        uint32_t seen = run_word_load(&t->store->idle);

        if (!tensor_is_queued(t))
            return;
        run_wait(&t->store->idle, seen, RUN_FOREVER, NULL);
    }
}

/* ---- completions ---- */

/* A waiter counts itself and then looks at the completions; here one is counted, and then the
 * waiters are looked at. All seq_cst, so at least one of the two sees the other. */
void tensor_complete(struct tensor *t)
{
    __atomic_fetch_add(&t->completions, 1, __ATOMIC_SEQ_CST);
    if (__builtin_expect(__atomic_load_n(&t->waiters, __ATOMIC_SEQ_CST) != 0, 0))
        run_word_post(&t->done);
}

void tensor_reset(struct tensor *t)
{
    __atomic_store_n(&t->completions, 0, __ATOMIC_SEQ_CST);
}

/* Until there are so many; the caller counts among the waiters. */
static NRT_STATUS wait_counted(struct tensor *t, bool forever, uint64_t limit, uint64_t count,
                               const struct tensor_wait_ops *ops)
{
    uint64_t start = run_now_ns();
    bool warned = false;

    for (;;) {
        uint32_t seen = run_word_load(&t->done);
        uint64_t waited, slice = WAIT_SLICE_NS;

        if (__atomic_load_n(&t->completions, __ATOMIC_SEQ_CST) >= count)
            return NRT_SUCCESS;
        if (!ops->live(ops->arg))
            return NRT_INVALID_HANDLE;
        waited = run_now_ns() - start;
        if (waited >= limit)
            return NRT_TIMEOUT;
        if (forever && !warned && waited >= WAIT_WARN_NS) {
            warned = true;
            ops->warn(ops->arg);
        }
        if (limit - waited < slice)
            slice = limit - waited;
        run_wait(&t->done, seen, slice, NULL);
    }
}

NRT_STATUS tensor_wait(struct tensor *t, int64_t timeout_us, uint64_t count,
                       const struct tensor_wait_ops *ops)
{
    uint64_t limit = RUN_FOREVER;
    NRT_STATUS status;

    if (__atomic_load_n(&t->completions, __ATOMIC_SEQ_CST) >= count)
        return NRT_SUCCESS;
    if (timeout_us == 0)
        return NRT_TIMEOUT;
    if (timeout_us > 0 && u64_mul_over((uint64_t)timeout_us, 1000, &limit))
        limit = RUN_FOREVER;
    __atomic_fetch_add(&t->waiters, 1, __ATOMIC_SEQ_CST);
    status = wait_counted(t, timeout_us < 0, limit, count, ops);
    __atomic_fetch_sub(&t->waiters, 1, __ATOMIC_SEQ_CST);
    return status;
}
