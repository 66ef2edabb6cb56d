/* SPDX-License-Identifier: Apache-2.0 */
/* The control block: its layout, creation and the lock in it.
 *
 * Creation goes into a temporary file that is renamed when complete, all under the creation lock of
 * the first usable folder; a death in the middle leaves a temporary file that the next creator
 * overwrites. Attaching reads the three frozen fields first and only then believes the rest. */
#include "device/device_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_STEP_MS    100
#define LOCK_LIMIT_MS   10000
#define LOCK_WARN_MS    1000
#define DEVICE_TYPE_DEF "trn1.2xlarge"

static uint64_t align64k(uint64_t v)
{
    return (v + 0xffff) & ~UINT64_C(0xffff);
}

void ctl_layout_init(struct ctl_layout *lay, const struct topo_instance *t, uint64_t hbm_bytes)
{
    uint32_t cores = topo_core_count(t);

    memset(lay, 0, sizeof(*lay));
    lay->cores = cores;
    lay->hbms = topo_hbm_count(t);
    lay->slots = cores + 64 < CTL_SLOT_MAX ? cores + 64 : CTL_SLOT_MAX;
    lay->neffs = cores * 64 < 4096 ? cores * 64 : 4096;
    lay->extent_max = lay->hbms * 65536 < CTL_EXTENT_MAX ? lay->hbms * 65536 : CTL_EXTENT_MAX;
    lay->blocks_per_hbm = hbm_bytes / DEVICE_BLOCK;
    lay->bitmap_words = (lay->blocks_per_hbm + 63) / 64;

    uint64_t off = align64k(sizeof(struct ctl_head));
    lay->off_slots = off;
    off = align64k(off + sizeof(struct ctl_slot) * lay->slots);
    lay->off_cores = off;
    off = align64k(off + sizeof(struct ctl_core) * lay->cores);
    lay->off_hbms = off;
    off = align64k(off + sizeof(struct ctl_hbm) * lay->hbms);
    lay->off_bits = off;
    off = align64k(off + 8 * lay->bitmap_words * lay->hbms);
    lay->off_neffs = off;
    off = align64k(off + sizeof(struct ctl_neff) * lay->neffs);
    lay->off_gens = off;
    off = align64k(off + sizeof(struct ctl_gen) * CTL_GEN_MAX);
    lay->off_extents = off;
    lay->size_initial = off + sizeof(struct ctl_extent) * CTL_EXTENT_CHUNK;
    lay->size_max = off + sizeof(struct ctl_extent) * (uint64_t)lay->extent_max;
}

uint64_t device_control_bytes(const struct topo_instance *t)
{
    struct ctl_layout lay;

    ctl_layout_init(&lay, t, t->hbm_bytes);
    return lay.size_initial;
}

/* FNV-1a over what two builds must agree on. */
uint32_t ctl_layout_hash(void)
{
    const uint64_t facts[] = {CTL_VERSION,
                              sizeof(struct ctl_head),
                              sizeof(struct ctl_slot),
                              sizeof(struct ctl_core),
                              sizeof(struct ctl_hbm),
                              sizeof(struct ctl_neff),
                              sizeof(struct ctl_gen),
                              sizeof(struct ctl_extent),
                              sizeof(pthread_mutex_t),
                              sizeof(struct device_live_page),
                              offsetof(struct ctl_head, lock),
                              offsetof(struct ctl_head, free_head),
                              offsetof(struct ctl_slot, hbm_fd),
                              offsetof(struct ctl_core, live),
                              offsetof(struct ctl_extent, leases),
                              DEVICE_CAT_COUNT,
                              DEVICE_CTR_COUNT,
                              DEVICE_TALLY_BUCKETS,
                              DEVICE_BLOCK,
                              CTL_EXTENT_CHUNK,
                              CTL_GEN_MAX,
                              CTL_SLOT_MAX,
                              sizeof(long)};
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
        for (unsigned b = 0; b < 64; b += 8)
            h = (h ^ (uint32_t)((facts[i] >> b) & 0xff)) * 16777619u;
    }
    return h;
}

