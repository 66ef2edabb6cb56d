/* SPDX-License-Identifier: Apache-2.0 */
/* The allocator and the memory behind it. */
#include "audit.h"
#include "seed.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)

static void placement_alignment_and_rounding(void **state)
{
    struct fixture *f = fixture_new("trn2.3xlarge");
    struct device_instance *in = fixture_open(f);
    static const uint64_t sizes[] = {1, 63, 64, 65, 4095, 4096, 4097, 5 * MIB};

    for (uint32_t core = 0; core < 8; core++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            struct device_alloc a = want(core, DEVICE_CAT_TENSOR, sizes[i]);
            struct device_extent x;

            assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
            assert_int_equal(DEVICE_ADDR_HBM(x.addr), core / 2); /* two cores share one HBM */
            assert_true(x.size == (sizes[i] + 63) / 64 * 64);
            assert_int_equal(DEVICE_ADDR_OFF(x.addr) % (sizes[i] >= 4096 ? 4096 : 64), 0);
        }
    }
    PROVES("mem-046");
    for (uint64_t align = 1; align <= GIB; align *= 2) {
        struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 64);
        struct device_extent x;

        a.align = align;
        assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
        assert_int_equal(DEVICE_ADDR_OFF(x.addr) % align, 0);
    }
    audit(in);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void bad_arguments_are_refused(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct device_alloc a;
    struct device_extent x = {0};
    void *p;

    a = want(2, DEVICE_CAT_TENSOR, 64);
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_INVALID);
    a = want(0, DEVICE_CAT_COUNT, 64);
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_INVALID);
    a = want(0, DEVICE_CAT_TENSOR, 0);
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_INVALID);
    a = want(0, DEVICE_CAT_TENSOR, 64);
    a.align = 96;
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_INVALID);
    a.align = 2 * GIB;
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_INVALID);
    a = want(0, DEVICE_CAT_TENSOR, 64);
    a.flags = DEVICE_ALLOC_AT;
    a.at = 32;
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_INVALID);
    assert_true(used_on(in, 0) == 0);

    assert_int_equal(device_map(in, DEVICE_ADDR(2, 0), 64, DEVICE_RW, &p, NULL), NRT_INVALID);
    assert_int_equal(device_map(in, DEVICE_ADDR(0, 16 * GIB), 1, DEVICE_RW, &p, NULL), NRT_INVALID);
    assert_int_equal(device_map(in, DEVICE_ADDR(0, 64), UINT64_MAX, DEVICE_RW, &p, NULL),
                     NRT_INVALID);
    assert_int_equal(device_free(in, &x, NULL), NRT_INVALID_HANDLE);
    x.index = UINT32_MAX;
    assert_int_equal(device_free(in, &x, NULL), NRT_INVALID_HANDLE);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void handles_go_stale(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *a = fixture_open(f), *b = fixture_open(f);
    struct device_alloc w = want(0, DEVICE_CAT_TENSOR, 4096);
    struct device_extent x, y;

    assert_int_equal(device_alloc(a, &w, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_free(b, &x, NULL), NRT_INVALID_HANDLE); /* another slot's */
    assert_int_equal(device_free(a, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_free(a, &x, NULL), NRT_INVALID_HANDLE);
    assert_int_equal(device_alloc(a, &w, &y, NULL), NRT_SUCCESS);
    assert_int_equal(y.index, x.index); /* the entry is used again, the old handle is not */
    assert_int_equal(device_free(a, &x, NULL), NRT_INVALID_HANDLE);
    assert_int_equal(device_extent_grow(a, &x, 8192, NULL), NRT_INVALID_HANDLE);
    assert_int_equal(device_free(a, &y, NULL), NRT_SUCCESS);
    device_instance_close(a);
    device_instance_close(b);
    (void)state;
    fixture_free(f);
}

/* What a peek finds is what was written, up to the first block without memory; it makes none. */
static void peeks_make_no_memory(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 16 * MIB);
    const void *seen = NULL;
    struct device_extent x;
    uint64_t free_bytes;
    void *p;

    a.align = 2 * MIB;
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
    assert_true(device_peek(in, x.addr, x.size, &seen) == 0); /* not mapped, or not backed */
    assert_int_equal(device_map(in, x.addr, 6 * MIB, DEVICE_RW, &p, NULL), NRT_SUCCESS);
    memset(p, 0x5a, 6 * MIB);
    assert_true(device_peek(in, x.addr, x.size, &seen) == 6 * MIB);
    assert_ptr_equal(seen, p);
    assert_true(device_peek(in, x.addr + 100, 64, &seen) == 64);
    assert_ptr_equal(seen, (char *)p + 100);
    assert_true(device_peek(in, x.addr + 6 * MIB - 8, 64, &seen) == 8);
    assert_true(device_peek(in, x.addr + 6 * MIB, 64, &seen) == 0);
    assert_true(device_peek(in, x.addr, 0, &seen) == 0);
    free_bytes = 16 * GIB - DEVICE_ADDR_OFF(x.addr);
    assert_true(device_peek(in, x.addr, free_bytes, &seen) == 6 * MIB);
    /* Numbers that name nothing. */
    assert_true(device_peek(in, x.addr, free_bytes + 1, &seen) == 0);
    assert_true(device_peek(in, x.addr, UINT64_MAX, &seen) == 0);
    assert_true(device_peek(in, DEVICE_ADDR(2, 0), 64, &seen) == 0);
    assert_true(device_peek(in, UINT64_MAX, UINT64_MAX, &seen) == 0);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void a_whole_hbm_can_be_had_on_a_small_host(void **state)
{
    struct fixture *f = fixture_new("trn3-gen2-ultraserver");
    struct device_instance *in = fixture_open(f);
    struct device_alloc a = want(5, DEVICE_CAT_TENSOR, 36 * GIB);
    struct device_extent x, y;
    unsigned char *p;

    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS); /* nothing is backed yet */
    assert_true(used_on(in, 2) == 36 * GIB);
    a.size = 64;
    a.flags = DEVICE_ALLOC_QUIET;
    assert_int_equal(device_alloc(in, &a, &y, NULL), NRT_RESOURCE);
    assert_int_equal(device_map(in, x.addr + 36 * GIB - 4096, 4096, DEVICE_RW, (void **)&p, NULL),
                     NRT_SUCCESS);
    p[4095] = 1; /* the last byte */
    assert_int_equal(device_map(in, x.addr, 4096, DEVICE_RW, (void **)&p, NULL), NRT_SUCCESS);
    p[0] = 1;
    assert_int_equal(device_free(in, &x, NULL), NRT_SUCCESS);
    audit(in);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void reused_memory_reads_as_zero(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    static const uint64_t sizes[] = {64, 4096, MIB, 2 * MIB + 64, 16 * MIB};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct device_alloc a = want(0, DEVICE_CAT_TENSOR, sizes[i]);
        struct device_extent x;

        for (int round = 0; round < 3; round++) {
            assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
            assert_true(all_bytes(map(in, &x), x.size, 0));
            memset(map(in, &x), 0xee, x.size);
            assert_int_equal(device_free(in, &x, NULL), NRT_SUCCESS);
        }
        a.flags = DEVICE_ALLOC_DIRTY;
        assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
        assert_true(x.dirty); /* the caller's promise to overwrite */
        assert_int_equal(device_extent_zero(in, &x, 0, x.size, NULL), NRT_SUCCESS);
        assert_true(all_bytes(map(in, &x), x.size, 0));
        assert_int_equal(device_free(in, &x, NULL), NRT_SUCCESS);
    }
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static uint64_t backed_blocks(struct device_instance *in, uint32_t hbm)
{
    uint64_t n = 0;

    for (uint64_t w = 0; w < in->lay.bitmap_words; w++)
        n += (uint64_t)__builtin_popcountll(ctl_bits(in, hbm)[w]);
    return n;
}

/* Who has the address of an HBM touches what it owns there without asking. */
static void exposed_hbm_has_memory_for_what_is_owned(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f), *other = fixture_open(f);
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 8 * MIB), b = a;
    struct device_extent x[2], y, z;
    struct err err = {0};
    uint64_t size;
    char *va;

    a.align = b.align = DEVICE_BLOCK;
    for (int i = 0; i < 2; i++)
        assert_int_equal(device_alloc(in, &a, &x[i], NULL), NRT_SUCCESS);
    assert_int_equal(device_alloc(other, &a, &y, NULL), NRT_SUCCESS);
    b.core = 1; /* the device's other HBM */
    assert_int_equal(device_alloc(in, &b, &z, NULL), NRT_SUCCESS);
    assert_int_equal(DEVICE_ADDR_HBM(z.addr), 1);
    assert_int_equal(backed_blocks(in, 0), 0);
    /* the host has no memory: nothing changes, nothing is promised */
    in->cfg.host_limit_bytes = 12 * MIB;
    assert_int_equal(device_hbm_expose(in, 0, 0, (void **)&va, &size, &err), NRT_RESOURCE);
    assert_non_null(strstr(err.text, "the host is full"));
    assert_int_equal(device_free(in, &x[1], NULL), NRT_SUCCESS);
    assert_int_equal(device_alloc(in, &a, &x[1], NULL), NRT_SUCCESS);
    assert_int_equal(backed_blocks(in, 0), 4);

    in->cfg.host_limit_bytes = 0;
    assert_int_equal(device_hbm_expose(in, 0, 0, (void **)&va, &size, &err), NRT_SUCCESS);
    assert_int_equal(size, 16 * GIB);
    assert_int_equal(backed_blocks(in, 0), 8); /* own extents; not those of others */
    assert_int_equal(backed_blocks(in, 1), 0);
    for (int i = 0; i < 2; i++)
        va[DEVICE_ADDR_OFF(x[i].addr) + x[i].size - 1] = 5;
    /* what is allocated, or grows, afterwards */
    a.size = 4 * MIB;
    assert_int_equal(device_free(in, &x[0], NULL), NRT_SUCCESS);
    assert_int_equal(device_alloc(in, &a, &x[0], NULL), NRT_SUCCESS);
    a.at = DEVICE_ADDR_OFF(y.addr) + 64 * MIB;
    a.flags = DEVICE_ALLOC_AT;
    assert_int_equal(device_alloc(in, &a, &x[0], NULL), NRT_SUCCESS);
    size = backed_blocks(in, 0);
    assert_int_equal(device_extent_grow(in, &x[0], 10 * MIB, NULL), NRT_SUCCESS);
    assert_int_equal(backed_blocks(in, 0), size + 3);
    in->cfg.host_limit_bytes = 1;
    assert_int_equal(device_extent_grow(in, &x[0], 20 * MIB, NULL), NRT_RESOURCE);
    assert_int_equal(x[0].size, 10 * MIB);
    audit(in);
    device_instance_close(other);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void freed_blocks_are_kept_up_to_the_reserve(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");

    f->cfg.reserve_bytes = 16 * MIB;
    struct device_instance *in = fixture_open(f);
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 8 * MIB);
    struct device_extent x[4];
    a.align = DEVICE_BLOCK;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(device_alloc(in, &a, &x[i], NULL), NRT_SUCCESS);
        memset(map(in, &x[i]), 1, x[i].size);
    }
    assert_int_equal(backed_blocks(in, 0), 16);
    for (int i = 0; i < 4; i++)
        assert_int_equal(device_free(in, &x[i], NULL), NRT_SUCCESS);
    assert_int_equal(backed_blocks(in, 0), 8); /* two kept, two punched */
    audit(in);
    a.size = 32 * MIB;
    assert_int_equal(device_alloc(in, &a, &x[0], NULL), NRT_SUCCESS);
    assert_true(all_bytes(map(in, &x[0]), x[0].size, 0));
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void full_host_is_a_status(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct err err = {0};

    f->cfg.host_limit_bytes = 32 * MIB;
    struct device_instance *in = fixture_open(f);
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 24 * MIB);
    struct device_extent x, y;
    void *p;
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
    memset(map(in, &x), 1, x.size);
    assert_int_equal(device_alloc(in, &a, &y, NULL), NRT_SUCCESS); /* addresses, not memory */
    assert_int_equal(device_map(in, y.addr, y.size, DEVICE_WRITE, &p, &err), NRT_RESOURCE);
    assert_non_null(strstr(err.text, "the host is full"));
    assert_int_equal(log_tap_find(&f->tap, "the host is full"), 1);
    assert_int_equal(device_map(in, y.addr, 8 * MIB, DEVICE_WRITE, &p, NULL), NRT_SUCCESS);
    assert_int_equal(device_free(in, &x, NULL), NRT_SUCCESS);
    /* x is in the reserve: that is given up first */
    assert_int_equal(device_map(in, y.addr, y.size, DEVICE_WRITE, &p, NULL), NRT_SUCCESS);
    memset(p, 1, y.size);
    a.size = 16 * MIB;
    a.flags = DEVICE_ALLOC_BACK;
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_RESOURCE);
    assert_true(used_on(in, 0) == 24 * MIB); /* nothing stays taken */
    audit(in);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

