/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors and tensor sets: storage with shared ownership, views of it, named collections of
 * handles.
 *
 * Ownership: a tensor_store is reference counted by the tensors on it and goes with the last. A
 * tensor is owned by whoever made it (the api room, behind a handle). A set owns copies of names
 * and holds handles, which it never follows: a tensor may be gone before its set.
 *
 * Threads: nothing here locks. The caller lets one thread at a time change a tensor or a set (the
 * api room holds a pin for use, a lock for change); the counts of references and completions are
 * atomic. */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "device/device.h"
#include "run/run.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TENSOR_HOST_MAX ((uint64_t)4 << 20) /* bytes of a tensor placed in host memory */

enum tensor_place { TENSOR_DEVICE, TENSOR_HOST, TENSOR_VIRTUAL };

/* Bytes with an owner. */
struct tensor_store {
    uint32_t refs; /* atomic */
    enum tensor_place place;
    /* Atomic. Memory that had another owner is zeroed when somebody could first see it, and not at
     * all when the first use overwrites it: see store_clean. */
    uint32_t state;
    uint32_t ready;       /* atomic: clean, and memory is behind every byte */
    uint32_t queued;      /* atomic: queued executions that use it */
    struct run_word idle; /* posted when there are none any more */
    uint8_t *va;          /* first byte in this process */
    uint64_t size;        /* bytes asked for */
    void *host_mem;       /* what to free; NULL for device memory and for a buffer of the caller */
    /* DEVICE */
    struct device_instance *in;
    struct device_extent mem;
    uint32_t core; /* physical core it was allocated for: the first of its logical core */
};

struct tensor {
    struct tensor_store *store; /* NULL: no storage */
    uint8_t *va;                /* first byte of the view, NULL without storage */
    uint64_t off, size;         /* the view on the store, bytes */
    uint64_t completions;       /* atomic: finished executions that wrote it */
    struct run_word done;       /* posted at each of them while somebody waits */
    uint32_t waiters;           /* atomic: threads in tensor_wait */
    uint32_t attached;          /* how often the storage was replaced: a binding compares it */
    char *name;                 /* may be NULL */
};

/* A zero-filled tensor on the HBM of a physical core. size 0: no storage. NRT_RESOURCE when device
 * memory is out. Errors of the allocator are logged there: *ret_logged tells. */
NRT_STATUS tensor_create_device(struct device_instance *in, uint32_t core, uint64_t size,
                                const char *name, struct tensor **ret, bool *ret_logged,
                                struct err *err);
/* The same in host memory; place HOST or VIRTUAL; counted as the process's host memory of in, which
 * may be NULL. NRT_INVALID: HOST above TENSOR_HOST_MAX. */
NRT_STATUS tensor_create_host(struct device_instance *in, enum tensor_place place, uint64_t size,
                              const char *name, struct tensor **ret, struct err *err);
NRT_STATUS tensor_create_empty(const char *name, struct tensor **ret, struct err *err);
/* A view of [off, off + size) of src; NRT_INVALID when that is not inside it. */
NRT_STATUS tensor_create_slice(const struct tensor *src, uint64_t off, uint64_t size,
                               const char *name, struct tensor **ret, struct err *err);
void tensor_destroy(struct tensor *t); /* NULL is fine */

/* Use the caller's buffer as storage in place of what was there. */
NRT_STATUS tensor_attach(struct tensor *t, void *buf, uint64_t size, struct err *err);

/* Make the whole view ready for access through its address: memory behind it, zeroed where it must
 * be. NRT_RESOURCE: the host is full. The address, or NULL without storage, is t->va. */
NRT_STATUS tensor_prepare(const struct tensor *t, struct err *err);

/* HBM over the instance of a device tensor, DEVICE_NONE for others. */
uint32_t tensor_hbm(const struct tensor *t);

/* Transfers; NRT_INVALID when the range is not inside the tensor or buf is NULL, nothing moved
 * then. size 0 moves nothing, with any buf. */
NRT_STATUS tensor_check_range(const struct tensor *t, uint64_t off, uint64_t size, const void *buf,
                              struct err *err);
NRT_STATUS tensor_read(const struct tensor *t, void *buf, uint64_t off, uint64_t size,
                       struct err *err);
NRT_STATUS tensor_write(struct tensor *t, const void *buf, uint64_t off, uint64_t size,
                        struct err *err);
NRT_STATUS tensor_memset(struct tensor *t, uint64_t off, int value, uint64_t size, struct err *err);
/* Ranges of one storage may overlap. NRT_INVALID: two device tensors on different HBMs. */
NRT_STATUS tensor_copy(const struct tensor *src, uint64_t src_off, struct tensor *dst,
                       uint64_t dst_off, uint64_t size, struct err *err);

static inline bool tensor_is_device(const struct tensor *t)
{
    return t->store && t->store->place == TENSOR_DEVICE;
}

/* Executions that are queued and use the bytes of the tensor, counted per storage; and a wait until
 * there are none. tensor_is_queued: whether there are. */
void tensor_queued(struct tensor *t, bool begin);
bool tensor_is_queued(const struct tensor *t);
void tensor_wait_idle(struct tensor *t);

/* Completions: counted by the executions that end, awaited by tensor_wait. */
void tensor_complete(struct tensor *t);
void tensor_reset(struct tensor *t);
/* Wait until count completions; timeout in microseconds, 0 polls, negative for ever, calling
 * warn(arg) once after 30 seconds. live(arg) false ends the wait with NRT_INVALID_HANDLE. */
struct tensor_wait_ops {
    void (*warn)(void *arg);
    bool (*live)(void *arg);
    void *arg;
};
NRT_STATUS tensor_wait(struct tensor *t, int64_t timeout_us, uint64_t count,
                       const struct tensor_wait_ops *ops);

/* ---- sets ---- */

struct tensor_set {
    struct str_map index; /* name -> position in handles */
    uint64_t *handles;
    const char **names; /* owned copies, for messages and dumps */
    size_t count, cap, names_cap;
    uint64_t version; /* counts changes: a binding compares it */
};

NRT_STATUS tensor_set_create(struct tensor_set **ret, struct err *err);
void tensor_set_destroy(struct tensor_set *s); /* NULL is fine; handles are not looked at */
/* Add, or replace the handle of that name. */
NRT_STATUS tensor_set_put(struct tensor_set *s, const char *name, uint64_t handle, struct err *err);
bool tensor_set_get(const struct tensor_set *s, const char *name, uint64_t *ret_handle);

#ifdef __cplusplus
}
#endif
#endif
