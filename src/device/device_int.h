/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the device room: the layout of the control block and the process's own side of it.
 *
 * The control block is one file, mapped whole by every process:
 *
 *   head | slots | cores | hbms (with block bitmaps) | neffs | generations | extents ......
 *
 * Where the parts lie follows from the instance type alone (ctl_layout), never from a number read
 * in shared memory. Fields are of three kinds: *stated* (the truth, committed by one atomic store),
 * *derived* (marked so: rebuilt by ctl_recover whenever the lock is found orphaned), and *counted*
 * (statistics; a death may lose the last increment). Unless a field says otherwise it is written
 * under head.lock only. */
#ifndef DEVICE_DEVICE_INT_H
#define DEVICE_DEVICE_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "base/base.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "device/device.h"
#include "device/hostmem.h"
#include "run/place.h"

#define CTL_MAGIC        UINT64_C(0x54524e4e45504f31) /* "1OPENNRT" */
#define CTL_VERSION      1u
#define CTL_SLOT_MAX     256u
#define CTL_GEN_MAX      256u
#define CTL_GEN_WORDS    (CTL_GEN_MAX / 64)
#define CTL_EXTENT_CHUNK 1024u
#define CTL_EXTENT_MAX   (1u << 20)
#define CTL_PATH_MAX     256

enum ctl_slot_state { SLOT_FREE, SLOT_USED };
enum ctl_extent_state { EXT_FREE, EXT_TAKEN, EXT_LIVE, EXT_QUARANTINE };
enum ctl_gen_state { GEN_FREE, GEN_OPEN };

struct ctl_head {
    /* These three never move, in any version: `reset` and the mismatch message read them. */
    uint64_t magic;
    uint32_t version;
    uint32_t layout_hash;
    char library_version[32];

    char type[32];
    uint64_t serial;
    uint64_t hbm_bytes;         /* of one HBM; at most what the type has */
    char hbm_dir[CTL_PATH_MAX]; /* empty: memfds */
    _Atomic uint32_t ready;     /* written last */

    pthread_mutex_t lock;     /* robust, shared between processes */
    _Atomic int32_t lock_pid; /* who holds it, for messages */

    _Atomic uint32_t slots_used; /* no slot from this one on was ever used; grows, under lock */
    _Atomic uint32_t extent_cap; /* extents whose memory the file has */
    _Atomic uint64_t ecc[TOPO_MAX_DEVICES][DEVICE_ECC_COUNT]; /* counted; any thread */
    /* Host memory by kind of the processes whose first core is on the device; counted. */
    _Atomic uint64_t host_present[TOPO_MAX_DEVICES][DEVICE_HOST_COUNT];
    _Atomic uint64_t host_peak[TOPO_MAX_DEVICES][DEVICE_HOST_COUNT];
    uint64_t next_generation; /* of extents and of leases */
    uint32_t free_head;       /* derived: list of free extents through .left, 0 ends */
    uint32_t extents_used;    /* derived */
};

struct ctl_slot {
    _Atomic uint32_t state; /* enum ctl_slot_state; stated */
    int32_t pid;
    uint64_t start_ticks; /* of the process, with pid: "is that me?" (never liveness) */
    uint64_t pid_ns;
    uint64_t start_us;
    uint32_t lnc;
    uint32_t reaper; /* slot + 1 of who reclaims this one, so that its dump is written once */
    char tag[DEVICE_TAG_MAX];
    char command[256];
    char runtime_version[64];
    _Atomic int64_t host_mem[DEVICE_HOST_COUNT]; /* counted; written by the owner */
    _Atomic int32_t hbm_fd[TOPO_MAX_HBMS];       /* fd + 1 of an attached HBM in that process */
    /* Counted by the owner, on every execution: in a cache line of its own, which other processes
     * take away only when they wait and look who runs. */
    _Alignas(64) _Atomic uint32_t runnable;
};