uint64_t ctl_now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

unsigned ctl_lock_limit(const struct device_instance *in)
{
    return in->cfg.lock_limit_ms ? in->cfg.lock_limit_ms : LOCK_LIMIT_MS;
}

/* --- the lock ------------------------------------------------------------------------------- */

static NRT_STATUS lock_owned(struct device_instance *in, int rc, struct err *err)
{
    struct ctl_head *h = ctl_head(in);
    NRT_STATUS st = NRT_SUCCESS;

    if (rc == EOWNERDEAD) {
        st = ctl_recover_locked(in);
        pthread_mutex_consistent(&h->lock);
    }
    if (st != NRT_SUCCESS) {
        pthread_mutex_unlock(&h->lock);
        LOGE(in->log, LOG_TDRV, "ctl_lock",
             "memory table of instance \"%s\" is damaged; run \"opennrt reset\"", in->name);
        return err_set(err, st, "memory table of instance \"%s\" is damaged; run \"opennrt reset\"",
                       in->name);
    }
    atomic_store_explicit(&h->lock_pid, (int32_t)in->pid, memory_order_relaxed);
    return NRT_SUCCESS;
}

static NRT_STATUS lock_gave_up(struct device_instance *in, uint64_t waited_ms, struct err *err)
{
    int pid = atomic_load_explicit(&ctl_head(in)->lock_pid, memory_order_relaxed);

    LOGE(in->log, LOG_TDRV, "ctl_lock",
         "lock of instance \"%s\" not free after %llu ms; held by pid %d, which may be stopped",
         in->name, (unsigned long long)waited_ms, pid);
    return err_set(err, NRT_TIMEOUT,
                   "lock of instance \"%s\" not free after %llu ms; held by pid %d, which may be "
                   "stopped",
                   in->name, (unsigned long long)waited_ms, pid);
}

#if defined(__SANITIZE_THREAD__) /* gcc's name for it */
#define LOCK_POLLED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LOCK_POLLED 1
#endif
#endif

/* Wait for the lock, at most one step. */
#ifdef LOCK_POLLED
/* The sanitizer does not take note of a lock that a dead owner left and a wait with a limit got,
 * and would report its release: ask again and again instead. */
static int lock_step(pthread_mutex_t *lock)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    int rc = EBUSY;

    for (unsigned ms = 0; ms < LOCK_STEP_MS && rc == EBUSY; ms++) {
        nanosleep(&pause, NULL);
        rc = pthread_mutex_trylock(lock);
    }
    return rc == EBUSY ? ETIMEDOUT : rc;
}
#else
static int lock_step(pthread_mutex_t *lock)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_nsec += LOCK_STEP_MS * 1000000L;
    if (ts.tv_nsec >= 1000000000L) {
        ts.tv_nsec -= 1000000000L;
        ts.tv_sec++;
    }
    return pthread_mutex_clocklock(lock, CLOCK_MONOTONIC, &ts);
}
#endif

NRT_STATUS ctl_lock(struct device_instance *in, struct err *err)
{
    struct ctl_head *h = ctl_head(in);
    uint64_t start = 0;
    bool warned = false;

    if (fault_hit(FAULT_LOCK))
        return err_set(err, NRT_TIMEOUT, "lock of instance \"%s\": fault on demand", in->name);
    for (;;) {
        int rc = pthread_mutex_trylock(&h->lock);

        if (rc == EBUSY) {
            if (start == 0)
                start = ctl_now_ms();
            rc = lock_step(&h->lock);
        }
        if (rc == 0 || rc == EOWNERDEAD)
            return lock_owned(in, rc, err);
        if (rc != ETIMEDOUT)
            return err_set(err, NRT_FAILURE,
                           "lock of instance \"%s\" is unusable (%s); run \"opennrt reset\"",
                           in->name, strerror(rc));

        uint64_t waited = ctl_now_ms() - start;
        if (waited >= ctl_lock_limit(in))
            return lock_gave_up(in, waited, err);
        if (waited >= LOCK_WARN_MS && !warned) {
            warned = true;
            LOGW(in->log, LOG_TDRV, "ctl_lock", "waiting for pid %d, which holds instance \"%s\"",
                 atomic_load_explicit(&h->lock_pid, memory_order_relaxed), in->name);
        }
    }
}

