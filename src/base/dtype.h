/* SPDX-License-Identifier: Apache-2.0 */
/* Data types of tensors and their conversion to and from fp32, one element at a time: the portable
 * definition that every vector kernel is compared with. docs/spec/neuroncore.md section 2. */
#ifndef BASE_DTYPE_H
#define BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

/* 0x0..0xF are the codes of nrt_dtype_t; the others are ours. These numbers are in NEFF files. */
enum dtype {
    DT_INVALID = 0x0,
    DT_UINT64 = 0x1,
    DT_INT8 = 0x2,
    DT_UINT8 = 0x3,
    DT_INT16 = 0x4,
    DT_UINT16 = 0x5,
    DT_BF16 = 0x6,
    DT_FP16 = 0x7,
    DT_INT32 = 0x8,
    DT_UINT32 = 0x9,
    DT_FP32 = 0xA,
    DT_FP32R = 0xB,
    DT_INT64 = 0xC,
    DT_FP8_E3 = 0xD,    /* e3m4, bias 3, IEEE-like */
    DT_FP8_E4 = 0xE,    /* e4m3, bias 7, IEEE-like: max 240, then inf */
    DT_FP8_E5 = 0xF,    /* e5m2, IEEE-like */
    DT_BOOL = 0x10,     /* stored as uint8 0 or 1 */
    DT_TF32 = 0x11,     /* fp32 cell with 10 mantissa bits */
    DT_FP8_E4FN = 0x12, /* OCP e4m3fn: no inf, max 448 */
    DT_FP8_E8M0 = 0x13, /* MX scale */
    DT_FP8_E5_X4 = 0x14,
    DT_FP8_E4FN_X4 = 0x15,
    DT_FP4_E2M1_X4 = 0x16,
    DT_COUNT
};

enum dtype_kind { DTK_NONE, DTK_UINT, DTK_INT, DTK_FLOAT, DTK_BOOL, DTK_PACKED };

size_t dtype_size(enum dtype t);          /* bytes of one element; 0 for an unknown type */
enum dtype_kind dtype_kind(enum dtype t); /* DTK_NONE for an unknown type */
const char *dtype_name(enum dtype t);     /* "float32", "bfloat16", "float8e4", ...; "invalid" */
/* By NEFF name (7.2 of neff.md: float8e3 ... int64) or by the NKI spelling (float8_e4m3, ...), also
 * the short text-form names (f32 bf16 f16 u8 i32 ...); DT_INVALID if unknown. */
enum dtype dtype_from_name(const char *name);

static inline bool dtype_is_float(enum dtype t)
{
    return dtype_kind(t) == DTK_FLOAT;
}

static inline bool dtype_is_int(enum dtype t)
{
    return dtype_kind(t) == DTK_UINT || dtype_kind(t) == DTK_INT;
}

/* Element at p (any alignment) as fp32 by the compute rule (neuroncore.md 2.2, 2.3): integers RNE,
 * subnormals kept, a bool cell 1 if not 0, NaNs quiet. Packed and unknown types give NaN. All of
 * these need the rounding mode to be "to nearest". */
float dtype_load(enum dtype t, const void *p);
/* fp32 to the type and store: floats RNE with IEEE overflow (e4m3fn: NaN), integers RNE and
 * saturating, NaN -> 0 for integers, bool 1 if != 0 (NaN too); e8m0 the nearest power of two within
 * its range, NaN for NaN and negatives. Packed and unknown types store nothing. */
void dtype_store(enum dtype t, void *p, float v);
/* The same with stochastic rounding for floats narrower than fp32: u is a uniform 32-bit draw. The
 * neighbour larger in magnitude is taken when the discarded part of the gap, as 32-bit fixed point
 * (floor), exceeds u; a representable value never moves; the neighbour above the largest finite
 * value is inf. Other types as dtype_store. */
void dtype_store_sr(enum dtype t, void *p, float v, uint32_t u);

/* Scalar pieces, for kernels' tails and tests. */
float bf16_to_f32(uint16_t v);
uint16_t f32_to_bf16(float v);
float fp16_to_f32(uint16_t v);
uint16_t f32_to_fp16(float v);

#endif
