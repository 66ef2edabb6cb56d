/* SPDX-License-Identifier: Apache-2.0 */
/* The software device: an instance in shared memory, process slots, core ownership, HBM, its
 * allocator and its account, live pages. docs/device.md and docs/memory.md explain; decisions 1 to
 * 5 and 10 of the design are the reason.
 *
 * Numbers. core: physical core over the instance (0 .. topo_core_count - 1). vnc: logical core over
 * the instance. hbm: HBM over the instance. A device address is a hbm and an offset in one number
 * (DEVICE_ADDR), unique over the instance. slot: one attached process (or test rank).
 *
 * Threads: every function may be called from any thread unless it says otherwise; calls on a closed
 * instance are the caller's error. A struct device_instance belongs to the process that opened it:
 * in a forked child device_instance_forked() is true and every other call is refused or does
 * nothing. */
#ifndef DEVICE_DEVICE_H
#define DEVICE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "topo/topo.h"

#ifdef __cplusplus
extern "C" {
#endif

struct device_instance;
struct run_place;
struct log;

#ifdef __cplusplus
#define DEVICE_ATOMIC(type) type /* the layout only: C++ code does not touch these fields */
#else
#define DEVICE_ATOMIC(type) _Atomic type
#endif

#define DEVICE_NONE           0xffffffffu /* no core, no slot, no NEFF */
#define DEVICE_NAME_MAX       64          /* of an instance, with NUL */
#define DEVICE_TAG_MAX        256         /* process tag, with NUL */
#define DEVICE_BLOCK          (2u << 20)  /* bytes backed at once */
#define DEVICE_HBM_MIN        (64u << 20) /* bytes: the least that an HBM can be made with */
#define DEVICE_ADDR_SHIFT     40
#define DEVICE_ADDR(hbm, off) (((uint64_t)(hbm) << DEVICE_ADDR_SHIFT) | (uint64_t)(off))
#define DEVICE_ADDR_HBM(addr) ((uint32_t)((addr) >> DEVICE_ADDR_SHIFT))
#define DEVICE_ADDR_OFF(addr) ((uint64_t)(addr) & ((UINT64_C(1) << DEVICE_ADDR_SHIFT) - 1))

/* --- instance ------------------------------------------------------------------------------- */

/* What a process asks for. Zero-initialise and set what matters; strings are copied. */
struct device_config {
    const char *type; /* instance type when this process creates it; NULL: trn1.2xlarge. A type
                         other than an existing instance's: refused unless NULL */
    const char *name; /* instance name; NULL: "default" */
    const char
        *dir; /* folder for the control block; NULL: /dev/shm, XDG_RUNTIME_DIR, /tmp in turn */
    const char
        *hbm_dir; /* OPENNRT_DIR; not NULL: HBM backed by files there, if this process creates */
    const char *report_dir;      /* where OOM tables and the memlog go; NULL: /tmp */
    uint64_t hbm_bytes;          /* of one HBM, if this process creates: whole MiB, even, from
                                    DEVICE_HBM_MIN to what the type has; 0: what the type has */
    const char *tag;             /* NEURON_PROCESS_TAG; NULL: the pid */
    const char *runtime_version; /* for neuron-ls; NULL: the library's */
    struct log *log;             /* may be NULL */
    unsigned lnc;                /* logical core size of this process; 0: the type's default */
    bool observe;    /* no slot, no creation, read only: for tools. NRT_INVALID_HANDLE: there is no
                        instance */
    bool clear;      /* with observe: counters and peaks may be cleared, nothing else written */
    bool no_oom_log; /* NEURON_RT_ENABLE_DEVICE_MEMORY_OOM_LOG=0 */
    uint64_t memlog_max;    /* entries of the allocation log; 0: keep none */
    uint64_t reserve_bytes; /* freed HBM memory kept backed, per HBM; 0: default (512 MiB) */
    uint64_t
        host_limit_bytes;   /* tests: pretend the host can give this much in all; 0: ask the host */
    unsigned lock_limit_ms; /* longest wait for a stopped lock holder; 0: 10 s. Then NRT_TIMEOUT */
    /* Called for every dead slot with cores that this process reclaims, before their live pages are
     * cleared; the control block's lock is not held. May be NULL. */
    void (*on_dead)(void *arg, struct device_instance *in, int pid, const uint32_t *cores,
                    unsigned count);
    void *on_dead_arg;
    /* Tests: called after every store of a critical section (kill tests). NULL in production. */
    void (*store_point)(void *arg);
    void *store_point_arg;
};

/* Attach to the instance, creating it if there is none, and claim a process slot. NRT_FAILURE: no
 * device can be had (no folder, other version: the text names both versions and `opennrt reset`);
 * NRT_INVALID: bad name, type or LNC size; NRT_RESOURCE: no slot or no memory. Logs nothing: err.
 */
NRT_STATUS device_instance_open(const struct device_config *cfg, struct device_instance **ret_in,
                                struct err *err);
/* Frees the slot's extents, cores and leases, unmaps all. NULL is fine. In a forked child: frees
 * the private memory only. No other thread may be inside a call. */
void device_instance_close(struct device_instance *in);
/* Value of a variable; NULL when it is unset or empty. The environment's own storage. */
const char *device_env(const char *name);
/* Fill from the environment (OPENNRT_INSTANCE_TYPE, OPENNRT_INSTANCE, OPENNRT_DIR, LNC variables,
 * memory variables); strings are the environment's own. NRT_INVALID with text for a bad LNC. */
NRT_STATUS device_config_env(struct device_config *cfg, struct err *err);

/* Bytes of shared memory that the control block of a type needs at first. */
uint64_t device_control_bytes(const struct topo_instance *t);

bool device_instance_forked(const struct device_instance *in); /* one load */
const struct topo_instance *device_topo(const struct device_instance *in);
/* Of one HBM: what the type has, or what the instance was made with if that is less. */
uint64_t device_hbm_bytes(const struct device_instance *in);
/* What OPENNRT_HBM_MIB says, in bytes; 0: nothing. NRT_INVALID with text: it is no number. */
NRT_STATUS device_hbm_env(uint64_t *ret, struct err *err);
/* Whether an instance of that type can be made with that hbm_bytes (device_config); NRT_INVALID
 * with a text that names OPENNRT_HBM_MIB. */
NRT_STATUS device_hbm_check(const struct topo_instance *t, uint64_t bytes, struct err *err);
/* Where its threads and memory go in this process; NULL for an observer. */
struct run_place *device_place(const struct device_instance *in);
unsigned device_lnc(const struct device_instance *in);
const char *device_instance_name(const struct device_instance *in);
const char *device_instance_dir(const struct device_instance *in); /* folder of the control block */
uint64_t device_instance_serial(const struct device_instance *in); /* random, made at creation */
/* The instance was removed (opennrt reset) after this process opened it; another may have its name
 * now. */
bool device_instance_gone(const struct device_instance *in);
uint32_t device_slot(const struct device_instance *in); /* own slot; DEVICE_NONE: observer */
/* Look for dead slots and reclaim what they held; returns how many. Called by whoever waits past
 * 100 ms; attaching and running out of anything do it themselves. */
unsigned device_reclaim(struct device_instance *in);

/* Remove the instance's files. Refused (NRT_FAILURE, pids in err) while live processes are
 * attached, unless force. Works on control blocks of any version. *ret_removed: whether there was
 * one. */
NRT_STATUS device_instance_reset(const struct device_config *cfg, bool force, bool *ret_removed,
                                 struct err *err);

/* --- cores ----------------------------------------------------------------------------------- */

/* Take logical cores [first, first + count) of the process's LNC size, all or none.
 * NRT_INVALID: outside the instance ("Could not open the nd<i>"). NRT_RESOURCE: taken; err text is
 * the documented "NeuronCore(s) not available - Requested:nc<first>-nc<last> Available:<n>". */
NRT_STATUS device_cores_claim(struct device_instance *in, uint32_t first, uint32_t count,
                              struct err *err);
/* Take the first free contiguous run of count logical cores; 0: all cores of the instance. */
NRT_STATUS device_cores_claim_run(struct device_instance *in, uint32_t count, uint32_t *ret_first,
                                  struct err *err);
void device_cores_release(struct device_instance *in); /* all of this slot */
/* Owner slot of a physical core, DEVICE_NONE if free. */
uint32_t device_core_owner(const struct device_instance *in, uint32_t core);
/* Whether this process owns a physical core. It may lose all of them without having released one: a
 * program that closes every descriptor it finds closes that of its slot's lock too, and counts as
 * dead from then on. Any thread. */
bool device_core_mine(const struct device_instance *in, uint32_t core);
uint32_t device_cores_free_count(const struct device_instance *in); /* logical cores nobody owns */
/* Reset the slot's owned cores (NEURON_RT_RESET_CORES): live pages and semaphores cleared,
 * reset_req_count + 1. Memory of former owners is gone already with their slots. */
void device_cores_reset(struct device_instance *in);

static inline uint32_t device_vnc_core(const struct device_instance *in, uint32_t vnc)
{
    return vnc * device_lnc(in);
}

/* --- HBM: addresses and mapping ----------------------------------------------------------------
 */

enum device_access { DEVICE_READ = 1, DEVICE_WRITE = 2, DEVICE_RW = 3 };

/* Whether a request of this process found no room on its HBM since the instance was opened: what
 * fails with NRT_RESOURCE may also want memory of the host, or entries of a table. */
bool device_was_full(const struct device_instance *in);

/* Pointer to device memory [addr, addr + size): maps the HBM into this process on first use and
 * backs the 2 MiB blocks of the range with host memory, so that no access through the pointer can
 * raise a signal. The pointer of an address never changes while the instance is open and is unique
 * over all HBMs; the bytes around it are the neighbours'. NRT_INVALID: range outside the HBM.
 * NRT_RESOURCE: the host is full or the address space is limited (text says which). Never checks
 * who owns the range: a core reads and writes a peer's HBM as NeuronLink does. Fast when the blocks
 * are backed: a bit test per block. */
NRT_STATUS device_map(struct device_instance *in, uint64_t addr, uint64_t size,
                      enum device_access access, void **ret_p, struct err *err);
/* How many bytes from addr on, at most size, can be read without making memory: 0 unless the HBM is
 * mapped in this process already, then up to the first block without host memory. *ret_p: where
 * they are. Takes no lock and changes nothing, so a signal handler may use it; any addr and size.
 */
uint64_t device_peek(const struct device_instance *in, uint64_t addr, uint64_t size,
                     const void **ret_p);
/* The same bytes for a process without a slot, or that has not mapped the HBM: mapped read-only
 * until device_look_end. Changes nothing and gives no block memory; any addr and size. False: they
 * cannot be had, since nobody who lives has the HBM (and OPENNRT_DIR is not set), or the first
 * block has no memory. Takes the instance's lock; not for signal handlers. */
struct device_look {
    const void *at;
    uint64_t size; /* at most what was asked for, up to the first block without memory */
    void *map;     /* private */
    size_t map_size;
};
bool device_look(struct device_instance *in, uint64_t addr, uint64_t size, struct device_look *ret);
void device_look_end(struct device_look *look);
/* Tell that the caller has copied device memory [addr, addr + size), which is mapped, to or from
 * its own. Blocks that are copied often are moved to huge pages, if the host gives them; the call
 * that moves one takes a millisecond or so longer. Any thread; never fails. */
void device_copied(struct device_instance *in, uint64_t addr, uint64_t size);
/* Copy size bytes from src to device memory. Blocks that the copy covers and that have no memory
 * yet get it by the copy itself, which costs half of backing them first. NRT_INVALID, NRT_RESOURCE
 * as device_map. */
NRT_STATUS device_write(struct device_instance *in, uint64_t addr, const void *src, uint64_t size,
                        struct err *err);
/* Base address of a whole HBM of device dev (hbm counts within the device) and its size. Does not
 * back anything. NRT_INVALID_HANDLE: hbm past the last one. */
NRT_STATUS device_hbm_va(struct device_instance *in, uint32_t dev, uint32_t hbm, void **ret_va,
                         uint64_t *ret_size, struct err *err);
/* The same for a program that will access what it owns there without asking again: backs this
 * process's extents on the HBM, and from now on those that it allocates, so that no access to them
 * through the address can raise a signal. (Ranges that are not its own carry no such promise.)
 * NRT_RESOURCE besides: the host is full; nothing is exposed. */
NRT_STATUS device_hbm_expose(struct device_instance *in, uint32_t dev, uint32_t hbm, void **ret_va,
                             uint64_t *ret_size, struct err *err);
/* The reverse: device address of a pointer into a mapped HBM. False if it points into none. */
bool device_va_addr(const struct device_instance *in, const void *va, uint64_t *ret_addr);
/* A dma-buf over [addr, addr + size) through /dev/udmabuf. NRT_INVALID in every case where that
 * cannot be had (api.md function 35); the caller closes *ret_fd. */
NRT_STATUS device_dmabuf_export(struct device_instance *in, uint64_t addr, uint64_t size,
                                int *ret_fd, struct err *err);

/* --- HBM: allocator ----------------------------------------------------------------------------
 */

/* Categories, in the order of the OOM report's columns (behaviour.md 11 and 13). */
enum device_cat {
    DEVICE_CAT_CODE,
    DEVICE_CAT_CONST,
    DEVICE_CAT_TENSOR,
    DEVICE_CAT_SHARED_SCRATCH,
    DEVICE_CAT_SCRATCH,
    DEVICE_CAT_RUNTIME,
    DEVICE_CAT_RING_IO,
    DEVICE_CAT_RING_SPILL,
    DEVICE_CAT_RING_COLL,
    DEVICE_CAT_RING_RUNTIME,
    DEVICE_CAT_COLL,
    DEVICE_CAT_XT_CC,
    DEVICE_CAT_PROFILER,
    DEVICE_CAT_COUNT
};
const char *device_cat_name(enum device_cat cat); /* "model code", "dma rings io", ... */

enum device_alloc_flags {
    DEVICE_ALLOC_BACK = 1,  /* back the memory now instead of at the first device_map */
    DEVICE_ALLOC_DIRTY = 2, /* skip the zeroing of reused memory: extent.dirty tells whether bytes
                               of a former owner may be in it; the caller overwrites them or calls
                               device_extent_zero before anybody can read */
    DEVICE_ALLOC_AT = 4,    /* at offset `at` exactly, or fail (no OOM report) */
    DEVICE_ALLOC_QUIET = 8, /* no OOM report: the caller has another plan */
    DEVICE_ALLOC_AFTER = 16 /* prefer offsets from `at` on; anywhere if there is no room */
};

struct device_alloc {
    uint32_t core; /* physical core that owns it; it lies on that core's HBM */
    uint32_t neff; /* NEFF id (h_nn), DEVICE_NONE: belongs to the core alone */
    enum device_cat cat;
    unsigned flags;   /* enum device_alloc_flags */
    uint64_t size;    /* > 0; rounded up to 64 */
    uint64_t align;   /* 0: default (64; 4096 when size >= 4096); a power of two up to 1 GiB */
    uint64_t at;      /* with DEVICE_ALLOC_AT or _AFTER: offset in the HBM */
    const char *name; /* for the allocation log; may be NULL */
};

/* A private handle; copy it freely. Only the fields, never the pointer, say what it is. */
struct device_extent {
    uint64_t addr; /* device address of the first byte */
    uint64_t size; /* rounded size */
    uint64_t generation;
    uint32_t index;
    bool dirty;
};

/* New memory reads as zero. NRT_RESOURCE: no room on the HBM (prints the OOM report and writes the
 * files of behaviour.md 13 unless switched off) or the host is full (says so); NRT_INVALID:
 * arguments; NRT_TIMEOUT: the lock's holder is stopped. All errors are logged once, here, and given
 * in err. */
NRT_STATUS device_alloc(struct device_instance *in, const struct device_alloc *a,
                        struct device_extent *ret, struct err *err);
/* A leased extent goes to quarantine. NRT_INVALID_HANDLE: not a live extent of this slot (stale
 * handle, freed twice). */
NRT_STATUS device_free(struct device_instance *in, const struct device_extent *x, struct err *err);
/* Make the extent new_size bytes long without moving it: shrinks always, grows only if the
 * following addresses are free (else NRT_RESOURCE, unchanged, no report). New bytes read as zero.
 */
NRT_STATUS device_extent_grow(struct device_instance *in, struct device_extent *x,
                              uint64_t new_size, struct err *err);
/* Zero [off, off + size) of the extent where blocks are backed (holes read as zero already). */
NRT_STATUS device_extent_zero(struct device_instance *in, const struct device_extent *x,
                              uint64_t off, uint64_t size, struct err *err);
/* Whether an extent lives and is the very one that was once described by index and generation: by
 * any process, so they may be anything. What was read from it before the call, with an acquire
 * fence between the two, was its owner's then. No lock, two loads. */
bool device_extent_is(const struct device_instance *in, uint32_t index, uint64_t generation);
/* Free everything this slot holds for (core, neff), as unload does; returns the number of extents.
 */
unsigned device_free_neff(struct device_instance *in, uint32_t core, uint32_t neff);

/* --- leases (decision 4) ------------------------------------------------------------------------
 */

/* A generation of a communicator: members are slots; extents leased to it are quarantined, not
 * freed, until every live member has left. */
NRT_STATUS device_lease_open(struct device_instance *in, const uint32_t *slots, unsigned slot_count,
                             uint64_t *ret_lease, struct err *err);
/* One member more, in this slot. Who opens a generation for others cannot know whether they will
 * come: each joins when it hears of the lease. NRT_INVALID_HANDLE: it is not open any more. */
NRT_STATUS device_lease_join(struct device_instance *in, uint64_t lease, struct err *err);
NRT_STATUS device_lease_add(struct device_instance *in, uint64_t lease,
                            const struct device_extent *x, struct err *err);
NRT_STATUS device_lease_leave(struct device_instance *in, uint64_t lease, struct err *err);
/* For each slot, whether the process that had it when the lease was opened lives and has not left:
 * the same number may have a new owner. NRT_TIMEOUT: the lock's holder is stopped, so that nobody
 * can tell; NRT_UNINITIALIZED. ret_member is unchanged then. */
NRT_STATUS device_lease_look(struct device_instance *in, uint64_t lease, const uint32_t *slots,
                             unsigned slot_count, bool *ret_member, struct err *err);

/* Memory of the program is exposed only while an operation is under way. A member tells where that
 * can be seen: *busy is not 0 while it is, and stays so after an operation that failed, since a
 * peer that has been stopped may still write. The word is read by whichever thread frees memory. */
NRT_STATUS device_lease_watch(struct device_instance *in, uint64_t lease,
                              const DEVICE_ATOMIC(uint32_t) * busy, struct err *err);
/* Before leaving. With *busy not 0 what was held stays leased until everybody has left. */
void device_lease_unwatch(struct device_instance *in, uint64_t lease,
                          const DEVICE_ATOMIC(uint32_t) * busy);
/* Lease the extent of this slot that contains [addr, addr + size): freed while every member of
 * this process that watches is idle, it is free at once; freed otherwise, or left behind by a
 * death, it is quarantined. *held, zero at first, remembers the extent: the same call for a range
 * in it takes no lock and costs a few loads. One `held` belongs to one lease and one thread.
 * NRT_INVALID: no extent of this slot has the range; NRT_INVALID_HANDLE: the lease is not open. */
NRT_STATUS device_lease_hold(struct device_instance *in, uint64_t lease, uint64_t addr,
                             uint64_t size, struct device_extent *held, struct err *err);
/* Whether the extents that device_lease_hold remembered are still the same: what was mapped in them
 * is mapped and backed, what was leased is leased. Those that are all zero count as such. No lock,
 * a few loads each. */
bool device_lease_holds(const struct device_instance *in, const struct device_extent *held,
                        unsigned count);

/* --- account ------------------------------------------------------------------------------------
 */

struct device_usage {
    uint64_t bytes[DEVICE_CAT_COUNT];
    uint64_t total;
};

/* Loaded NEFFs by id, for the report's mapping and the tools; name is cut at 255. uuid: the 16
 * bytes of the header; NULL: zeros. */
NRT_STATUS device_neff_add(struct device_instance *in, uint32_t core, uint32_t neff,
                           const char *name, const uint8_t *uuid, struct err *err);
void device_neff_remove(struct device_instance *in, uint32_t core, uint32_t neff);
/* A loaded NEFF; false when entry i holds none. Iterate i over 0 .. device_neff_count - 1. Any
 * process's; read without the lock, so an entry may be one of a moment ago. */
struct device_neff_info {
    uint32_t slot, core, id;
    char name[256];
    uint8_t uuid[16];
};
uint32_t device_neff_count(const struct device_instance *in);
bool device_neff_get(const struct device_instance *in, uint32_t i, struct device_neff_info *ret);

/* Bytes in use by a core (all NEFFs and its own), by one NEFF of a core, by all cores of an HBM.
 * Live, taken and quarantined extents count. */
NRT_STATUS device_usage_core(struct device_instance *in, uint32_t core, struct device_usage *ret);
NRT_STATUS device_usage_neff(struct device_instance *in, uint32_t core, uint32_t neff,
                             struct device_usage *ret);
NRT_STATUS device_usage_hbm(struct device_instance *in, uint32_t hbm, struct device_usage *ret);
/* The table of the out-of-memory report (behaviour.md 13) of an HBM, appended to b, which must be
 * usable. NRT_INVALID: no such HBM; NRT_RESOURCE: no host memory; NRT_TIMEOUT as device_alloc. */
struct strbuf;
NRT_STATUS device_usage_table(struct device_instance *in, uint32_t hbm, struct strbuf *b);
/* nrt_get_vnc_memory_stats: use of the logical core and size of its HBM. */
NRT_STATUS device_vnc_memory(struct device_instance *in, uint32_t vnc, uint64_t *ret_used,
                             uint64_t *ret_limit);
/* The INFO record of a load, per physical core (TDRV:dml_log_dev_neff_mem, behaviour.md 6). */
void device_log_neff_mem(struct device_instance *in, uint32_t core, uint32_t neff,
                         const char *name);
/* Visit every extent in use, of any process, in no order, on a snapshot made under the lock. */
struct device_extent_info {
    uint64_t addr, size;
    uint32_t slot, core, neff;
    enum device_cat cat;
    bool quarantined;
};
NRT_STATUS device_extents_visit(struct device_instance *in,
                                void (*fn)(void *arg, const struct device_extent_info *x),
                                void *arg);

/* --- counters (behaviour.md 18) ------------------------------------------------------------------
 */

/* Per physical core. The status nodes first, in sysfs names; then other_info. */
#define DEVICE_COUNTER_LIST(X)                                    \
    X(SUCCESS, success)                                           \
    X(FAILURE, failure)                                           \
    X(TIMEOUT, timeout)                                           \
    X(EXEC_BAD_INPUT, exec_bad_input)                             \
    X(HW_ERROR, hw_error)                                         \
    X(GENERIC_ERROR, generic_error)                               \
    X(RESOURCE_ERROR, resource_error)                             \
    X(RESOURCE_NC_ERROR, resource_nc_error)                       \
    X(INVALID_ERROR, invalid_error)                               \
    X(UNSUPPORTED_NEFF_VERSION, unsupported_neff_version)         \
    X(OOB_ERROR, oob_error)                                       \
    X(COMPLETED_WITH_ERROR, execute_completed_with_error)         \
    X(COMPLETED_WITH_NUM_ERROR, execute_completed_with_num_error) \
    X(FAILED_TO_QUEUE, execute_failed_to_queue)                   \
    X(HW_COLLECTIVES_ERROR, hw_collectives_error)                 \
    X(HW_HBM_UE_ERROR, hw_hbm_ue_error)                           \
    X(HW_NC_UE_ERROR, hw_nc_ue_error)                             \
    X(HW_DMA_ABORT_ERROR, hw_dma_abort_error)                     \
    X(HW_REPAIRABLE_HBM_UE_ERROR, hw_repairable_hbm_ue_error)     \
    X(SW_NQ_OVERFLOW, execute_sw_nq_overflow)                     \
    X(SW_SEMAPHORE_ERROR, execute_sw_semaphore_error)             \
    X(SW_EVENT_ERROR, execute_sw_event_error)                     \
    X(SW_PSUM_COLLISION, execute_sw_psum_collision)               \
    X(SW_SEQUENCER_FATAL, execute_sw_sequencer_fatal)             \
    X(FLOP_COUNT, flop_count)                                     \
    X(INFERENCE_COUNT, inference_count)                           \
    X(MODEL_LOAD_COUNT, model_load_count)                         \
    X(RESET_FAIL_COUNT, reset_fail_count)                         \
    X(RESET_REQ_COUNT, reset_req_count)                           \
    X(NC_TIME_IN_USE, nc_time_in_use)

enum device_counter {
#define DEVICE_COUNTER_ENUM(upper, lower) DEVICE_CTR_##upper,
    DEVICE_COUNTER_LIST(DEVICE_COUNTER_ENUM)
#undef DEVICE_COUNTER_ENUM
        DEVICE_CTR_COUNT
};

/* --- live pages (decision 10) --------------------------------------------------------------------
 */

#define DEVICE_ENGINES 8
#define DEVICE_SEMS    256
#define DEVICE_RINGS   64
#define DEVICE_STREAMS 4

enum device_wait_kind {
    DEVICE_WAIT_NOTHING,
    DEVICE_WAIT_SEMAPHORE,
    DEVICE_WAIT_RING,
    DEVICE_WAIT_COLLECTIVE,
    DEVICE_WAIT_HOST,
    DEVICE_WAIT_SEMAPHORE_EQUAL, /* as SEMAPHORE, for exactly that value */
    DEVICE_WAIT_EVENT            /* wait_value 1: to be set, 0: to be cleared */
};

/* What one engine does; each field is written by the thread that drives the core, relaxed, and read
 * by anybody at any time. A reader trusts none of it. */
struct device_live_engine {
    DEVICE_ATOMIC(uint32_t) pc;        /* record number */
    DEVICE_ATOMIC(uint32_t) opcode;    /* of that record; 0: not known */
    DEVICE_ATOMIC(uint32_t) wait_kind; /* enum device_wait_kind */
    DEVICE_ATOMIC(uint32_t) wait_id;   /* semaphore, ring or collective number */
    DEVICE_ATOMIC(int32_t) wait_value; /* wanted */
    DEVICE_ATOMIC(int32_t) wait_have;  /* seen last */
    DEVICE_ATOMIC(uint32_t) ended;
    DEVICE_ATOMIC(uint64_t) retired;
    DEVICE_ATOMIC(uint64_t) since_us; /* CLOCK_MONOTONIC when it began to wait, or shortly before */
};

/* The flight recorder (flight.h): the last collective operations of a core. */
#define DEVICE_FLIGHTS        32u
#define DEVICE_FLIGHT_MEMBERS 6u

/* One operation, in two cache lines. Written by the thread that runs its communicator, relaxed but
 * for the number; read by anybody at any time. A reader trusts none of it. */
struct device_flight {
    DEVICE_ATOMIC(uint64_t) number; /* 1, 2, ... over the core; 0: none, or being written */
    DEVICE_ATOMIC(uint64_t) comm;   /* which communicator of the instance */
    DEVICE_ATOMIC(uint64_t) seq;    /* of the operation in its communicator */
    DEVICE_ATOMIC(uint64_t) what;   /* dtype, variant, algorithm, operation: a byte each, from 24 */
    DEVICE_ATOMIC(uint64_t) bytes;  /* of its larger tensors */
    DEVICE_ATOMIC(uint64_t) place;  /* position of the rank << 32 | members of the group */
    DEVICE_ATOMIC(uint64_t) begun, ended; /* device_flight_tick; ended 0: under way */
    DEVICE_ATOMIC(uint64_t) steps, total; /* done when it last waited for long or ended; of all */
    DEVICE_ATOMIC(uint64_t) wait;         /* 0: none; 1 << 63 | semaphore << 32 | rank */
    DEVICE_ATOMIC(uint64_t) outcome;      /* rank << 32 | status */
    DEVICE_ATOMIC(uint32_t) member[DEVICE_FLIGHT_MEMBERS]; /* ranks of the first members */
    DEVICE_ATOMIC(uint64_t) since; /* tick when it began to wait; before begun: not known */
};

struct device_flights {
    DEVICE_ATOMIC(uint64_t) next;     /* operations recorded */
    DEVICE_ATOMIC(uint64_t) tick, ns; /* both clocks at one moment */
    struct device_flight flight[DEVICE_FLIGHTS];
};

/* The tally of executions (tally.h): what ended how and how long it took, since the core was
 * claimed. A bucket of latencies is a sixteenth of a power of two. Written by whoever owns the
 * core's executions, plain relaxed stores; read by anybody at any time, trusting none of it. */
#define DEVICE_TALLY_BUCKETS 656u
struct device_tally {
    DEVICE_ATOMIC(uint64_t) count[DEVICE_CTR_COUNT];     /* by device_tally_add */
    DEVICE_ATOMIC(uint64_t) more[DEVICE_CTR_COUNT];      /* by device_counter_add, any thread */
    DEVICE_ATOMIC(uint32_t) core[DEVICE_TALLY_BUCKETS];  /* by the time on the core, ns */
    DEVICE_ATOMIC(uint32_t) whole[DEVICE_TALLY_BUCKETS]; /* with waits, copies and CPU nodes, ns */
};

/* One per physical core, in the control block; the core's owner writes, everybody reads. sems are
 * the core's semaphores themselves when the core room chooses so (peers add to them). */
struct device_live_page {
    DEVICE_ATOMIC(uint64_t) retired; /* records retired since the core was claimed */
    DEVICE_ATOMIC(uint64_t) op_seq;  /* executions (and collective operations) started */
    DEVICE_ATOMIC(uint64_t) op_done; /* and ended */
    DEVICE_ATOMIC(uint64_t) beat;    /* +1 whenever anything moved; hang detection reads it twice */
    DEVICE_ATOMIC(uint32_t) neff;    /* running now, DEVICE_NONE: idle */
    DEVICE_ATOMIC(uint32_t) coll_seq; /* operation sequence of the collective stream */
    DEVICE_ATOMIC(uint64_t) since_us; /* CLOCK_MONOTONIC of the start of the execution */
    DEVICE_ATOMIC(uint64_t) code_addr, code_bytes; /* programs of last_neff, by engine */
    DEVICE_ATOMIC(uint32_t) last_neff;             /* that ran last; it may be unloaded. 0: none */
    DEVICE_ATOMIC(uint32_t) dumped;      /* its process has written a dump before it died */
    DEVICE_ATOMIC(uint32_t) rank, world; /* of its process's job; world 0: not joined */
    DEVICE_ATOMIC(uint64_t) job_cluster, job_epoch; /* what the job's root drew; cluster 0: none */
    struct device_live_engine engine[DEVICE_ENGINES];
    DEVICE_ATOMIC(int32_t) sems[DEVICE_SEMS];
    DEVICE_ATOMIC(uint32_t) events[DEVICE_SEMS / 32];
    /* Per queue set of the program: transfers triggered, and done, in the last execution. */
    DEVICE_ATOMIC(uint32_t) ring_head[DEVICE_RINGS], ring_tail[DEVICE_RINGS];
    DEVICE_ATOMIC(uint32_t) stream_step[DEVICE_STREAMS], stream_wait[DEVICE_STREAMS];
    struct device_flights flights;
    struct device_tally tally;
};

/* The page of a physical core; NULL when core is outside the instance. Valid while the instance is
 * open. Observers get a read-only mapping. */
struct device_live_page *device_live(struct device_instance *in, uint32_t core);

/* --- counting
 * --------------------------------------------------------------------------------- */

const char *device_counter_name(enum device_counter c); /* the sysfs node */

/* total += delta, present = delta. Wait-free. A core outside the instance is ignored. Executions
 * of the core's owner are counted by device_tally_add instead; both add up. */
void device_counter_add(struct device_instance *in, uint32_t core, enum device_counter c,
                        uint64_t delta);
void device_counter_get(const struct device_instance *in, uint32_t core, enum device_counter c,
                        uint64_t *ret_total, uint64_t *ret_present);
/* Observers may only with device_config.clear. */
void device_counter_clear(struct device_instance *in, uint32_t core, enum device_counter c);
/* The status node a status counts on (end of behaviour.md 18). */
enum device_counter device_status_counter(NRT_STATUS status);
/* Present and peak of a memory category become 0; the peak is then of what follows. What is in use
 * stays the account's. Observers may only with device_config.clear. */
void device_memory_clear(struct device_instance *in, uint32_t core, enum device_cat cat);
/* Peak of a core's memory category (memory nodes: total is device_usage_core, present is the last
 * change). */
void device_memory_peak(const struct device_instance *in, uint32_t core, enum device_cat cat,
                        uint64_t *ret_present, uint64_t *ret_peak);

/* The memory nodes of a physical core in the sysfs tree; behaviour.md 11 says which categories each
 * holds. The driver and what has no category use no device memory here. */
#define DEVICE_MEM_LIST(X)                     \
    X(COLLECTIVES, collectives)                \
    X(CONSTANTS, constants)                    \
    X(DMA_RINGS, dma_rings)                    \
    X(DRIVER, driver_memory)                   \
    X(CODE, model_code)                        \
    X(SHARED_SCRATCH, model_shared_scratchpad) \
    X(SCRATCH, nonshared_scratchpad)           \
    X(NOTIFICATIONS, notifications)            \
    X(RUNTIME, runtime_memory)                 \
    X(TENSORS, tensors)                        \
    X(UNCATEGORIZED, uncategorized)

enum device_mem_node {
#define DEVICE_MEM_ENUM(upper, lower) DEVICE_MEM_##upper,
    DEVICE_MEM_LIST(DEVICE_MEM_ENUM)
#undef DEVICE_MEM_ENUM
        DEVICE_MEM_ALL, /* device_mem itself: all categories */
    DEVICE_MEM_COUNT
};
const char *device_mem_node_name(enum device_mem_node node); /* "device_mem" for all */

/* total: in use now, from the account. present: size of the last change. peak: the most that was in
 * use since the instance was made or the node was cleared. */
struct device_level {
    uint64_t total, present, peak;
};
/* Zeros for a core outside the instance. NRT_TIMEOUT: the lock's holder is stopped (observers take
 * no lock). */
NRT_STATUS device_mem_node_get(struct device_instance *in, uint32_t core, enum device_mem_node node,
                               struct device_level *ret);
/* As device_memory_clear, for the node and its categories. */
void device_mem_node_clear(struct device_instance *in, uint32_t core, enum device_mem_node node);

/* --- hardware errors on demand (behaviour.md 8.5)
 * ------------------------------------------------- */

enum device_hw_error {
    DEVICE_HW_NONE,
    DEVICE_HW_SRAM,           /* uncorrectable SRAM error; arg: metadata */
    DEVICE_HW_HBM,            /* uncorrectable HBM error that cannot be repaired */
    DEVICE_HW_HBM_REPAIRABLE, /* one that can */
    DEVICE_HW_DMA_TX,         /* a DMA engine aborted; arg: engine */
    DEVICE_HW_DMA_RX,
    DEVICE_HW_DEVICE,       /* the device does not answer any more */
    DEVICE_HW_NQ,           /* the notification queue overflows */
    DEVICE_HW_PARITY,       /* physical error, found when the execution has ended; arg: metadata */
    DEVICE_HW_NOTIFICATION, /* that an execution has ended is never notified */
    DEVICE_HW_COUNT
};

/* Let the core's execution number `after` from now (0: the next one to ask) meet the error. Any
 * process of the instance may; a second injection replaces the first. NRT_INVALID: arguments. */
NRT_STATUS device_hw_inject(struct device_instance *in, uint32_t core, enum device_hw_error kind,
                            uint32_t arg, uint32_t after, struct err *err);
/* Asked by whoever executes, once per execution of a physical core: NRT_SUCCESS, or the error has
 * struck: the documented lines are logged, the ECC counter counted and the status is that of api.md
 * section 2 (6, 1004, 1201, 1202, 1203, 1205). NRT_EXEC_SW_NQ_OVERFLOW and NRT_TIMEOUT leave log
 * and err to the caller, who knows the model. One load when nothing is injected. */
NRT_STATUS device_hw_check(struct device_instance *in, uint32_t core, struct err *err);
/* The error strikes now: as device_hw_check when it has struck. NRT_INVALID: no such core or error.
 */
NRT_STATUS device_hw_strike(struct device_instance *in, uint32_t core, enum device_hw_error kind,
                            uint32_t arg, struct err *err);

/* "sram", "hbm", "hbm-repairable", "dma-tx", "dma-rx", "device", "nq-overflow", "parity",
 * "notification", "none" (takes an injection back); DEVICE_HW_COUNT for anything else. */
enum device_hw_error device_hw_error_from_name(const char *name);

/* --- faults of this process: OPENNRT_FAULT (docs/faults.md)
 * ------------------------------------------------- */

enum device_fault_kind {
    DEVICE_FAULT_POINT,     /* an operation fails (base/fault.h) */
    DEVICE_FAULT_HW,        /* an execution meets an error of the hardware */
    DEVICE_FAULT_SEMAPHORE, /* a semaphore keeps its value during an execution; detail: which */
    DEVICE_FAULT_DEAD,      /* the process ends, as by kill -9 */
    DEVICE_FAULT_LATE,      /* a rank enters an operation late; detail: ms */
    DEVICE_FAULT_LINK,      /* the links of a device are slower; detail: by which factor */
};

/* What is about to happen. */
struct device_fault {
    enum device_fault_kind kind;
    enum device_hw_error hw; /* DEVICE_FAULT_HW */
    uint32_t core;           /* physical */
    uint32_t detail;
    int engine; /* at which record of the core's program; -1: at none */
    uint32_t record;
};

/* Items, separated by commas or blanks, come into force besides those that are. NRT_INVALID: err
 * names an item that is none, and nothing has changed. NRT_RESOURCE: no host memory. Threads that
 * are in the middle of an execution may not meet them yet. */
NRT_STATUS device_faults_add(struct device_instance *in, const char *items, struct err *err);
/* None is in force any more. */
void device_faults_clear(struct device_instance *in);
/* How many have struck since the instance was opened; hits of fault points do not count. */
uint64_t device_faults_struck(struct device_instance *in);
/* OPENNRT_FAULT: each item for itself; one that is none is ignored, and told to sink->warn. */
void device_fault_env(struct device_instance *in, const struct diag_sink *sink);
/* For device_faults_any, by whoever executes; valid while the instance is open. */
const uint32_t *device_faults_armed(const struct device_instance *in);
/* Whether the functions below may have something to say: one load and a branch. */
static inline bool device_faults_any(const uint32_t *armed)
{
    return __builtin_expect(__atomic_load_n(armed, __ATOMIC_RELAXED) != 0, 0);
}
/* An execution of `model` on these physical cores begins: counted for every item that means it.
 * True: one strikes (DEVICE_FAULT_HW, _SEMAPHORE, or _DEAD with an instruction), which is logged at
 * INFO. */
bool device_fault_of_run(struct device_instance *in, const uint32_t *cores, unsigned count,
                         const char *model, struct device_fault *ret);
/* A rank, on this physical core, begins a collective operation: the same for DEVICE_FAULT_LATE, and
 * _DEAD without an instruction. */
bool device_fault_of_rank(struct device_instance *in, uint32_t core, struct device_fault *ret);
/* How many times slower the links of a physical core's device are; 1: nothing was asked for. */
uint32_t device_fault_link(struct device_instance *in, uint32_t core);

/* Error counts of a device (sysfs stats/hardware). */
enum device_ecc {
    DEVICE_ECC_SRAM_UNCORRECTED,
    DEVICE_ECC_MEM_UNCORRECTED,
    DEVICE_ECC_MEM_REPAIRABLE,
    DEVICE_ECC_SRAM_CORRECTED, /* never counted: nothing corrects here */
    DEVICE_ECC_MEM_CORRECTED,
    DEVICE_ECC_COUNT
};
uint64_t device_ecc_get(const struct device_instance *in, uint32_t dev, enum device_ecc which);
/* Reset a device (sysfs reset): errors that wait for its cores are taken back, and each core counts
 * a request. NRT_RESOURCE, and the cores count a failure too: a live process owns one of them; err
 * names it. Observers may only with device_config.clear. NRT_INVALID: no such device. */
NRT_STATUS device_reset(struct device_instance *in, uint32_t dev, struct err *err);
/* Serial number of a device (sysfs info/serial_number prints 16 hexadecimal digits). */
uint64_t device_serial(const struct device_instance *in, uint32_t dev);

/* --- processes, for tools ------------------------------------------------------------------------
 */

enum device_host_mem {
    DEVICE_HOST_APP,
    DEVICE_HOST_CONST,
    DEVICE_HOST_DMA,
    DEVICE_HOST_TENSOR,
    DEVICE_HOST_COUNT
};
/* Host memory of this process by kind (monitor's host breakdown); delta may be negative. It counts
 * for the first core that the process owns and for that core's device. */
void device_host_mem_add(struct device_instance *in, enum device_host_mem kind, int64_t delta);
/* Levels of a core (all kinds), and of a device by kind; zeros outside the instance. */
void device_host_core_get(const struct device_instance *in, uint32_t core,
                          struct device_level *ret);
void device_host_get(const struct device_instance *in, uint32_t dev, enum device_host_mem kind,
                     struct device_level *ret);
/* Present and peak become 0. Observers may only with device_config.clear. */
void device_host_core_clear(struct device_instance *in, uint32_t core);
void device_host_clear(struct device_instance *in, uint32_t dev, enum device_host_mem kind);

struct device_process {
    uint32_t slot;
    int pid;
    bool live;
    unsigned lnc;
    char tag[DEVICE_TAG_MAX];
    char command[256];
    char runtime_version[64];
    uint64_t host_mem[DEVICE_HOST_COUNT];
    uint64_t start_us; /* wall clock of the attach */
};
/* Process in a slot; false if the slot is free or out of range. Iterate slots 0 .. count - 1.
 * Control characters of the texts are blanks. */
bool device_process_get(struct device_instance *in, uint32_t slot, struct device_process *ret);
uint32_t device_slot_count(const struct device_instance *in);

/* Liveness of a slot as the kernel sees it (dead, free or out of range: false). */
bool device_slot_live(struct device_instance *in, uint32_t slot);
/* Whether a signal (SIGSTOP and its like) or a debugger holds the slot's process, as /proc says
 * now. False as well where that cannot be seen: of a dead one, and across name spaces of processes.
 */
bool device_slot_stopped(const struct device_instance *in, uint32_t slot);

/* Runnable ranks of the instance, for run's spin decision: add 1 while a thread runs a core. Each
 * process counts its own, so that ranks do not share a line on every execution; who asks adds them
 * up, at about the same time. */
void device_runnable_add(struct device_instance *in, int delta);
uint32_t device_runnable(const struct device_instance *in);

#ifdef __cplusplus
}
#endif

#endif
