/* SPDX-License-Identifier: Apache-2.0 */
/* State of one physical core: memories, registers, generators. */
#include "kernel/kernel_int.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fault.h"
#include "kernel/mm.h"

/* Rows lie their real size plus an odd number of cache lines apart: a power of two would put every
 * row into the same sets of the cache. */
#define ROW_PAD (9 * 64)

uint32_t kernel_rng_next(struct kernel_rng *r)
{
    uint32_t t = r->x ^ r->x >> 2;

    r->x = r->y;
    r->y = r->z;
    r->z = r->w;
    r->w = r->v;
    r->v = (r->v ^ r->v << 4) ^ (t ^ t << 1);
    r->d += 362437;
    return r->v + r->d;
}

static uint64_t splitmix64(uint64_t *z)
{
    uint64_t r = *z += 0x9E3779B97F4A7C15u;

    r = (r ^ r >> 30) * 0xBF58476D1CE4E5B9u;
    r = (r ^ r >> 27) * 0x94D049BB133111EBu;
    return r ^ r >> 31;
}

void kernel_rng_seed(struct kernel_rng *r, uint64_t z)
{
    uint64_t o1 = splitmix64(&z), o2 = splitmix64(&z), o3 = splitmix64(&z);

    r->x = (uint32_t)o1;
    r->y = (uint32_t)(o1 >> 32);
    r->z = (uint32_t)o2;
    r->w = (uint32_t)(o2 >> 32);
    r->v = (uint32_t)o3;
    r->d = (uint32_t)(o3 >> 32);
    if ((r->x | r->y | r->z | r->w | r->v) == 0)
        r->v = 1;
}

static void seed_all(struct kernel_core *kc, uint32_t sr_seed)
{
    for (uint64_t p = 0; p < ISA_PARTITIONS; p++) {
        for (uint64_t k = 0; k < 4; k++)
            kernel_rng_seed(&kc->dve_rng[p][k], k << 8 | p);
        kernel_rng_seed(&kc->pool_rng[p], p);
        /* Bit 16 keeps these streams apart from those of the same seed above. */
        for (uint64_t e = 0; e < ISA_ENGINES; e++)
            kernel_rng_seed(&kc->sr_rng[e][p], (uint64_t)sr_seed << 32 | 1u << 16 | e << 8 | p);
    }
}

static void *map_rows(size_t bytes)
{
    void *p;

    if (fault_hit(FAULT_MMAP))
        return NULL;
    p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    madvise(p, bytes, MADV_DONTDUMP);
    return p;
}

/* Bytes of moving cells that the first-level cache holds beside what else is used. */
static size_t cells_near(void)
{
    long bytes = sysconf(_SC_LEVEL1_DCACHE_SIZE); /* 0, -1: not known */

    return bytes > 0 ? (size_t)bytes / 4 * 3 : 0;
}

NRT_STATUS kernel_core_init(struct kernel_core *kc, enum isa_gen gen, uint32_t sr_seed,
                            struct err *err)
{
    memset(kc, 0, sizeof(*kc));
    kc->gen = gen;
    kc->sbuf_bytes = isa_sbuf_bytes(gen);
    if (kc->sbuf_bytes == 0)
        return err_set(err, NRT_INVALID, "unknown core generation %u", (unsigned)gen);
    kc->sbuf_stride = kc->sbuf_bytes + ROW_PAD;
    kc->psum_stride = ISA_PSUM_BYTES + ROW_PAD;
    kc->sbuf = map_rows(ISA_PARTITIONS * kc->sbuf_stride);
    kc->psum = map_rows(ISA_PARTITIONS * kc->psum_stride);
    kc->scratch = map_rows(K_SCRATCH_BYTES);
    if (kc->sbuf == NULL || kc->psum == NULL || kc->scratch == NULL) {
        kernel_core_fini(kc);
        return err_set(err, NRT_RESOURCE, "out of host memory for a core's SBUF and PSUM");
    }
    kc->scratch_size = K_SCRATCH_BYTES;
    kc->row_end = ISA_PARTITIONS;
    kc->mm_near = cells_near();
    /* 128 rows at a time are touched: small pages would not fit the TLB. */
    madvise(kc->sbuf, ISA_PARTITIONS * kc->sbuf_stride, MADV_HUGEPAGE);
    madvise(kc->psum, ISA_PARTITIONS * kc->psum_stride, MADV_HUGEPAGE);
    madvise(kc->scratch, K_SCRATCH_BYTES, MADV_HUGEPAGE);
    seed_all(kc, sr_seed);
    return NRT_SUCCESS;
}

void kernel_core_fini(struct kernel_core *kc)
{
    if (kc->sbuf != NULL)
        munmap(kc->sbuf, ISA_PARTITIONS * kc->sbuf_stride);
    if (kc->psum != NULL)
        munmap(kc->psum, ISA_PARTITIONS * kc->psum_stride);
    if (kc->scratch != NULL)
        munmap(kc->scratch, K_SCRATCH_BYTES);
    memset(kc, 0, sizeof(*kc));
}

void kernel_core_start(struct kernel_core *kc)
{
    if (kc->acc_used) {
        memset(kc->act_acc, 0, sizeof(kc->act_acc));
        memset(kc->dve_acc, 0, sizeof(kc->dve_acc));
        kc->acc_used = false;
    }
    kc->nan_count = 0;
}

const struct k_vec *k_vec_choose(enum kernel_math math)
{
#if defined(__x86_64__)
    if (math == KERNEL_MATH_FAST) {
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
            return &k_vec_avx512;
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
            return &k_vec_avx2;
    }
#else
    (void)math;
#endif
    return &k_vec_portable;
}

const char *kernel_host_name(void)
{
#if defined(__x86_64__)
    if (k_vec_choose(KERNEL_MATH_FAST) == &k_vec_avx512)
        return __builtin_cpu_supports("avx512bf16") ? "avx512_bf16" : "avx512";
    if (k_vec_choose(KERNEL_MATH_FAST) == &k_vec_avx2)
        return "avx2";
#endif
    return "portable";
}
