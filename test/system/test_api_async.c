/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on tensors through the public calls: results, order, arguments, completion, failures,
 * objects freed and sessions ended with requests under way. docs/spec/api.md 5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "draw.h"
#include "models.h"
#include "nrt/nrt_async.h"
#include "proves.h"
#include "runner.h"
#include "seed.h"

#define MIB (1u << 20)

static nrta_error_tracker_t *tracker;

static int setup(void **state)
{
    return nrta_error_tracker_create(0, &tracker);
}

static int teardown(void **state)
{
    nrta_error_tracker_destroy(tracker);
    return 0;
}

static bool completed(nrta_seq_t seq)
{
    bool done;

    assert_ok(nrta_is_completed(seq, &done));
    return done;
}

static void finish(nrta_seq_t seq)
{
    struct pollfd p = {.events = POLLIN};

    assert_ok(nrta_get_completion_handle(seq, &p.fd));
    assert_int_equal(poll(&p, 1, -1), 1);
    assert_true(completed(seq));
    close(p.fd);
}

static size_t errors(nrta_error_tracker_t *t)
{
    const nrta_error_t *list;
    size_t n;

    assert_ok(nrta_error_tracker_get_list(t, &list, &n));
    return n;
}

static nrt_tensor_t *tensor(nrt_tensor_placement_t place, int vnc, size_t size)
{
    nrt_tensor_t *t;

    assert_ok(nrt_tensor_allocate(place, vnc, size, NULL, &t));
    return t;
}

static uint64_t rng_state;

static void rng_start(void)
{
    rng_state = seed_take_new();
}

/* ---- results ---- */

static void bytes_go_in_across_and_out(void **state)
{
    nrt_tensor_t *a = tensor(DEV, 0, 1000), *b = tensor(DEV, 0, 500);
    uint8_t in[1000], out[300] = {0}, want[300];
    nrta_seq_t seq;

    for (unsigned i = 0; i < 1000; i++)
        in[i] = (uint8_t)(i * 7 + i / 256);
    assert_ok(nrta_tensor_write(a, in, 0, 1000, 0, tracker, &seq));
    finish(seq);
    assert_ok(nrta_tensor_copy(a, 111, b, 22, 300, 0, tracker, &seq));
    finish(seq);
    assert_ok(nrta_tensor_read(out, b, 22, 300, 0, tracker, &seq));
    finish(seq);
    memcpy(want, in + 111, 300);
    assert_memory_equal(out, want, 300);
    PROVES("api-045");
    PROVES("api-046");
    PROVES("api-047");
    assert_int_equal(errors(tracker), 0);
    /* nothing, anywhere up to the end */
    assert_ok(nrta_tensor_write(a, NULL, 1000, 0, 0, tracker, &seq));
    assert_ok(nrta_tensor_read(NULL, a, 1000, 0, 0, tracker, &seq));
    assert_ok(nrta_tensor_copy(a, 1000, b, 500, 0, 0, tracker, &seq));
    finish(seq);
    assert_int_equal(errors(tracker), 0);
    nrt_tensor_free(&a);
    nrt_tensor_free(&b);
}

/* Random requests; within a queue they need no waiting for each other, across queues each waits for
 * what it depends on. Against the same copies done one after the other on plain memory. */
#define TENSORS 4
#define BYTES   512
#define READS   50

struct read {
    nrta_seq_t seq;
    uint8_t *got, want[BYTES];
    size_t size;
};

static void reads_finish(unsigned *count, const struct read *r)
{
    for (; *count; --*count) {
        const struct read *last = &r[*count - 1];

        finish(last->seq);
        assert_memory_equal(last->got, last->want, last->size);
    }
}

