/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks that are copied often move to huge pages (device/huge.c): when, which ones, and that
 * nobody sees it in the bytes. Whether they did is read from the kernel's own account of the
 * mapping; a host that gives no huge pages skips that part, after asking it for one directly. */
#include "fixture.h"
#include "runner.h"

#include <inttypes.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define MIB   ((uint64_t)1 << 20)
#define BLOCK (2 * MIB)
#define SIZE  (8 * MIB)
#define OFTEN 16 /* copies after which a block moves */
#define MANY  40

/* As many blocks as a tensor has: one may be there when several are not. An emulator tells the
 * kernel of none, though it says that it did. */
static bool host_collapses(void)
{
    int fd = runner_emulated() ? -1 : memfd_create("huge", MFD_CLOEXEC);
    char *p = MAP_FAILED, *at;
    bool ok = false;

    if (fd >= 0 && ftruncate(fd, SIZE + BLOCK) == 0)
        p = mmap(NULL, SIZE + BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED) {
        memset(p, 1, SIZE + BLOCK);
        at = p + (BLOCK - (uintptr_t)p % BLOCK) % BLOCK;
        ok = madvise(at, SIZE, MADV_COLLAPSE) == 0;
        munmap(p, SIZE + BLOCK);
    }
    if (fd >= 0)
        close(fd);
    return ok;
}

/* KiB of shared memory that the mapping around p has in huge pages. */
static uint64_t huge_kib(const void *p)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    uint64_t lo, hi, kib = 0, v;
    bool in = false;
    char line[256];

    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &lo, &hi) == 2)
            in = lo <= (uintptr_t)p && (uintptr_t)p < hi;
        else if (in && sscanf(line, "ShmemPmdMapped: %" SCNu64, &v) == 1)
            kib += v;
    }
    fclose(f);
    return kib;
}

struct block {
    struct device_extent x;
    uint8_t *p;
};

static struct block block_new(struct device_instance *in)
{
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, SIZE);
    struct block b;
    struct err err = {0};
    void *p = NULL;

    a.align = BLOCK;
    if (device_alloc(in, &a, &b.x, &err) != NRT_SUCCESS ||
        device_map(in, b.x.addr, SIZE, DEVICE_RW, &p, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
    b.p = p;
    for (uint64_t i = 0; i < SIZE; i++)
        b.p[i] = (uint8_t)(i * 7 + i / 4096);
    return b;
}

static void assert_bytes(const uint8_t *p)
{
    for (uint64_t i = 0; i < SIZE; i++)
        if (p[i] != (uint8_t)(i * 7 + i / 4096))
            fail_msg("byte %" PRIu64 " changed", i);
}

/* Whole blocks move with the sixteenth copy, not before; the bytes stay, for other mappings too. */
static void moves(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f), *other = fixture_open(f);
    struct block b = block_new(in);
    uint64_t before = huge_kib(b.p);
    bool can = host_collapses();
    void *p;

    (void)state;
    assert_int_equal(device_map(other, b.x.addr, SIZE, DEVICE_READ, &p, NULL), NRT_SUCCESS);
    assert_ptr_not_equal(p, b.p);
    for (unsigned i = 1; i < OFTEN; i++)
        device_copied(in, b.x.addr, SIZE);
    assert_int_equal(huge_kib(b.p), before);
    device_copied(in, b.x.addr, SIZE);
    if (can)
        assert_int_equal(huge_kib(b.p), before + SIZE / 1024);
    assert_bytes(b.p);
    assert_bytes(p);
    b.p[SIZE - 1] ^= 0xFF;
    assert_int_equal(((uint8_t *)p)[SIZE - 1], b.p[SIZE - 1]);
    assert_int_equal(device_free(in, &b.x, NULL), NRT_SUCCESS);
    device_instance_close(other);
    device_instance_close(in);
    fixture_free(f);
    if (!can && !runner_emulator_lacks(__func__, "it tells the kernel of no huge pages"))
        printf("NOT RUN %s: this host gives no huge pages\n", __func__);
    if (!can)
        skip();
}

/* A copy counts for the blocks that it covers. */
static void parts(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct block b = block_new(in);
    uint64_t before = huge_kib(b.p);
    bool can = host_collapses();

    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        device_copied(in, b.x.addr, BLOCK - 1);
        device_copied(in, b.x.addr + 1, BLOCK - 1);
        device_copied(in, b.x.addr + 1, 2 * BLOCK - 2);
        device_copied(in, b.x.addr, 0);
    }
    assert_int_equal(huge_kib(b.p), before);
    for (unsigned i = 0; i < MANY; i++) /* the two in the middle */
        device_copied(in, b.x.addr + 4096, SIZE - 8192);
    if (can)
        assert_int_equal(huge_kib(b.p), before + 2 * BLOCK / 1024);
    assert_bytes(b.p);
    assert_int_equal(device_free(in, &b.x, NULL), NRT_SUCCESS);
    device_instance_close(in);
    fixture_free(f);
    if (!can && !runner_emulator_lacks(__func__, "it tells the kernel of no huge pages"))
        printf("NOT RUN %s: this host gives no huge pages\n", __func__);
    if (!can)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(moves), cmocka_unit_test(parts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
