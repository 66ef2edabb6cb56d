/* SPDX-License-Identifier: Apache-2.0 */
/* HBM in this process: mapped whole on first use, backed block by block before it is touched,
 * zeroed when it changes hands, given back to the host beyond a reserve.
 *
 * A block's bit in the control block says "has host memory, may hold bytes of a former owner". Bits
 * are set after the memory is there and cleared, under the lock, after it has been punched; a block
 * without a bit reads as zero. */
#include "device/device_int.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define RESERVE_DEFAULT (UINT64_C(512) << 20)

struct span {
    uint64_t first, end; /* blocks */
};

static struct span span_touched(uint64_t off, uint64_t size)
{
    struct span s = {off / DEVICE_BLOCK, off / DEVICE_BLOCK};

    if (size)
        s.end = (off + size - 1) / DEVICE_BLOCK + 1;
    return s;
}

/* Of the blocks that the range touches, those inside the gap: nobody else's. */
static struct span span_own(const struct device_instance *in, uint64_t off, uint64_t size,
                            const struct extent_gap *gap)
{
    struct span s = span_touched(off, size);
    uint64_t lo = (gap->prev_end + DEVICE_BLOCK - 1) / DEVICE_BLOCK;
    uint64_t hi = gap->next_off / DEVICE_BLOCK;

    if (s.first < lo)
        s.first = lo;
    if (s.end > hi)
        s.end = hi;
    if (s.end > in->lay.blocks_per_hbm)
        s.end = in->lay.blocks_per_hbm;
    if (s.first > s.end)
        s.first = s.end;
    return s;
}

static bool bit_get(const struct device_instance *in, uint32_t hbm, uint64_t b)
{
    return atomic_load_explicit(&ctl_bits(in, hbm)[b / 64], memory_order_acquire) >> (b % 64) & 1;
}

static void bit_set(const struct device_instance *in, uint32_t hbm, uint64_t b)
{
    atomic_fetch_or_explicit(&ctl_bits(in, hbm)[b / 64], UINT64_C(1) << (b % 64),
                             memory_order_release);
}

static void bit_clear(const struct device_instance *in, uint32_t hbm, uint64_t b)
{
    atomic_fetch_and_explicit(&ctl_bits(in, hbm)[b / 64], ~(UINT64_C(1) << (b % 64)),
                              memory_order_release);
}

static uint64_t span_backed(const struct device_instance *in, uint32_t hbm, struct span s)
{
    uint64_t n = 0;

    for (uint64_t b = s.first; b < s.end; b++)
        n += bit_get(in, hbm, b);
    return n;
}

bool hbm_any_backed(const struct device_instance *in, uint32_t hbm, uint64_t off, uint64_t size)
{
    struct span s = span_touched(off, size);

    for (uint64_t b = s.first; b < s.end; b++) {
        if (bit_get(in, hbm, b))
            return true;
    }
    return false;
}

/* --- attaching ---------------------------------------------------------------------------------
 */

/* Of a process that exits the kernel first takes the descriptors away and then, one by one, closes
 * the files: for a moment its slot still lives and its memory cannot be had. */
static bool peer_is_leaving(const struct device_instance *in, const struct ctl_slot *peer,
                            NRT_STATUS attached)
{
    uint64_t ns = ctl_slot(in, in->slot)->pid_ns;

    return attached == NRT_INVALID_HANDLE && ns != 0 && peer->pid_ns == ns;
}

/* A live process that has this HBM open. NRT_QUEUE_EMPTY (ours, inside): nobody, the former memory
 * is gone. NRT_TIMEOUT (inside): ask again, somebody is on the way out. */
static NRT_STATUS attach_peer(struct device_instance *in, uint32_t hbm, const struct backing_id *id,
                              int *ret_fd, struct err *err)
{
    struct err why = {0};
    bool seen = false, leaving = false;

    for (uint32_t s = 0; s < in->lay.slots; s++) {
        struct ctl_slot *slot = ctl_slot(in, s);
        int fd = atomic_load_explicit(&slot->hbm_fd[hbm], memory_order_acquire) - 1;

        if (fd < 0 || s == in->slot || !slot_live_locked(in, s))
            continue;
        seen = true;
        NRT_STATUS st = in->hbm[hbm].ops->attach(in, hbm, slot->pid, fd, id, ret_fd, &why);
        if (st == NRT_SUCCESS)
            return st;
        leaving = leaving || peer_is_leaving(in, slot, st);
    }
    if (seen)
        return err_set(err, leaving ? NRT_TIMEOUT : NRT_FAILURE, "%s", why.text);
    return NRT_QUEUE_EMPTY;
}

