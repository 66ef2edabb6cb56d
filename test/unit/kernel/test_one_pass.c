/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions go over memory once: every page of every source and destination is met once, for all
 * types, reductions, numbers of buffers and kinds of stores (touches.h). That another way of doing
 * it would be seen is shown with kernels that go over something twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "kernel/kernel.h"
#include "touches.h"

#define PAGES   24u /* of each buffer: more than are open at a time, and some blocks */
#define BUFFERS 8u

typedef void combine_fn(enum dtype t, enum kernel_combine op, const void *const *src, unsigned nsrc,
                        void *const *dst, unsigned ndst, size_t n, enum kernel_stores stores);

static size_t room; /* of one buffer */
static uint8_t *buffer[BUFFERS];

static void buffers_make(void)
{
    room = (PAGES + 1) * touches_page_size();
    for (unsigned i = 0; i < BUFFERS; i++) {
        buffer[i] = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(buffer[i] != MAP_FAILED);
        for (size_t k = 0; k < room; k++)
            buffer[i][k] = (uint8_t)(k * 7 + i); /* of every type something */
    }
}

static void buffers_free(void)
{
    for (unsigned i = 0; i < BUFFERS; i++)
        munmap(buffer[i], room);
}

struct use {
    enum dtype t;
    enum kernel_combine op;
    unsigned nsrc, ndst;
    bool in_place; /* the first destination is the first source */
    size_t skip;   /* elements before the first */
    enum kernel_stores stores;
};

/* The most that a page of any buffer was gone over; the least in *ret_least. */
static unsigned most_touches(combine_fn *combine, const struct use *u, unsigned *ret_least)
{
    const void *src[BUFFERS];
    void *dst[BUFFERS];
    size_t lead = u->skip * dtype_size(u->t), n = PAGES * touches_page_size() / dtype_size(u->t);
    unsigned ranges = u->nsrc + u->ndst - u->in_place, most = 0, least = UINT32_MAX;

    for (unsigned i = 0; i < u->nsrc; i++)
        src[i] = buffer[i] + lead;
    for (unsigned i = 0; i < u->ndst; i++)
        dst[i] =
            i == 0 && u->in_place ? buffer[0] + lead : buffer[u->nsrc + i - u->in_place] + lead;
    for (unsigned i = 0; i < ranges; i++)
        touches_watch(buffer[i] + lead, n * dtype_size(u->t));
    touches_start();
    combine(u->t, u->op, src, u->nsrc, dst, u->ndst, n, u->stores);
    touches_stop();
    for (unsigned r = 0; r < ranges; r++)
        for (size_t page = 0; page < touches_pages(r); page++) {
            most = touches_of(r, page) > most ? touches_of(r, page) : most;
            least = touches_of(r, page) < least ? touches_of(r, page) : least;
        }
    touches_forget();
    *ret_least = least;
    return most;
}

/* Calls fn with every use that there is, of these reductions. One source in place is no use. */
static void every_use(unsigned ops, void (*fn)(const struct use *u))
{
    for (unsigned t = 1; t < DT_COUNT; t++)
        for (unsigned op = KERNEL_COMBINE_SUM; op < ops; op++)
            for (unsigned nsrc = 1; nsrc <= 3; nsrc++)
                for (unsigned ndst = 1; ndst <= 2; ndst++)
                    for (unsigned bits = 0; bits < 8; bits++) {
                        const struct use u = {.t = (enum dtype)t,
                                              .op = (enum kernel_combine)op,
                                              .nsrc = nsrc,
                                              .ndst = ndst,
                                              .in_place = bits & 1,
                                              .skip = bits & 2 ? 3 : 0,
                                              .stores = bits & 4 ? KERNEL_STORES_AROUND
                                                                 : KERNEL_STORES_THROUGH};

                        if (kernel_combine_can((enum dtype)t) && (nsrc > 1 || !u.in_place))
                            fn(&u);
                    }
}

static unsigned uses;

static void once(const struct use *u)
{
    unsigned least, most = most_touches(kernel_combine, u, &least);

    if (most != 1 || least != 1)
        fail_msg("%s, reduction %u, %u sources, %u destinations%s, %zu before, %s: a page is gone "
                 "over %u times, another one %u times",
                 dtype_name(u->t), u->op, u->nsrc, u->ndst, u->in_place ? " in place" : "", u->skip,
                 u->stores == KERNEL_STORES_AROUND ? "around" : "through", most, least);
    uses++;
}

static void every_page_is_met_once(void **state)
{
    uses = 0;
    every_use(KERNEL_COMBINE_MAX + 1, once);
    assert_int_equal(uses, 17 * 3 * 2 * (2 * 8 + 4)); /* 17 types */
    (void)state;
}

/* ---- what would be seen ---- */

/* The first source is copied, then the others are added to the copy: in place, where that copies
 * nothing, a second pass comes with the third source. */
static void copy_then_add(enum dtype t, enum kernel_combine op, const void *const *src,
                          unsigned nsrc, void *const *dst, unsigned ndst, size_t n,
                          enum kernel_stores stores)
{
    kernel_combine(t, op, src, 1, dst, ndst, n, stores);
    for (unsigned i = 1; i < nsrc; i++)
        kernel_combine(t, op, (const void *const[]){dst[0], src[i]}, 2, dst, ndst, n, stores);
}

/* The result is made once, then copied to the other destinations. */
static void add_then_copy(enum dtype t, enum kernel_combine op, const void *const *src,
                          unsigned nsrc, void *const *dst, unsigned ndst, size_t n,
                          enum kernel_stores stores)
{
    kernel_combine(t, op, src, nsrc, dst, 1, n, stores);
    for (unsigned i = 1; i < ndst; i++)
        memcpy(dst[i], dst[0], n * dtype_size(t));
}

/* The last page is left out. */
static void not_all(enum dtype t, enum kernel_combine op, const void *const *src, unsigned nsrc,
                    void *const *dst, unsigned ndst, size_t n, enum kernel_stores stores)
{
    kernel_combine(t, op, src, nsrc, dst, ndst, n - touches_page_size() / dtype_size(t), stores);
}

static void seen(const struct use *u)
{
    unsigned least, most;

    if (u->nsrc > 1u + u->in_place) {
        most = most_touches(copy_then_add, u, &least);
        assert_true(most >= 2);
    }
    if (u->ndst > 1) {
        most = most_touches(add_then_copy, u, &least);
        assert_true(most >= 2);
    }
    most = most_touches(not_all, u, &least);
    assert_int_equal(least, 0);
}

static void a_second_pass_is_seen(void **state)
{
    every_use(KERNEL_COMBINE_SUM + 1, seen);
    (void)state;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_page_is_met_once),
        cmocka_unit_test(a_second_pass_is_seen),
    };
    int rc;

    buffers_make();
    rc = cmocka_run_group_tests_name("kernel-one_pass", tests, NULL, NULL);
    buffers_free();
    return rc;
}
