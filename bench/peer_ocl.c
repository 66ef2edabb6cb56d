/* SPDX-License-Identifier: Apache-2.0 */
/* PoCL's devices: "basic", where kernels run on the thread that finishes the queue, and "pthread",
 * where they run on its threads. */
#include "peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_OPENCL
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

struct peer_ocl {
    cl_context context;
    cl_command_queue queue;
    cl_program program;
    cl_kernel kernel;
    cl_mem buffer;
    void *host;
    size_t bytes;
};

static void must(cl_int status, const char *what)
{
    if (status != CL_SUCCESS) {
        fprintf(stderr, "bench: %s: OpenCL status %d\n", what, status);
        exit(1);
    }
}

/* The device whose name begins like this; false: there is none. */
static bool device_find(cl_platform_id platform, const char *kind, cl_device_id *ret)
{
    cl_device_id devices[8];
    cl_uint n = 0;
    char name[128];

    if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 8, devices, &n) != CL_SUCCESS)
        return false;
    for (cl_uint i = 0; i < n && i < 8; i++) {
        name[0] = '\0';
        clGetDeviceInfo(devices[i], CL_DEVICE_NAME, sizeof(name), name, NULL);
        if (strncmp(name, kind, strlen(kind)) == 0) {
            *ret = devices[i];
            return true;
        }
    }
    return false;
}

struct peer_ocl *peer_ocl_open(const char *kind, size_t buffer_bytes, const char **why)
{
    static const char *source =
        "kernel void four(global float *a, global float *b, global float *c, global float *d) {}";
    struct peer_ocl *o = calloc(1, sizeof(*o));
    cl_platform_id platform;
    cl_device_id device;
    char name[128] = "";
    cl_int status;

    setenv("POCL_DEVICES", "basic pthread", 0);
    *why = "no such OpenCL device";
    if (!o || clGetPlatformIDs(1, &platform, NULL) != CL_SUCCESS ||
        !device_find(platform, kind, &device)) {
        free(o);
        return NULL;
    }
    clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof(name), name, NULL);
    if (!strstr(name, "Portable Computing Language")) {
        *why = "the first OpenCL platform is not PoCL";
        free(o);
        return NULL;
    }
    o->context = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
    must(status, "context");
    o->queue = clCreateCommandQueue(o->context, device, 0, &status);
    must(status, "queue");
    o->program = clCreateProgramWithSource(o->context, 1, &source, NULL, &status);
    must(status, "program");
    must(clBuildProgram(o->program, 1, &device, "", NULL, NULL), "build");
    o->kernel = clCreateKernel(o->program, "four", &status);
    must(status, "kernel");
    o->buffer = clCreateBuffer(o->context, CL_MEM_READ_WRITE, buffer_bytes, NULL, &status);
    must(status, "buffer");
    return o;
}

void peer_ocl_launch(void *ocl)
{
    struct peer_ocl *o = ocl;
    size_t one = 1;

    for (cl_uint i = 0; i < 4; i++)
        must(clSetKernelArg(o->kernel, i, sizeof(o->buffer), &o->buffer), "argument");
    must(clEnqueueNDRangeKernel(o->queue, o->kernel, 1, NULL, &one, &one, 0, NULL, NULL), "launch");
    must(clFinish(o->queue), "finish");
}

void peer_ocl_launch_many(void *ocl)
{
    struct peer_ocl *o = ocl;
    size_t one = 1;

    for (unsigned k = 0; k < PEER_OCL_MANY; k++) {
        for (cl_uint i = 0; i < 4; i++)
            must(clSetKernelArg(o->kernel, i, sizeof(o->buffer), &o->buffer), "argument");
        must(clEnqueueNDRangeKernel(o->queue, o->kernel, 1, NULL, &one, &one, 0, NULL, NULL),
             "launch");
    }
    must(clFinish(o->queue), "finish");
}

void peer_ocl_transfer(struct peer_ocl *o, void *host, size_t bytes)
{
    o->host = host;
    o->bytes = bytes;
}

void peer_ocl_write(void *ocl)
{
    struct peer_ocl *o = ocl;

    must(clEnqueueWriteBuffer(o->queue, o->buffer, CL_TRUE, 0, o->bytes, o->host, 0, NULL, NULL),
         "write");
}

void peer_ocl_read(void *ocl)
{
    struct peer_ocl *o = ocl;

    must(clEnqueueReadBuffer(o->queue, o->buffer, CL_TRUE, 0, o->bytes, o->host, 0, NULL, NULL),
         "read");
}

void peer_ocl_close(struct peer_ocl *o)
{
    if (!o)
        return;
    clReleaseMemObject(o->buffer);
    clReleaseKernel(o->kernel);
    clReleaseProgram(o->program);
    clReleaseCommandQueue(o->queue);
    clReleaseContext(o->context);
    free(o);
}
#else
struct peer_ocl {
    int unused;
};

struct peer_ocl *peer_ocl_open(const char *kind, size_t buffer_bytes, const char **why)
{
    (void)kind, (void)buffer_bytes;
    *why = "OpenCL was not there at build time";
    return NULL;
}

void peer_ocl_launch(void *ocl)
{
    (void)ocl;
}

void peer_ocl_launch_many(void *ocl)
{
    (void)ocl;
}

void peer_ocl_transfer(struct peer_ocl *ocl, void *host, size_t bytes)
{
    (void)ocl, (void)host, (void)bytes;
}

void peer_ocl_write(void *ocl)
{
    (void)ocl;
}

void peer_ocl_read(void *ocl)
{
    (void)ocl;
}

void peer_ocl_close(struct peer_ocl *ocl)
{
    (void)ocl;
}
#endif
