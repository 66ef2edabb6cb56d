/* SPDX-License-Identifier: Apache-2.0 */
/* The debug stream and what device_print feeds besides: api.md 10, behaviour.md 1.2 numbers 41 to
 * 43. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "base/npy.h"
#include "models.h"
#include "neffs.h"
#include "nrt/ndebug_stream.h"
#include "proves.h"

/* Two rows of three int32. */
static const int32_t values[6] = {1, -2, 3, 40, 50, 60};

struct job {
    nrt_model_t *m;
    struct io io;
};

static void job_init(struct job *j, int vnc, struct bytes f, const void *bytes, size_t size)
{
    j->m = load_at(f, vnc, 1);
    io_init(&j->io);
    io_add(&j->io, true, "a", DEV, vnc, size);
    assert_ok(nrt_tensor_write(j->io.t[0], bytes, 0, size));
}

static void job_run(struct job *j, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        assert_ok(nrt_execute(j->m, j->io.in, j->io.out));
}

static void job_fini(struct job *j)
{
    io_fini(&j->io);
    assert_ok(nrt_unload(j->m));
}

static struct bytes int_print(void)
{
    return neff_print("tile", DT_INT32, 2, 3);
}

/* What poll says, and select and epoll as well. */
static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct epoll_event e = {.events = EPOLLIN}, got;
    struct timeval now = {0};
    bool yes = poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
    int set = epoll_create1(EPOLL_CLOEXEC);
    fd_set in;

    FD_ZERO(&in);
    FD_SET(fd, &in);
    assert_int_equal(select(fd + 1, &in, NULL, NULL, &now), yes);
    assert_int_equal(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e), 0);
    assert_int_equal(epoll_wait(set, &got, 1, 0), yes);
    close(set);
    return yes;
}

static void stream_gives_what_is_printed(void **state)
{
    ndebug_stream_event_header_t h;
    void *payload = NULL;
    struct job j;
    int fd = -1, other = -1;

    job_init(&j, 1, int_print(), values, sizeof(values));
    job_run(&j, 2); /* before somebody is connected: dropped */
    assert_fails(nrt_debug_client_connect(1, NULL), NRT_INVALID, "nrt_debug_client_connect");
    assert_fails(nrt_debug_client_connect(2, &fd), NRT_INVALID, "nrt_debug_client_connect");
    assert_fails(nrt_debug_client_connect(-1, &fd), NRT_INVALID, "nrt_debug_client_connect");
    assert_ok(nrt_debug_client_connect(1, &fd));
    assert_true(fd > 2);
    assert_fails(nrt_debug_client_connect(1, &other), NRT_INVALID, "nrt_debug_client_connect");
    assert_ok(nrt_debug_client_connect(0, &other)); /* another core's stream is another one */
    PROVES("api-124");
    PROVES("dump-071");

    assert_false(readable(fd));
    assert_int_equal(nrt_debug_client_read_one_event(fd, &h, &payload), NRT_QUEUE_EMPTY);
    assert_null(payload);
    PROVES("api-140");
    job_run(&j, 3);
    assert_false(readable(other));
    for (unsigned i = 0; i < 3; i++) {
        ndebug_stream_payload_debug_tensor_read_t *t;

        assert_true(readable(fd));
        memset(&h, 0xff, sizeof(h));
        assert_ok(nrt_debug_client_read_one_event(fd, &h, &payload));
        t = payload;
        assert_int_equal(h.type, NDEBUG_STREAM_EVENT_TYPE_DEBUG_TENSOR_READ);
        assert_int_equal(h.data_size, sizeof(*t) + sizeof(values));
        assert_string_equal(t->prefix, "tile");
        assert_int_equal(t->logical_nc_id, 1);
        assert_int_equal(t->pipe, 0);
        assert_string_equal(t->tensor_dtype, "int32");
        assert_int_equal(t->tensor_shape[0], 2);
        assert_int_equal(t->tensor_shape[1], 3);
        for (unsigned k = 2; k < 8; k++)
            assert_int_equal(t->tensor_shape[k], 0);
        assert_int_equal(t->tensor_data_size, sizeof(values));
        assert_memory_equal(t->tensor_data, values, sizeof(values));
        free(payload);
    }
    PROVES("dump-072");
    assert_false(readable(fd));
    PROVES("dump-074");
    payload = NULL;
    assert_int_equal(nrt_debug_client_read_one_event(fd, &h, &payload), NRT_QUEUE_EMPTY);
    assert_fails(nrt_debug_client_read_one_event(fd, NULL, &payload), NRT_INVALID,
                 "nrt_debug_client_read_one_event");
    assert_fails(nrt_debug_client_read_one_event(fd, &h, NULL), NRT_INVALID,
                 "nrt_debug_client_read_one_event");
    assert_fails(nrt_debug_client_read_one_event(-1, &h, &payload), NRT_INVALID,
                 "nrt_debug_client_read_one_event");
    assert_fails(nrt_debug_client_read_one_event(0, &h, &payload), NRT_INVALID,
                 "nrt_debug_client_read_one_event");
    PROVES("api-126");

    job_run(&j, 1);
    nrt_debug_client_connect_close(fd);
    nrt_debug_client_connect_close(fd); /* not a connection any more */
    nrt_debug_client_connect_close(other);
    assert_fails(nrt_debug_client_read_one_event(fd, &h, &payload), NRT_INVALID,
                 "nrt_debug_client_read_one_event");
    assert_ok(nrt_debug_client_connect(1, &fd)); /* what was not read is gone */
    assert_false(readable(fd));
    nrt_debug_client_connect_close(fd);
    PROVES("api-125");
    job_fini(&j);
}

