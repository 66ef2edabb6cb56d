/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of CPU nodes, compiled into a shared object that tests put into a NEFF. */
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
    uint32_t size_of, dtype, ndim, pad;
    void *data;
    size_t size;
    const uint64_t *shape;
};

int32_t double_it(uint32_t n_in, const struct buf *in, uint32_t n_out, struct buf *out);
int32_t negate_it(uint32_t n_in, const struct buf *in, uint32_t n_out, struct buf *out);
int32_t refuse_it(uint32_t n_in, const struct buf *in, uint32_t n_out, struct buf *out);
int32_t hold_it(uint32_t n_in, const struct buf *in, uint32_t n_out, struct buf *out);

static int32_t scale(uint32_t n_in, const struct buf *in, uint32_t n_out, struct buf *out, float by)
{
    const float *a = in[0].data;
    float *c = out[0].data;

    if (n_in != 1 || n_out != 1 || in[0].size_of != sizeof(struct buf) || in[0].dtype != 0xA ||
        in[0].ndim != 1 || in[0].shape[0] * 4 != in[0].size || out[0].size != in[0].size)
        return 2;
    for (size_t i = 0; i < in[0].size / 4; i++) {
        float v = by * a[i];

        __atomic_store(&c[i], &v, __ATOMIC_RELAXED); /* others may write the same there */
    }
    return 0;
}

int32_t double_it(uint32_t n_in, const struct buf *in, uint32_t n_out, struct buf *out)
{
    return scale(n_in, in, n_out, out, 2);
}

int32_t negate_it(uint32_t n_in, const struct buf *in, uint32_t n_out, struct buf *out)
{
    return scale(n_in, in, n_out, out, -1);
}

int32_t refuse_it(uint32_t n_in, const struct buf *in, uint32_t n_out, struct buf *out)
{
    return 1002; /* NRT_EXEC_BAD_INPUT */
}

/* The first 8 bytes are the address of two ints of this process, or 0: counts that it is here in
 * the first one, and stays until the second one is not 0. The output is the input from byte 8 on.
 */
int32_t hold_it(uint32_t n_in, const struct buf *in, uint32_t n_out, struct buf *out)
{
    int *gate;

    if (n_in != 1 || n_out != 1 || in[0].size < sizeof(gate) || out[0].size != in[0].size)
        return 2;
    memcpy(&gate, in[0].data, sizeof(gate));
    if (gate) {
        __atomic_fetch_add(&gate[0], 1, __ATOMIC_ACQ_REL);
        while (!__atomic_load_n(&gate[1], __ATOMIC_ACQUIRE))
            sched_yield();
    }
    memcpy(out[0].data, in[0].data, in[0].size);
    memset(out[0].data, 0, sizeof(gate));
    return 0;
}
