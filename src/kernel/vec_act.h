/* SPDX-License-Identifier: Apache-2.0 */
/* Activation functions by their definition (neuroncore.md 3.2): evaluated in double, rounded once.
 * Vector tables use these for what they do not have themselves. */
#ifndef KERNEL_VEC_ACT_H
#define KERNEL_VEC_ACT_H

#include <stddef.h>

#define K_ACT_LIST(X)  \
    X(sigmoid)         \
    X(gelu)            \
    X(gelu_dx)         \
    X(gelu_tanh)       \
    X(gelu_sigmoid)    \
    X(gelu_sigmoid_dx) \
    X(silu) X(silu_dx) X(tanh) X(softplus) X(mish) X(erf) X(erf_dx) X(exp) X(log) X(sin) X(arctan)

#define X(name) void k_act_##name(float *out, const float *in, float param, size_t n);
K_ACT_LIST(X)
#undef X

#endif