/* In a child: an address space that has no room for an HBM. */
static void limited_address_space_is_a_status(void **state)
{
    struct fixture *f;
    int status;

    if (FIXTURE_SANITIZED || /* both need an address space of their own */
        runner_emulator_lacks(__func__, "the limit would be the emulator's own"))
        skip();
    f = fixture_new("trn1.2xlarge");
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit rl = {4 * GIB, 4 * GIB};
        struct device_instance *in = NULL;
        struct device_alloc a = want(0, DEVICE_CAT_TENSOR, MIB);
        struct device_extent x;
        struct err err = {0};
        void *p;
        int rc = 0;

        setrlimit(RLIMIT_AS, &rl);
        if (device_instance_open(&f->cfg, &in, &err) != NRT_SUCCESS)
            rc = 1;
        else if (device_alloc(in, &a, &x, &err) != NRT_SUCCESS)
            rc = 2;
        else if (device_map(in, x.addr, x.size, DEVICE_RW, &p, &err) != NRT_RESOURCE)
            rc = 3;
        else if (!strstr(err.text, "ulimit -v"))
            rc = 4;
        else if (device_free(in, &x, NULL) != NRT_SUCCESS)
            rc = 5;
        device_instance_close(in);
        rl.rlim_cur = rl.rlim_max = 64 << 10;
        setrlimit(RLIMIT_AS, &rl);
        memset(&err, 0, sizeof(err));
        if (rc == 0 && device_instance_open(&f->cfg, &in, &err) != NRT_RESOURCE)
            rc = 6;
        _exit(rc);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    (void)state;
    fixture_free(f);
}

