/* SPDX-License-Identifier: Apache-2.0 */
#include "models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"

nrt_model_t *load_at(struct bytes f, int vnc, int count)
{
    nrt_model_t *m = NULL;
    NRT_STATUS status;

    status = nrt_load(f.data, f.size, vnc, count, &m);
    if (status != NRT_SUCCESS)
        fail_msg("nrt_load: %d\n%s", status, api_log());
    neff_free(&f); /* the caller's bytes may go at once */
    return m;
}

nrt_model_t *load(struct bytes f)
{
    return load_at(f, -1, -1);
}

NRT_STATUS load_status(struct bytes f, int vnc, int count)
{
    nrt_model_t *m = (nrt_model_t *)&f;
    NRT_STATUS status = nrt_load(f.data, f.size, vnc, count, &m);

    if (status == NRT_SUCCESS)
        assert_ok(nrt_unload(m));
    else
        assert_ptr_equal(m, &f); /* untouched */
    neff_free(&f);
    return status;
}

void io_init(struct io *io)
{
    memset(io, 0, sizeof(*io));
    assert_ok(nrt_allocate_tensor_set(&io->in));
    assert_ok(nrt_allocate_tensor_set(&io->out));
}

nrt_tensor_t *io_add(struct io *io, bool input, const char *name, nrt_tensor_placement_t place,
                     int vnc, size_t size)
{
    nrt_tensor_t *t;

    assert_ok(nrt_tensor_allocate(place, vnc, size, name, &t));
    assert_ok(nrt_add_tensor_to_tensor_set(input ? io->in : io->out, name, t));
    io->t[io->n++] = t;
    return t;
}

void io_fini(struct io *io)
{
    for (unsigned i = 0; i < io->n; i++)
        nrt_tensor_free(&io->t[i]);
    nrt_destroy_tensor_set(&io->in);
    nrt_destroy_tensor_set(&io->out);
}

void put_floats(nrt_tensor_t *t, const float *v, unsigned n)
{
    assert_ok(nrt_tensor_write(t, v, 0, n * sizeof(*v)));
}

float get_float(nrt_tensor_t *t, unsigned i)
{
    float v;

    assert_ok(nrt_tensor_read(t, &v, i * sizeof(v), sizeof(v)));
    return v;
}

uint32_t model_core(nrt_model_t *m)
{
    nrt_model_info_t info = {99};
    size_t n;

    assert_ok(nrt_get_model_info(m, &info, sizeof(info), &n));
    return info.vnc;
}

uint64_t counter(uint32_t core, enum device_counter c)
{
    struct device_config cfg = {.name = getenv("OPENNRT_INSTANCE"), .observe = true};
    struct device_instance *in;
    uint64_t total = 0, present;

    assert_ok(device_instance_open(&cfg, &in, NULL));
    device_counter_get(in, core, c, &total, &present);
    device_instance_close(in);
    return total;
}

void *read_file(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "rb");
    void *data;

    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *ret_size = (size_t)ftell(f);
    rewind(f);
    data = malloc(*ret_size);
    assert_int_equal(fread(data, 1, *ret_size, f), *ret_size);
    fclose(f);
    return data;
}

void add_job_init(struct add_job *j, int vnc, unsigned n)
{
    float *v = calloc(n, sizeof(*v));

    assert_non_null(v);
    for (unsigned i = 0; i < n; i++)
        v[i] = (float)(i + 1);
    j->m = load_at(neff_add(n), vnc, 1);
    io_init(&j->io);
    put_floats(io_add(&j->io, true, "a", DEV, vnc, n * sizeof(*v)), v, n);
    put_floats(io_add(&j->io, true, "b", DEV, vnc, n * sizeof(*v)), v, n);
    io_add(&j->io, false, "c", DEV, vnc, n * sizeof(*v));
    free(v);
    add_job_run(j, 1);
}

void add_job_run(struct add_job *j, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        assert_ok(nrt_execute(j->m, j->io.in, j->io.out));
}

void add_job_fini(struct add_job *j)
{
    io_fini(&j->io);
    assert_ok(nrt_unload(j->m));
}

nrt_tensor_t *device_tensor(int vnc, size_t size)
{
    nrt_tensor_t *t = NULL;

    assert_ok(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, vnc, size, "t", &t));
    assert_non_null(t);
    return t;
}

int models_setup(void **state)
{
    api_env("trn1.2xlarge", 0);
    return nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
}

int models_teardown(void **state)
{
    nrt_vnc_memory_stats_t stats;
    size_t n;

    for (uint32_t i = 0; i < 2; i++)
        if (nrt_get_vnc_memory_stats(i, &stats, sizeof(stats), &n) != NRT_SUCCESS ||
            stats.bytes_used != 0) {
            fprintf(stderr, "core %u still uses %zu bytes\n", i, stats.bytes_used);
            return 1;
        }
    nrt_close();
    api_env_end();
    return 0;
}