static void random_requests_do_what_a_sequential_model_does(void **state)
{
    nrt_tensor_t *t[TENSORS];
    static uint8_t model[TENSORS][BYTES], bufs[4096][BYTES], want[BYTES];
    nrta_seq_t writer[TENSORS] = {0};
    unsigned made = 0, reads = 0;
    struct read *pending = calloc(READS, sizeof(*pending));

    rng_start();
    assert_non_null(pending);
    memset(model, 0, sizeof(model));
    for (unsigned i = 0; i < TENSORS; i++)
        t[i] = tensor(i % 2 ? VIRT : DEV, i % 2 ? -1 : 0, BYTES);
    for (unsigned step = 0; step < 3000; step++) {
        unsigned a = draw_next(&rng_state) % TENSORS, b = draw_next(&rng_state) % TENSORS;
        size_t off = draw_next(&rng_state) % BYTES,
               size = draw_next(&rng_state) % (BYTES - off + 1),
               off2 = draw_next(&rng_state) % (BYTES - size + 1);
        NRT_STATUS status;
        nrta_seq_t seq;

        switch (draw_next(&rng_state) % 3) {
        case 0:
            if (made == 4096)
                break;
            for (size_t i = 0; i < size; i++)
                bufs[made][i] = (uint8_t)draw_next(&rng_state);
            reads_finish(&reads, pending); /* nothing may overtake them */
            if (writer[a])
                finish(writer[a]);
            while ((status = nrta_tensor_write(t[a], bufs[made], off, size, a % 2, tracker,
                                               &seq)) == NRT_QUEUE_FULL)
                sched_yield();
            assert_ok(status);
            memcpy(model[a] + off, bufs[made++], size);
            writer[a] = seq;
            break;
        case 1:
            if (writer[a])
                finish(writer[a]);
            if (writer[b])
                finish(writer[b]);
            reads_finish(&reads, pending);
            while ((status = nrta_tensor_copy(t[a], off, t[b], off2, size, b % 2, tracker, &seq)) ==
                   NRT_QUEUE_FULL)
                sched_yield();
            assert_ok(status);
            memmove(want, model[a] + off, size);
            memcpy(model[b] + off2, want, size);
            writer[a] = writer[b] = seq; /* the source may be written only after it, too */
            break;
        default:
            if (writer[a])
                finish(writer[a]);
            if (reads == READS || made == 4096)
                break;
            while ((status = nrta_tensor_read(bufs[made], t[a], off, size,
                                              draw_next(&rng_state) % 2, tracker, &seq)) ==
                   NRT_QUEUE_FULL)
                sched_yield();
            assert_ok(status);
            pending[reads].seq = seq;
            pending[reads].got = bufs[made++];
            pending[reads].size = size;
            memcpy(pending[reads++].want, model[a] + off, size);
            break;
        }
    }
    reads_finish(&reads, pending);
    for (unsigned i = 0; i < TENSORS; i++) {
        if (writer[i])
            finish(writer[i]);
        assert_ok(nrt_tensor_read(t[i], want, 0, BYTES));
        assert_memory_equal(want, model[i], BYTES);
        nrt_tensor_free(&t[i]);
    }
    assert_int_equal(errors(tracker), 0);
    free(pending);
}

/* Writes of one queue over the same bytes: the last one stays, and they are complete in order. */
static void one_queue_keeps_order_without_waiting(void **state)
{
    nrt_tensor_t *t = tensor(DEV, 0, MIB);
    static uint8_t data[200][64];
    uint8_t got[64];
    nrta_seq_t seq[200], last;

    for (unsigned i = 0; i < 200; i++) {
        NRT_STATUS status;

        memset(data[i], (int)i, sizeof(data[i]));
        do
            status = nrta_tensor_write(t, data[i], i % 7, 64 - i % 7, 1, tracker, &seq[i]);
        while (status == NRT_QUEUE_FULL);
        assert_ok(status);
        if (i > 0) {
            assert_int_equal(seq[i], seq[i - 1] + 1);
            if (completed(seq[i]))
                assert_true(completed(seq[i - 1]));
        }
        assert_ok(nrta_get_sequence(0, NRTA_XU_TENSOR_WRITE, 1, &last));
        assert_in_range(last & NRTA_SEQ_NUM_MASK, 0, seq[i] & NRTA_SEQ_NUM_MASK);
        assert_int_equal(NRTA_SEQ_GET_XU_ID(last), NRTA_SEQ_GET_XU_ID(seq[i]));
    }
    finish(seq[199]);
    assert_ok(nrta_get_sequence(0, NRTA_XU_TENSOR_WRITE, 1, &last));
    assert_int_equal(last, seq[199]);
    PROVES("api-052");
    assert_ok(nrt_tensor_read(t, got, 0, 64));
    for (unsigned i = 3; i < 64; i++)
        assert_int_equal(got[i], 199);
    nrt_tensor_free(&t);
}