struct ctl_core {
    _Atomic uint32_t owner; /* slot + 1; stated */
    uint32_t pad;
    _Atomic uint64_t hw_error;           /* kind | after << 8 | arg << 32; any thread */
    uint64_t mem_used[DEVICE_CAT_COUNT]; /* derived */
    _Atomic uint64_t mem_present[DEVICE_CAT_COUNT], mem_peak[DEVICE_CAT_COUNT]; /* counted */
    /* The same for the sysfs nodes, of which some hold several categories; and host memory of the
     * process whose first core this is. Counted. */
    _Atomic uint64_t node_present[DEVICE_MEM_COUNT], node_peak[DEVICE_MEM_COUNT];
    _Atomic uint64_t host_present, host_peak;
    _Atomic uint64_t total[DEVICE_CTR_COUNT], present[DEVICE_CTR_COUNT]; /* counted; any thread */
    _Alignas(64) struct device_live_page live;
};

struct ctl_hbm {
    _Atomic uint64_t backing_ino; /* 0: none; stated (written after backing_dev and cleared bits) */
    uint64_t backing_dev;
    uint32_t root;           /* derived: tree of extents by offset */
    _Atomic uint32_t holes;  /* a punch was cut short: bits may lack memory */
    uint64_t reserve_blocks; /* derived: backed blocks that no extent touches */
    /* A punch in progress: recovery marks its blocks backed, so that they are zeroed on reuse. */
    _Atomic uint64_t punch_count; /* blocks; 0: none */
    uint64_t punch_first;
};

struct ctl_neff {
    _Atomic uint32_t used; /* stated */
    uint32_t slot, core, id;
    char name[256];
    uint8_t uuid[16];
};

/* A lease generation: members leave, the last live one closes it. A process may be several members:
 * one for each of its ranks. */
struct ctl_gen {
    _Atomic uint32_t state; /* enum ctl_gen_state; stated */
    uint32_t pad;
    uint64_t id;
    _Atomic uint16_t members[CTL_SLOT_MAX]; /* by slot */
};

struct ctl_extent {
    _Atomic uint32_t state; /* enum ctl_extent_state; stated: the commit word */
    uint32_t hbm;
    uint64_t off;
    _Atomic uint64_t size;       /* a grow or shrink commits by storing it */
    _Atomic uint64_t generation; /* also read without the lock (device_lease_hold) */
    uint32_t slot, core, neff;
    uint32_t cat;
    _Atomic uint64_t leases[CTL_GEN_WORDS]; /* generations that expose it */
    /* derived: the tree (extent_tree.c) */
    uint32_t left, right;
    uint64_t first, last, gap;
    uint32_t held; /* leased by device_lease_hold: only while an operation is under way */
    uint32_t pad32;
    uint64_t pad;
};
_Static_assert(sizeof(struct ctl_extent) == 128, "two cache lines");
_Static_assert(offsetof(struct ctl_head, version) == 8, "frozen: read by every version");
_Static_assert(offsetof(struct ctl_head, library_version) == 16, "frozen: read by every version");

/* Offsets of the parts in the file, from the type. */
struct ctl_layout {
    uint32_t slots, cores, hbms, neffs, extent_max;
    uint64_t blocks_per_hbm, bitmap_words; /* of one HBM */
    uint64_t off_slots, off_cores, off_hbms, off_bits, off_neffs, off_gens, off_extents;
    uint64_t size_initial, size_max;
};

struct backing_ops;

/* The process's mapping of one HBM. */
struct hbm_map {
    _Atomic(char *) base; /* NULL until first use */
    int fd;
    const struct backing_ops *ops;
    atomic_bool exposed;     /* device_hbm_expose: own extents are backed when they are made */
    _Atomic uint8_t *copies; /* per block, of this process (huge.c); NULL: not counted */
};

struct memlog;

/* A rank of this process that is a member of a lease (device_lease_watch). */
struct lease_watch {
    struct lease_watch *next;
    uint64_t lease;
    const _Atomic uint32_t *busy;
};

