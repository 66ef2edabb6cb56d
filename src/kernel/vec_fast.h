/* SPDX-License-Identifier: Apache-2.0 */
/* Activation functions in fp32 without branches, for compilers to turn into vector code: exp, tanh,
 * sigmoid and erf within 2 ulp, what is built from them within 4 ulp or 2^-22 (neuroncore.md 3.2).
 * The polynomials are least-squares fits on Chebyshev nodes with weights adjusted towards equal
 * error (docs/kernels.md). Included by vec_body.h. */

/* r + r^2 q(r) = e^r - 1 for |r| <= ln(2)/2, relative error 2^-31. */
static inline float f_expm1_poly(float r)
{
    float q = 0.000199150309f;

    q = fmaf(q, r, 0.00139420596f);
    q = fmaf(q, r, 0.00833327137f);
    q = fmaf(q, r, 0.0416663401f);
    q = fmaf(q, r, 0.166666672f);
    q = fmaf(q, r, 0.5f);
    return fmaf(r * r, q, r);
}

#define F_MAGIC 0x1.8p23f /* adding it leaves the nearest integer in the low bits */

/* x = n ln 2 + r; the sum t = n + F_MAGIC carries n in its bits. */
static inline float f_reduce(float x, float *t)
{
    float n;

    *t = fmaf(x, 0x1.715476p+0f, F_MAGIC);
    n = *t - F_MAGIC;
    x = fmaf(n, -0x1.62e400p-1f, x); /* ln 2 in two parts, the first with trailing zeros */
    return fmaf(n, -0x1.7f7d1cp-20f, x);
}

/* e^x for all x: 2^n in two steps, so that subnormal results and overflow come out right. */
static inline float f_exp(float x)
{
    float y = x > 89.0f ? 89.0f : x, t, p;
    int32_t n, h;

    y = y < -104.0f ? -104.0f : y; /* NaN passes both */
    p = f_expm1_poly(f_reduce(y, &t)) + 1.0f;
    n = (int32_t)(v_bits(t) - v_bits(F_MAGIC));
    h = n >> 1;
    p = p * v_float((uint32_t)(h + 127) << 23);
    return p * v_float((uint32_t)(n - h + 127) << 23);
}

/* e^x for x <= 0 where a result below 2^-126 may be 0. */
static inline float f_exp_neg(float x)
{
    float y = x < -87.0f ? -87.0f : x, t, p;

    p = f_expm1_poly(f_reduce(y, &t)) + 1.0f;
    p = p * v_float((v_bits(t) - v_bits(F_MAGIC) + 127) << 23);
    return x < -87.0f ? 0.0f : p;
}

static inline float f_abs(float x)
{
    return v_float(v_bits(x) & 0x7FFFFFFF);
}

static inline float f_sign_of(float v, float s)
{
    return v_float(v_bits(v) | (v_bits(s) & 0x80000000));
}

static inline float f_sigmoid(float x)
{
    float e = f_exp(-f_abs(x)), one = 1.0f + e, q = (x < 0.0f ? e : 1.0f) / one;
    float lost = e - (one - 1.0f), inverse = x < 0.0f ? 1.0f - q : q; /* of one */

    return fmaf(-(q * lost), inverse, q);
}

/* The same where results below 2^-126 do not count: times x for the functions x sigma(x). */
static inline float f_sigmoid_fast(float x)
{
    float e = f_exp_neg(-f_abs(x)), one = 1.0f + e;

    return (x < 0.0f ? e : 1.0f) / one;
}

/* m / (m + 2) with m = e^2|x| - 1; near 0, where that loses a digit, an odd polynomial. */
static inline float f_tanh(float x)
{
    float a = f_abs(x), y = a > 9.25f ? 9.25f : a, t, p, s, m, sq = x * x, q;

    q = -0.00590586057f;
    q = fmaf(q, sq, 0.0208053775f);
    q = fmaf(q, sq, -0.0537866801f);
    q = fmaf(q, sq, 0.133319587f);
    q = fmaf(q, sq, -0.333332986f);
    q = fmaf(x * sq, q, x);
    y = y + y;
    p = f_expm1_poly(f_reduce(y, &t));
    s = v_float((v_bits(t) - v_bits(F_MAGIC) + 127) << 23);
    m = fmaf(s, p, s - 1.0f);
    return a < 0.6f ? q : f_sign_of(m / (m + 2.0f), x);
}