void ctl_unlock(struct device_instance *in)
{
    struct ctl_head *h = ctl_head(in);

    atomic_store_explicit(&h->lock_pid, 0, memory_order_relaxed);
    pthread_mutex_unlock(&h->lock);
}

/* --- more extents ---------------------------------------------------------------------------- */

/* posix_fallocate, so that a full folder is a status now and not a signal later. */
static int file_back(int fd, uint64_t off, uint64_t size)
{
    int rc;

    if (fault_hit(FAULT_FILE))
        return ENOSPC;
    if (!fd_size_ok(off + size))
        return EFBIG;
    do {
        rc = posix_fallocate(fd, (off_t)off, (off_t)size);
    } while (rc == EINTR);
    return rc;
}

NRT_STATUS ctl_grow_extents_locked(struct device_instance *in, struct err *err)
{
    struct ctl_head *h = ctl_head(in);
    uint32_t cap = ctl_extent_cap(in);
    uint32_t more = cap / 2 > CTL_EXTENT_CHUNK ? cap / 2 : CTL_EXTENT_CHUNK;

    if (more > in->lay.extent_max - cap)
        more = in->lay.extent_max - cap;
    if (more == 0)
        return err_set(err, NRT_RESOURCE, "all %u extents of instance \"%s\" are in use", cap,
                       in->name);

    uint64_t off = in->lay.off_extents + sizeof(struct ctl_extent) * (uint64_t)cap;
    int rc = file_back(in->ctl_fd, off, sizeof(struct ctl_extent) * (uint64_t)more);
    if (rc != 0)
        return err_set(
            err, NRT_RESOURCE,
            "folder %s has no room for a larger memory table of instance \"%s\": %s; make "
            "it larger or end other instances%s",
            in->base, in->name, strerror(rc), fd_size_hint(rc));
    COMMIT(in, h->extent_cap, cap + more);
    for (uint32_t i = cap + more - 1; i >= cap; i--) {
        struct ctl_extent *x = ctl_extent(in, i);

        /* A former run of this code may have died before the list was complete; the memory may hold
         * anything then, but only free extents (they were never reachable). */
        PUT(in, x->left, h->free_head);
        PUT(in, h->free_head, i);
    }
    return NRT_SUCCESS;
}

/* --- creation -------------------------------------------------------------------------------- */

static NRT_STATUS head_init(struct device_instance *in, struct err *err)
{
    struct ctl_head *h = ctl_head(in);
    pthread_mutexattr_t at;

    h->version = CTL_VERSION;
    h->layout_hash = ctl_layout_hash();
    device_point(in);
    snprintf(h->library_version, sizeof(h->library_version), "%s", OPENNRT_VERSION);
    snprintf(h->type, sizeof(h->type), "%s", in->topo->name);
    h->hbm_bytes = in->hbm_bytes;
    snprintf(h->hbm_dir, sizeof(h->hbm_dir), "%s", in->cfg.hbm_dir ? in->cfg.hbm_dir : "");
    device_point(in);
    if (getrandom(&h->serial, sizeof(h->serial), 0) != (ssize_t)sizeof(h->serial))
        h->serial = ctl_now_ms() ^ (uint64_t)in->pid << 32;
    h->next_generation = 1;

    pthread_mutexattr_init(&at);
    pthread_mutexattr_setpshared(&at, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&at, PTHREAD_MUTEX_ROBUST);
    int rc = pthread_mutex_init(&h->lock, &at);
    pthread_mutexattr_destroy(&at);
    if (rc != 0)
        return err_set(err, NRT_FAILURE, "cannot make the instance's lock: %s", strerror(rc));

    atomic_store(&h->extent_cap, CTL_EXTENT_CHUNK);
    for (uint32_t i = CTL_EXTENT_CHUNK - 1; i >= 1; i--) {
        ctl_extent(in, i)->left = h->free_head;
        h->free_head = i;
    }
    for (uint32_t c = 0; c < in->lay.cores; c++)
        atomic_store_explicit(&ctl_core(in, c)->live.neff, DEVICE_NONE, memory_order_relaxed);
    device_point(in);
    h->magic = CTL_MAGIC;
    COMMIT(in, h->ready, 1);
    return NRT_SUCCESS;
}