static NRT_STATUS attach_fd_locked(struct device_instance *in, uint32_t hbm, int *ret_fd,
                                   struct err *err)
{
    struct ctl_hbm *h = ctl_hbm(in, hbm);
    struct backing_id id = {.dev = h->backing_dev, .ino = atomic_load(&h->backing_ino)};
    NRT_STATUS st = NRT_QUEUE_EMPTY;

    if (id.ino != 0)
        st = attach_peer(in, hbm, &id, ret_fd, err);
    if (st == NRT_QUEUE_EMPTY) {
        st = in->hbm[hbm].ops->create(in, hbm, ret_fd, &id, err);
        if (st == NRT_SUCCESS) {
            for (uint64_t w = 0; w < in->lay.bitmap_words; w++)
                atomic_store_explicit(&ctl_bits(in, hbm)[w], 0, memory_order_relaxed);
            device_point(in);
            PUT(in, h->reserve_blocks, 0);
            COMMIT(in, h->holes, 0);
            PUT(in, h->backing_dev, id.dev);
            COMMIT(in, h->backing_ino, id.ino);
        }
    }
    if (st == NRT_SUCCESS)
        COMMIT(in, ctl_slot(in, in->slot)->hbm_fd[hbm], *ret_fd + 1);
    return st;
}

/* The memory of an HBM, made or had from a peer; waits for peers that exit. */
static NRT_STATUS attach_fd(struct device_instance *in, uint32_t hbm, int *ret_fd, struct err *err)
{
    const struct timespec step = {.tv_nsec = 1000000};

    for (uint32_t waited = 0;; waited++) {
        NRT_STATUS st = ctl_lock(in, err);

        if (st != NRT_SUCCESS)
            return st;
        st = attach_fd_locked(in, hbm, ret_fd, err);
        ctl_unlock(in);
        if (st != NRT_TIMEOUT)
            return st;
        if (waited >= ctl_lock_limit(in))
            return NRT_FAILURE;
        nanosleep(&step, NULL);
    }
}

/* The memory comes from the host's node that the device is on. Where that is refused (some
 * containers do) it is where it is first touched. */
static void prefer_node(struct device_instance *in, uint32_t hbm, char *base)
{
    int node = run_place_node(in->place, topo_hbm_device(in->topo, hbm));

    if (node >= 0 && !run_memory_prefer(base, in->hbm_bytes, (unsigned)node))
        LOGD(in->log, LOG_TDRV, "hbm_attach", "HBM %u is not bound to NUMA node %d: %s", hbm, node,
             strerror(errno));
}

NRT_STATUS hbm_attach(struct device_instance *in, uint32_t hbm, char **ret_base, struct err *err)
{
    struct hbm_map *m = &in->hbm[hbm];
    NRT_STATUS st = NRT_SUCCESS;
    char *p = NULL;
    int fd = -1;

    pthread_mutex_lock(&in->map_lock);
    if ((*ret_base = atomic_load_explicit(&m->base, memory_order_acquire)) != NULL)
        goto out;
    m->ops = backing_for(in);
    st = attach_fd(in, hbm, &fd, err);
    if (st == NRT_TIMEOUT)
        goto out; /* the lock has said it */
    if (st != NRT_SUCCESS)
        goto out_log;
    st = m->ops->map(in, fd, in->hbm_bytes, &p, err);
    if (st != NRT_SUCCESS) {
        COMMIT(in, ctl_slot(in, in->slot)->hbm_fd[hbm], 0);
        close(fd);
        goto out_log;
    }
    prefer_node(in, hbm, p);
    m->fd = fd;
    m->copies = mem_zalloc(in->lay.blocks_per_hbm);
    atomic_store_explicit(&m->base, p, memory_order_release);
    *ret_base = p;
    goto out;
out_log:
    if (err)
        LOGE(in->log, LOG_TDRV, "hbm_attach", "HBM %u: %s", hbm, err->text);
out:
    pthread_mutex_unlock(&in->map_lock);
    return st;
}

