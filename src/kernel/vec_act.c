/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/vec_act.h"

#include <math.h>
#include <stdbool.h>

static double sigma(double x)
{
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

/* Standard normal distribution and density. */
static double phi_cap(double x)
{
    return 0.5 * erfc(-x * M_SQRT1_2);
}

static double phi(double x)
{
    return exp(-x * x / 2) * (M_2_SQRTPI * M_SQRT1_2 / 2);
}

static double f_sigmoid(double x)
{
    return sigma(x);
}

static double f_gelu(double x)
{
    return x * phi_cap(x);
}

static double f_gelu_dx(double x)
{
    return phi_cap(x) + x * phi(x);
}

static double f_gelu_tanh(double x)
{
    /* (1 + tanh u) / 2 = sigma(2u), which does not cancel for negative u */
    return x * sigma(2 * (M_2_SQRTPI * M_SQRT1_2) * (x + 0.044715 * x * x * x));
}

static double f_gelu_sigmoid(double x)
{
    return x * sigma(1.702 * x);
}

static double f_gelu_sigmoid_dx(double x)
{
    double u = 1.702 * x;

    return sigma(u) + u * sigma(u) * sigma(-u);
}

static double f_silu(double x)
{
    return x * sigma(x);
}

static double f_silu_dx(double x)
{
    return sigma(x) * (1 + x * sigma(-x));
}

static double f_softplus(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double f_mish(double x)
{
    return x * tanh(f_softplus(x));
}

static double f_erf_dx(double x)
{
    return M_2_SQRTPI * exp(-x * x);
}

/* at_minf, at_inf: the limits where the formula gives inf * 0 */
#define LIMITS(name, at_minf, at_inf)                                     \
    void k_act_##name(float *out, const float *in, float param, size_t n) \
    {                                                                     \
        (void)param;                                                      \
        for (size_t i = 0; i < n; i++) {                                  \
            float x = in[i];                                              \
            if (isinf(x))                                                 \
                out[i] = x < 0 ? (at_minf) : (at_inf);                    \
            else                                                          \
                out[i] = (float)f_##name((double)x);                      \
        }                                                                 \
    }
LIMITS(sigmoid, 0.0f, 1.0f)
LIMITS(gelu, 0.0f, INFINITY)
LIMITS(gelu_dx, 0.0f, 1.0f)
LIMITS(gelu_tanh, 0.0f, INFINITY)
LIMITS(gelu_sigmoid, 0.0f, INFINITY)
LIMITS(gelu_sigmoid_dx, 0.0f, 1.0f)
LIMITS(silu, 0.0f, INFINITY)
LIMITS(silu_dx, 0.0f, 1.0f)
LIMITS(softplus, 0.0f, INFINITY)
LIMITS(mish, 0.0f, INFINITY)
LIMITS(erf_dx, 0.0f, 0.0f)

#define PLAIN(name, fn)                                                   \
    void k_act_##name(float *out, const float *in, float param, size_t n) \
    {                                                                     \
        (void)param;                                                      \
        for (size_t i = 0; i < n; i++)                                    \
            out[i] = (float)fn((double)in[i]);                            \
    }
PLAIN(tanh, tanh)
PLAIN(erf, erf)
PLAIN(exp, exp)
PLAIN(log, log)
PLAIN(sin, sin)
PLAIN(arctan, atan)
