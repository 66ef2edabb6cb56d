/* SPDX-License-Identifier: Apache-2.0 */
/* Every fault point failed at every hit, over every API call: a status that says so, nothing
 * leaked, and the same calls work afterwards. And hardware errors on demand (behaviour.md 8.5). The
 * test is linked with the runtime's objects, so that it can arm the points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "fault_tour.h"
#include "models.h"
#include "neffs.h"
#include "nrt/nrt_async.h"
#include "proves.h"
#include "runner.h"

static struct bytes big, graph, sum;

/* A model with everything that is placed: constant, scratch, pointer, table. */
static struct bytes neff_big(void)
{
    struct neff_build *b = neff_build_create("big");
    uint64_t n = 64, kib = 4096;
    static uint8_t data[4096];
    struct prog p;
    int vars[2];

    vars[0] = neff_build_input(b, 0, "a", "uint8", 1, &n);
    vars[1] = neff_build_output(b, 0, "c", "uint8", 1, &n);
    neff_build_constant(b, 0, "w", "uint8", 1, &kib, data);
    neff_build_tmp(b, 0, "tmp", 4096, 0);
    neff_build_virtual(b, 0, "v", 65536, NULL, 0);
    neff_build_pointer(b, 0, "pa", vars[0]);
    neff_build_dge_table(b, 0, "tab", vars, 2);
    prog_init(&p, ISA_SP);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

struct things {
    nrt_tensor_t *t[8];
    nrt_tensor_set_t *in, *out;
    nrt_model_t *m, *g, *s;
    nrt_tensor_info_array_t *info;
    nrta_error_tracker_t *tracker;
};

/* What needs no object. */
static NRT_STATUS tour_facts(void)
{
    nrt_instance_info_t info;
    nrt_version_t version;
    uint32_t n = 4, map[4];
    char bdf[32];
    size_t size = sizeof(bdf);
    int error = -1;

    TRY(nrt_get_version(&version, sizeof(version)));
    tour_note("nrt_get_status_as_str");
    if (!nrt_get_status_as_str(NRT_SUCCESS))
        return NRT_FAILURE;
    TRY(nrt_get_instance_info(&info, sizeof(info)));
    TRY(nrt_get_total_nc_count(&n));
    TRY(nrt_get_total_vnc_count(&n));
    TRY(nrt_get_visible_nc_count(&n));
    TRY(nrt_get_visible_vnc_count(&n));
    TRY(nrt_host_device_id_get(0, &n));
    n = 4;
    TRY(nrt_host_device_id_rid_map_get(&n, map));
    tour_note("nrt_get_libnccl_net");
    if (nrt_get_libnccl_net(&error, bdf, sizeof(bdf)) || error)
        return NRT_FAILURE;
    TRY_FOR(nrt_get_attached_efa_bdf(map, bdf, &size), NRT_FAILURE);
    return NRT_SUCCESS;
}

/* Requests, on tensors that are there; waits until they are complete. */
static NRT_STATUS tour_async(struct things *k)
{
    static uint8_t in[64], out[64];
    const nrta_error_t *list;
    nrta_seq_t seq[4], last;
    NRT_STATUS status;
    size_t count;
    bool done;
    int fd;

    TRY(nrta_error_tracker_create(0, &k->tracker));
    TRY(nrta_tensor_write(k->t[0], in, 0, 64, 0, k->tracker, &seq[0]));
    TRY(nrta_tensor_copy(k->t[4], 0, k->t[2], 0, 64, 0, k->tracker, &seq[1]));
    TRY(nrta_tensor_read(out, k->t[4], 0, 64, 0, k->tracker, &seq[2]));
    TRY(nrta_execute_schedule(k->m, k->in, k->out, 0, k->tracker, &seq[3]));
    TRY(nrt_async_drain_queued_execs(-1));
    TRY(nrt_register_async_exec_callback(NULL, NULL));
    tour_note("nrta_get_completion_handle");
    status = nrta_get_completion_handle(seq[1], &fd);
    if (status == NRT_SUCCESS)
        close(fd);
    for (unsigned i = 0; i < 4; i++)
        do
            TRY(nrta_is_completed(seq[i], &done));
        while (!done && sched_yield() == 0);
    if (status != NRT_SUCCESS)
        return status;
    TRY(nrta_get_sequence(0, NRTA_XU_TENSOR_READ, 0, &last));
    TRY(nrta_error_tracker_get_list(k->tracker, &list, &count));
    return count ? (NRT_STATUS)list[0].error_code : NRT_SUCCESS;
}

/* All calls; the first status that is not the one of a tour without a fault. */
static NRT_STATUS tour(struct things *k)
{
    nrt_tensor_device_allocation_info_t where;
    nrt_model_info_t model_info;
    nrt_vnc_memory_stats_t stats;
    int fd = -1;
    nrt_tensor_t *got;
    uint8_t buf[64] = {1};
    static uint8_t mine[64];
    nrt_tensor_batch_op_t op = {0, 64, buf};
    nrt_tensor_batch_t b;
    uint32_t n;
    size_t size;
    void *va;

    TRY(tour_facts());
    TRY(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "a", &k->t[0]));
    TRY(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_HOST, -1, 64, "h", &k->t[1]));
    TRY(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, -1, 64, "v", &k->t[2]));
    TRY(nrt_tensor_allocate_empty("e", &k->t[3]));
    TRY(nrt_tensor_attach_buffer(k->t[3], mine, 64));
    TRY(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 3 << 20, "big", &k->t[4]));
    TRY(nrt_tensor_allocate_slice(k->t[4], 1 << 20, 64, "s", &k->t[5]));
    TRY(nrt_tensor_write(k->t[5], buf, 0, 64));
    TRY(nrt_tensor_read(k->t[4], buf, 0, 64));
    TRY(nrt_tensor_memset(k->t[4], 0, 1, 3 << 20));
    TRY(nrt_tensor_copy(k->t[4], 0, k->t[2], 0, 64));
    b = (nrt_tensor_batch_t){k->t[0], &op, 1};
    TRY(nrt_tensor_write_batch(&b, 1, false));
    TRY(nrt_tensor_read_batch(&b, 1, false));
    tour_note("nrt_tensor_get_va");
    va = nrt_tensor_get_va(k->t[4]);
    if (!va)
        return NRT_RESOURCE;
    TRY(nrt_memcpy_to_device((char *)va + 100, buf, sizeof(buf)));
    tour_note("nrt_get_dmabuf_fd");
    if (nrt_get_dmabuf_fd((uint64_t)(uintptr_t)va, 4096, &fd) == NRT_SUCCESS)
        close(fd); /* where the host can */
    tour_note("nrt_tensor_get_size");
    if (nrt_tensor_get_size(k->t[4]) != 3 << 20)
        return NRT_FAILURE;
    TRY(nrt_tensor_get_device_allocation_info(k->t[4], &where));
    TRY(nrt_get_hbm_mmap_va(0, 1, &va, &size));
    TRY(nrt_get_vnc_memory_stats(0, &stats, sizeof(stats), &size));
    TRY(nrt_allocate_tensor_set(&k->in));
    TRY(nrt_allocate_tensor_set(&k->out));
    TRY(nrt_add_tensor_to_tensor_set(k->in, "a", k->t[0]));
    TRY(nrt_add_tensor_to_tensor_set(k->in, "x", k->t[2]));
    TRY(nrt_add_tensor_to_tensor_set(k->in, "k", k->t[5]));
    TRY(nrt_add_tensor_to_tensor_set(k->out, "c", k->t[1]));
    TRY(nrt_add_tensor_to_tensor_set(k->out, "y", k->t[3]));
    TRY(nrt_get_tensor_from_tensor_set(k->in, "a", &got));
    TRY(nrt_load(big.data, big.size, 0, 2, &k->m));
    TRY(nrt_get_model_tensor_info(k->m, &k->info));
    TRY(nrt_get_model_info(k->m, &model_info, sizeof(model_info), &size));
    TRY(nrt_get_model_instance_count(k->m, &n));
    TRY(nrt_get_model_nc_count(k->m, &n));
    TRY(nrt_get_model_vnc_count(k->m, &n));
    TRY(nrt_execute(k->m, k->in, k->out));
    TRY(nrt_execute_repeat(k->m, k->in, k->out, 2));
    TRY(nrt_load(graph.data, graph.size, 0, -1, &k->g));
    TRY(nrt_execute(k->g, k->in, k->out));
    TRY(nrt_trace_start(true));
    TRY(nrt_execute(k->m, k->in, k->out));
    TRY(nrt_trace_stop("/dev/null"));
    TRY(nrt_build_global_comm(0, 0, 1));
    TRY(nrt_cc_global_comm_init(0, 0, 1));
    TRY(nrt_barrier(0, 0, 1));
    TRY(nrt_all_gather(0, 0, 1, sizeof(buf), buf, mine));
    TRY(nrt_load_collectives(sum.data, sum.size, 0, -1, 0, 1, &k->s));
    TRY(nrt_execute(k->s, k->in, k->out));
    TRY(nrt_tensor_check_output_completion(k->t[1], 0, 5));
    TRY(nrt_tensor_reset_output_completion(k->t[1]));
    return tour_async(k);
}

