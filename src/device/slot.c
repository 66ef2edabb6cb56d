/* SPDX-License-Identifier: Apache-2.0 */
/* Process slots. A slot lives while its process holds a record lock on the slot's file: the kernel
 * drops that lock at any death, and a forked child does not inherit it. Closing *any* descriptor of
 * the file would drop it too, so nobody opens the file of a slot that belongs to this process, and
 * claiming and probing happen under the control block's lock.
 *
 *   FREE --claim--> USED --release, or reclaim by another process after death--> FREE
 *
 * Reclaiming is idempotent up to the last store (state FREE): a reclaimer that dies leaves the rest
 * to the next one. */
#include "device/device_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RECLAIM_LOOK_NS 2000000 /* between looks at what another process reclaims, at first */

struct identity {
    int32_t pid;
    uint64_t start_ticks, pid_ns;
};

/* What follows the command in a stat file of /proc, which begins with the state; NULL: no such
 * file. The command may hold blanks and brackets. */
static const char *stat_after_command(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, size - 1) : -1;

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return NULL;
    buf[n] = 0;

    const char *p = strrchr(buf, ')');
    return p && p[1] == ' ' ? p + 2 : NULL;
}

/* When the process of a stat file began; 0: unknown. */
static uint64_t stat_start_ticks(const char *after_command)
{
    const char *p = after_command;

    for (int field = 3; p && field < 22; field++) {
        p = strchr(p, ' ');
        if (p)
            p++;
    }
    return p ? strtoull(p, NULL, 10) : 0;
}

/* When this process began: of its first thread, since emulators of user programs make up a
 * /proc/self/stat in which every thread reads its own beginning. */
static uint64_t self_start_ticks(void)
{
    char path[64], buf[1024];

    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)getpid());
    return stat_start_ticks(stat_after_command(path, buf, sizeof(buf)));
}

static struct identity self_identity(void)
{
    struct identity id = {.pid = (int32_t)getpid(), .start_ticks = self_start_ticks()};
    struct stat sb;

    if (stat("/proc/self/ns/pid", &sb) == 0)
        id.pid_ns = sb.st_ino;
    return id;
}

void slot_path(const struct device_instance *in, uint32_t slot, char *buf, size_t size)
{
    snprintf(buf, size, "%s/slot.%u", in->dir, slot);
}

static bool slot_is_self(const struct ctl_slot *s, const struct identity *id)
{
    return s->pid == id->pid && s->start_ticks == id->start_ticks && s->pid_ns == id->pid_ns;
}

/* Whether somebody holds the record lock of the slot's file. A file that cannot be looked at counts
 * as held: never take from the living. */
static bool slot_file_locked(const struct device_instance *in, uint32_t slot)
{
    char path[CTL_PATH_MAX + 32];
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    slot_path(in, slot, path, sizeof(path));
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno != ENOENT;
    int rc = fcntl(fd, F_GETLK, &fl);
    close(fd);
    return rc != 0 || fl.l_type != F_UNLCK;
}

bool slot_live_locked(struct device_instance *in, uint32_t slot)
{
    if (slot >= in->lay.slots)
        return false;
    if (slot == in->slot)
        return true;

    struct ctl_slot *s = ctl_slot(in, slot);
    if (atomic_load_explicit(&s->state, memory_order_acquire) != SLOT_USED)
        return false;
    struct identity id = self_identity();
    if (slot_is_self(s, &id))
        return true;
    return slot_file_locked(in, slot);
}

bool device_slot_live(struct device_instance *in, uint32_t slot)
{
    if (in->cfg.observe)
        return slot_live_locked(in, slot);
    if (ctl_lock(in, NULL) != NRT_SUCCESS)
        return true;
    bool live = slot_live_locked(in, slot);
    ctl_unlock(in);
    return live;
}

bool device_slot_stopped(const struct device_instance *in, uint32_t slot)
{
    char path[64], buf[1024];
    struct stat sb;

    if (slot >= in->lay.slots)
        return false;

    const struct ctl_slot *s = ctl_slot(in, slot);
    if (atomic_load_explicit(&s->state, memory_order_acquire) != SLOT_USED ||
        stat("/proc/self/ns/pid", &sb) != 0 || s->pid_ns != sb.st_ino)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)s->pid);

    const char *p = stat_after_command(path, buf, sizeof(buf));
    return p && (*p == 'T' || *p == 't') && stat_start_ticks(p) == s->start_ticks;
}