struct device_instance {
    struct device_config cfg; /* strings are owned copies */
    const struct topo_instance *topo;
    uint64_t hbm_bytes; /* of one HBM here; at most what the type has */
    struct ctl_layout lay;
    unsigned lnc;
    char dir[CTL_PATH_MAX];  /* folder of the instance's files */
    char base[CTL_PATH_MAX]; /* and the folder it is in */
    char name[DEVICE_NAME_MAX];
    uint8_t *ctl; /* the control block, lay.size_max bytes of address space */
    int ctl_fd;
    uint32_t slot;          /* own; DEVICE_NONE for observers */
    int slot_fd;            /* holds the record lock */
    uint64_t slot_start_us; /* what the slot says while it is this process's */
    pid_t pid;
    unsigned char *fork_page; /* zeroed by the kernel in a forked child */
    pthread_mutex_t map_lock; /* hbm[]: attaching; taken before head.lock */
    struct hbm_map hbm[TOPO_MAX_HBMS];
    _Atomic bool huge_refused;    /* the host gives no huge pages afterwards */
    atomic_bool was_full;         /* a request found no room on its HBM */
    _Atomic uint64_t host_backed; /* bytes this process backed (for cfg.host_limit_bytes) */
    struct memlog *memlog;        /* own lock inside */
    struct lease_watch *watches;  /* under the control block's lock */
    struct run_place *place;      /* own lock inside; NULL for observers */
    struct faults *faults;        /* of this process; own lock inside */
    struct log *log;
};

/* Every store of a critical section is followed by a point where a test may end the process. */
static inline void device_point(const struct device_instance *in)
{
    if (__builtin_expect(in->cfg.store_point != NULL, 0))
        in->cfg.store_point(in->cfg.store_point_arg);
}
#define PUT(in, lvalue, value) \
    do {                       \
        (lvalue) = (value);    \
        device_point(in);      \
    } while (0)
/* The store that commits: release, so that what it publishes is seen with it. */
#define COMMIT(in, lvalue, value)                                        \
    do {                                                                 \
        atomic_store_explicit(&(lvalue), (value), memory_order_release); \
        device_point(in);                                                \
    } while (0)

/* --- ctl.c: layout, creation, lock --- */
void ctl_layout_init(struct ctl_layout *lay, const struct topo_instance *t, uint64_t hbm_bytes);
uint32_t ctl_layout_hash(void);
NRT_STATUS ctl_open(struct device_instance *in, struct err *err); /* attach or create */
void ctl_close(struct device_instance *in);
NRT_STATUS ctl_lock(struct device_instance *in, struct err *err);
void ctl_unlock(struct device_instance *in);
uint64_t ctl_now_ms(void);                                 /* of the monotonic clock */
unsigned ctl_lock_limit(const struct device_instance *in); /* ms that others are waited for */
NRT_STATUS ctl_grow_extents_locked(struct device_instance *in, struct err *err);

static inline struct ctl_head *ctl_head(const struct device_instance *in)
{
    return (struct ctl_head *)(void *)in->ctl;
}

static inline struct ctl_slot *ctl_slot(const struct device_instance *in, uint32_t i)
{
    return (struct ctl_slot *)(void *)(in->ctl + in->lay.off_slots) + i;
}

static inline struct ctl_core *ctl_core(const struct device_instance *in, uint32_t i)
{
    return (struct ctl_core *)(void *)(in->ctl + in->lay.off_cores) + i;
}

static inline struct ctl_hbm *ctl_hbm(const struct device_instance *in, uint32_t i)
{
    return (struct ctl_hbm *)(void *)(in->ctl + in->lay.off_hbms) + i;
}

/* Bitmap of backed blocks; bits are set by anybody, cleared under the lock. */
static inline _Atomic uint64_t *ctl_bits(const struct device_instance *in, uint32_t hbm)
{
    return (_Atomic uint64_t *)(void *)(in->ctl + in->lay.off_bits) + hbm * in->lay.bitmap_words;
}

static inline struct ctl_neff *ctl_neff(const struct device_instance *in, uint32_t i)
{
    return (struct ctl_neff *)(void *)(in->ctl + in->lay.off_neffs) + i;
}

static inline struct ctl_gen *ctl_gen(const struct device_instance *in, uint32_t i)
{
    return (struct ctl_gen *)(void *)(in->ctl + in->lay.off_gens) + i;
}

/* Extents that may be touched: what the file has, never more than the layout's maximum. */
static inline uint32_t ctl_extent_cap(const struct device_instance *in)
{
    uint32_t cap = atomic_load_explicit(&ctl_head(in)->extent_cap, memory_order_acquire);

    return cap < in->lay.extent_max ? cap : in->lay.extent_max;
}