static void give_back(struct things *k)
{
    for (const char *const *name =
             (const char *const[]){"nrt_unload", "nrt_free_model_tensor_info",
                                   "nrt_destroy_tensor_set", "nrt_tensor_free",
                                   "nrta_error_tracker_destroy", NULL};
         *name; name++)
        tour_note(*name);
    (void)nrt_trace_stop("/dev/null"); /* a tour that ended early may have left one */
    if (k->g)
        assert_ok(nrt_unload(k->g));
    if (k->m)
        assert_ok(nrt_unload(k->m));
    if (k->s)
        assert_ok(nrt_unload(k->s));
    if (k->info)
        assert_ok(nrt_free_model_tensor_info(k->info));
    nrt_destroy_tensor_set(&k->in);
    nrt_destroy_tensor_set(&k->out);
    nrta_error_tracker_destroy(k->tracker);
    for (size_t i = 0; i < sizeof(k->t) / sizeof(k->t[0]); i++)
        nrt_tensor_free(&k->t[i]);
}

static void expect_nothing_held(const char *what, uint64_t hit)
{
    nrt_vnc_memory_stats_t stats;
    size_t n;

    for (uint32_t i = 0; i < 2; i++) {
        assert_ok(nrt_get_vnc_memory_stats(i, &stats, sizeof(stats), &n));
        if (stats.bytes_used != 0)
            fail_msg("%s %llu: core %u holds %zu bytes", what, (unsigned long long)hit, i,
                     stats.bytes_used);
    }
}

