/* SPDX-License-Identifier: Apache-2.0 */
/* GB/s of the ways in which kernel_copy may go (src/kernel/copy.c), in turns, medians:
 * bench/copy_ways [MiB ...]. Both buffers ask for huge pages. */
#include "kernel/copy.c"

#include <stdio.h>
#include <stdlib.h>

#include "measure.h"

#ifdef __SSE2__

struct copy {
    void *dst, *src;
    size_t n;
};

static void libc(void *arg)
{
    const struct copy *c = arg;

    memcpy(c->dst, c->src, c->n);
}

static void through(void *arg)
{
    const struct copy *c = arg;

    copy_through(c->dst, c->src, c->n, __builtin_cpu_supports("avx512f"));
}

static void around(void *arg)
{
    const struct copy *c = arg;

    copy_around(c->dst, c->src, c->n, __builtin_cpu_supports("avx512f"), ASK_KEEP);
    k_around_end();
}

static void around_once(void *arg)
{
    const struct copy *c = arg;

    copy_around(c->dst, c->src, c->n, __builtin_cpu_supports("avx512f"), ASK_ONCE);
    k_around_end();
}

static void line_print(size_t mib)
{
    struct copy c = {.n = mib << 20};
    struct measure_row row;

    c.dst = measure_alloc(c.n);
    c.src = measure_alloc(c.n + AHEAD);
    row = (struct measure_row){
        .kind = MEASURE_RATE,
        .work = (double)c.n * 1e-3,
        .ours = {.run = libc, .arg = &c},
        .peer = {{.run = through, .arg = &c},
                 {.run = around, .arg = &c},
                 {.run = around_once, .arg = &c}},
    };
    measure_run(&row);
    printf("%6zu %8.1f", mib, row.work / row.ours.us);
    for (unsigned i = 0; i < MEASURE_SIDES - 1; i++)
        printf(" %8.1f", row.work / row.peer[i].us);
    printf("\n");
    free(c.dst);
    free(c.src);
}

int main(int argc, char **argv)
{
    printf("%6s %8s %8s %8s %8s\n", "MiB", "memcpy", "through", "around", "once");
    for (int i = 1; i < argc; i++)
        line_print(strtoul(argv[i], NULL, 10));
    for (size_t mib = 1; argc == 1 && mib <= 64; mib *= 2)
        line_print(mib);
    return 0;
}

#else

int main(void)
{
    printf("copies are the C library's here\n");
    return 0;
}

#endif