static void growing_in_place(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct device_alloc a = want(0, DEVICE_CAT_SHARED_SCRATCH, 4 * MIB);
    struct device_extent x, y;

    a.flags = DEVICE_ALLOC_AFTER;
    a.at = 8 * GIB;
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
    assert_true(DEVICE_ADDR_OFF(x.addr) == 8 * GIB);
    uint64_t addr = x.addr;
    memset(map(in, &x), 7, x.size);
    assert_int_equal(device_extent_grow(in, &x, 12 * MIB, NULL), NRT_SUCCESS);
    assert_true(x.addr == addr && x.size == 12 * MIB);
    assert_true(all_bytes(map(in, &x), 4 * MIB, 7));
    assert_true(all_bytes(map(in, &x) + 4 * MIB, 8 * MIB, 0));
    memset(map(in, &x), 8, x.size);
    assert_int_equal(device_extent_grow(in, &x, 3 * MIB + 1, NULL), NRT_SUCCESS);
    assert_true(x.size == 3 * MIB + 64);
    assert_int_equal(device_extent_grow(in, &x, 5 * MIB, NULL), NRT_SUCCESS);
    assert_true(all_bytes(map(in, &x), 3 * MIB + 64, 8));
    assert_true(all_bytes(map(in, &x) + 3 * MIB + 64, 2 * MIB - 64, 0));
    audit(in);

    a.flags = DEVICE_ALLOC_AT;
    a.at = 8 * GIB + 10 * MIB;
    a.size = 64;
    assert_int_equal(device_alloc(in, &a, &y, NULL), NRT_SUCCESS);
    assert_int_equal(device_extent_grow(in, &x, 10 * MIB, NULL), NRT_SUCCESS);
    assert_int_equal(device_extent_grow(in, &x, 10 * MIB + 1, NULL), NRT_RESOURCE);
    assert_true(x.size == 10 * MIB);
    a.at -= 64;
    assert_int_equal(device_alloc(in, &a, &y, NULL), NRT_RESOURCE);
    assert_int_equal(device_extent_grow(in, &x, 9 * GIB, NULL), NRT_RESOURCE);
    assert_int_equal(device_extent_grow(in, &x, UINT64_MAX, NULL), NRT_INVALID);
    audit(in);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void addresses_of_all_hbms_are_distinct(void **state)
{
    struct fixture *f = fixture_new("trn1.32xlarge");
    struct device_instance *in = fixture_open(f);
    uint64_t addr, size;
    void *va[32], *p;

    for (uint32_t d = 0; d < 16; d++) {
        for (uint32_t h = 0; h < 2; h++) {
            assert_int_equal(device_hbm_va(in, d, h, &va[2 * d + h], &size, NULL), NRT_SUCCESS);
            assert_true(size == 16 * GIB);
        }
        assert_int_equal(device_hbm_va(in, d, 2, &p, &size, NULL), NRT_INVALID_HANDLE);
    }
    assert_int_equal(device_hbm_va(in, 16, 0, &p, &size, NULL), NRT_INVALID);
    for (int i = 0; i < 32; i++) {
        for (int k = 0; k < i; k++) {
            uintptr_t a = (uintptr_t)va[i], b = (uintptr_t)va[k];

            assert_true(a >= b + 16 * GIB || b >= a + 16 * GIB);
        }
        assert_true(device_va_addr(in, (char *)va[i] + 12345, &addr));
        assert_true(addr == DEVICE_ADDR(i, 12345));
    }
    assert_false(device_va_addr(in, &addr, &addr));
    PROVES("hbm-011");
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void dmabuf_or_invalid(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 8192);
    struct device_extent x;
    int fd = -7;

    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_dmabuf_export(in, x.addr + 64, 4096, &fd, NULL), NRT_INVALID);
    assert_int_equal(device_dmabuf_export(in, x.addr, 100, &fd, NULL), NRT_INVALID);
    assert_int_equal(device_dmabuf_export(in, x.addr, 0, &fd, NULL), NRT_INVALID);
    assert_int_equal(fd, -7);
    NRT_STATUS st = device_dmabuf_export(in, x.addr, 8192, &fd, NULL);
    if (access("/dev/udmabuf", R_OK | W_OK) != 0) {
        assert_int_equal(st, NRT_INVALID);
    } else if (st == NRT_SUCCESS) {
        unsigned char *q = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);

        assert_ptr_not_equal(q, MAP_FAILED);
        map(in, &x)[5000] = 99;
        assert_int_equal(q[5000], 99);
        munmap(q, 8192);
        close(fd);
    }
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void files_serve_where_memfds_do_not(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");

    f->cfg.hbm_dir = f->dir;
    struct device_instance *a = fixture_open(f), *b = fixture_open(f);
    struct device_alloc w = want(0, DEVICE_CAT_TENSOR, 3 * MIB);
    struct device_extent x;
    char look[256];
    int fd;

    assert_int_equal(device_alloc(a, &w, &x, NULL), NRT_SUCCESS);
    memset(map(a, &x), 0x42, x.size);
    assert_true(all_bytes(map(b, &x), x.size, 0x42)); /* a peer sees it */
    assert_ptr_not_equal(map(a, &x), map(b, &x));
    assert_int_equal(device_dmabuf_export(a, x.addr, 4096, &fd, NULL), NRT_INVALID);
    device_instance_close(a);
    assert_int_equal(device_alloc(b, &w, &x, NULL), NRT_SUCCESS);
    assert_true(all_bytes(map(b, &x), x.size, 0));
    snprintf(look, sizeof(look), "ls %s | grep -q hbm", f->dir);
    assert_int_equal(system(look), 0);
    device_instance_close(b);
    assert_int_equal(system(look), 256);
    (void)state;
    fixture_free(f);
}