static void calls_survive_every_fault(void **state)
{
    for (int p = 0; p < FAULT_POINT_COUNT; p++) {
        struct things k = {0};
        uint64_t hits, failed = 0;
        /* Mappings and memory behind HBM are kept once they are there: each hit needs a new
         * session. So does a lock, since what could not be freed goes with the session, and a
         * thread, which stays. */
        bool fresh = p == FAULT_MMAP || p == FAULT_BACKING || p == FAULT_LOCK || p == FAULT_THREAD;
        unsigned fds;

        assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
        assert_ok(tour(&k));
        give_back(&k);
        fds = runner_open_fds();
        if (fresh) {
            nrt_close();
            assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
        }
        fault_count_start();
        memset(&k, 0, sizeof(k));
        assert_ok(tour(&k));
        give_back(&k);
        hits = fault_count((enum fault_point)p);
        fault_disarm();
        for (uint64_t hit = 1; hit <= hits; hit++) {
            NRT_STATUS status;

            memset(&k, 0, sizeof(k));
            if (fresh) {
                nrt_close();
                assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
            }
            fault_arm((enum fault_point)p, hit);
            status = tour(&k);
            if (!tour_status_may_be((enum fault_point)p, status))
                fail_msg("%s %llu: status %d", tour_points[p], (unsigned long long)hit, status);
            failed += status != NRT_SUCCESS;
            give_back(&k);
            fault_disarm();
            if (p == FAULT_LOCK) {
                nrt_close();
                assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
            }
            expect_nothing_held(tour_points[p], hit);
            if (!fresh && runner_open_fds() != fds)
                fail_msg("%s %llu: %u open files, were %u", tour_points[p], (unsigned long long)hit,
                         runner_open_fds(), fds);
            memset(&k, 0, sizeof(k));
            status = tour(&k);
            if (status != NRT_SUCCESS)
                fail_msg("%s %llu: the next tour gives %d\n%s", tour_points[p],
                         (unsigned long long)hit, status, api_log());
            give_back(&k);
            api_log_clear();
        }
        PROVES("api-137"); /* no status but those above: 11 is none of them */
        printf("%-8s %llu hits, %llu seen by a call\n", tour_points[p], (unsigned long long)hits,
               (unsigned long long)failed);
        nrt_close();
    }
}

/* Every function that a header declares was on the tour, but for those of the next test, and for
 * operations that the host drives: the memory of their communicator stays with the core. */