static inline struct ctl_extent *ctl_extents(const struct device_instance *in)
{
    return (struct ctl_extent *)(void *)(in->ctl + in->lay.off_extents);
}

/* Extent by index, 1 .. cap - 1 (0 is "none"); NULL for anything else. */
static inline struct ctl_extent *ctl_extent(const struct device_instance *in, uint32_t i)
{
    if (i == 0 || i >= ctl_extent_cap(in))
        return NULL;
    return ctl_extents(in) + i;
}

/* --- recover.c: derived data from the table --- */
NRT_STATUS ctl_recover_locked(struct device_instance *in);

/* --- tally.c --- */
/* A core that changes hands: what its tally holds goes into the core's totals, and it begins
 * again. */
void tally_fold(struct ctl_core *k);
/* Since the core was claimed. */
static inline uint64_t tally_count(const struct device_tally *t, unsigned c)
{
    return atomic_load_explicit(&t->count[c], memory_order_relaxed) +
           atomic_load_explicit(&t->more[c], memory_order_relaxed);
}

/* --- nodes.c --- */
/* `size` bytes of a category have been added to the core's sums, or taken from them. */
void nodes_changed_locked(struct device_instance *in, struct ctl_core *k, enum device_cat cat,
                          uint64_t size, bool add);

static inline bool ctl_may_clear(const struct device_instance *in)
{
    return !in->cfg.observe || in->cfg.clear;
}

/* --- slot.c --- */
NRT_STATUS slot_claim(struct device_instance *in, struct err *err);
void slot_release(struct device_instance *in);
bool slot_kept(const struct device_instance *in); /* see device_core_mine */
bool slot_live_locked(struct device_instance *in, uint32_t slot);
/* What somebody lacks, and a dead process may hold: cores, memory of an HBM (DEVICE_NONE: none). */
struct slot_need {
    uint32_t first_core, end_core; /* physical */
    uint32_t hbm;
};
/* All dead slots are reclaimed; those that hold what is needed, and that other processes have begun
 * to reclaim, are waited for up to ctl_lock_limit. Then look again. */
void slot_reclaim_for(struct device_instance *in, const struct slot_need *need);
void slot_free_extents_locked(struct device_instance *in, uint32_t slot);
void slot_path(const struct device_instance *in, uint32_t slot, char *buf, size_t size);

/* --- extent_tree.c: extents of one HBM by offset --- */
struct extent_gap {
    uint64_t prev_end, next_off; /* free bytes around a place */
};
bool tree_insert(struct device_instance *in, uint32_t hbm,
                 uint32_t index); /* false: damaged/overlap */
bool tree_remove(struct device_instance *in, uint32_t hbm, uint32_t index);
bool tree_refresh(struct device_instance *in, uint32_t hbm, uint32_t index); /* size changed */
/* Lowest fit at or after `from`; 1 found, 0 no room, -1 the tree is damaged. */
int tree_find(struct device_instance *in, uint32_t hbm, uint64_t size, uint64_t align,
              uint64_t from, uint64_t *ret_off);
/* The extent that holds the byte at off; 0: none. */
uint32_t tree_at(struct device_instance *in, uint32_t hbm, uint64_t off);
/* Free bytes around [off, off + size): false if an extent other than `skip` overlaps it. */
bool tree_around(struct device_instance *in, uint32_t hbm, uint64_t off, uint64_t size,
                 uint32_t skip, struct extent_gap *ret);

/* --- alloc.c --- */
void extent_drop_locked(struct device_instance *in, uint32_t index); /* free or quarantine */
void extent_release_locked(struct device_instance *in, uint32_t index);

/* --- lease.c --- */
/* Whether a peer may still write into the extent. */
bool lease_exposes_locked(const struct device_instance *in, const struct ctl_extent *x);
void lease_leave_all_locked(struct device_instance *in, uint32_t slot);
void lease_watches_free(struct device_instance *in);
void lease_close_dead_locked(struct device_instance *in);