/* --- what backs device memory
 * -------------------------------------------------------------------------------- */

/* Of the mapping around p: whether a core file leaves it out. */
static bool left_out_of_core_files(const void *p)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    bool in = false, out = false;
    char line[512];
    uint64_t lo, hi;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &lo, &hi) == 2)
            in = lo <= (uintptr_t)p && (uintptr_t)p < hi;
        else if (in && strncmp(line, "VmFlags:", 8) == 0)
            out = strstr(line, " dd") != NULL;
    }
    fclose(f);
    return out;
}

/* Calls see with every descriptor of this process that is memory of an HBM; returns how many. */
static unsigned each_hbm_fd(void (*see)(int fd))
{
    char path[64], to[64];
    unsigned seen = 0;

    for (int fd = 0; fd < 1024; fd++) {
        ssize_t n;

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        n = readlink(path, to, sizeof(to) - 1);
        if (n <= 0)
            continue;
        to[n] = '\0';
        if (strncmp(to, "/memfd:opennrt-hbm-", 19) != 0)
            continue;
        see(fd);
        seen++;
    }
    return seen;
}

/* Who shares the memory can take none of it away from under the others' pointers. */
static void see_sealed(int fd)
{
    struct stat st;

    assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(ftruncate(fd, st.st_size - 4096), -1);
    assert_int_equal(ftruncate(fd, st.st_size + 4096), -1);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
}

