/* SPDX-License-Identifier: Apache-2.0 */
/* The definition: plain loops in access-pattern order. */
#include "kernel/kernel_int.h"

#define VEC_BYTES 0
#include "kernel/vec_body.h"

const struct k_vec k_vec_portable = {VEC_TABLE_BODY("portable")};
