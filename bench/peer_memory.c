/* SPDX-License-Identifier: Apache-2.0 */
/* What the memory of the host can do: copies with ordinary and streaming stores, fresh memory, and
 * reading a cached file. */
#include "bench.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct copy {
    char *dst, *src;
    size_t bytes;
};

static struct copy *copy_new(size_t bytes)
{
    struct copy *c = calloc(1, sizeof(*c));

    if (!c)
        exit(1);
    *c = (struct copy){bench_buffer(bytes, true), bench_buffer(bytes, true), bytes};
    return c;
}

static double memcpy_run(void *arg, unsigned n)
{
    struct copy *c = arg;
    double t = bench_now();

    for (unsigned i = 0; i < n; i++) {
        memcpy(c->dst, c->src, c->bytes);
        __asm__ volatile("" : : "r"(c->dst) : "memory");
    }
    return bench_now() - t;
}

bool peer_memcpy(bool write, size_t bytes, struct bench_side *ret)
{
    (void)write;
    *ret = (struct bench_side){.name = "memcpy", .run = memcpy_run, .arg = copy_new(bytes)};
    return true;
}

#ifdef __x86_64__
#include <immintrin.h>

static double stream_run(void *arg, unsigned n)
{
    struct copy *c = arg;
    double t = bench_now();

    for (unsigned i = 0; i < n; i++) {
        for (size_t k = 0; k < c->bytes; k += 64) {
            for (size_t j = 0; j < 64; j += 16)
                _mm_stream_si128((__m128i *)(c->dst + k + j),
                                 _mm_load_si128((const __m128i *)(c->src + k + j)));
        }
        _mm_sfence();
    }
    return bench_now() - t;
}

bool peer_memcpy_nt(bool write, size_t bytes, struct bench_side *ret)
{
    (void)write;
    *ret = (struct bench_side){.name = "streaming copy", .run = stream_run, .arg = copy_new(bytes)};
    return bytes % 64 == 0;
}
#else
bool peer_memcpy_nt(bool write, size_t bytes, struct bench_side *ret)
{
    (void)write, (void)bytes, (void)ret;
    return false;
}
#endif

static double malloc_run(void *arg, unsigned n)
{
    struct copy *c = arg;
    double t = bench_now();

    for (unsigned i = 0; i < n; i++) {
        char *p = malloc(c->bytes);

        if (!p)
            return -1;
        memcpy(p, c->src, c->bytes);
        __asm__ volatile("" : : "r"(p) : "memory");
        free(p);
    }
    return bench_now() - t;
}

bool peer_malloc_copy(size_t bytes, struct bench_side *ret)
{
    *ret =
        (struct bench_side){.name = "malloc + memcpy", .run = malloc_run, .arg = copy_new(bytes)};
    return true;
}

struct file {
    const char *path;
    size_t bytes;
};

/* Into fresh memory with huge pages off: what a loader that reads a file must pay at least. */
static double pread_run(void *arg, unsigned n)
{
    struct file *f = arg;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    double t;

    if (fd < 0)
        return -1;
    t = bench_now();
    for (unsigned i = 0; i < n; i++) {
        char *p = mmap(NULL, f->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        size_t done = 0;

        if (p == MAP_FAILED)
            break;
        madvise(p, f->bytes, MADV_NOHUGEPAGE);
        while (done < f->bytes) {
            ssize_t r = pread(fd, p + done, f->bytes - done, (off_t)done);

            if (r <= 0)
                break;
            done += (size_t)r;
        }
        munmap(p, f->bytes);
        if (done < f->bytes) {
            close(fd);
            return -1;
        }
    }
    t = bench_now() - t;
    close(fd);
    return t;
}

bool peer_pread(const char *path, size_t bytes, struct bench_side *ret)
{
    struct file *f = calloc(1, sizeof(*f));

    if (!f)
        return false;
    *f = (struct file){path, bytes};
    *ret = (struct bench_side){.name = "pread, fresh memory", .run = pread_run, .arg = f};
    return true;
}