static void memory_is_sealed_and_in_no_core_file(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    bool emulated = runner_emulator_lacks(__func__, "it shows the flags of its own mappings");
    struct device_extent x;

    for (uint32_t core = 0; core < 2; core++) { /* an HBM each */
        struct device_alloc a = want(core, DEVICE_CAT_TENSOR, 3 * MIB);

        assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
        assert_true(emulated || left_out_of_core_files(map(in, &x)));
        (void)map(in, &x);
    }
    assert_false(left_out_of_core_files(&x)); /* it can be told */
    assert_true(emulated || left_out_of_core_files(ctl_head(in)));
    assert_int_equal(each_hbm_fd(see_sealed), 2);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

/* --- the table
 * -----------------------------------------------------------------------------------------------
 */

/* 65,536 entries for each HBM, of which number 0 stands for none, and no more however much memory
 * is free. */
static void a_full_table_is_a_status(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    const uint32_t most = 2 * 65536 - 1;
    struct device_extent *x = calloc(most + 1, sizeof(*x));
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 64);
    struct err err = {0};
    struct stat st;

    assert_non_null(x);
    a.flags = DEVICE_ALLOC_QUIET;
    for (uint32_t i = 0; i < most; i++)
        if (device_alloc(in, &a, &x[i], &err) != NRT_SUCCESS)
            fail_msg("number %u: %s", i, err.text);
    for (unsigned k = 0; k < 2; k++) { /* on either HBM, and again */
        a.core = k;
        err = (struct err){0};
        assert_int_equal(device_alloc(in, &a, &x[most], &err), NRT_RESOURCE);
        assert_non_null(strstr(err.text, "all 131072 extents of instance"));
    }
    assert_int_equal(fstat(in->ctl_fd, &st), 0);
    assert_true((uint64_t)st.st_size <= 24u << 20);
    assert_true(used_on(in, 0) == UINT64_C(64) * most);
    assert_int_equal(device_free(in, &x[most / 2], NULL), NRT_SUCCESS);
    assert_int_equal(device_alloc(in, &a, &x[most / 2], NULL), NRT_SUCCESS);
    assert_int_equal(device_alloc(in, &a, &x[most], NULL), NRT_RESOURCE);
    audit(in);
    for (uint32_t i = 0; i < most; i++)
        assert_int_equal(device_free(in, &x[i], NULL), NRT_SUCCESS);
    audit(in);
    assert_true(used_on(in, 0) == 0 && used_on(in, 1) == 0);
    free(x);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

/* --- many allocations against a plain model
 * -------------------------------------------------------- */

struct model_extent {
    struct device_extent x;
    uint32_t core;
    enum device_cat cat;
    uint32_t neff;
    unsigned char fill;
};

static void check_account(struct device_instance *in, const struct model_extent *m, size_t n)
{
    for (uint32_t core = 0; core < 8; core++) {
        uint64_t sum[DEVICE_CAT_COUNT] = {0}, neff7 = 0, total = 0, used, limit;
        struct device_usage u;

        for (size_t i = 0; i < n; i++) {
            if (m[i].core != core)
                continue;
            sum[m[i].cat] += m[i].x.size;
            total += m[i].x.size;
            neff7 += m[i].neff == 7 ? m[i].x.size : 0;
        }
        assert_int_equal(device_usage_core(in, core, &u), NRT_SUCCESS);
        for (unsigned c = 0; c < DEVICE_CAT_COUNT; c++)
            assert_true(u.bytes[c] == sum[c]);
        assert_true(u.total == total);
        assert_int_equal(device_usage_neff(in, core, 7, &u), NRT_SUCCESS);
        assert_true(u.total == neff7);
        if (core % 2 == 0)
            continue;
        assert_int_equal(device_usage_core(in, core - 1, &u), NRT_SUCCESS);
        assert_int_equal(device_vnc_memory(in, core / 2, &used, &limit), NRT_SUCCESS);
        assert_true(used == total + u.total);
        assert_true(limit == 24 * GIB);
    }
}

static void check_no_overlap(const struct model_extent *m, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++)
            assert_true(m[i].x.addr + m[i].x.size <= m[k].x.addr ||
                        m[k].x.addr + m[k].x.size <= m[i].x.addr);
    }
}