/* --- giving back ------------------------------------------------------------------------------ */

void slot_free_extents_locked(struct device_instance *in, uint32_t slot)
{
    uint32_t cap = ctl_extent_cap(in);

    for (uint32_t i = 1; i < cap; i++) {
        struct ctl_extent *x = ctl_extent(in, i);
        uint32_t state = atomic_load_explicit(&x->state, memory_order_acquire);

        if ((state == EXT_LIVE || state == EXT_TAKEN) && x->slot == slot)
            extent_drop_locked(in, i);
    }
}

/* Everything a slot holds, then the slot itself. */
static void slot_clear_locked(struct device_instance *in, uint32_t slot)
{
    struct ctl_slot *s = ctl_slot(in, slot);

    slot_free_extents_locked(in, slot);
    lease_leave_all_locked(in, slot);
    for (uint32_t i = 0; i < in->lay.neffs; i++) {
        struct ctl_neff *n = ctl_neff(in, i);

        if (atomic_load_explicit(&n->used, memory_order_relaxed) && n->slot == slot)
            COMMIT(in, n->used, 0);
    }
    for (uint32_t c = 0; c < in->lay.cores; c++) {
        struct ctl_core *core = ctl_core(in, c);

        if (atomic_load_explicit(&core->owner, memory_order_relaxed) == slot + 1)
            COMMIT(in, core->owner, 0);
    }
    for (uint32_t h = 0; h < TOPO_MAX_HBMS; h++)
        atomic_store_explicit(&s->hbm_fd[h], 0, memory_order_relaxed);
    for (unsigned k = 0; k < DEVICE_HOST_COUNT; k++)
        atomic_store_explicit(&s->host_mem[k], 0, memory_order_relaxed);
    atomic_store_explicit(&s->runnable, 0, memory_order_relaxed);
    PUT(in, s->reaper, 0);
    COMMIT(in, s->state, SLOT_FREE);
}

static void slot_dump_cores(struct device_instance *in, uint32_t slot)
{
    uint32_t cores[TOPO_MAX_CORES];
    unsigned n = 0;

    for (uint32_t c = 0; c < in->lay.cores; c++) {
        if (device_core_owner(in, c) == slot)
            cores[n++] = c;
    }
    if (n > 0 && in->cfg.on_dead)
        in->cfg.on_dead(in->cfg.on_dead_arg, in, ctl_slot(in, slot)->pid, cores, n);
}

/* The next dead slot from *pos on that nobody else reclaims; marks it ours. */
static bool slot_next_dead(struct device_instance *in, uint32_t *pos, uint32_t *ret_slot)
{
    uint32_t me = in->slot == DEVICE_NONE ? 0 : in->slot + 1;

    for (; *pos < in->lay.slots; (*pos)++) {
        struct ctl_slot *s = ctl_slot(in, *pos);

        if (atomic_load_explicit(&s->state, memory_order_acquire) != SLOT_USED ||
            slot_live_locked(in, *pos))
            continue;
        if (s->reaper != 0 && s->reaper != me && slot_live_locked(in, s->reaper - 1))
            continue;
        PUT(in, s->reaper, me);
        *ret_slot = (*pos)++;
        return true;
    }
    return false;
}

/* A slot that this process has marked and cannot clear, for want of the lock, is for others. */
static void slot_disown(struct device_instance *in, uint32_t slot, int pid)
{
    struct ctl_slot *s = ctl_slot(in, slot);

    if (__atomic_load_n(&s->pid, __ATOMIC_RELAXED) == pid &&
        __atomic_load_n(&s->reaper, __ATOMIC_RELAXED) == in->slot + 1)
        __atomic_store_n(&s->reaper, 0, __ATOMIC_RELAXED);
}

/* Reclaim all dead slots. The lock is taken and dropped inside; the dump hook runs without it. As
 * ctl_lock: what was reclaimed before it failed is counted. */
