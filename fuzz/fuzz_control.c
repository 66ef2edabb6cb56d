/* SPDX-License-Identifier: Apache-2.0 */
/* The control block under hostile hands: the input overwrites it (all but the lock itself) and then
 * calls what a process calls. Nothing may crash, hang or touch memory outside.
 *
 * Input: records of 12 bytes. Byte 0: what to do (overwrite, or one of the calls); bytes 1-3:
 * where; bytes 4-11: the value. */
#include "device/device_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/scratchpad.h"

#define EXTENTS     8
#define RECORDS_MAX 200

struct session {
    struct device_instance *in;
    struct device_extent x[EXTENTS];
    uint64_t lease;
};

static uint64_t le(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;

    while (n--)
        v = v << 8 | p[n];
    return v;
}

/* Where the parts are: a small number of bytes of each, so that a short input finds them. */
static uint64_t place(const struct device_instance *in, uint64_t where)
{
    const struct ctl_layout *l = &in->lay;
    const uint64_t parts[] = {0,           l->off_slots, l->off_cores, l->off_hbms,
                              l->off_bits, l->off_neffs, l->off_gens,  l->off_extents};
    uint64_t off = parts[where & 7] + (where >> 3) * 4 % 4096;

    /* the mutex's bytes belong to the C library, and the capacity to the file */
    if (off + 8 > offsetof(struct ctl_head, lock) &&
        off < offsetof(struct ctl_head, lock) + sizeof(pthread_mutex_t))
        off = l->off_extents + 128;
    if (off + 8 > offsetof(struct ctl_head, extent_cap) &&
        off < offsetof(struct ctl_head, extent_cap) + 4)
        off = l->off_extents + 256;
    return off;
}

static void visit(void *arg, const struct device_extent_info *x)
{
    *(uint64_t *)arg += x->size;
}

static void call_alloc(struct session *s, uint64_t where, uint64_t value)
{
    struct device_alloc a = {.core = (uint32_t)where & 1,
                             .neff = (uint32_t)(value >> 32) & 3,
                             .cat = (enum device_cat)(value >> 40 & 15),
                             .size = value & 0xffffff,
                             .flags = (unsigned)(where >> 8) & (2 | 16),
                             .at = value << 6};

    (void)device_alloc(s->in, &a, &s->x[where % EXTENTS], NULL);
}

static void call_report(struct session *s, uint64_t where)
{
    struct device_usage u;
    struct device_process p;
    uint64_t sum = 0, a, b;

    (void)device_usage_core(s->in, (uint32_t)where & 3, &u);
    (void)device_usage_hbm(s->in, (uint32_t)where & 3, &u);
    (void)device_extents_visit(s->in, visit, &sum);
    (void)device_process_get(s->in, (uint32_t)where & 0xff, &p);
    (void)device_vnc_memory(s->in, 0, &a, &b);
    device_memory_peak(s->in, 0, DEVICE_CAT_TENSOR, &a, &b);
    (void)device_core_owner(s->in, 0);
    (void)device_hw_check(s->in, 0, NULL);
    oom_report(s->in, &(struct device_alloc){.size = 64});
}

static void step(struct session *s, unsigned op, uint64_t where, uint64_t value)
{
    struct device_extent *x = &s->x[where % EXTENTS];
    uint32_t self = device_slot(s->in), first;
    void *p;

    switch (op % 12) {
    case 0:
    case 1:
    case 2:
        memcpy(s->in->ctl + place(s->in, where), &value, op % 2 ? 4 : 8);
        break;
    case 3:
        call_alloc(s, where, value);
        break;
    case 4:
        (void)device_free(s->in, x, NULL);
        break;
    case 5:
        (void)device_extent_grow(s->in, x, value & 0xffffff, NULL);
        break;
    case 6:
        if (device_map(s->in, x->addr, x->size < 4096 ? x->size : 4096, DEVICE_RW, &p, NULL) ==
                NRT_SUCCESS &&
            x->size)
            memset(p, 1, x->size < 4096 ? x->size : 4096);
        break;
    case 7:
        (void)device_lease_open(s->in, &self, 1, &s->lease, NULL);
        (void)device_lease_add(s->in, s->lease, x, NULL);
        break;
    case 8:
        (void)device_lease_leave(s->in, s->lease, NULL);
        break;
    case 9:
        call_report(s, where);
        break;
    case 10:
        (void)device_cores_claim_run(s->in, 1, &first, NULL);
        device_cores_release(s->in);
        break;
    case 11:
        if (ctl_lock(s->in, NULL) == NRT_SUCCESS) {
            (void)ctl_recover_locked(s->in);
            ctl_unlock(s->in);
        }
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char dir[] = "/tmp/opennrt-fuzz-XXXXXX";
    struct device_config cfg = {.dir = mkdtemp(dir),
                                .report_dir = dir,
                                .reserve_bytes = 2 * DEVICE_BLOCK,
                                .memlog_max = 16};
    struct session s = {0};
    bool removed;

    if (!cfg.dir)
        abort();
    if (device_instance_open(&cfg, &s.in, NULL) == NRT_SUCCESS) {
        for (size_t r = 0; r + 12 <= size && r < 12 * RECORDS_MAX; r += 12)
            step(&s, data[r], le(data + r + 1, 3), le(data + r + 4, 8));
        device_instance_close(s.in);
    }
    /* and another process comes to what is left */
    s.in = NULL;
    if (device_instance_open(&cfg, &s.in, NULL) == NRT_SUCCESS) {
        call_alloc(&s, 0, 4096);
        device_instance_close(s.in);
    }
    if (device_instance_reset(&cfg, true, &removed, NULL) != NRT_SUCCESS)
        abort();
    char path[96];
    snprintf(path, sizeof(path), "%s/neuron_mem_table_device_0_hbm_0.log", dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/neuron_memlog_%d.csv", dir, (int)getpid());
    unlink(path);
    snprintf(path, sizeof(path), "%s/.opennrt-%u.lock", dir, (unsigned)geteuid());
    unlink(path);
    rmdir(dir);
    return 0;
}
