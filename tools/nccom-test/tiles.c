/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes of tensors in SBUF: as the options say, else as many partitions as divide the elements. */
#include "tiles.h"

#include "base/checked.h"

static bool op_scatters(const struct cc_stream *s)
{
    return s->op == CC_REDUCE_SCATTER;
}

/* ---- shapes ---- */

static NRT_STATUS shape_take(const char *option, const struct cc_shape *shape, uint64_t elems,
                             struct cc_tile *ret, struct err *err)
{
    uint64_t all;

    *ret = (struct cc_tile){shape->num[1], shape->num[0], shape->step[1], shape->step[0]};
    if (u64_mul_over(ret->rows, ret->cols, &all) || all != elems)
        return err_set(err, NRT_INVALID, "%s: %llu x %llu elements are not the %llu of the tensor",
                       option, (unsigned long long)ret->cols, (unsigned long long)ret->rows,
                       (unsigned long long)elems);
    if (ret->rows > CC_PARTITIONS || ret->row_step > CC_PARTITIONS ||
        (ret->rows - 1) * ret->row_step >= CC_PARTITIONS)
        return err_set(err, NRT_INVALID, "%s: more than %u partitions", option, CC_PARTITIONS);
    if ((ret->rows > 1 && ret->row_step == 0) || (ret->cols > 1 && ret->step == 0))
        return err_set(err, NRT_INVALID, "%s: a step of 0", option);
    if (ret->rows == 1)
        ret->row_step = 1;
    if (ret->cols == 1)
        ret->step = 1;
    return NRT_SUCCESS;
}

static struct cc_tile tile_of(uint64_t elems, uint64_t rows)
{
    return (struct cc_tile){rows, elems / rows, 1, 1};
}

/* Whether n blocks of so many rows make a larger side of so many. */
static bool blocks_fit(const struct cc_stream *s, uint64_t small, uint64_t large, uint64_t n)
{
    return large % small == 0 && n % (large / small) == 0 && (s->cc_dim == 1 || large == small);
}

/* As many rows as there are, of which the larger side, where it is given, can be made. */
static uint64_t small_rows(const struct cc_stream *s, uint64_t elems, uint64_t large, uint64_t n)
{
    uint64_t rows = CC_PARTITIONS;

    while (rows > 1 && (elems % rows != 0 || (large > 0 && !blocks_fit(s, rows, large, n))))
        rows--;
    return rows;
}

static uint64_t large_rows(const struct cc_stream *s, uint64_t small, uint64_t n)
{
    uint64_t across = n;

    while (across > 1 &&
           (across * small > CC_PARTITIONS || !blocks_fit(s, small, across * small, n)))
        across--;
    return across * small;
}

NRT_STATUS cc_tiles_make(struct cc_tiles *t, const struct cc_stream *s, uint64_t in, uint64_t out,
                         uint32_t n, struct err *err)
{
    struct cc_tile *small = op_scatters(s) ? &t->out : &t->in;
    struct cc_tile *large = op_scatters(s) ? &t->in : &t->out;
    uint64_t few = op_scatters(s) ? out : in, many = op_scatters(s) ? in : out;
    uint64_t blocks = s->op == CC_ALL_REDUCE ? 1 : n;
    NRT_STATUS st = NRT_SUCCESS;

    *t = (struct cc_tiles){.used = true};
    if (s->in_shape.given)
        st = shape_take("--input-shape", &s->in_shape, in, &t->in, err);
    if (st == NRT_SUCCESS && s->out_shape.given)
        st = shape_take("--output-shape", &s->out_shape, out, &t->out, err);
    if (st != NRT_SUCCESS)
        return st;
    if (small->rows == 0)
        *small = tile_of(few, small_rows(s, few, large->rows, blocks));
    if (large->rows == 0)
        *large = tile_of(many, large_rows(s, small->rows, blocks));
    if (!blocks_fit(s, small->rows, large->rows, blocks))
        return err_set(err, NRT_INVALID,
                       "--sb2sb: %u ranks of %llu partitions each do not make %llu partitions%s", n,
                       (unsigned long long)small->rows, (unsigned long long)large->rows,
                       s->cc_dim == 0 ? " (--cc-dim 0)" : "");
    t->across = large->rows / small->rows;
    return NRT_SUCCESS;
}

uint64_t cc_tile_bytes(const struct cc_tile *t, enum dtype dtype)
{
    uint64_t each = dtype_size(dtype), bytes;

    if (u64_mul_over(t->cols - 1, t->step, &bytes) || u64_mul_over(bytes, each, &bytes) ||
        u64_add_over(bytes, each, &bytes) || u64_align_up_over(bytes, 64, &bytes))
        return UINT64_MAX / 4; /* sums of some stay what they are: too many */
    return bytes;
}

/* ---- blocks ---- */

static const struct cc_tile *large_side(const struct cc_tiles *t)
{
    return t->in.rows * t->in.cols > t->out.rows * t->out.cols ? &t->in : &t->out;
}

static const struct cc_tile *small_side(const struct cc_tiles *t)
{
    return large_side(t) == &t->in ? &t->out : &t->in;
}

void cc_tiles_block(const struct cc_tiles *t, uint64_t i, uint64_t *ret_block, uint64_t *ret_i)
{
    const struct cc_tile *l = large_side(t), *b = small_side(t);
    uint64_t row = i / l->cols, col = i % l->cols;

    *ret_block = col / b->cols * t->across + row / b->rows;
    *ret_i = row % b->rows * b->cols + col % b->cols;
}

uint64_t cc_tiles_element(const struct cc_tiles *t, uint64_t block, uint64_t i)
{
    const struct cc_tile *l = large_side(t), *b = small_side(t);
    uint64_t row = block % t->across * b->rows + i / b->cols;
    uint64_t col = block / t->across * b->cols + i % b->cols;

    return row * l->cols + col;
}