/* Whether another live slot has the HBM open. */
static bool hbm_shared_locked(struct device_instance *in, uint32_t hbm)
{
    for (uint32_t s = 0; s < in->lay.slots; s++) {
        if (s != in->slot && atomic_load(&ctl_slot(in, s)->hbm_fd[hbm]) > 0 &&
            slot_live_locked(in, s))
            return true;
    }
    return false;
}

/* Unmap all. Called before the slot is released, with its extents still in the table. */
void hbm_fini(struct device_instance *in)
{
    for (uint32_t i = 0; i < in->lay.hbms; i++) {
        struct hbm_map *m = &in->hbm[i];
        char *p = atomic_load(&m->base);

        if (!p)
            continue;
        if (!device_instance_forked(in) && in->slot != DEVICE_NONE &&
            ctl_lock(in, NULL) == NRT_SUCCESS) {
            COMMIT(in, ctl_slot(in, in->slot)->hbm_fd[i], 0);
            if (!hbm_shared_locked(in, i)) {
                COMMIT(in, ctl_hbm(in, i)->backing_ino, 0);
                m->ops->destroy(in, i);
            }
            ctl_unlock(in);
        }
        munmap(p, in->hbm_bytes);
        close(m->fd);
        atomic_store(&m->base, NULL);
        mem_free((void *)m->copies);
        m->copies = NULL;
    }
}

/* --- backing -------------------------------------------------------------------------------------
 */

static NRT_STATUS host_full(struct device_instance *in, uint64_t need, const struct host_room *room,
                            struct err *err)
{
    char need_t[32], avail_t[32], cg_t[32] = "none";

    size_text(need_t, sizeof(need_t), need);
    size_text(avail_t, sizeof(avail_t), room->mem_avail);
    if (room->cgroup_max != UINT64_MAX)
        size_text(cg_t, sizeof(cg_t), room->cgroup_max);
    LOGE(in->log, LOG_TDRV, "hbm_back",
         "the host is full: %s more for device memory, MemAvailable %s, cgroup limit %s", need_t,
         avail_t, cg_t);
    return err_set(err, NRT_RESOURCE,
                   "the host is full: %s more for device memory, MemAvailable %s, cgroup limit %s",
                   need_t, avail_t, cg_t);
}

/* Back [first, end), none of which has a bit. */
static NRT_STATUS back_run(struct device_instance *in, uint32_t hbm, char *base, struct span s)
{
    uint64_t off = s.first * DEVICE_BLOCK, size = (s.end - s.first) * DEVICE_BLOCK;

    if (fault_hit(FAULT_BACKING))
        return NRT_RESOURCE;
    NRT_STATUS st = in->hbm[hbm].ops->back(in->hbm[hbm].fd, base, off, size);
    if (st != NRT_SUCCESS)
        return st;
    for (uint64_t b = s.first; b < s.end; b++)
        bit_set(in, hbm, b);
    atomic_fetch_add_explicit(&in->host_backed, size, memory_order_relaxed);
    return NRT_SUCCESS;
}

static NRT_STATUS back_missing(struct device_instance *in, uint32_t hbm, char *base, struct span s)
{
    for (uint64_t b = s.first; b < s.end;) {
        struct span run = {b, b};

        while (run.end < s.end && !bit_get(in, hbm, run.end))
            run.end++;
        if (run.end > run.first) {
            NRT_STATUS st = back_run(in, hbm, base, run);

            if (st != NRT_SUCCESS)
                return st;
        }
        b = run.end + 1;
    }
    return NRT_SUCCESS;
}

/* Give every reserve of the instance back to the host. */
static void trim_all(struct device_instance *in)
{
    for (uint32_t i = 0; i < in->lay.hbms; i++) {
        char *base;

        if (ctl_hbm(in, i)->reserve_blocks > 0 && ctl_hbm(in, i)->backing_ino != 0)
            (void)hbm_attach(in, i, &base, NULL);
    }
    if (ctl_lock(in, NULL) == NRT_SUCCESS) {
        hbm_trim_locked(in);
        ctl_unlock(in);
    }
}

