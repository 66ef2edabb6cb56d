/* SPDX-License-Identifier: Apache-2.0 */
/* The loops of vec_body.h compiled for avx2 (see meson.build). */
#include "kernel/kernel_int.h"

#define VEC_BYTES 32
#include "kernel/vec_body.h"

const struct k_vec k_vec_avx2 = {VEC_TABLE_BODY("avx2")};