/* --- hbm.c --- */
void hbm_fini(struct device_instance *in);
NRT_STATUS hbm_attach(struct device_instance *in, uint32_t hbm, char **ret_base, struct err *err);
bool hbm_any_backed(const struct device_instance *in, uint32_t hbm, uint64_t off, uint64_t size);
NRT_STATUS hbm_zero(struct device_instance *in, uint32_t hbm, uint64_t off, uint64_t size,
                    struct err *err);
/* Blocks around a freed or taken range that no other extent touches: count them into or out of the
 * reserve; beyond the limit a freed range is punched. */
void hbm_reserve_add_locked(struct device_instance *in, uint32_t hbm, uint64_t off, uint64_t size,
                            const struct extent_gap *gap);
void hbm_reserve_sub_locked(struct device_instance *in, uint32_t hbm, uint64_t off, uint64_t size,
                            const struct extent_gap *gap);
uint64_t hbm_trim_locked(struct device_instance *in); /* punch every reserve; bytes given back */
void hbm_punch_recover_locked(struct device_instance *in, uint32_t hbm);
uint64_t hbm_reserve_count(const struct device_instance *in, uint32_t hbm); /* from the table */

/* --- backing.c --- */
struct backing_id {
    uint64_t dev, ino;
};
/* The seam below HBM. Every slot runs on the caller's thread; `create` and `attach` with head.lock
 * held, the others with whatever lock the caller has. fds are the caller's. */
struct backing_ops {
    const char *name;
    bool outlives; /* the memory is there after the last process that had it; attach asks no process
                    */
    NRT_STATUS(*create)
    (const struct device_instance *in, uint32_t hbm, int *ret_fd, struct backing_id *ret_id,
     struct err *err);
    /* The same memory from the process pid, where it is descriptor fd. NRT_INVALID_HANDLE: there is
     * no such descriptor, or no such process for this one to see. */
    NRT_STATUS(*attach)
    (const struct device_instance *in, uint32_t hbm, int pid, int fd, const struct backing_id *id,
     int *ret_fd, struct err *err);
    NRT_STATUS(*map)
    (const struct device_instance *in, int fd, uint64_t size, char **ret_p, struct err *err);
    NRT_STATUS(*back)
    (int fd, char *base, uint64_t off, uint64_t size); /* NRT_RESOURCE: no memory */
    void (*write)(char *base, uint64_t off, const void *src, uint64_t size); /* NULL src: zeros */
    bool (*punch)(int fd, uint64_t off, uint64_t size);
    NRT_STATUS (*export_fd)(int fd, uint64_t off, uint64_t size, int *ret_fd);
    void (*destroy)(const struct device_instance *in, uint32_t hbm); /* the last holder leaves */
};
const struct backing_ops *backing_for(const struct device_instance *in);

/* --- paths.c --- */
#define PATHS_MAX 3
struct device_paths {
    char base[PATHS_MAX][CTL_PATH_MAX]; /* candidate folders, best first */
    unsigned count;
};
NRT_STATUS paths_candidates(const struct device_config *cfg, struct device_paths *ret,
                            struct err *err);
NRT_STATUS paths_instance_dir(const char *base, const char *name, char *buf, size_t size,
                              struct err *err);
bool paths_name_ok(const char *name);
/* The folder exists, is ours and closed to others; make it if asked. */
NRT_STATUS paths_dir_check(const char *dir, bool create, struct err *err);
void paths_join(char *buf, size_t size, const char *dir, const char *file);

/* --- faults.c --- */
struct faults *faults_create(void); /* NULL: no memory */
void faults_destroy(struct faults *f);

/* --- memlog.c, oom.c --- */
struct memlog *memlog_create(uint64_t max_entries); /* NULL for 0 or no memory */
void memlog_destroy(struct memlog *ml);
void memlog_add(struct device_instance *in, bool alloc, const struct ctl_extent *x,
                const char *name);
void memlog_write_csv(struct device_instance *in);
/* Write a report into the folder of reports. That may be /tmp, where anybody may have put something
 * of that name: only a file is written, never a link, and nobody is waited for. */
void report_write(struct device_instance *in, const char *func, const char *name, const char *text,
                  size_t size);
void oom_report(struct device_instance *in, const struct device_alloc *a);

#endif