static void a_full_queue_refuses_and_then_goes_on(void **state)
{
    nrt_tensor_t *t = tensor(DEV, 0, 4 * MIB);
    uint8_t *buf = calloc(1, 4 * MIB);
    nrta_seq_t first = 0, seq = 0, before, untouched = 5;
    NRT_STATUS status;

    assert_ok(nrta_get_sequence(0, NRTA_XU_TENSOR_WRITE, 0, &before));
    do {
        status = nrta_tensor_write(t, buf, 0, 4 * MIB, 0, tracker, &untouched);
        if (status == NRT_SUCCESS) {
            seq = untouched;
            if (!first)
                first = seq;
            untouched = 5;
        }
    } while (status == NRT_SUCCESS);
    assert_int_equal(status, NRT_QUEUE_FULL);
    assert_int_equal(untouched, 5);
    assert_int_equal(first, before + 1);
    PROVES("perf-010");
    assert_ok(nrta_tensor_write(t, buf, 0, 1, 1, tracker, &untouched)); /* the other queue */
    finish(seq);
    assert_ok(nrta_tensor_write(t, buf, 0, 1, 0, tracker, &untouched));
    assert_int_equal(untouched, seq + 1);
    finish(untouched);
    assert_int_equal(errors(tracker), 0);
    nrt_tensor_free(&t);
    free(buf);
}

/* ---- arguments ---- */

