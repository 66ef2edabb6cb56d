/* SPDX-License-Identifier: Apache-2.0 */
/* PoCL's `basic` device: kernel launch and buffer copies, the nearest thing to nrt_execute and the
 * tensor calls among free runtimes. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_OPENCL
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

static cl_context context;
static cl_command_queue queue;
static cl_kernel kernel;
static cl_mem buffer;
static char *host;
#define POCL_BYTES (16u << 20)

static bool pocl_open(void)
{
    static const char *source =
        "kernel void nop4(global float *a, global float *b, global float *c, global float *d) {}\n";
    cl_platform_id platforms[8];
    cl_device_id devices[16], device = NULL;
    cl_uint np = 0, nd = 0;
    cl_program program;
    cl_int e;

    if (queue)
        return true;
    setenv("POCL_DEVICES", "basic", 0);
    if (clGetPlatformIDs(8, platforms, &np) || np == 0)
        return false;
    for (cl_uint p = 0; p < np && p < 8 && !device; p++) {
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, 16, devices, &nd))
            continue;
        for (cl_uint i = 0; i < nd && i < 16 && !device; i++) {
            char name[256] = "";

            clGetDeviceInfo(devices[i], CL_DEVICE_NAME, sizeof(name), name, NULL);
            if (strncmp(name, "basic", 5) == 0 || nd == 1)
                device = devices[i];
        }
    }
    if (!device)
        return false;
    context = clCreateContext(NULL, 1, &device, NULL, NULL, &e);
    if (e)
        return false;
    program = clCreateProgramWithSource(context, 1, &source, NULL, &e);
    if (e || clBuildProgram(program, 1, &device, "", NULL, NULL))
        return false;
    kernel = clCreateKernel(program, "nop4", &e);
    if (e)
        return false;
    buffer = clCreateBuffer(context, CL_MEM_READ_WRITE, POCL_BYTES, NULL, &e);
    if (e)
        return false;
    host = bench_buffer(POCL_BYTES, true);
    queue = clCreateCommandQueue(context, device, 0, &e);
    return e == CL_SUCCESS;
}

static double launch_run(void *arg, unsigned n)
{
    size_t one = 1;
    double t = bench_now();

    (void)arg;
    for (unsigned i = 0; i < n; i++) {
        for (cl_uint k = 0; k < 4; k++) {
            if (clSetKernelArg(kernel, k, sizeof(buffer), &buffer))
                return -1;
        }
        if (clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, &one, 0, NULL, NULL) ||
            clFinish(queue))
            return -1;
    }
    return bench_now() - t;
}

bool peer_pocl_launch(struct bench_side *ret)
{
    *ret = (struct bench_side){.name = "pocl basic", .run = launch_run};
    return pocl_open();
}

static double write_run(void *arg, unsigned n)
{
    size_t bytes = (size_t)arg;
    double t = bench_now();

    for (unsigned i = 0; i < n; i++) {
        if (clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, bytes, host, 0, NULL, NULL))
            return -1;
    }
    return bench_now() - t;
}

static double read_run(void *arg, unsigned n)
{
    size_t bytes = (size_t)arg;
    double t = bench_now();

    for (unsigned i = 0; i < n; i++) {
        if (clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, bytes, host, 0, NULL, NULL))
            return -1;
    }
    return bench_now() - t;
}

bool peer_pocl_copy(bool write, size_t bytes, struct bench_side *ret)
{
    *ret = (struct bench_side){
        .name = "pocl basic", .run = write ? write_run : read_run, .arg = (void *)bytes};
    return bytes <= POCL_BYTES && pocl_open();
}
#else
bool peer_pocl_launch(struct bench_side *ret)
{
    (void)ret;
    return false;
}

bool peer_pocl_copy(bool write, size_t bytes, struct bench_side *ret)
{
    (void)write, (void)bytes, (void)ret;
    return false;
}
#endif
