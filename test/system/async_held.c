/* SPDX-License-Identifier: Apache-2.0 */
#include "async_held.h"

#include <setjmp.h>
#include <stdarg.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"

void held_init(struct held *h, const char *library, int vnc)
{
    size_t size;
    void *lib = read_file(library, &size);

    memset(h, 0, sizeof(*h));
    h->m = load_at(neff_graph(16, "hold_it", "negate_it", lib, size), vnc, -1);
    free(lib);
    io_init(&h->io);
    io_add(&h->io, true, "x", VIRT, -1, 64);
    io_add(&h->io, true, "k", VIRT, -1, 64);
    io_add(&h->io, false, "y", VIRT, -1, 64);
}

void held_fini(struct held *h)
{
    io_fini(&h->io);
    assert_ok(nrt_unload(h->m));
}

static void put_address(struct held *h, const struct gate *g)
{
    /* not by nrt_tensor_write, which waits for executions in the implicit mode */
    memcpy(nrt_tensor_get_va(h->io.t[0]), &g, sizeof(g));
}

void held_close(struct held *h)
{
    __atomic_store_n(&h->gate.reached, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&h->gate.open, 0, __ATOMIC_RELEASE);
    put_address(h, &h->gate);
}

void held_none(struct held *h)
{
    put_address(h, NULL);
}

void held_reach(struct held *h)
{
    while (!__atomic_load_n(&h->gate.reached, __ATOMIC_ACQUIRE))
        sched_yield();
}

void held_open(struct held *h)
{
    __atomic_store_n(&h->gate.open, 1, __ATOMIC_RELEASE);
}

bool async_completed(nrta_seq_t seq)
{
    bool done;

    assert_ok(nrta_is_completed(seq, &done));
    return done;
}

void async_finish(nrta_seq_t seq)
{
    struct pollfd p = {.events = POLLIN};

    assert_ok(nrta_get_completion_handle(seq, &p.fd));
    assert_int_equal(poll(&p, 1, -1), 1);
    assert_true(async_completed(seq));
    close(p.fd);
}

size_t async_errors(nrta_error_tracker_t *t)
{
    const nrta_error_t *list;
    size_t n;

    assert_ok(nrta_error_tracker_get_list(t, &list, &n));
    return n;
}

uint64_t async_error(nrta_error_tracker_t *t, size_t i, nrta_seq_t *ret_seq)
{
    const nrta_error_t *list;
    size_t n;

    assert_ok(nrta_error_tracker_get_list(t, &list, &n));
    assert_true(i < n);
    *ret_seq = list[i].seq_id;
    return list[i].error_code;
}