static NRT_STATUS reclaim(struct device_instance *in, unsigned *count, struct err *err)
{
    uint32_t pos = 0, slot = 0;
    NRT_STATUS st;

    while ((st = ctl_lock(in, err)) == NRT_SUCCESS) {
        bool cleared = false;

        if (!slot_next_dead(in, &pos, &slot)) {
            ctl_unlock(in);
            break;
        }
        int pid = ctl_slot(in, slot)->pid;
        ctl_unlock(in);
        slot_dump_cores(in, slot);
        st = ctl_lock(in, err);
        if (st != NRT_SUCCESS) {
            slot_disown(in, slot, pid);
            break;
        }
        /* Still the same dead process? */
        if (atomic_load_explicit(&ctl_slot(in, slot)->state, memory_order_acquire) == SLOT_USED &&
            ctl_slot(in, slot)->pid == pid && !slot_live_locked(in, slot)) {
            slot_clear_locked(in, slot);
            ++*count;
            cleared = true;
        }
        ctl_unlock(in);
        if (!cleared) /* another thread of this process was faster */
            continue;
        LOGI(in->log, LOG_TDRV, "slot_reclaim", "reclaimed what process %d left in instance \"%s\"",
             pid, in->name);
    }
    return st;
}

/* --- waiting for what others reclaim ------------------------------------------------------------
 */

static bool slot_holds(const struct device_instance *in, uint32_t slot,
                       const struct slot_need *need)
{
    for (uint32_t c = need->first_core; c < need->end_core; c++) {
        if (atomic_load_explicit(&ctl_core(in, c)->owner, memory_order_relaxed) == slot + 1)
            return true;
    }
    if (need->hbm == DEVICE_NONE)
        return false;
    for (uint32_t i = 1; i < ctl_extent_cap(in); i++) {
        const struct ctl_extent *x = ctl_extent(in, i);
        uint32_t state = atomic_load_explicit(&x->state, memory_order_acquire);

        if ((state == EXT_LIVE || state == EXT_TAKEN) && x->slot == slot && x->hbm == need->hbm)
            return true;
    }
    return false;
}

struct in_the_way {
    bool any;
    int dead;   /* pid */
    int reaper; /* pid of another living process that reclaims it; 0: anybody may */
};

static struct in_the_way look_for_dead(struct device_instance *in, const struct slot_need *need)
{
    struct in_the_way w = {0};

    if (ctl_lock(in, NULL) != NRT_SUCCESS)
        return w;
    for (uint32_t i = 0; i < in->lay.slots && !w.any; i++) {
        const struct ctl_slot *s = ctl_slot(in, i);

        if (atomic_load_explicit(&s->state, memory_order_acquire) != SLOT_USED ||
            !slot_holds(in, i, need) || slot_live_locked(in, i))
            continue;

        uint32_t reaper = __atomic_load_n(&s->reaper, __ATOMIC_RELAXED); /* once: it is shared */
        w.any = true;
        w.dead = s->pid;
        if (reaper != 0 && reaper != in->slot + 1 && slot_live_locked(in, reaper - 1))
            w.reaper = ctl_slot(in, reaper - 1)->pid;
    }
    ctl_unlock(in);
    return w;
}

/* Whoever reclaims a slot writes a dump before it gives anything back, which takes its time; it may
 * also die of it, and then the slot is anybody's again. */
void slot_reclaim_for(struct device_instance *in, const struct slot_need *need)
{
    struct timespec pause = {.tv_nsec = RECLAIM_LOOK_NS};
    uint64_t start = ctl_now_ms(), waited;
    struct in_the_way w;
    unsigned count = 0;

    if (in->cfg.observe || reclaim(in, &count, NULL) != NRT_SUCCESS)
        return;
    while ((w = look_for_dead(in, need)).any) {
        waited = ctl_now_ms() - start;
        if (waited >= ctl_lock_limit(in)) {
            LOGW(in->log, LOG_TDRV, "slot_reclaim",
                 "pid %d has not given back what process %d left in instance \"%s\" for %llu ms; "
                 "it may be stopped: continue or kill it",
                 w.reaper, w.dead, in->name, (unsigned long long)waited);
            return;
        }
        if (w.reaper == 0) {
            if (reclaim(in, &count, NULL) != NRT_SUCCESS)
                return;
            continue;
        }
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < RECLAIM_LOOK_NS << 4)
            pause.tv_nsec *= 2;
    }
}