/* Every type and a tile of 128 partitions come as they lie in the tile, partition by partition. */
static void stream_gives_large_tiles(void **state)
{
    enum { PARTS = 128, ROW = 32 };
    uint16_t bytes[PARTS * ROW];
    ndebug_stream_event_header_t h;
    ndebug_stream_payload_debug_tensor_read_t *t;
    void *payload;
    struct job j;
    int fd;

    for (unsigned i = 0; i < PARTS * ROW; i++)
        bytes[i] = (uint16_t)(i * 40503u);
    job_init(&j, 0, neff_print("big", DT_BF16, PARTS, ROW), bytes, sizeof(bytes));
    assert_ok(nrt_debug_client_connect(0, &fd));
    job_run(&j, 1);
    assert_ok(nrt_debug_client_read_one_event(fd, &h, &payload));
    t = payload;
    assert_string_equal(t->tensor_dtype, "bfloat16");
    assert_int_equal(t->tensor_shape[0], PARTS);
    assert_int_equal(t->tensor_shape[1], ROW);
    assert_int_equal(t->tensor_data_size, sizeof(bytes));
    assert_memory_equal(t->tensor_data, bytes, sizeof(bytes));
    free(payload);
    nrt_debug_client_connect_close(fd);
    job_fini(&j);
}

static void reinit(const char *name, const char *value)
{
    nrt_close();
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
}

static void stream_holds_what_the_variable_says(void **state)
{
    static const char name[] = "NEURON_RT_DEBUG_STREAM_BUFFER_SIZE";
    ndebug_stream_event_header_t h;
    void *payload;
    struct job j;
    int fd;

    reinit(name, "5");
    job_init(&j, 0, int_print(), values, sizeof(values));
    job_run(&j, 2);
    assert_ok(nrt_debug_client_connect(0, &fd));
    assert_false(readable(fd)); /* what was printed before the connection is not there */
    job_run(&j, 9);
    for (unsigned i = 0; i < 5; i++) {
        assert_ok(nrt_debug_client_read_one_event(fd, &h, &payload));
        free(payload);
    }
    assert_int_equal(nrt_debug_client_read_one_event(fd, &h, &payload), NRT_QUEUE_EMPTY);
    PROVES("dump-073");
    job_run(&j, 1); /* there is room again */
    assert_ok(nrt_debug_client_read_one_event(fd, &h, &payload));
    free(payload);
    job_run(&j, 2); /* closing the session ends the connection */
    job_fini(&j);
    reinit(name, NULL);
    assert_fails(nrt_debug_client_read_one_event(fd, &h, &payload), NRT_INVALID,
                 "nrt_debug_client_read_one_event");
    PROVES("api-247");
}