static NRT_STATUS ctl_map(struct device_instance *in, int fd, bool writable, struct err *err)
{
    void *p = MAP_FAILED;

    if (!fault_hit(FAULT_MMAP))
        p = mmap(NULL, in->lay.size_max, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED,
                 fd, 0);
    if (p == MAP_FAILED)
        return err_set(err, NRT_RESOURCE,
                       "cannot map %llu bytes for the control block of instance \"%s\": %s (is the "
                       "address space limited, ulimit -v?)",
                       (unsigned long long)in->lay.size_max, in->name, strerror(errno));
    madvise(p, in->lay.size_max, MADV_DONTDUMP);
    in->ctl = p;
    in->ctl_fd = fd;
    return NRT_SUCCESS;
}

static void ctl_unmap(struct device_instance *in)
{
    if (in->ctl)
        munmap(in->ctl, in->lay.size_max);
    if (in->ctl_fd >= 0)
        close(in->ctl_fd);
    in->ctl = NULL;
    in->ctl_fd = -1;
}

static NRT_STATUS ctl_create_in(struct device_instance *in, struct err *err)
{
    char tmp[CTL_PATH_MAX + 16], path[CTL_PATH_MAX + 16];
    NRT_STATUS st;

    paths_join(tmp, sizeof(tmp), in->dir, "control.tmp");
    paths_join(path, sizeof(path), in->dir, "control");
    int fd = fault_hit(FAULT_FILE)
                 ? -1
                 : fd_keep(open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (fd < 0)
        return err_set(err, NRT_FAILURE, "cannot make %s: %s", tmp, strerror(errno));
    device_point(in);
    int rc = file_back(fd, 0, in->lay.size_initial);
    if (rc != 0) {
        st = err_set(err, NRT_RESOURCE, "%s has no room for the control block (%llu KiB): %s%s",
                     in->base, (unsigned long long)in->lay.size_initial >> 10, strerror(rc),
                     fd_size_hint(rc));
        goto fail_file;
    }
    device_point(in);
    st = ctl_map(in, fd, true, err);
    if (st != NRT_SUCCESS)
        goto fail_file;
    st = head_init(in, err);
    if (st == NRT_SUCCESS && rename(tmp, path) != 0)
        st = err_set(err, NRT_FAILURE, "cannot rename %s: %s", tmp, strerror(errno));
    if (st == NRT_SUCCESS) {
        device_point(in);
        return NRT_SUCCESS;
    }
    ctl_unmap(in);
    unlink(tmp);
    return st;

fail_file:
    close(fd);
    unlink(tmp);
    return st;
}

/* --- attaching ------------------------------------------------------------------------------- */

static NRT_STATUS head_check(struct device_instance *in, const struct ctl_head *h, struct err *err)
{
    char theirs[sizeof(h->library_version) + 1] = {0}, type[sizeof(h->type) + 1] = {0};

    memcpy(theirs, h->library_version, sizeof(h->library_version));
    memcpy(type, h->type, sizeof(h->type));
    if (h->magic != CTL_MAGIC)
        return err_set(err, NRT_FAILURE, "%s/control is not a control block; run \"opennrt reset\"",
                       in->dir);
    if (h->version != CTL_VERSION || h->layout_hash != ctl_layout_hash())
        return err_set(
            err, NRT_FAILURE,
            "instance \"%s\" was made by version %s (layout %u-%08x), this is version %s "
            "(layout %u-%08x); end its processes and run \"opennrt reset\"",
            in->name, theirs, h->version, h->layout_hash, OPENNRT_VERSION, CTL_VERSION,
            ctl_layout_hash());
    if (!(in->topo = topo_instance_find(type)))
        return err_set(err, NRT_FAILURE,
                       "instance \"%s\" has the unknown type \"%s\"; run \"opennrt reset\"",
                       in->name, type);
    if (h->hbm_bytes == 0 || device_hbm_check(in->topo, h->hbm_bytes, NULL) != NRT_SUCCESS)
        return err_set(err, NRT_FAILURE,
                       "instance \"%s\" has HBMs of %llu bytes, which no %s has; run \"opennrt "
                       "reset\"",
                       in->name, (unsigned long long)h->hbm_bytes, type);
    in->hbm_bytes = h->hbm_bytes;
    if (in->cfg.type && strcmp(in->cfg.type, type) != 0)
        return err_set(err, NRT_FAILURE,
                       "instance \"%s\" is a %s, not a %s; end its processes and run \"opennrt "
                       "reset\", or set OPENNRT_INSTANCE",
                       in->name, type, in->cfg.type);
    return NRT_SUCCESS;
}

/* NRT_QUEUE_EMPTY (ours, inside): no such instance in this folder. */
static NRT_STATUS ctl_attach_in(struct device_instance *in, struct err *err)
{
    char path[CTL_PATH_MAX + 16];
    struct ctl_head head;
    struct stat sb;
    NRT_STATUS st;

    paths_join(path, sizeof(path), in->dir, "control");
    if (fault_hit(FAULT_FILE))
        return err_set(err, NRT_FAILURE, "cannot open %s: %s", path, strerror(errno));
    int fd = fd_keep(open(path, (ctl_may_clear(in) ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW));
    if (fd < 0 && errno == ENOENT)
        return NRT_QUEUE_EMPTY;
    if (fd < 0)
        return err_set(err, NRT_FAILURE, "cannot open %s: %s", path, strerror(errno));
    ssize_t n = pread(fd, &head, sizeof(head), 0);
    if (n < (ssize_t)offsetof(struct ctl_head, type)) {
        st = err_set(err, NRT_FAILURE, "%s is cut short; run \"opennrt reset\"", path);
        goto fail;
    }
    if (n < (ssize_t)sizeof(head))
        memset((char *)&head + n, 0, sizeof(head) - (size_t)n);
    st = head_check(in, &head, err);
    if (st != NRT_SUCCESS)
        goto fail;
    ctl_layout_init(&in->lay, in->topo, in->hbm_bytes);
    if (fstat(fd, &sb) != 0 || (uint64_t)sb.st_size < in->lay.size_initial ||
        (uint64_t)sb.st_size < in->lay.off_extents + sizeof(struct ctl_extent) *
                                                         (uint64_t)atomic_load(&head.extent_cap)) {
        st = err_set(err, NRT_FAILURE, "%s is cut short; run \"opennrt reset\"", path);
        goto fail;
    }
    st = ctl_map(in, fd, ctl_may_clear(in), err);
    if (st == NRT_SUCCESS)
        return NRT_SUCCESS;
fail:
    close(fd);
    return st;
}

static NRT_STATUS use_base(struct device_instance *in, const char *base, struct err *err)
{
    snprintf(in->base, sizeof(in->base), "%s", base);
    return paths_instance_dir(base, in->name, in->dir, sizeof(in->dir), err);
}

/* Look for an existing instance in every candidate folder. */
static NRT_STATUS ctl_attach(struct device_instance *in, const struct device_paths *p,
                             struct err *err)
{
    for (unsigned i = 0; i < p->count; i++) {
        struct stat sb;
        NRT_STATUS st = use_base(in, p->base[i], err);

        if (st != NRT_SUCCESS)
            return st;
        if (lstat(in->dir, &sb) != 0)
            continue;
        st = paths_dir_check(in->dir, false, err);
        if (st == NRT_SUCCESS)
            st = ctl_attach_in(in, err);
        if (st != NRT_QUEUE_EMPTY)
            return st;
    }
    return NRT_QUEUE_EMPTY;
}

/* The creation lock: a lock of the open file, polled with a limit, released explicitly so that a
 * child forked meanwhile does not keep it. */
static NRT_STATUS create_lock(struct device_instance *in, const char *base, int *ret_fd,
                              struct err *err)
{
    char path[CTL_PATH_MAX + 64];
    uint64_t start = ctl_now_ms();

    snprintf(path, sizeof(path), "%s/.opennrt-%u.lock", base, (unsigned)geteuid());
    int fd = fault_hit(FAULT_FILE)
                 ? -1
                 : fd_keep(open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (fd < 0)
        return err_set(err, NRT_FAILURE, "cannot make %s: %s", path, strerror(errno));
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if ((errno != EWOULDBLOCK && errno != EINTR) ||
            ctl_now_ms() - start >= ctl_lock_limit(in)) {
            close(fd);
            return err_set(err, NRT_TIMEOUT,
                           "%s not free after %u ms: another process is making an instance and may "
                           "be stopped",
                           path, ctl_lock_limit(in));
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    *ret_fd = fd;
    return NRT_SUCCESS;
}

static void create_unlock(int fd)
{
    flock(fd, LOCK_UN);
    close(fd);
}

/* The type of a new instance, and how much of its memory it has. */
static NRT_STATUS kind_choose(struct device_instance *in, struct err *err)
{
    uint64_t bytes = in->cfg.hbm_bytes;

    in->topo = topo_instance_find(in->cfg.type ? in->cfg.type : DEVICE_TYPE_DEF);
    if (!in->topo)
        return err_set(err, NRT_INVALID, "unknown instance type \"%s\"", in->cfg.type);
    if (device_hbm_check(in->topo, bytes, err) != NRT_SUCCESS)
        return NRT_INVALID;
    in->hbm_bytes = bytes ? bytes : in->topo->hbm_bytes;
    ctl_layout_init(&in->lay, in->topo, in->hbm_bytes);
    return NRT_SUCCESS;
}

/* Make the instance in the first folder that can hold it. The reasons of the folders that could not
 * are put together in err. */
static NRT_STATUS ctl_create(struct device_instance *in, const struct device_paths *p,
                             struct err *err)
{
    struct strbuf why = {0};
    NRT_STATUS st = kind_choose(in, err);

    if (st != NRT_SUCCESS)
        return st;
    st = NRT_FAILURE;
    for (unsigned i = 0; i < p->count; i++) {
        struct err e = {0};

        st = use_base(in, p->base[i], &e);
        if (st == NRT_SUCCESS)
            st = paths_dir_check(in->dir, true, &e);
        if (st == NRT_SUCCESS)
            st = ctl_create_in(in, &e);
        if (st == NRT_SUCCESS)
            break;
        rmdir(in->dir); /* only if empty */
        strbuf_printf(&why, "%s%s", why.len ? "; " : "", e.text);
    }
    if (st != NRT_SUCCESS)
        err_set(err, st, "no folder for the control block: %s", why.s ? why.s : "no memory");
    strbuf_fini(&why);
    return st;
}

NRT_STATUS ctl_open(struct device_instance *in, struct err *err)
{
    struct device_paths paths;
    int lock_fd = -1;
    NRT_STATUS st = paths_candidates(&in->cfg, &paths, err);

    if (st != NRT_SUCCESS)
        return st;
    st = ctl_attach(in, &paths, err);
    if (st != NRT_QUEUE_EMPTY)
        return st;
    if (in->cfg.observe)
        return err_set(err, NRT_INVALID_HANDLE, "there is no instance \"%s\"", in->name);

    struct err lock_err = {0};
    for (unsigned i = 0; i < paths.count && lock_fd < 0; i++) {
        st = create_lock(in, paths.base[i], &lock_fd, &lock_err);
        if (st == NRT_TIMEOUT)
            break;
    }
    if (lock_fd < 0)
        return err_set(err, st, "%s", lock_err.text);
    st = ctl_attach(in, &paths, err); /* somebody else was faster? */
    if (st == NRT_QUEUE_EMPTY)
        st = ctl_create(in, &paths, err);
    create_unlock(lock_fd);
    return st;
}

void ctl_close(struct device_instance *in)
{
    ctl_unmap(in);
}