unsigned device_reclaim(struct device_instance *in)
{
    unsigned count = 0;

    if (!device_instance_forked(in) && !in->cfg.observe)
        (void)reclaim(in, &count, NULL);
    return count;
}

/* --- claiming ----------------------------------------------------------------------------------
 */

static void self_command(char *buf, size_t size)
{
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, size - 1) : -1;

    if (fd >= 0)
        close(fd);
    if (n < 0)
        n = 0;
    while (n > 0 && buf[n - 1] == 0)
        n--;
    for (ssize_t i = 0; i < n; i++) {
        if (buf[i] == 0)
            buf[i] = ' ';
    }
    buf[n] = 0;
}

static void slot_describe(struct device_instance *in, struct ctl_slot *s)
{
    struct identity id = self_identity();
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    s->pid = id.pid;
    s->start_ticks = id.start_ticks;
    s->pid_ns = id.pid_ns;
    s->start_us = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
    s->lnc = in->lnc;
    s->reaper = 0;
    device_point(in);
    if (in->cfg.tag)
        snprintf(s->tag, sizeof(s->tag), "%s", in->cfg.tag);
    else
        snprintf(s->tag, sizeof(s->tag), "%d", (int)id.pid);
    snprintf(s->runtime_version, sizeof(s->runtime_version), "%s",
             in->cfg.runtime_version ? in->cfg.runtime_version : OPENNRT_VERSION);
    self_command(s->command, sizeof(s->command));
    for (unsigned k = 0; k < DEVICE_HOST_COUNT; k++)
        atomic_store_explicit(&s->host_mem[k], 0, memory_order_relaxed);
    for (unsigned h = 0; h < TOPO_MAX_HBMS; h++)
        atomic_store_explicit(&s->hbm_fd[h], 0, memory_order_relaxed);
    device_point(in);
}