static void wrong_arguments_are_refused_by_the_call(void **state)
{
    nrt_tensor_t *t = tensor(DEV, 0, 100), *far = tensor(DEV, 1, 100), *gone = tensor(DEV, 0, 8);
    nrt_tensor_t *dead = gone;
    nrta_error_tracker_t *other, *old;
    const nrta_error_t *list;
    uint8_t buf[100];
    nrta_seq_t seq = 3;
    size_t count;
    bool done;
    int fd = 7;

    nrt_tensor_free(&gone);
    assert_ok(nrta_error_tracker_create(1, &other));
    assert_ok(nrta_error_tracker_create(0, &old));
    nrta_error_tracker_destroy(old);
    assert_fails(nrta_tensor_write(NULL, buf, 0, 1, 0, tracker, &seq), NRT_INVALID,
                 "nrta_tensor_write");
    assert_fails(nrta_tensor_write(t, NULL, 0, 1, 0, tracker, &seq), NRT_INVALID,
                 "nrta_tensor_write");
    assert_fails(nrta_tensor_write(t, buf, 0, 1, 0, NULL, &seq), NRT_INVALID, "nrta_tensor_write");
    assert_fails(nrta_tensor_write(t, buf, 0, 1, 0, tracker, NULL), NRT_INVALID,
                 "nrta_tensor_write");
    assert_fails(nrta_tensor_write(t, buf, 0, 1, 2, tracker, &seq), NRT_INVALID,
                 "nrta_tensor_write");
    assert_fails(nrta_tensor_write(t, buf, 0, 1, -1, tracker, &seq), NRT_INVALID,
                 "nrta_tensor_write");
    assert_fails(nrta_tensor_write(t, buf, 1, 100, 0, tracker, &seq), NRT_INVALID,
                 "nrta_tensor_write");
    assert_fails(nrta_tensor_write(t, buf, UINT64_MAX, 2, 0, tracker, &seq), NRT_INVALID,
                 "nrta_tensor_write");
    assert_fails(nrta_tensor_write(dead, buf, 0, 1, 0, tracker, &seq), NRT_INVALID_HANDLE,
                 "nrta_tensor_write");
    assert_fails(nrta_tensor_write(t, buf, 0, 1, 0, other, &seq), NRT_INVALID, "nrta_tensor_write");
    assert_fails(nrta_tensor_write(t, buf, 0, 1, 0, old, &seq), NRT_INVALID_HANDLE,
                 "nrta_tensor_write");
    assert_fails(nrta_tensor_read(NULL, t, 0, 1, 0, tracker, &seq), NRT_INVALID,
                 "nrta_tensor_read");
    assert_fails(nrta_tensor_read(buf, t, 50, 51, 0, tracker, &seq), NRT_INVALID,
                 "nrta_tensor_read");
    assert_fails(nrta_tensor_read(buf, far, 0, 1, 0, tracker, &seq), NRT_INVALID,
                 "nrta_tensor_read"); /* its core is 1, the tracker's 0 */
    assert_fails(nrta_tensor_copy(t, 0, far, 0, 1, 0, tracker, &seq), NRT_INVALID,
                 "nrta_tensor_copy");
    assert_fails(nrta_tensor_copy(t, 0, dead, 0, 1, 0, tracker, &seq), NRT_INVALID_HANDLE,
                 "nrta_tensor_copy");
    assert_fails(nrta_tensor_copy(t, 0, t, 90, 11, 0, tracker, &seq), NRT_INVALID,
                 "nrta_tensor_copy");
    assert_fails(nrta_tensor_copy(t, 0, NULL, 0, 1, 0, tracker, &seq), NRT_INVALID,
                 "nrta_tensor_copy");
    assert_int_equal(seq, 3);
    assert_ok(nrta_tensor_read(buf, far, 0, 1, 0, other, &seq));
    finish(seq);

    assert_fails(nrta_is_completed(seq + 1, &done), NRT_INVALID, "nrta_is_completed");
    assert_fails(nrta_is_completed(0, &done), NRT_INVALID, "nrta_is_completed");
    assert_fails(nrta_is_completed(seq, NULL), NRT_INVALID, "nrta_is_completed");
    PROVES("api-051");
    assert_fails(nrta_get_sequence(2, NRTA_XU_COMPUTE, 0, &seq), NRT_INVALID, "nrta_get_sequence");
    assert_fails(nrta_get_sequence(0, NRTA_XU_COMPUTE, 1, &seq), NRT_INVALID, "nrta_get_sequence");
    assert_fails(nrta_get_sequence(0, NRTA_XU_TENSOR_OP, -1, &seq), NRT_INVALID,
                 "nrta_get_sequence");
    assert_fails(nrta_get_sequence(0, NRTA_XU_TYPE_NUM, 0, &seq), NRT_INVALID, "nrta_get_sequence");
    assert_fails(nrta_get_sequence(0, NRTA_XU_COMPUTE, 0, NULL), NRT_INVALID, "nrta_get_sequence");
    assert_fails(nrta_get_completion_handle(12345, &fd), NRT_INVALID, "nrta_get_completion_handle");
    assert_fails(nrta_get_completion_handle(seq, NULL), NRT_INVALID, "nrta_get_completion_handle");
    assert_int_equal(fd, 7);
    assert_fails(nrta_error_tracker_create(2, &old), NRT_INVALID, "nrta_error_tracker_create");
    assert_fails(nrta_error_tracker_create(0, NULL), NRT_INVALID, "nrta_error_tracker_create");
    assert_fails(nrta_error_tracker_get_list(old, &list, &count), NRT_INVALID_HANDLE,
                 "nrta_error_tracker_get_list");
    assert_fails(nrta_error_tracker_get_list(NULL, &list, &count), NRT_INVALID,
                 "nrta_error_tracker_get_list");
    nrta_error_tracker_destroy(old); /* no effect */
    nrta_error_tracker_destroy(NULL);
    assert_int_equal(errors(tracker), 0);
    nrta_error_tracker_destroy(other);
    PROVES("api-054");
    PROVES("api-055");
    nrt_tensor_free(&t);
    nrt_tensor_free(&far);
}

