/* SPDX-License-Identifier: Apache-2.0 */
/* Models, the sets they run on, and their core's counters, for tests of the whole library. All end
 * the test when a call of the library fails that should not. */
#ifndef TEST_SYSTEM_MODELS_H
#define TEST_SYSTEM_MODELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/device.h"
#include "neffs.h"
#include "nrt/nrt.h"

#define DEV  NRT_TENSOR_PLACEMENT_DEVICE
#define VIRT NRT_TENSOR_PLACEMENT_VIRTUAL

/* Loads the file and frees its bytes. */
nrt_model_t *load_at(struct bytes f, int vnc, int count);
nrt_model_t *load(struct bytes f); /* with -1, -1 */
/* The status of a load; what it made is unloaded, and a refusal leaves the pointer alone. */
NRT_STATUS load_status(struct bytes f, int vnc, int count);
uint32_t model_core(nrt_model_t *m);

/* Sets with tensors by name; up to 4 of them. */
struct io {
    nrt_tensor_set_t *in, *out;
    nrt_tensor_t *t[4];
    unsigned n;
};
void io_init(struct io *io);
nrt_tensor_t *io_add(struct io *io, bool input, const char *name, nrt_tensor_placement_t place,
                     int vnc, size_t size);
void io_fini(struct io *io);

/* A model that adds n floats, and its tensors, on one core; init executes it once, which binds. */
struct add_job {
    nrt_model_t *m;
    struct io io;
};
void add_job_init(struct add_job *j, int vnc, unsigned n);
void add_job_run(struct add_job *j, unsigned times);
void add_job_fini(struct add_job *j);

/* A tensor of device memory. */
nrt_tensor_t *device_tensor(int vnc, size_t size);
void put_floats(nrt_tensor_t *t, const float *v, unsigned n);
float get_float(nrt_tensor_t *t, unsigned i);

/* Total of a counter of a physical core, read by an observer of the instance. */
uint64_t counter(uint32_t core, enum device_counter c);
/* The whole file; the caller frees it. */
void *read_file(const char *path, size_t *ret_size);

/* For a group of tests: a session on trn1.2xlarge, and at its end no memory in use. */
int models_setup(void **state);
int models_teardown(void **state);

#endif