static void the_tour_makes_every_call(void **state)
{
    static const char *const headers[] = {"nrt.h", "nrt_async.h", "nrt_experimental.h",
                                          "nrt_status.h", "nrt_version.h"};
    static const char *const but[] = {"nrt_init", "nrt_close", "nrt_set_pool_eng_ucode", "nrta_cc_",
                                      NULL};
    unsigned found = 0;

    for (size_t h = 0; h < sizeof(headers) / sizeof(headers[0]); h++) {
        char path[4096];

        snprintf(path, sizeof(path), NRT_HEADERS "/%s", headers[h]);
        found += tour_covers(path, but);
    }
    printf("%u functions declared\n", found);
    assert_in_range(found, 45, 100);
}

static void init_and_close_survive_every_fault(void **state)
{
    uint8_t image[16] = {0};
    nrt_ucode_info ucode = {{image, sizeof(image)}, {image, sizeof(image)}};
    for (int p = 0; p < FAULT_POINT_COUNT; p++) {
        uint64_t hits;
        unsigned fds;

        assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
        nrt_close();
        fds = runner_open_fds();
        fault_count_start();
        assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
        nrt_close();
        hits = fault_count((enum fault_point)p);
        fault_disarm();
        for (uint64_t hit = 1; hit <= hits; hit++) {
            NRT_STATUS status;

            fault_arm((enum fault_point)p, hit);
            assert_ok(nrt_set_pool_eng_ucode(&ucode));
            status = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
            if (status != NRT_SUCCESS && status != NRT_RESOURCE && status != NRT_FAILURE &&
                status != NRT_TIMEOUT)
                fail_msg("%s %llu: status %d", tour_points[p], (unsigned long long)hit, status);
            nrt_close();
            fault_disarm();
            if (runner_open_fds() != fds)
                fail_msg("%s %llu: %u open files, were %u", tour_points[p], (unsigned long long)hit,
                         runner_open_fds(), fds);
            assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
            nrt_close();
        }
        printf("%-8s %llu hits\n", tour_points[p], (unsigned long long)hits);
    }
}

static void hardware_errors_on_demand_give_their_statuses(void **state)
{
    static const struct {
        const char *fault, *line, *id;
        NRT_STATUS status;
    } rows[] = {
        {"sram:0:1:7", "Uncorrectable memory error is detected, metadata: 0x7.", "api-150",
         NRT_EXEC_HW_ERR_NC_UE},
        {"hbm:0:1", "Uncorrectable HBM memory error is detected.", "api-149",
         NRT_EXEC_HW_ERR_HBM_UE},
        {"hbm-repairable:0:1", "Please reload the neuron driver or reboot", "api-153",
         NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE},
        {"dma-tx:0:1:3", "DMA TX engine 3 is in an abort state", "api-151",
         NRT_EXEC_HW_ERR_DMA_ABORT},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bytes f = neff_copy(64, false);
        struct things k = {0};

        setenv("OPENNRT_FAULT", rows[i].fault, 1);
        assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
        unsetenv("OPENNRT_FAULT");
        assert_ok(nrt_load(f.data, f.size, 0, -1, &k.m));
        assert_ok(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "a", &k.t[0]));
        assert_ok(nrt_allocate_tensor_set(&k.in));
        assert_ok(nrt_add_tensor_to_tensor_set(k.in, "a", k.t[0]));
        assert_ok(nrt_add_tensor_to_tensor_set(k.in, "c", k.t[0]));
        assert_ok(nrt_execute(k.m, k.in, k.in)); /* the one before */
        api_log_clear();
        assert_int_equal(nrt_execute(k.m, k.in, k.in), rows[i].status);
        if (!api_log_has(rows[i].line) || !api_log_has("nrt_infodump"))
            fail_msg("%s\n%s", rows[i].line, api_log());
        assert_ok(nrt_execute(k.m, k.in, k.in));
        PROVES(rows[i].id);
        give_back(&k);
        nrt_close();
        neff_free(&f);
    }
}

static int setup(void **state)
{
    size_t size;
    void *lib = read_file(CPU_NODE, &size);

    api_env("trn1.2xlarge", 0);
    setenv("OPENNRT_HOST_THREADS", "1", 1);
    big = neff_big();
    sum = neff_all_reduce(1, 16);
    graph = neff_graph(16, "double_it", "negate_it", lib, size);
    free(lib);
    return 0;
}

static int teardown(void **state)
{
    neff_free(&big);
    neff_free(&sum);
    neff_free(&graph);
    api_env_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_survive_every_fault),
        cmocka_unit_test(the_tour_makes_every_call),
        cmocka_unit_test(init_and_close_survive_every_fault),
        cmocka_unit_test(hardware_errors_on_demand_give_their_statuses),
    };

    runner_watchdog(600);
    return cmocka_run_group_tests(tests, setup, teardown);
}