static inline float f_erf(float x)
{
    float t = f_abs(x), s = x * x, small, large;

    small = 7.8891193e-05f;
    small = fmaf(small, s, -0.000802084105f);
    small = fmaf(small, s, 0.00518953521f);
    small = fmaf(small, s, -0.0268544443f);
    small = fmaf(small, s, 0.112836003f);
    small = fmaf(small, s, -0.37612626f);
    small = fmaf(small, s, 0.128379167f); /* 2 / sqrt(pi) - 1: the x itself stays exact */
    small = fmaf(small, x, x);
    t = t > 4.0f ? 4.0f : t; /* erf is 1 from here on */
    large = -2.16891076e-05f;
    large = fmaf(large, t, 0.000441364304f);
    large = fmaf(large, t, -0.00420470675f);
    large = fmaf(large, t, 0.0252086651f);
    large = fmaf(large, t, -0.108419254f);
    large = fmaf(large, t, -0.633219242f);
    large = fmaf(large, t, -1.12957883f);
    large = fmaf(large, t, 0.000188117687f); /* ln erfc t */
    large = f_sign_of(1.0f - f_exp_neg(large), x);
    return f_abs(x) < 1.0f ? small : x != x ? x : large;
}

/* ln(1 + e) for 0 <= e <= 1, absolute error below 2^-23. */
static inline float f_log1p_unit(float e)
{
    float q = -0.00333873089f;

    q = fmaf(q, e, 0.0202777702f);
    q = fmaf(q, e, -0.0577591434f);
    q = fmaf(q, e, 0.106845371f);
    q = fmaf(q, e, -0.153532773f);
    q = fmaf(q, e, 0.196924552f);
    q = fmaf(q, e, -0.249573469f);
    q = fmaf(q, e, 0.333302766f);
    q = fmaf(q, e, -0.499999136f);
    return fmaf(q, e * e, e);
}

/* x times something that is 0 where x is very negative, with the limit 0 at -inf. */
static inline float f_gate(float x, float gate)
{
    return x < -1e30f ? 0.0f : x * gate;
}

static inline float f_silu(float x)
{
    return f_gate(x, f_sigmoid_fast(x));
}

static inline float f_gelu_sigmoid(float x)
{
    return f_gate(x, f_sigmoid_fast(1.702f * x));
}

static inline float f_gelu_tanh(float x)
{
    /* (1 + tanh u) / 2 = sigma(2u); the cube may overflow, which the gate takes well */
    float u = fmaf(x * x * x, 0.071354814f, 1.5957691f * x);

    return f_gate(x, f_sigmoid_fast(u));
}

#define F_GELU_END 5.7f /* beyond it the tail of the normal distribution does not count */

/* x Phi(x), from Phi(-|x|) = e^p(|x|): nothing cancels. */
static inline float f_gelu(float x)
{
    float a = f_abs(x), y = a > F_GELU_END ? F_GELU_END : a, p, tail, r;

    p = -1.58964235e-06f;
    p = fmaf(p, y, 2.29207144e-05f);
    p = fmaf(p, y, -0.000108894274f);
    p = fmaf(p, y, -0.000141999393f);
    p = fmaf(p, y, 0.00495534297f);
    p = fmaf(p, y, -0.0364272669f);
    p = fmaf(p, y, -0.318286031f);
    p = fmaf(p, y, -0.797886908f);
    p = fmaf(p, y, -0.693147123f);
    tail = f_exp_neg(p);
    r = x > 0.0f ? fmaf(-x, tail, x) : x * tail;
    return a > F_GELU_END ? (x > 0.0f ? x : 0.0f) : r;
}

static inline float f_softplus(float x)
{
    float tail = f_log1p_unit(f_exp_neg(-f_abs(x)));

    return (x > 0.0f ? x : x != x ? x : 0.0f) + tail;
}

static inline float f_mish(float x)
{
    /* tanh(ln(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2) */
    float y = x > 20.0f ? 20.0f : x, e = f_exp(y), w = e * (e + 2.0f);

    return f_gate(x, w / (w + 2.0f));
}

static inline float f_erf_dx(float x)
{
    /* the square in two parts: its rounding error matters under exp */
    float h = x * x, l = fmaf(x, x, -h), e = f_exp(-h);

    l = h > 1e30f ? 0.0f : l;
    return 1.12837917f * fmaf(e, -l, e);
}

#define FAST(name)                                                                            \
    static __attribute__((unused)) void fast_##name(float *out, const float *in, float param, \
                                                    size_t n)                                 \
    {                                                                                         \
        (void)param;                                                                          \
        VEC_LOOP for (size_t i = 0; i < n; i++) out[i] = f_##name(in[i]);                     \
    }
FAST(exp)
FAST(sigmoid)
FAST(tanh)
FAST(erf)
FAST(silu)
FAST(gelu)
FAST(gelu_tanh)
FAST(gelu_sigmoid)
FAST(softplus)
FAST(mish)
FAST(erf_dx)