static void random_load_matches_the_model(void **state)
{
    enum { MAX = 600 };
    struct fixture *f = fixture_new("trn2.3xlarge");
    struct device_instance *in = fixture_open(f);
    struct model_extent *m = calloc(MAX, sizeof(*m));
    size_t n = 0;
    unsigned seed = (unsigned)seed_take_new();

    for (int step = 0; step < 6000; step++) {
        if (n < MAX && rand_r(&seed) % 5 < 3) {
            struct device_alloc a =
                want((uint32_t)rand_r(&seed) % 8,
                     (enum device_cat)(rand_r(&seed) % DEVICE_CAT_COUNT), random_size(&seed));
            NRT_STATUS st;

            a.neff = rand_r(&seed) % 2 ? 7 : DEVICE_NONE;
            a.align = rand_r(&seed) % 4 ? 0 : UINT64_C(64) << rand_r(&seed) % 12;
            a.flags = DEVICE_ALLOC_QUIET;
            st = device_alloc(in, &a, &m[n].x, NULL);
            if (st == NRT_SUCCESS) {
                m[n].core = a.core;
                m[n].cat = a.cat;
                m[n++].neff = a.neff;
            } else {
                assert_int_equal(st, NRT_RESOURCE);
            }
        } else if (n) {
            size_t i = (size_t)rand_r(&seed) % n;

            if (rand_r(&seed) % 4 == 0) {
                (void)device_extent_grow(in, &m[i].x, random_size(&seed), NULL);
            } else {
                assert_int_equal(device_free(in, &m[i].x, NULL), NRT_SUCCESS);
                m[i] = m[--n];
            }
        }
        if (step % 500 == 0) {
            check_account(in, m, n);
            check_no_overlap(m, n);
            audit(in);
        }
    }
    check_account(in, m, n);
    check_no_overlap(m, n);
    while (n)
        assert_int_equal(device_free(in, &m[--n].x, NULL), NRT_SUCCESS);
    check_account(in, m, 0);
    audit(in);
    free(m);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(placement_alignment_and_rounding),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(handles_go_stale),
        cmocka_unit_test(peeks_make_no_memory),
        cmocka_unit_test(a_whole_hbm_can_be_had_on_a_small_host),
        cmocka_unit_test(exposed_hbm_has_memory_for_what_is_owned),
        cmocka_unit_test(reused_memory_reads_as_zero),
        cmocka_unit_test(freed_blocks_are_kept_up_to_the_reserve),
        cmocka_unit_test(full_host_is_a_status),
        cmocka_unit_test(limited_address_space_is_a_status),
        cmocka_unit_test(growing_in_place),
        cmocka_unit_test(addresses_of_all_hbms_are_distinct),
        cmocka_unit_test(dmabuf_or_invalid),
        cmocka_unit_test(files_serve_where_memfds_do_not),
        cmocka_unit_test(memory_is_sealed_and_in_no_core_file),
        cmocka_unit_test(a_full_table_is_a_status),
        cmocka_unit_test(random_load_matches_the_model),
    };

    runner_watchdog(280);
    return cmocka_run_group_tests_name("device-alloc", tests, NULL, NULL);
}