static void prints_go_to_files(void **state)
{
    char dir[64], path[256], cmd[128], deep[1200];
    struct npy_desc d;
    struct err err = {0};
    struct job j;
    size_t size;
    char *file;

    snprintf(dir, sizeof(dir), "/tmp/test-debug-XXXXXX");
    assert_non_null(mkdtemp(dir));
    reinit("NEURON_RT_DEBUG_OUTPUT_DIR", dir);
    job_init(&j, 1, int_print(), values, sizeof(values));
    job_run(&j, 2);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/tile/core_1/%u/tensor.npy", dir, i);
        if (i == 2) {
            assert_int_equal(access(path, F_OK), -1);
            break;
        }
        file = read_file(path, &size);
        assert_int_equal(npy_parse(file, size, &d, &err), NRT_SUCCESS);
        assert_int_equal(d.dtype, DT_INT32);
        assert_int_equal(d.ndim, 2);
        assert_int_equal(d.shape[0], 2);
        assert_int_equal(d.shape[1], 3);
        assert_int_equal(size, d.data_off + sizeof(values));
        assert_memory_equal(file + d.data_off, values, sizeof(values));
        free(file);
    }
    job_fini(&j);
    /* A prefix does not lead out of the folder. */
    job_init(&j, 0, neff_print("../../x", DT_INT32, 2, 3), values, sizeof(values));
    job_run(&j, 1);
    snprintf(path, sizeof(path), "%s/_._.._x/core_0/0/tensor.npy", dir);
    assert_int_equal(access(path, F_OK), 0);
    job_fini(&j);
    /* A folder whose name is too long: nothing is written, to no other place either. */
    memset(deep, 'd', sizeof(deep));
    memcpy(deep, dir, strlen(dir));
    for (size_t i = strlen(dir); i < sizeof(deep); i += 200)
        deep[i] = '/';
    deep[sizeof(deep) - 1] = '\0';
    reinit("NEURON_RT_DEBUG_OUTPUT_DIR", deep);
    api_log_clear();
    job_init(&j, 0, int_print(), values, sizeof(values));
    job_run(&j, 1);
    assert_true(api_log_has("File name too long"));
    job_fini(&j);
    deep[strlen(dir) + 200] = '\0';
    assert_int_equal(access(deep, F_OK), -1);
    reinit("NEURON_RT_DEBUG_OUTPUT_DIR", NULL);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    assert_int_equal(system(cmd), 0);
    PROVES("api-248");
    PROVES("dump-075");
}

static void prints_of_text_go_to_the_log(void **state)
{
    static const char name[] = "NEURON_RT_GPSIMD_STDOUT_QUEUE_SIZE_BYTES";
    char said[16] = "hello core";
    struct job j;

    setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
    for (unsigned i = 0; i < 3; i++) {
        static const char *const sizes[] = {"0", "64", "4"};

        api_log_clear();
        reinit(name, sizes[i]);
        assert_false(api_log_has(name)); /* nothing is wrong with it */
        job_init(&j, 0, neff_print("text", DT_UINT8, 1, 16), said, sizeof(said));
        job_run(&j, 1);
        assert_int_equal(api_log_has("TDRV:pool_stdio_queue_consume_all_entries"), i > 0);
        assert_int_equal(api_log_has("hello core"), i == 1);
        assert_int_equal(api_log_has(" hell"), i > 0);
        job_fini(&j);
    }
    api_log_clear();
    reinit(name, "100"); /* no power of two */
    assert_true(api_log_has("NEURON_RT_GPSIMD_STDOUT_QUEUE_SIZE_BYTES"));
    unsetenv("NEURON_RT_LOG_LEVEL");
    reinit(name, NULL);
    PROVES("api-249");
    PROVES("dump-076");
}

static void calls_need_init(void **state)
{
    ndebug_stream_event_header_t h;
    void *payload;
    int fd;

    assert_fails(nrt_debug_client_connect(0, &fd), NRT_UNINITIALIZED, "nrt_debug_client_connect");
    assert_fails(nrt_debug_client_read_one_event(3, &h, &payload), NRT_UNINITIALIZED,
                 "nrt_debug_client_read_one_event");
    nrt_debug_client_connect_close(3);
}

int main(void)
{
    const struct CMUnitTest before[] = {cmocka_unit_test(calls_need_init)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_gives_what_is_printed),
        cmocka_unit_test(stream_gives_large_tiles),
        cmocka_unit_test(stream_holds_what_the_variable_says),
        cmocka_unit_test(prints_go_to_files),
        cmocka_unit_test(prints_of_text_go_to_the_log),
    };
    int failed;

    api_env("trn1.2xlarge", 0);
    failed = cmocka_run_group_tests(before, NULL, NULL);
    api_env_end();
    return failed + cmocka_run_group_tests(tests, models_setup, models_teardown);
}