static NRT_STATUS hbm_back(struct device_instance *in, uint32_t hbm, char *base, struct span s,
                           struct err *err)
{
    for (int pass = 0;; pass++) {
        uint64_t need = (s.end - s.first - span_backed(in, hbm, s)) * DEVICE_BLOCK;
        struct host_room room;

        host_room_get(in, &room);
        if (need <= room.available && back_missing(in, hbm, base, s) == NRT_SUCCESS)
            return NRT_SUCCESS;
        if (pass == 1)
            return host_full(in, need, &room, err);
        trim_all(in);
    }
}

/* Give block b its memory and its bytes at once. False: the host has none to give. */
static bool block_fill(struct device_instance *in, uint32_t hbm, uint64_t b, const uint8_t *src)
{
    uint64_t done = 0;

    if (fault_hit(FAULT_BACKING) || !fd_size_ok((b + 1) * DEVICE_BLOCK))
        return false;
    while (done < DEVICE_BLOCK) {
        ssize_t n = pwrite(in->hbm[hbm].fd, src + done, DEVICE_BLOCK - done,
                           (off_t)(b * DEVICE_BLOCK + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (uint64_t)n;
    }
    bit_set(in, hbm, b);
    atomic_fetch_add_explicit(&in->host_backed, DEVICE_BLOCK, memory_order_relaxed);
    return true;
}

NRT_STATUS device_write(struct device_instance *in, uint64_t addr, const void *src, uint64_t size,
                        struct err *err)
{
    uint32_t hbm = DEVICE_ADDR_HBM(addr);
    const uint8_t *from = src;
    struct host_room room;
    bool plenty;
    void *p;
    NRT_STATUS st;

    if (size == 0)
        return NRT_SUCCESS;
    st = device_map(in, addr, 1, DEVICE_RW, &p, err); /* checks, and maps the HBM */
    if (st != NRT_SUCCESS)
        return st;
    if (!range_ok(DEVICE_ADDR_OFF(addr), size, in->hbm_bytes))
        return err_set(err, NRT_INVALID, "%llu bytes at %llx are outside HBM %u",
                       (unsigned long long)size, (unsigned long long)addr, hbm);
    host_room_get(in, &room);
    plenty = size <= room.available;
    while (size > 0) {
        uint64_t off = DEVICE_ADDR_OFF(addr), b = off / DEVICE_BLOCK;
        uint64_t n = DEVICE_BLOCK - off % DEVICE_BLOCK;

        if (n > size)
            n = size;
        if (!plenty || n < DEVICE_BLOCK || bit_get(in, hbm, b) || !block_fill(in, hbm, b, from)) {
            st = device_map(in, addr, n, DEVICE_RW, &p, err);
            if (st != NRT_SUCCESS)
                return st;
            memcpy(p, from, n);
        }
        addr += n;
        from += n;
        size -= n;
    }
    return NRT_SUCCESS;
}

NRT_STATUS hbm_zero(struct device_instance *in, uint32_t hbm, uint64_t off, uint64_t size,
                    struct err *err)
{
    char *base = atomic_load_explicit(&in->hbm[hbm].base, memory_order_acquire);
    struct span s = span_touched(off, size);
    NRT_STATUS st = NRT_SUCCESS;

    if (!base && (st = hbm_attach(in, hbm, &base, err)) != NRT_SUCCESS)
        return st;
    for (uint64_t b = s.first; b < s.end; b++) {
        uint64_t lo = b * DEVICE_BLOCK, hi = lo + DEVICE_BLOCK;

        if (!bit_get(in, hbm, b))
            continue;
        /* After a punch that was cut short a bit may lack memory: no memset into a hole. */
        if (atomic_load_explicit(&ctl_hbm(in, hbm)->holes, memory_order_relaxed) &&
            in->hbm[hbm].ops->back(in->hbm[hbm].fd, base, lo, DEVICE_BLOCK) != NRT_SUCCESS) {
            struct host_room room;

            host_room_get(in, &room);
            return host_full(in, DEVICE_BLOCK, &room, err);
        }
        if (lo < off)
            lo = off;
        if (hi > off + size)
            hi = off + size;
        in->hbm[hbm].ops->write(base, lo, NULL, hi - lo);
    }
    return NRT_SUCCESS;
}

NRT_STATUS device_map(struct device_instance *in, uint64_t addr, uint64_t size,
                      enum device_access access, void **ret_p, struct err *err)
{
    uint32_t hbm = DEVICE_ADDR_HBM(addr);
    uint64_t off = DEVICE_ADDR_OFF(addr);

    if (hbm >= in->lay.hbms || !range_ok(off, size, in->hbm_bytes) || in->slot == DEVICE_NONE ||
        !(access & DEVICE_RW))
        return err_set(err, NRT_INVALID,
                       "device range %#" PRIx64 " of %" PRIu64 " bytes is outside", addr, size);
    char *base = atomic_load_explicit(&in->hbm[hbm].base, memory_order_acquire);
    if (__builtin_expect(!base, 0)) {
        struct err own = {0};
        NRT_STATUS st = hbm_attach(in, hbm, &base, err ? err : &own);

        if (st != NRT_SUCCESS)
            return st;
    }
    struct span s = span_touched(off, size);
    for (uint64_t b = s.first; b < s.end; b++) {
        if (__builtin_expect(!bit_get(in, hbm, b), 0)) {
            NRT_STATUS st = hbm_back(in, hbm, base, s, err);

            if (st != NRT_SUCCESS)
                return st;
            break;
        }
    }
    *ret_p = base + off;
    return NRT_SUCCESS;
}

uint64_t device_peek(const struct device_instance *in, uint64_t addr, uint64_t size,
                     const void **ret_p)
{
    uint32_t hbm = DEVICE_ADDR_HBM(addr);
    uint64_t off = DEVICE_ADDR_OFF(addr), end;
    const char *base;

    if (hbm >= in->lay.hbms || !range_ok(off, size, in->hbm_bytes))
        return 0;
    base = atomic_load_explicit(&in->hbm[hbm].base, memory_order_acquire);
    if (!base)
        return 0;
    for (end = off; end < off + size && bit_get(in, hbm, end / DEVICE_BLOCK);)
        end = (end / DEVICE_BLOCK + 1) * DEVICE_BLOCK;
    *ret_p = base + off;
    return end < off + size ? end - off : size;
}

NRT_STATUS device_hbm_va(struct device_instance *in, uint32_t dev, uint32_t hbm, void **ret_va,
                         uint64_t *ret_size, struct err *err)
{
    NRT_STATUS st;

    if (dev >= in->topo->device_count)
        return err_set(err, NRT_INVALID, "device %u is outside the instance", dev);
    if (hbm >= in->topo->hbms_per_device)
        return err_set(err, NRT_INVALID_HANDLE, "device %u has %u HBMs", dev,
                       in->topo->hbms_per_device);
    uint32_t i = dev * in->topo->hbms_per_device + hbm;
    void *p;
    st = device_map(in, DEVICE_ADDR(i, 0), 0, DEVICE_RW, &p, err);
    if (st != NRT_SUCCESS)
        return st;
    *ret_va = p;
    *ret_size = in->hbm_bytes;
    return NRT_SUCCESS;
}

bool device_va_addr(const struct device_instance *in, const void *va, uint64_t *ret_addr)
{
    for (uint32_t i = 0; i < in->lay.hbms; i++) {
        const char *base = atomic_load_explicit(&in->hbm[i].base, memory_order_acquire);
        uint64_t d = (uint64_t)(uintptr_t)va - (uint64_t)(uintptr_t)base;

        if (base && d < in->hbm_bytes) {
            *ret_addr = DEVICE_ADDR(i, d);
            return true;
        }
    }
    return false;
}

NRT_STATUS device_dmabuf_export(struct device_instance *in, uint64_t addr, uint64_t size,
                                int *ret_fd, struct err *err)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint32_t hbm = DEVICE_ADDR_HBM(addr);
    void *p;

    if (size == 0 || addr % page || size % page)
        return err_set(err, NRT_INVALID, "a dma-buf covers whole pages");
    if (device_map(in, addr, size, DEVICE_RW, &p, err) != NRT_SUCCESS)
        return NRT_INVALID;
    if (in->hbm[hbm].ops->export_fd(in->hbm[hbm].fd, DEVICE_ADDR_OFF(addr), size, ret_fd) !=
        NRT_SUCCESS)
        return err_set(err, NRT_INVALID, "the host gives no dma-buf: %s", strerror(errno));
    return NRT_SUCCESS;
}

/* --- the reserve
 * ---------------------------------------------------------------------------------- */

static void punch_locked(struct device_instance *in, uint32_t hbm, struct span s)
{
    struct ctl_hbm *h = ctl_hbm(in, hbm);
    uint64_t n = span_backed(in, hbm, s);

    if (n == 0 || !atomic_load(&in->hbm[hbm].base))
        return;
    PUT(in, h->punch_first, s.first);
    COMMIT(in, h->punch_count, s.end - s.first);
    if (in->hbm[hbm].ops->punch(in->hbm[hbm].fd, s.first * DEVICE_BLOCK,
                                (s.end - s.first) * DEVICE_BLOCK)) {
        device_point(in);
        for (uint64_t b = s.first; b < s.end; b++) {
            bit_clear(in, hbm, b);
            if (in->hbm[hbm].copies)
                atomic_store_explicit(&in->hbm[hbm].copies[b], 0, memory_order_relaxed);
            device_point(in);
        }
        PUT(in, h->reserve_blocks, h->reserve_blocks > n ? h->reserve_blocks - n : 0);
        uint64_t mine = atomic_load_explicit(&in->host_backed, memory_order_relaxed);
        uint64_t gone = n * DEVICE_BLOCK < mine ? n * DEVICE_BLOCK : mine;
        atomic_fetch_sub_explicit(&in->host_backed, gone, memory_order_relaxed);
    }
    COMMIT(in, h->punch_count, 0);
}

void hbm_punch_recover_locked(struct device_instance *in, uint32_t hbm)
{
    struct ctl_hbm *h = ctl_hbm(in, hbm);
    uint64_t first = h->punch_first, n = atomic_load(&h->punch_count);

    if (n == 0)
        return;
    if (range_ok(first, n, in->lay.blocks_per_hbm)) {
        COMMIT(in, h->holes, 1);
        for (uint64_t b = first; b < first + n; b++)
            bit_set(in, hbm, b);
    }
    COMMIT(in, h->punch_count, 0);
}

void hbm_reserve_add_locked(struct device_instance *in, uint32_t hbm, uint64_t off, uint64_t size,
                            const struct extent_gap *gap)
{
    struct ctl_hbm *h = ctl_hbm(in, hbm);
    struct span s = span_own(in, off, size, gap);
    uint64_t limit = in->cfg.reserve_bytes ? in->cfg.reserve_bytes : RESERVE_DEFAULT;

    PUT(in, h->reserve_blocks, h->reserve_blocks + span_backed(in, hbm, s));
    if (h->reserve_blocks * DEVICE_BLOCK > limit)
        punch_locked(in, hbm, s);
}

void hbm_reserve_sub_locked(struct device_instance *in, uint32_t hbm, uint64_t off, uint64_t size,
                            const struct extent_gap *gap)
{
    struct ctl_hbm *h = ctl_hbm(in, hbm);
    uint64_t n = span_backed(in, hbm, span_own(in, off, size, gap));

    PUT(in, h->reserve_blocks, h->reserve_blocks > n ? h->reserve_blocks - n : 0);
}

/* The gap that starts at or after off, in whole blocks; false past the last one. */
static bool next_free_span(struct device_instance *in, uint32_t hbm, uint64_t *pos,
                           struct span *ret)
{
    while (*pos < in->lay.blocks_per_hbm) {
        struct extent_gap gap;
        uint64_t b = *pos;

        if (!tree_around(in, hbm, b * DEVICE_BLOCK, DEVICE_BLOCK, 0, &gap)) {
            (*pos)++;
            continue;
        }
        ret->first = b;
        ret->end = gap.next_off / DEVICE_BLOCK;
        *pos = ret->end + 1;
        return true;
    }
    return false;
}

uint64_t hbm_reserve_count(const struct device_instance *in, uint32_t hbm)
{
    struct device_instance *w = (struct device_instance *)(uintptr_t)in;
    uint64_t n = 0, pos = 0;
    struct span s;

    while (next_free_span(w, hbm, &pos, &s))
        n += span_backed(in, hbm, s);
    return n;
}

uint64_t hbm_trim_locked(struct device_instance *in)
{
    uint64_t given = 0;

    for (uint32_t i = 0; i < in->lay.hbms; i++) {
        uint64_t pos = 0;
        struct span s;

        if (!atomic_load(&in->hbm[i].base))
            continue;
        while (next_free_span(in, i, &pos, &s)) {
            uint64_t n = span_backed(in, i, s);

            punch_locked(in, i, s);
            given += (n - span_backed(in, i, s)) * DEVICE_BLOCK;
        }
    }
    return given;
}