/* Units are told apart by their ids, and a first request has number 1. */
static void each_unit_has_an_id_of_its_own(void **state)
{
    static const int queues[NRTA_XU_TYPE_NUM] = {2, 2, 2, 1, 1};
    uint64_t ids[32];
    unsigned n = 0;

    nrt_close();
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    for (uint32_t core = 0; core < 2; core++)
        for (int xu = 0; xu < NRTA_XU_TYPE_NUM; xu++)
            for (int q = 0; q < queues[xu]; q++) {
                nrta_seq_t seq;

                assert_ok(nrta_get_sequence(core, (nrta_xu_t)xu, q, &seq));
                assert_int_equal(NRTA_SEQ_GET_SEQ_NUM(seq), 0);
                assert_int_not_equal(NRTA_SEQ_GET_XU_ID(seq), 0);
                for (unsigned i = 0; i < n; i++)
                    assert_int_not_equal(ids[i], NRTA_SEQ_GET_XU_ID(seq));
                ids[n++] = NRTA_SEQ_GET_XU_ID(seq);
            }
    assert_int_equal(n, 16);
    assert_ok(nrta_error_tracker_create(0, &tracker)); /* the old one went with its session */
}

/* ---- completion handles ---- */

static void handles_leave_no_descriptor_behind(void **state)
{
    nrt_tensor_t *t = tensor(DEV, 0, MIB);
    uint8_t *buf = calloc(1, MIB);
    struct pollfd p[63];
    nrta_seq_t seq;
    unsigned fds;

    assert_ok(nrta_tensor_write(t, buf, 0, MIB, 0, tracker, &seq));
    finish(seq);
    fds = runner_open_fds();
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 63; i++) {
            p[i].events = POLLIN;
            assert_ok(nrta_tensor_write(t, buf, 0, MIB, 0, tracker, &seq));
            assert_ok(nrta_get_completion_handle(seq, &p[i].fd));
            if (i % 3 == 1)
                close(p[i].fd); /* before it is complete, most likely */
        }
        for (unsigned i = 0; i < 63; i++)
            if (i % 3 != 1) {
                assert_int_equal(poll(&p[i], 1, -1), 1);
                assert_int_equal(p[i].revents, POLLIN);
                close(p[i].fd);
            }
        finish(seq);
    }
    PROVES("api-053");
    PROVES("perf-012");
    /* A worker closes its own after it has told, so the count above may be one too large. */
    while (runner_open_fds() > fds)
        sched_yield();
    nrt_tensor_free(&t);
    free(buf);
}

/* ---- objects that go, sessions that end ---- */

static void freeing_a_tensor_waits_for_its_requests(void **state)
{
    uint8_t *buf = malloc(4 * MIB), *back = calloc(1, 4 * MIB);

    memset(buf, 0x5a, 4 * MIB);
    for (unsigned round = 0; round < 20; round++) {
        nrt_tensor_t *t = tensor(DEV, 0, 4 * MIB), *was = t;
        nrta_seq_t seq[8];

        for (unsigned i = 0; i < 4; i++)
            assert_ok(nrta_tensor_write(t, buf, 0, 4 * MIB, 0, tracker, &seq[i]));
        finish(seq[3]);
        for (unsigned i = 4; i < 8; i++)
            assert_ok(nrta_tensor_read(back, t, 0, 4 * MIB, 0, tracker, &seq[i]));
        nrt_tensor_free(&t);
        assert_null(t);
        for (unsigned i = 0; i < 8; i++)
            assert_true(completed(seq[i]));
        assert_memory_equal(buf, back, 4 * MIB);
        api_log_clear();
        assert_int_equal(nrta_tensor_read(back, was, 0, 1, 0, tracker, &seq[0]),
                         NRT_INVALID_HANDLE);
        api_log_clear();
    }
    assert_int_equal(errors(tracker), 0);
    free(buf);
    free(back);
}

