/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about tensor operands: counts, extents, overlap, roles. */
#include "isa/isa_int.h"

uint64_t isa_tensor_count(const struct isa_tensor *t)
{
    uint64_t n = 1;

    for (unsigned k = 0; k < t->ndim && k < 4; k++)
        n *= t->dim[k].num;
    return n;
}

void isa_tensor_extent(const struct isa_tensor *t, int64_t *ret_lo, int64_t *ret_hi)
{
    int64_t size = (int64_t)dtype_size((enum dtype)t->dtype), lo = 0, hi = 0;

    for (unsigned k = 0; k < t->ndim && k < 4; k++) {
        int64_t d = ((int64_t)t->dim[k].num - 1) * t->dim[k].step;

        if (d < 0)
            lo += d;
        else
            hi += d;
    }
    *ret_lo = (int64_t)t->offset + lo * size;
    *ret_hi = (int64_t)t->offset + hi * size + size;
}

unsigned isa_reads(const struct isa_record *r)
{
    const struct isa_op_info *info = isa_op_info(r->opcode);
    unsigned m = info ? info->reads : 0;

    if (!info || info->format != ISA_FMT_COMPUTE)
        return 0;
    if ((r->opcode == ISA_OP_NC_MATMUL || r->opcode == ISA_OP_NC_MATMUL_MX) && r->body.c.acc)
        m |= 1;
    for (unsigned k = 0; k < 5; k++)
        if (r->body.c.t[k].mem == ISA_MEM_NONE)
            m &= ~(1u << k);
    return m;
}

unsigned isa_writes(const struct isa_record *r)
{
    const struct isa_op_info *info = isa_op_info(r->opcode);
    unsigned m = info ? info->writes : 0;

    if (!info || info->format != ISA_FMT_COMPUTE)
        return 0;
    for (unsigned k = 0; k < 5; k++)
        if (r->body.c.t[k].mem == ISA_MEM_NONE)
            m &= ~(1u << k);
    return m;
}

struct span {
    int64_t step; /* > 0 */
    int64_t last; /* num - 1, > 0 */
};

static int64_t gcd_ext(int64_t a, int64_t b, int64_t *x)
{
    int64_t x0 = 1, x1 = 0;

    while (b) {
        int64_t q = a / b, t = a - q * b;

        a = b;
        b = t;
        t = x0 - q * x1;
        x0 = x1;
        x1 = t;
    }
    *x = x0;
    return a;
}

static int64_t div_floor(int64_t a, int64_t b) /* b > 0 */
{
    return a / b - (a % b < 0);
}

/* Whether s0.step * x + s1.step * y = c has a solution with |x| <= s0.last and |y| <= s1.last other
 * than x = y = 0 (asked for only when c is 0). */
static bool two_spans_hit(struct span s0, struct span s1, int64_t g, int64_t inv, int64_t c)
{
    int64_t p = s1.step / g, x, lo, hi;

    if (c % g)
        return false;
    /* all solutions: x = x0 + k * p, y = (c - step0 * x) / step1 */
    x = inv * (c / g) % p;
    lo = div_floor(-s0.last - x + p - 1, p);
    hi = div_floor(s0.last - x, p);
    /* |y| <= last1: step0 * x in [c - step1 * last1, c + step1 * last1] */
    {
        int64_t xmin = div_floor(c - s1.step * s1.last + s0.step - 1, s0.step);
        int64_t xmax = div_floor(c + s1.step * s1.last, s0.step);
        int64_t l2 = div_floor(xmin - x + p - 1, p), h2 = div_floor(xmax - x, p);

        if (l2 > lo)
            lo = l2;
        if (h2 < hi)
            hi = h2;
    }
    if (lo > hi)
        return false;
    if (c != 0)
        return true;
    /* k with x0 + k * p = 0 is the trivial solution; any other one counts */
    return hi > lo || x + lo * p != 0;
}

/* More than nested: search the differences of the shorter dimensions for a sum of zero. */
static bool spans_collide(const struct span *s, unsigned n)
{
    struct span a = {1, 0}, b = {1, 0}, big[2] = {{1, 0}, {1, 0}};
    unsigned i0 = 0, i1 = 1;
    int64_t inv, g;

    if (n == 1)
        return false;
    /* the two longest are solved, the others enumerated */
    for (unsigned k = 0; k < n; k++)
        if (s[k].last > s[i0].last)
            i0 = k;
    if (i1 == i0)
        i1 = 0;
    for (unsigned k = 0; k < n; k++)
        if (k != i0 && s[k].last > s[i1].last)
            i1 = k;
    big[0] = s[i0];
    big[1] = s[i1];
    for (unsigned k = 0, m = 0; k < n; k++)
        if (k != i0 && k != i1)
            *(m++ == 0 ? &a : &b) = s[k];
    g = gcd_ext(big[0].step, big[1].step, &inv);
    for (int64_t x = 0; x <= a.last; x++) /* the mirror image needs no second look */
        for (int64_t y = x == 0 ? 0 : -b.last; y <= b.last; y++)
            if (two_spans_hit(big[0], big[1], g, inv, -(x * a.step + y * b.step)) ||
                ((x || y) && x * a.step + y * b.step == 0))
                return true;
    return false;
}

bool isa_tensor_overlaps(const struct isa_tensor *t)
{
    struct span s[4];
    unsigned n = 0;
    int64_t reach = 0;
    bool nested = true;

    for (unsigned k = 0; k < t->ndim && k < 4; k++) {
        struct span d = {t->dim[k].step < 0 ? -(int64_t)t->dim[k].step : t->dim[k].step,
                         (int64_t)t->dim[k].num - 1};
        unsigned i = n;

        if (d.last <= 0)
            continue;
        if (d.step == 0)
            return true;
        for (; i > 0 && s[i - 1].step > d.step; i--)
            s[i] = s[i - 1];
        s[i] = d;
        n++;
    }
    for (unsigned k = 0; k < n; k++) {
        if (s[k].step <= reach)
            nested = false;
        reach += s[k].step * s[k].last;
    }
    return !nested && spans_collide(s, n);
}
