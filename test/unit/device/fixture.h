/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of its own for the instances and reports of one test. */
#ifndef TEST_UNIT_DEVICE_FIXTURE_H
#define TEST_UNIT_DEVICE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "device/device.h"
#include "log_tap.h"
#include "proves.h"
#include "runner.h"

/* Sanitizers need an address space of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FIXTURE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FIXTURE_SANITIZED 1
#endif
#endif
#ifndef FIXTURE_SANITIZED
#define FIXTURE_SANITIZED 0
#endif

struct fixture {
    char dir[64];
    struct device_config cfg;
    struct log *log;
    struct log_tap tap;
};

static inline struct fixture *fixture_new(const char *type)
{
    struct fixture *f = calloc(1, sizeof(*f));

    strcpy(f->dir, "/tmp/opennrt-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->cfg.type = type;
    f->cfg.dir = f->dir;
    f->cfg.report_dir = f->dir;
    f->log = log_open_env();
    log_tap_init(&f->tap);
    log_tap_attach(&f->tap, f->log);
    f->cfg.log = f->log;
    return f;
}

static inline void fixture_free(struct fixture *f)
{
    char cmd[128];

    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", f->dir);
    assert_int_equal(system(cmd), 0);
    log_close(f->log);
    log_tap_fini(&f->tap);
    free(f);
}

static inline struct device_instance *fixture_open(struct fixture *f)
{
    struct device_instance *in = NULL;
    struct err err = {0};

    if (device_instance_open(&f->cfg, &in, &err) != NRT_SUCCESS)
        fail_msg("open: %s", err.text);
    return in;
}

static inline struct device_alloc want(uint32_t core, enum device_cat cat, uint64_t size)
{
    return (struct device_alloc){.core = core, .neff = DEVICE_NONE, .cat = cat, .size = size};
}

static inline uint64_t used_on(struct device_instance *in, uint32_t hbm)
{
    struct device_usage u;

    assert_int_equal(device_usage_hbm(in, hbm, &u), NRT_SUCCESS);
    return u.total;
}

static inline unsigned char *map(struct device_instance *in, const struct device_extent *x)
{
    void *p = NULL;
    struct err err = {0};

    if (device_map(in, x->addr, x->size, DEVICE_RW, &p, &err) != NRT_SUCCESS)
        fail_msg("map: %s", err.text);
    return p;
}

static inline bool all_bytes(const unsigned char *p, uint64_t n, unsigned char v)
{
    return n == 0 || (p[0] == v && memcmp(p, p + 1, n - 1) == 0);
}

static inline uint64_t random_size(unsigned *seed)
{
    unsigned shift = (unsigned)rand_r(seed) % 31;

    return 1 + ((uint64_t)rand_r(seed) << 3) % (UINT64_C(1) << shift);
}

#endif