/* Take the record lock of a slot's file. 1 taken, 0 held by a process, -1 errno. */
static int slot_file_take(struct device_instance *in, uint32_t slot, int *ret_fd)
{
    char path[CTL_PATH_MAX + 32];
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    slot_path(in, slot, path, sizeof(path));
    int fd = fault_hit(FAULT_FILE)
                 ? -1
                 : fd_keep(open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (fd < 0)
        return -1;
    if (fcntl(fd, F_SETLK, &fl) == 0) {
        *ret_fd = fd;
        return 1;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return saved == EAGAIN || saved == EACCES ? 0 : -1;
}

static NRT_STATUS slot_claim_locked(struct device_instance *in, struct err *err)
{
    for (uint32_t i = 0; i < in->lay.slots; i++) {
        struct ctl_slot *s = ctl_slot(in, i);

        if (atomic_load_explicit(&s->state, memory_order_acquire) != SLOT_FREE)
            continue;
        int rc = slot_file_take(in, i, &in->slot_fd);
        if (rc < 0)
            return err_set(err, NRT_FAILURE, "cannot lock %s/slot.%u: %s", in->dir, i,
                           strerror(errno));
        if (rc == 0)
            continue;
        device_point(in);
        slot_describe(in, s);
        if (atomic_load_explicit(&ctl_head(in)->slots_used, memory_order_relaxed) <= i)
            atomic_store_explicit(&ctl_head(in)->slots_used, i + 1, memory_order_relaxed);
        COMMIT(in, s->state, SLOT_USED);
        in->slot = i;
        in->slot_start_us = s->start_us;
        return NRT_SUCCESS;
    }
    return err_set(err, NRT_RESOURCE, "all %u process slots of instance \"%s\" are in use",
                   in->lay.slots, in->name);
}

/* The control block may have been reset between opening and claiming. */
bool device_instance_gone(const struct device_instance *in)
{
    char path[CTL_PATH_MAX + 16];
    struct stat a, b;

    paths_join(path, sizeof(path), in->dir, "control");
    return stat(path, &a) != 0 || fstat(in->ctl_fd, &b) != 0 || a.st_ino != b.st_ino ||
           a.st_dev != b.st_dev;
}

/* NRT_QUEUE_EMPTY (ours, inside): the instance was reset meanwhile, open it again. */
NRT_STATUS slot_claim(struct device_instance *in, struct err *err)
{
    unsigned count = 0;
    NRT_STATUS st = reclaim(in, &count, err);

    if (st == NRT_SUCCESS) /* else its holder would only be waited for a second time */
        st = ctl_lock(in, err);
    if (st != NRT_SUCCESS)
        return st;
    if (device_instance_gone(in))
        st = NRT_QUEUE_EMPTY;
    else
        st = slot_claim_locked(in, err);
    ctl_unlock(in);
    if (st == NRT_SUCCESS && device_instance_gone(in)) {
        slot_release(in);
        st = NRT_QUEUE_EMPTY;
    }
    return st;
}

/* A program that closes descriptors which it did not open drops the record lock with them, and the
 * next process in need takes the slot for that of a dead one. */
bool slot_kept(const struct device_instance *in)
{
    if (in->slot == DEVICE_NONE)
        return false;

    const struct ctl_slot *s = ctl_slot(in, in->slot);
    return atomic_load_explicit(&s->state, memory_order_acquire) == SLOT_USED &&
           __atomic_load_n(&s->pid, __ATOMIC_RELAXED) == (int32_t)in->pid &&
           __atomic_load_n(&s->start_us, __ATOMIC_RELAXED) == in->slot_start_us;
}

void slot_release(struct device_instance *in)
{
    if (in->slot == DEVICE_NONE)
        return;
    if (ctl_lock(in, NULL) == NRT_SUCCESS) {
        /* A lost slot is somebody else's, and so may be the number of its descriptor. */
        if (slot_kept(in)) {
            slot_clear_locked(in, in->slot);
            close(in->slot_fd); /* under the lock: from here on others may take the slot */
        }
        ctl_unlock(in);
    } else if (slot_kept(in)) {
        /* Nobody is told, so the kernel must: no longer ours by name, nor by lock. */
        ctl_slot(in, in->slot)->pid = 0;
        close(in->slot_fd);
    }
    in->slot_fd = -1;
    in->slot = DEVICE_NONE;
}

/* --- readers ------------------------------------------------------------------------------------
 */

uint32_t device_slot(const struct device_instance *in)
{
    return in->slot;
}

uint32_t device_slot_count(const struct device_instance *in)
{
    return in->lay.slots;
}

/* What a process says of itself is shown on terminals and in tables of lines. */
static void text_copy(char *dst, size_t dst_size, const char *src, size_t src_size)
{
    size_t n = strnlen(src, src_size < dst_size ? src_size : dst_size - 1);

    if (n > dst_size - 1)
        n = dst_size - 1;
    for (size_t i = 0; i < n; i++)
        dst[i] = (unsigned char)src[i] < ' ' || src[i] == 127 ? ' ' : src[i];
    dst[n] = 0;
}

bool device_process_get(struct device_instance *in, uint32_t slot, struct device_process *ret)
{
    if (slot >= in->lay.slots)
        return false;

    const struct ctl_slot *s = ctl_slot(in, slot);
    if (atomic_load_explicit(&s->state, memory_order_acquire) != SLOT_USED)
        return false;
    memset(ret, 0, sizeof(*ret));
    ret->slot = slot;
    ret->pid = s->pid;
    ret->lnc = s->lnc;
    ret->start_us = s->start_us;
    ret->live = device_slot_live(in, slot);
    text_copy(ret->tag, sizeof(ret->tag), s->tag, sizeof(s->tag));
    text_copy(ret->command, sizeof(ret->command), s->command, sizeof(s->command));
    text_copy(ret->runtime_version, sizeof(ret->runtime_version), s->runtime_version,
              sizeof(s->runtime_version));
    for (unsigned k = 0; k < DEVICE_HOST_COUNT; k++) {
        int64_t v = atomic_load_explicit(&s->host_mem[k], memory_order_relaxed);

        ret->host_mem[k] = v < 0 ? 0 : (uint64_t)v;
    }
    return true;
}