static void closing_carries_out_what_was_scheduled(void **state)
{
    uint8_t *buf = malloc(4 * MIB), *back = calloc(16, 4 * MIB);
    nrt_tensor_t *t = tensor(DEV, 0, 4 * MIB);
    struct pollfd p = {.events = POLLIN};
    const nrta_error_t *list;
    nrta_seq_t seq;
    size_t count;
    unsigned fds;
    bool done;

    memset(buf, 0x77, 4 * MIB);
    assert_ok(nrt_tensor_write(t, buf, 0, 4 * MIB));
    fds = runner_open_fds();
    for (unsigned i = 0; i < 16; i++)
        assert_ok(nrta_tensor_read(back + i * 4 * MIB, t, 0, 4 * MIB, 0, tracker, &seq));
    assert_ok(nrta_get_completion_handle(seq, &p.fd));
    nrt_close();
    for (unsigned i = 0; i < 16; i++)
        assert_memory_equal(back + i * 4 * MIB, buf, 4 * MIB);
    assert_int_equal(poll(&p, 1, 0), 1); /* told, and it outlives the session */
    close(p.fd);
    assert_int_equal(nrta_tensor_read(back, t, 0, 1, 0, tracker, &seq), NRT_CLOSED);
    assert_int_equal(nrta_tensor_write(t, back, 0, 1, 0, tracker, &seq), NRT_CLOSED);
    assert_int_equal(nrta_tensor_copy(t, 0, t, 0, 1, 0, tracker, &seq), NRT_CLOSED);
    assert_int_equal(nrta_is_completed(seq, &done), NRT_CLOSED);
    assert_int_equal(nrta_get_sequence(0, NRTA_XU_COMPUTE, 0, &seq), NRT_CLOSED);
    assert_int_equal(nrta_get_completion_handle(seq, &p.fd), NRT_CLOSED);
    assert_int_equal(nrta_error_tracker_create(0, &tracker), NRT_CLOSED);
    assert_int_equal(nrta_error_tracker_get_list(tracker, &list, &count), NRT_CLOSED);
    nrta_error_tracker_destroy(tracker); /* no effect */
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_true(runner_open_fds() <= fds);
    assert_int_equal(nrta_is_completed(seq, &done), NRT_INVALID); /* of the session before */
    api_log_clear();
    assert_ok(nrta_error_tracker_create(0, &tracker));
    free(buf);
    free(back);
}

/* The child of a fork has no session and none of our threads; nothing that the parent has under way
 * is lost or done twice. */
static void a_fork_leaves_requests_to_the_parent(void **state)
{
    nrt_tensor_t *t = tensor(DEV, 0, MIB);
    uint8_t *buf = calloc(1, MIB);
    nrta_seq_t seq;
    int status;

    for (unsigned round = 0; round < 5; round++) {
        pid_t child;

        for (unsigned i = 0; i < 20; i++)
            assert_ok(nrta_tensor_write(t, buf, 0, MIB, 0, tracker, &seq));
        child = fork();
        if (child == 0) {
            bool done;

            if (nrta_is_completed(seq, &done) != NRT_UNINITIALIZED)
                _exit(1);
            if (nrta_tensor_write(t, buf, 0, 1, 0, tracker, &seq) != NRT_UNINITIALIZED)
                _exit(2);
            nrta_error_tracker_destroy(tracker);
            nrt_close();
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        finish(seq);
    }
    assert_int_equal(errors(tracker), 0);
    nrt_tensor_free(&t);
    free(buf);
    api_log_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_go_in_across_and_out, setup, teardown),
        cmocka_unit_test_setup_teardown(random_requests_do_what_a_sequential_model_does, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_queue_keeps_order_without_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_queue_refuses_and_then_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_arguments_are_refused_by_the_call, setup, teardown),
        cmocka_unit_test_setup_teardown(each_unit_has_an_id_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(handles_leave_no_descriptor_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(freeing_a_tensor_waits_for_its_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_carries_out_what_was_scheduled, setup, teardown),
        cmocka_unit_test_setup_teardown(a_fork_leaves_requests_to_the_parent, setup, teardown),
    };

    runner_watchdog(240);
    return cmocka_run_group_tests(tests, models_setup, models_teardown);
}
