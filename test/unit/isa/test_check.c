/* SPDX-License-Identifier: Apache-2.0 */
/* Every rule of the load-time check: a record that it refuses, and an accepted neighbour. */
#include "records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proves.h"

static const char tiles[] = "var hv: input f32[64, 32]\n"
                            "var hw: input bf16[64, 32]\n"
                            "queue dyn: dynamic n=4\n"
                            "queue stat: in n=4\n"
                            "tile A, B, C: sbuf f32[128, 64]\n"
                            "tile h, g: sbuf bf16[128, 64]\n"
                            "tile q, qq: sbuf f16[128, 64]\n"
                            "tile I, J, K: sbuf i32[128, 64]\n"
                            "tile U: sbuf u32[128, 64]\n"
                            "tile S, SS: sbuf u16[128, 64]\n"
                            "tile b8: sbuf u8[128, 64]\n"
                            "tile e4, e4b: sbuf float8e4[128, 64]\n"
                            "tile c, d: sbuf f32[128, 1]\n"
                            "tile ci: sbuf i32[128, 1]\n"
                            "tile ch: sbuf bf16[128, 1]\n"
                            "tile v8, w8: sbuf f32[128, 8]\n"
                            "tile i8: sbuf u32[128, 8]\n"
                            "tile big: sbuf f32[128, 600]\n"
                            "tile P, Q: psum f32[128, 512]\n"
                            "tile Ph: psum bf16[128, 512]\n";

/* One rule: text that passes, text that does not, and a part of the message. gen and lnc apply to
 * both. */
static const struct rule {
    unsigned gen, lnc;
    const char *good, *bad, *says;
} rules[] = {
    /* operands: partitions, alignment, ranges, dimensions */
    {2, 1, "dve: tensor_copy A[0:65], B[0:65]", "dve: tensor_copy A[32:97], B[32:97]", "part 32"},
    {2, 1, "dve: tensor_copy A[64:128], B[0:64]", "dve: tensor_copy A[32:96], B[0:64]", "part 32"},
    {2, 1, "dve: tensor_copy A[96:128], B[0:32]", "dve: tensor_copy A[16:48], B[0:32]", "part 16"},
    {2, 1, "dve: tensor_copy A, sbuf.f32(0:128, 4, [1,64])",
     "dve: tensor_copy A, sbuf.f32(0:128, 2, [1,64])", "src.offset 2"},
    {2, 1, "dve: tensor_copy A, sbuf.f32(0:128, 196352, [1,64])",
     "dve: tensor_copy A, sbuf.f32(0:128, 196356, [1,64])", "outside a partition of 196608"},
    {3, 1, "dve: tensor_copy A, sbuf.f32(0:128, 229120, [1,64])",
     "dve: tensor_copy A, sbuf.f32(0:128, 229124, [1,64])", "outside a partition of 229376"},
    {2, 1, "dve: tensor_copy A, sbuf.f32(0:128, 252, [-1,64])",
     "dve: tensor_copy A, sbuf.f32(0:128, 248, [-1,64])", "bytes [-4,"},
    {2, 1, "dve: tensor_copy A, psum.f32(0:128, 16128, [1,64])",
     "dve: tensor_copy A, psum.f32(0:128, 16132, [1,64])", "outside a partition of 16384"},
    {2, 1, "dve: tensor_copy A, sbuf.f32(0:128, 0, [1,64])",
     "dve: tensor_copy A, sbuf.f32(0:128, 0, [1,0], [1,64])", "num is 0"},
    {2, 1, "dve: tensor_copy A[:, 0:1], sbuf.f32(0:128, 0, [1,1])",
     "dve: tensor_copy sbuf.f32(1:130, 0, [1,1]), A[:, 0:1]", "outside 0..127"},
    {2, 1, "dve: memset sbuf.u8(0:1, 0, [0,256], [1,0]) , 0",
     "dve: memset sbuf.u8(0:1, 0, [1,2], [2,40000]) , 0", "80000 elements"},
    {2, 1, "dve: memset psum.u8(0:1, 0, [1,4096]), 0", "dve: memset psum.u8(0:1, 0, [1,4097]), 0",
     "at most 4096"},
    {2, 1, "dve: memset sbuf.f32(0:1, 0, [4,4], [1,4]), 0",
     "dve: memset sbuf.f32(0:1, 0, [3,4], [1,4]), 0", "dst writes a byte twice"},
    {2, 1, "dve: memset sbuf.f32(0:1, 0, [0,1], [1,4]), 0",
     "dve: memset sbuf.f32(0:1, 0, [0,2], [1,4]), 0", "dst writes a byte twice"},
    {2, 1, "dve: tensor_copy A[:, 0:4], sbuf.f32(0:128, 0, [0,4])",
     "dve: tensor_copy sbuf.f32(0:128, 0, [0,4]), A[:, 0:4]", "dst writes a byte twice"},
    {2, 1, "dve: tensor_copy A[:, r3 +: 4], B[:, 0:4]", NULL, NULL},
    {4, 1,
     "dve: tensor_copy sbuf.float8_e4m3fn(0:1, 0, [1,4]), "
     "sbuf.float8_e4m3fn(0:1, 8, [1,4])",
     NULL, NULL},
    {2, 1, "dve: tensor_copy A, B",
     "dve: tensor_copy sbuf.float8_e4m3fn(0:1, 0, [1,4]), sbuf.float8_e4m3fn(0:1, 8, [1,4])",
     "is not a tile type"},
    {2, 1, "dve: tensor_copy A, B", "dve: tensor_copy sbuf.int64(0:1, 0, [1,4]), A[0:1, 0:4]",
     "dst.dtype"},
    /* memories of the engines */
    {2, 1, "dve: tensor_copy A, P[:, 0:64]", "pool: tensor_copy A, P[:, 0:64]",
     "reaches SBUF only"},
    {2, 1, "pool: memset A, 0", "pool: memset P, 0", "reaches SBUF only"},
    {2, 1, "pe: nc_matmul P[0:64, 0:64], h, g", "pe: nc_matmul A[0:64], h, g", "writes PSUM only"},
    {2, 1, "pe: nc_matmul P[0:64, 0:64], h, g", "pe: nc_matmul P[0:64, 0:64], Ph[:, 0:64], g",
     "reads SBUF only"},
    {2, 1, "dve: tensor_tensor A, P[:, 0:64], B, add",
     "dve: tensor_tensor A, P[:, 0:64], Q[:, 0:64], add", "both in PSUM"},
    /* which engine, which generation */
    {2, 1, "dve: reciprocal A, B", "act: reciprocal A, B", "engine act cannot execute it"},
    {3, 1, "act: tensor_copy A, B", NULL, NULL},
    {2, 1, "act: activation A, B, copy", "act: tensor_copy A, B", "act of v2 has no copy"},
    {3, 1, "dve: range_select A, B, c, d, ge, lt", NULL, NULL},
    {2, 1, "dve: tensor_copy A, B", "dve: range_select A, B, c, d, ge, lt",
     "generation v2 does not have it"},
    /* equal partitions and counts */
    {2, 1, "dve: tensor_copy A[0:32], B[0:32]", "dve: tensor_copy A[0:32], B[0:31]",
     "dst has 32 partitions, src 31"},
    {2, 1, "dve: tensor_copy A[:, 0:8], B.reshape(4, 16)[:, 0:2, 0:4]",
     "dve: tensor_copy A[:, 0:8], B[:, 0:9]", "dst has 8 elements"},
    /* nc_matmul */
    {2, 1, "pe: nc_matmul P[0:64, 0:64], h, g", "pe: nc_matmul P[0:64, 0:64], h[0:64], g",
     "stationary has 64 partitions"},
    {2, 1, "pe: nc_matmul P[0:64, 0:64], h[0:64], g[0:64]",
     "pe: nc_matmul P[0:64, 0:64], h[0:64], g[64:128]", "stationary starts at partition 0"},
    {2, 1, "pe: nc_matmul P[0:64, 0:64], h, g", "pe: nc_matmul Ph[0:64, 0:64], h, g",
     "dst cannot be bfloat16"},
    {4, 1, "pe: nc_matmul Ph[0:64, 0:64], h, g", NULL, NULL},
    {2, 1, "pe: nc_matmul P[0:64, 0:64], h, q", "pe: nc_matmul P[0:64, 0:64], h, A", "do not pair"},
    {2, 1, "pe: nc_matmul P[0:64, 0:64], A, B", "pe: nc_matmul P[0:64, 0:64], I, J",
     "cannot be int32"},
    {2, 1, "pe: nc_matmul P[0:64, 0:64], e4, e4b", "pe: nc_matmul P[0:64, 0:64], b8, e4",
     "stationary cannot be uint8"},
    {2, 1, "pe: nc_matmul P[0:128, 0:64], big.view(bf16)[:, 0:128], g",
     "pe: nc_matmul P[0:128, 0:64], big.view(bf16)[:, 0:129], g", "129 elements"},
    {2, 1, "pe: nc_matmul P[0:64], A, big[:, 0:512]",
     "pe: nc_matmul psum.f32(0:64, 0, [1,513]), A, big[:, 0:513]", "at most 512"},
    {4, 1, "pe: nc_matmul psum.f32(0:64, 0, [1,513]), A, big[:, 0:513]", NULL, NULL},
    {2, 1, "pe: nc_matmul P[0:64, 0:64], h, g", "pe: nc_matmul P[0:63, 0:64], h, g",
     "dst has 63 partitions"},
    {2, 1, "pe: nc_matmul P[0:64, 0:64], h, g", "pe: nc_matmul P[0:64, 0:63], h, g",
     "dst has 63 elements"},
    {2, 1, "pe: nc_matmul psum.f32(0:64, 1792, [1,64]), h, g",
     "pe: nc_matmul psum.f32(0:64, 1796, [1,64]), h, g", "not in one PSUM bank"},
    {3, 1, "pe: nc_matmul P[0:64, 0:64], h[0:32], g[0:32], pe_rows=32, pe_cols=64, pe_row=96",
     "pe: nc_matmul P[0:64, 0:64], h[0:32], g[0:32], pe_rows=32, pe_cols=64, pe_row=16", "pe_row"},
    {2, 1, "pe: nc_matmul P[0:64, 0:64], h[0:64], g[0:64], pe_rows=64, pe_cols=64",
     "pe: nc_matmul P[0:64, 0:64], h[0:32], g[0:32], pe_rows=32, pe_cols=64", "pe_rows 32"},
    {3, 1, "pe: nc_matmul P[0:64, 0:64], h, g, pe_rows=128, pe_cols=64, pe_col=64",
     "pe: nc_matmul P[0:64, 0:64], h, g, pe_rows=128, pe_cols=64, pe_col=32", "pe_col"},
    {3, 1, "pe: nc_matmul P[0:64, 0:64], h, g, pe_rows=128, pe_cols=64",
     "pe: nc_matmul P[0:64, 0:64], h, g, pe_rows=64, pe_cols=64", "128 rows in a tile of 64"},
    {3, 1, "pe: nc_matmul P[0:64, 0:64], h, g, pe_rows=128, pe_cols=64",
     "pe: nc_matmul P[0:64, 0:64], h, g, pe_rows=128, pe_cols=32", "64 columns in a tile of 32"},
    {3, 1, "pe: nc_matmul P[0:64, 0:64], h, g",
     "pe: nc_matmul P[0:64, 0:64], h, g, perf_mode=double_row", "known but not executable"},
    {3, 1, "pe: nc_matmul P[0:64, 0:64], h, g", "pe: nc_matmul P[0:64, 0:64], h, g, transpose",
     "known but not executable"},
    /* transposes */
    {2, 1, "pe: nc_transpose P[0:64, 0:128], A", "pe: nc_transpose P[0:64, 0:64], A",
     "the transpose of data"},
    {2, 1, "pe: nc_transpose P[0:64, 0:128], h", "pe: nc_transpose Ph[0:64, 0:128], A",
     "dst cannot be bfloat16"},
    {3, 1, "pe: nc_transpose Ph[0:64, 0:128], h", "pe: nc_transpose P[0:64, 0:128], h",
     "dst is float32"},
    {2, 1, "pe: nc_transpose P[0:64, 0:128], A", "pe: nc_transpose P[0:64, 0:128], I",
     "data cannot be int32"},
    {3, 1, "pe: nc_transpose psum.u16(0:64, 0, [1,128]), b8",
     "pe: nc_transpose psum.u8(0:64, 0, [1,128]), b8", "2-byte integer"},
    {2, 1, "dve: nc_transpose A[0:32, 0:16], B[0:16, 0:32]",
     "dve: nc_transpose A[0:32, 0:15], B[0:16, 0:32]", "the transpose of data"},
    {2, 1, "dve: nc_transpose A[0:64], B[0:64]", "dve: nc_transpose A[0:64], B[0:48]",
     "neither at most 32 x 32"},
    {2, 1, "dve: nc_transpose A[0:32, 0:32], B[0:32, 0:32]",
     "dve: nc_transpose A[0:32, 0:32], I[0:32, 0:32]", "dst is float32, data int32"},
    /* copies and constants */
    {2, 1, "dve: tensor_copy_predicated A, b8, B", "dve: tensor_copy_predicated A, I, B",
     "predicate cannot be int32"},
    {2, 1, "dve: tensor_copy_predicated A, b8, B", "dve: tensor_copy_predicated A, b8, h",
     "dst is float32, src bfloat16"},
    {2, 1, "dve: tensor_copy_predicated A, b8, value=1.0",
     "dve: tensor_copy_predicated A, b8, B, value=1.0", "both given"},
    {2, 1, "dve: tensor_copy_predicated A, b8, value=1.0", "dve: tensor_copy_predicated A, b8",
     "neither src nor value"},
    {2, 1, "dve: tensor_copy_predicated A, psum.u8(0:128, 0, [1,64]), B",
     "dve: tensor_copy_predicated A, psum.u8(0:128, 0, [1,64]), P[:, 0:64]", "both in PSUM"},
    {2, 1, "dve: memset b8, i32(255)", "dve: memset b8, i32(256)", "wider than uint8"},
    {2, 1, "dve: memset A, i32(1)", "dve: memset A, r2 ", NULL},
    {4, 1, "dve: memset sbuf.float4_e2m1fn_x4(0:1, 0, [1,4]), i32(0)",
     "dve: memset sbuf.float4_e2m1fn_x4(0:1, 0, [1,4]), i32(1)", "packed types accept only 0"},
    {4, 1, "dve: memset A, 0", "dve: reciprocal sbuf.float4_e2m1fn_x4(0:1, 0, [1,4]), A[0:1, 0:4]",
     "cannot be"},
    /* operators */
    {2, 1, "dve: tensor_tensor I, J, K, bitwise_and", "dve: tensor_tensor I, J, A, bitwise_and",
     "integers of one size"},
    {2, 1, "dve: tensor_tensor I, J, K, shl", "dve: tensor_tensor S, SS, K, shl",
     "integers of one size"},
    {2, 1, "pool: tensor_tensor I, J, K, add", "pool: tensor_tensor I, J, K, bitwise_or",
     "belong to dve"},
    {2, 1, "dve: tensor_tensor A, B, C, pow", "dve: tensor_tensor A, B, C, rsqrt",
     "op cannot be rsqrt"},
    {2, 1, "dve: tensor_tensor A, B, C, max", "dve: tensor_tensor A, B, C, average",
     "op cannot be average"},
    {2, 1, "dve: tensor_scalar A, B, add, 1.0", "dve: tensor_scalar A, B, add",
     "operand0 is missing"},
    {2, 1, "dve: tensor_scalar A, B, abs", "dve: tensor_scalar A, B, abs, 1.0", "takes none"},
    {2, 1, "dve: tensor_scalar A, B, abs, 0.0", "dve: tensor_scalar A, B, add, 1.0, operand1=2.0",
     "operand1 with operator none"},
    {2, 1, "dve: tensor_scalar A, B, add, c", "dve: tensor_scalar A, B, add, ch",
     "operand0 tile is bfloat16"},
    {2, 1, "dve: tensor_scalar I, J, shl, 3", "dve: tensor_scalar I, J, shl, c",
     "operand0 tile is float32"},
    {2, 1, "dve: tensor_scalar I, J, bitwise_and, ci, bitwise_or, 1",
     "dve: tensor_scalar I, J, bitwise_and, ci, add, i32(1)", "one is not"},
    {2, 1, "dve: tensor_scalar A, B, add, 1.0", "dve: tensor_scalar A, B, add, i32(1)",
     "wants fp32"},
    {2, 1, "dve: tensor_scalar I, J, shl, 1", "dve: tensor_scalar I, J, shl, f32(1)",
     "want an integer"},
    {2, 1, "dve: tensor_scalar A, B, add, 1.0", "dve: tensor_scalar A, B, average, 1.0",
     "reduces partitions only"},
    {3, 1, "act: tensor_scalar A, B, mul, 2.0, add, 1.0",
     "act: tensor_scalar A, B, add, 2.0, mul, 1.0", "act of v3"},
    {4, 1, "act: tensor_scalar A, B, add, 2.0, mul, 1.0", NULL, NULL},
    {3, 1, "act: tensor_scalar A, B, add, 2.0", "act: tensor_scalar A, B, subtract, 2.0",
     "act of v3"},
    {2, 1, "dve: tensor_scalar A, B, add, c",
     "dve: tensor_scalar A[0:64], B[0:64], add, "
     "sbuf.f32(32, 0)",
     "operand0.part 32"},
    {2, 1, "dve: tensor_scalar A, B, add, psum.f32(0, 16380)",
     "dve: tensor_scalar A, B, add, psum.f32(0, 16384)", "operand0 bytes"},
    {2, 1, "pool: tensor_scalar A, B, rsqrt", "pool: tensor_scalar A, B, add, psum.f32(0, 0)",
     "reaches SBUF only"},
    {2, 1, "dve: scalar_tensor_tensor A, B, mul, 2.0, add, C",
     "dve: scalar_tensor_tensor I, J, bitwise_and, 2, bitwise_or, K", "must be arithmetic"},
    {2, 1, "dve: scalar_tensor_tensor A, B, mul, 2.0, add, C",
     "dve: scalar_tensor_tensor A, B, mul, 2.0, abs, C", "op1 cannot be abs"},
    {2, 1, "dve: scalar_tensor_tensor A, P[:, 0:64], mul, 2.0, add, C",
     "dve: scalar_tensor_tensor A, P[:, 0:64], mul, 2.0, add, Q[:, 0:64]", "both in PSUM"},
    /* activation */
    {2, 1, "act: activation A, B, exp", "act: activation A, B, prelu", "needs activate2"},
    {2, 1, "act: activation A, B, exp, scale=c", "act: activation A, B, exp, scale=ch",
     "scale tile is bfloat16"},
    {2, 1, "act: activation A, B, exp, bias=ch", "act: activation A, B, exp, bias=1.0",
     "bias of v2 is a tile"},
    {3, 1, "act: activation A, B, exp, bias=1.0", "act: activation A, B, exp, bias=i32(1)",
     "bias is an integer"},
    {2, 1, "act: activation A, B, reciprocal", "act: activation A, B, reciprocal, bias=c",
     "takes no bias"},
    {3, 1, "act: activation A, B, exp", "act: activation A, B, exp, bias=sbuf.tfloat32(0, 0)",
     "bias tile cannot be"},
    {2, 1, "act: activation A, B, exp, reduce_op=add, reduce_cmd=reduce",
     "act: activation A, B, exp, reduce_cmd=reduce", "reduce_op must be add"},
    {2, 1, "act: activation A, B, exp, reduce_op=add, reduce_cmd=reset, reduce_res=c",
     "act: activation A, B, exp, reduce_op=add, reduce_cmd=load_reduce", "load_reduce"},
    {2, 1, "act: activation A, B, exp, reduce_op=add, reduce_cmd=reduce, reduce_res=c",
     "act: activation A, B, exp, reduce_op=add, reduce_cmd=reduce, reduce_res=A[:, 0:2]",
     "reduce_res has 2 elements"},
    {2, 1, "act: activation_reduce A, B, exp, reduce_res=c",
     "act: activation_reduce A, B, exp, reduce_res=c, reduce_cmd=reduce", "reset_reduce"},
    {2, 1, "act: activation_reduce A, B, exp, reduce_res=c",
     "act: activation_reduce A[0:64], B[0:64], exp, reduce_res=c", "reduce_res has 128 partitions"},
    /* dropout, shuffle */
    {2, 1, "dve: dropout A, B, 0.5", "dve: dropout A, h, 0.5", "dst is float32, data bfloat16"},
    {2, 1, "dve: dropout A, B, ch", "dve: dropout I, J, ch", "prob tile cannot be bfloat16"},
    {2, 1, "dve: dropout A, B, 0.5", "dve: dropout A, B, i32(1)", "prob is an integer"},
    {2, 1, "dve: nc_stream_shuffle A, B, mask=3", "dve: nc_stream_shuffle A, B, mask=32",
     "mask[0] 32"},
    {2, 1, "dve: nc_stream_shuffle A[0:32], B[0:1], mask=0",
     "dve: nc_stream_shuffle A[0:32], B[0:1], mask=1", "names no partition of src"},
    {2, 1, "dve: nc_stream_shuffle A[0:64], B[64:128], mask=255",
     "dve: nc_stream_shuffle A[0:64], B[96:128], mask=255", "cannot start at"},
    {2, 1, "dve: nc_stream_shuffle A, B, mask=0", "dve: nc_stream_shuffle A, B[:, 0:32], mask=0",
     "dst has 64 elements"},
    {2, 1, "dve: nc_stream_shuffle A, B, mask=0", "dve: nc_stream_shuffle A, I, mask=0",
     "dst is float32, src int32"},
    /* reductions */
    {2, 1, "dve: tensor_reduce c, A, add", "dve: tensor_reduce c, A, greater",
     "op cannot be greater"},
    {2, 1, "dve: tensor_reduce c, A, add, negate", "dve: tensor_reduce ci, I, bitwise_or, negate",
     "negate with a bit operator"},
    {2, 1, "dve: tensor_reduce A[:, 0:4], B.reshape(4, 16), add",
     "dve: tensor_reduce A[:, 0:4], B.reshape(4, 16), add, naxes=2", "not 1"},
    {2, 1, "dve: tensor_reduce c, B.reshape(4, 16), add, naxes=2",
     "dve: tensor_reduce c, B.reshape(4, 16), add, naxes=3", "naxes 3"},
    {2, 1, "pool: tensor_partition_reduce A[0:1], B, average",
     "pool: tensor_partition_reduce A[0:1], B, min", "op cannot be minimum"},
    {2, 1, "pool: tensor_partition_reduce A[0:1], B, add",
     "pool: tensor_partition_reduce A[0:2], B, add", "dst has 2 partitions"},
    {2, 1, "dve: tensor_scalar_reduce A, B, mul, 2.0, max, reduce_res=c",
     "dve: tensor_scalar_reduce A, B, mul, 2.0, subtract, reduce_res=c",
     "reduce_op cannot be subtract"},
    {2, 1, "dve: tensor_scalar_reduce A, B, mul, 2.0, max",
     "dve: tensor_scalar_reduce I, J, bitwise_and, 2, max", "must be arithmetic"},
    {2, 1, "dve: tensor_scalar_reduce A, B, mul, 2.0, max, reduce_init=c",
     "dve: tensor_scalar_reduce A, B, mul, 2.0, max, reduce_init=ch", "reduce_init tile"},
    /* selection */
    {2, 1, "pool: affine_select A, B, -1.0, ge, pattern=[[-1, 64]]",
     "pool: affine_select A, B, -1.0, add, pattern=[[-1, 64]]", "cmp cannot be add"},
    {2, 1, "pool: affine_select A, B, -1.0, ge, pattern=[[-1, 64]]",
     "pool: affine_select A, B, -1.0, ge, pattern=[[-1, 63]]", "pattern has 63 elements"},
    {2, 1, "pool: affine_select A, B, -1.0, ge, pattern=[[-1, 64]]",
     "pool: affine_select A, B, c, ge, pattern=[[-1, 64]]", "on_false must be an fp32 constant"},
    {3, 1, "dve: range_select A, B, c, d, ge, lt", "dve: range_select A, B, 1.0, d, ge, lt",
     "bound0 must be"},
    {3, 1, "dve: range_select A, B, c, d, ge, lt", "dve: range_select A, B, c, d, ne, lt",
     "cmp0 cannot be not_equal"},
    {3, 1, "dve: range_select A, B, c, d, ge, lt", "dve: range_select I, J, c, d, ge, lt",
     "on_true cannot be int32"},
    {3, 1, "dve: range_select A, B, c, d, ge, lt, 16777152.0",
     "dve: range_select A, B, c, d, ge, lt, 16777153.0", "2^24"},
    {3, 1, "dve: range_select A, B, c, d, ge, lt",
     "dve: range_select A, B, c, d, ge, lt, reduce_op=add", "reduce_op cannot be add"},
    {3, 1, "dve: range_select A, B, c, d, ge, lt",
     "dve: range_select A, B, c, d, ge, lt, reduce_cmd=load_reduce", "load_reduce"},
    {2, 1, "dve: select_reduce A, b8, B, -1.0", "dve: select_reduce A, U, B, -1.0",
     "predicate cannot be uint32"},
    {2, 1, "dve: select_reduce A, b8, h, c", "dve: select_reduce A, b8, I, -1.0",
     "on_true cannot be int32"},
    {2, 1, "dve: select_reduce A, b8, B, c", "dve: select_reduce A, b8, B, ch", "on_false tile"},
    {2, 1, "dve: select_reduce A, b8, B, c, reduce_op=max, reduce_cmd=reduce",
     "dve: select_reduce A, b8, B, c, reduce_op=add, reduce_cmd=reduce",
     "reduce_op must be maximum"},
    /* index, sort, gather */
    {2, 1, "dve: max8 v8, A", "dve: max8 v8, A[:, 0:7]", "not 8 to 16384"},
    {2, 1, "dve: max8 v8, A", "dve: max8 A[:, 0:7], B", "dst has 7 elements"},
    {2, 1, "dve: max8 v8, A.reshape(4, 4, 4)", "dve: max8 v8, A.reshape(2, 2, 4, 4)", "at most 3"},
    {2, 1, "dve: nc_find_index8 i8, A, v8", "dve: nc_find_index8 v8, A, w8",
     "dst cannot be float32"},
    {2, 1, "dve: nc_find_index8 i8, A, v8", "dve: nc_find_index8 i8, A, B[:, 0:7]",
     "vals has 7 elements"},
    {2, 1, "dve: nc_match_replace8 A, B, v8, -inf, dst_idx=i8",
     "dve: nc_match_replace8 A, B, v8, -inf, dst_idx=w8", "dst_idx cannot be float32"},
    {2, 1, "dve: nc_match_replace8 A, B, v8, 0.0", "dve: nc_match_replace8 A, B, v8, i32(0)",
     "imm must be"},
    {2, 1, "pool: nc_n_gather A, B, U", "pool: nc_n_gather A, B, I", "indices cannot be int32"},
    {2, 1, "pool: nc_n_gather A, B, U", "pool: nc_n_gather A, h, U", "dst is float32"},
    {2, 1, "pool: nc_n_gather A[:, 0:8], B, i8", "pool: nc_n_gather A[:, 0:7], B, i8",
     "dst has 7 elements"},
    /* statistics and random numbers */
    {2, 1, "dve: bn_stats A[:, 0:6], big[:, 0:512]", "dve: bn_stats A[:, 0:6], big[:, 0:513]",
     "at most 512"},
    {2, 1, "dve: bn_stats A[:, 0:6], B", "dve: bn_stats A[:, 0:5], B", "not 6"},
    {2, 1, "dve: bn_aggr A[:, 0:2], B[:, 0:6]", "dve: bn_aggr A[:, 0:2], B[:, 0:7]", "not triples"},
    {2, 1, "pool: iota I, pattern=[[1, 64]], channel_multiplier=64",
     "pool: iota I, pattern=[[1, 32]]", "pattern has 32 elements"},
    {2, 1, "dve: rng U", "dve: rng A", "dst cannot be float32"},
    {3, 1, "pool: rng U", NULL, NULL},
    {2, 1, "dve: rng U", "pool: rng U", "pool of v2"},
    {2, 1, "dve: set_rng_seed U[0:1, 0:1]", "dve: set_rng_seed U[0:2, 0:1]",
     "src has 2 partitions"},
    {2, 1, "dve: set_rng_seed U[0:1, 0:1]", "dve: set_rng_seed S[0:1, 0:1]",
     "src cannot be uint16"},
    /* waits and updates */
    {3, 2, "dve: nop -> peer $S[3]++", NULL, NULL},
    {3, 1, "dve: nop -> $S[3]++", "dve: nop -> peer $S[3]++", "names the peer"},
    /* sequencer */
    {2, 1, "sp: r1 = load(hv[63, 31])", "sp: r1 = load(hbm.f32(0, 8192, [1,1]))",
     "outside variable"},
    {2, 1, "sp: r1 = load(hv[r2, 31])", "sp: r1 = load(hbm.f32(9, 0, [1,1]))", "not declared"},
    {2, 1, "sp: r1 = load(hv[0, 0])", "sp: r1 = load(hv[0, 0:2])", "not 1"},
    {2, 1, "sp: r1 = load(I[5:6, 0])", "sp: r1 = load(I[5:7, 0])", "2 elements, not 1"},
    {2, 1, "sp: store b8[5:6, 0], r1", "sp: store h[5:6, 0], r1", "does not fit a register"},
    {2, 1, "sp: r1 = load(hv[0, 0])", "sp: r1 = load(hw[0, 0])", "does not fit a register"},
    {2, 1, "sp: sem_range_clear 250, 6", "sp: sem_range_clear 250, 7", "outside 0..255"},
    {2, 1, "sp: sem_range_clear 0, 256", "sp: sem_range_clear 0, 0", "outside 0..255"},
    {3, 2, "sp: core_barrier $S[7]", NULL, NULL},
    {3, 1, "sp: nop", "sp: core_barrier $S[7]", "logical core size is 1"},
    {2, 2, "sp: nop", "sp: core_barrier $S[7]", "generation v2"},
    {2, 1, "sp: goto @0", "sp: goto @1", "target 1 leaves"},
    /* dynamic transfers */
    {2, 1, "pool: dma_dyn A[0:64, 0:32], hv[ci[0:64], :], queue=dyn",
     "pool: dma_dyn A[0:64, 0:32], hv[sbuf.f32(0:64, 0, [1,1]), :], queue=dyn", "index.dtype"},
    {2, 1, "pool: dma_dyn A[0:64, 0:32], hv[ci[0:64], :], queue=dyn, oob=skip",
     "pool: dma_dyn A[0:64, 0:32], hv, queue=dyn, oob=skip", "without an offset"},
    {2, 1, "pool: dma_dyn A[0:64, 0:32], hv, queue=dyn",
     "pool: dma_dyn A[0:64, 0:31], hv, queue=dyn", "2048 elements"},
    {3, 1, "sp: dma_dyn A[0:1, 0:32], hv[r1, :], queue=dyn",
     "sp: dma_dyn h[0:1, 0:32], hv[r1, :], queue=dyn", "cannot convert"},
    {2, 1, "pool: dma_dyn A[0:1, 0:32], hv[r1, :], queue=dyn",
     "sp: dma_dyn A[0:1, 0:32], hv[r1, :], queue=dyn", "hwdge is not in generation"},
    {3, 1, "pool: dma_dyn A[0:1, 0:32], hv[r1, :], queue=dyn",
     "pool: dma_dyn A[0:1, 0:32], hv[r1, :], queue=dyn, mode=hwdge", "hwdge belongs to"},
    {3, 1, "act: dma_dyn A[0:1, 0:32], hv[r1, :], queue=dyn",
     "act: dma_dyn A[0:1, 0:32], hv[r1, :], queue=dyn, mode=swdge", "swdge belongs to"},
    {3, 1, "pool: dma_dyn A[0:64, 0:32], hv[ci[0:64], :], queue=dyn",
     "sp: dma_dyn A[0:64, 0:32], hv[ci[0:64], :], queue=dyn", "no vector offset"},
    {2, 1, "pool: dma_dyn A[0:1, r2 +: 32], hv[0, :], queue=dyn",
     "pool: dma_dyn A[0:1, r2 +: 32], hv[r1, :], queue=dyn", "more than one offset"},
    {2, 1, "pool: dma_dyn A[0:64, 0:32], hv, queue=dyn",
     "pool: dma_dyn A[0:64, 0:32], hbm.f32(0, 4, [32,64], [1,32]), queue=dyn", "outside variable"},
    {2, 1, "pool: dma_dyn A[0:64, 0:32], hv.bound(0, 8192), queue=dyn",
     "pool: dma_dyn A[0:64, 0:32], hv.bound(0, 8193), queue=dyn", "bounds"},
    {2, 1, "pool: dma_dyn hv[ci[0:64], :], A[0:64, 0:32], queue=dyn, op=add",
     "pool: dma_dyn hv, A[0:64, 0:32], queue=dyn, op=add", "add needs a vector offset"},
    {2, 1, "pool: dma_dyn A[0:64, 0:32], hv, queue=dyn",
     "pool: dma_dyn A[0:64, 0:32], hw, queue=dyn, op=transpose", "cannot convert"},
    {2, 1,
     "pool: dma_dyn A[0:64, 0:32], hbm.f32(0, 0, [0,64], [1,32], @sbuf.i32(0:64, 0, [1,1])*32), "
     "queue=dyn",
     "pool: dma_dyn A[0:64, 0:32], hbm.f32(0, 0, [0,64], [1,32], @sbuf.i32(0:64, 0, [1,2])*32), "
     "queue=dyn",
     "index has 2 elements"},
    {2, 1,
     "pool: dma_dyn A[0:64, 0:32], hbm.f32(0, 0, [0,64], [1,32], @sbuf.i32(3:67, 0, [1,1])*32), "
     "queue=dyn",
     "pool: dma_dyn A[0:64, 0:32], hbm.f32(0, 0, [32,64], [1,32], @sbuf.i32(0:64, 0, [1,1])*32), "
     "queue=dyn",
     "the step of the indexed dimension is not 0"},
    {2, 1, "pool: dma_dyn A[0:64, 0:32], hv, queue=dyn",
     "pool: dma_dyn A[0:63, 0:32], hbm.f32(0, 0, [0,63], [1,32], @sbuf.i32(0:64, 0, [1,1])*32), "
     "queue=dyn",
     "has 63 rows, index 64"},
    {2, 1, "pool: dma_dyn A[0:64, 0:32], hv, queue=dyn",
     "pool: dma_dyn A[0:64, 0:32], hv, queue=stat",
     "queue 1 is not of type dynamic or embedding_update"},
    {2, 1, "var t: dge-table [hv]\npool: dma_dyn A[0:64, 0:32], hv, queue=dyn",
     "var t: dge-table [hw]\npool: dma_dyn A[0:64, 0:32], hv, queue=dyn",
     "var_id 0 is not in the dge-table"},
    {3, 1, "sp: dma_dyn A[0:64, 0:32], hv, queue=dyn",
     "sp: dma_dyn hv[ci[0:64], :], A[0:64, 0:32], queue=dyn, op=add", "hwdge cannot execute op 2"},
    {3, 1, "pool: dma_dyn h[0:32, 0:64], hw[ci[0:64], :], queue=dyn, op=transpose",
     "pool: dma_dyn h[0:32, 0:63], hw[ci[0:63], :], queue=dyn, op=transpose", "multiples of 16"},
    {3, 1, "pool: dma_dyn A[0:32, 0:64], hv, queue=dyn, op=transpose",
     "pool: dma_dyn A[0:32, 0:64], hv[ci[0:64], :], queue=dyn, op=transpose", "of 2 bytes"},
    {2, 1, "pool: dma_dyn A[0:32, 0:64], hv, queue=dyn, op=transpose",
     "pool: dma_dyn h[0:32, 0:64], hw[ci[0:64], :], queue=dyn, op=transpose", "generation 3"},
    {3, 1, "pool: dma_dyn A[0:32, 0:64], hv, queue=dyn, op=transpose",
     "pool: dma_dyn hw[ci[0:64], :], h[0:64, 0:32], queue=dyn, op=transpose", "one of src"},
    {4, 1, "pool: dma_dyn A[0:64, 0:32], hv, queue=dyn",
     "pool: dma_dyn A[0:64, 0:32], hbm.float8_e5m2_x4(0, 0, [32,64], [1,32]), queue=dyn",
     "packed types cannot be converted"},
};

static NRT_STATUS check_text(const struct rule *r, const char *text, struct err *err)
{
    static char all[8192];
    struct isa_asm_opts o = {.file = "t", .gen = (enum isa_gen)r->gen};
    struct isa_asm_result *res;
    NRT_STATUS st;

    assert_true(snprintf(all, sizeof(all), ".lnc %u\n%s%s\n", r->lnc, tiles, text) <
                (int)sizeof(all));
    st = isa_asm(all, strlen(all), &o, NULL, &res, err);
    if (st == NRT_SUCCESS)
        isa_asm_free(res);
    return st;
}

static void rule_refuses_its_record_and_accepts_the_neighbour(void **state)
{
    unsigned failed = 0;

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        struct err err = {0};

        if (strstr(rules[i].good, "[1,0])") == NULL &&
            check_text(&rules[i], rules[i].good, &err) != NRT_SUCCESS) {
            print_error("v%u refused: %s\n    %s\n", rules[i].gen, rules[i].good, err.text);
            failed++;
        }
        if (!rules[i].says)
            continue;
        err = (struct err){0};
        if (check_text(&rules[i], rules[i].bad, &err) != NRT_INVALID ||
            !strstr(err.text, rules[i].says)) {
            print_error("v%u wrong answer to: %s\n    %s\n    instead of: %s\n", rules[i].gen,
                        rules[i].bad, err.text, rules[i].says);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

static const char pe_tiles[] =
    "tile w, x: sbuf bf16[128, 64]\ntile P, Q: psum f32[128, 128]\npe:\n";

static NRT_STATUS check_pe(unsigned gen, const char *text, struct err *err)
{
    char all[2048];
    struct isa_asm_opts o = {.file = "t", .gen = (enum isa_gen)gen};
    struct isa_asm_result *res;
    NRT_STATUS st;

    snprintf(all, sizeof(all), "%s%s", pe_tiles, text);
    st = isa_asm(all, strlen(all), &o, NULL, &res, err);
    if (st == NRT_SUCCESS)
        isa_asm_free(res);
    return st;
}

static void acc_needs_an_overwriting_matmul_before_it(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } progs[] = {
        {"nc_matmul P[0:64, 0:64], w, x\nnc_matmul P[0:64, 0:64], w, x, acc\n", true},
        {"nc_matmul P[0:64, 0:64], w, x, acc\n", false},
        {"nc_matmul P[0:64, 0:64], w, x\nnc_matmul P[0:64, 1:65], w, x, acc\n", false},
        {"nc_matmul P[0:64, 0:64], w, x\nnc_matmul P[0:64, 64:128], w, x\n"
         "nc_matmul P[0:64, 1:65], w, x, acc\n",
         true},
        {"nc_matmul P[0:64, 0:64], w, x\nnc_matmul P[64:128, 0:64], w, x, acc\n", false},
        {"nc_matmul P[0:64, 0:64], w, x\nnc_matmul P[0:32, 0:64], w[:, 0:32], x, acc\n", true},
        {"nc_matmul P[0:64, 0:64], w, x\nnc_matmul Q[0:64, 0:64], w, x, acc\n", false},
        /* a transpose does not count, a strided pattern does */
        {"nc_transpose P.view(bf16)[0:64, 0:128], w\nnc_matmul P[0:64, 0:64], w, x, acc\n", false},
        {"nc_matmul P[0:64, 0:128:2], w, x\nnc_matmul P[0:64, 1:128:2], w, x\n"
         "nc_matmul P[0:64, 30:94], w, x, acc\n",
         true},
        /* branches and dynamic addresses are checked elsewhere */
        {"nc_matmul P[0:64, 0:64], w, x, acc\nif r0 < 1 goto @0\n", true},
        {"nc_matmul P[0:64, r1 +: 64], w, x, acc\n", true},
    };

    for (size_t i = 0; i < sizeof(progs) / sizeof(progs[0]); i++) {
        struct err err = {0};
        NRT_STATUS st = check_pe(2, progs[i].text, &err);

        if (st != (progs[i].ok ? NRT_SUCCESS : NRT_INVALID))
            fail_msg("%s%s", progs[i].text, err.text);
        if (!progs[i].ok)
            assert_non_null(strstr(err.text, "overwriting"));
        assert_int_equal(check_pe(4, progs[i].text, &err), NRT_SUCCESS); /* v4 only warns */
    }
}

static unsigned warnings;
static void count_warning(void *arg, const char *text)
{
    warnings += strstr(text, arg) != NULL;
}

static void doubtful_programs_are_warned_about(void **state)
{
    static const struct {
        const char *text, *says;
    } progs[] = {
        {"dve: tensor_tensor A, B, C, pow", "power is not offered on dve"},
        {"pool: tensor_tensor A, B, C, subtract", "subtract is not offered on pool"},
        {"dve:\nselect_reduce A, b8, B, c\nselect_reduce A, b8, B, c, reduce_op=max, "
         "reduce_cmd=reduce",
         "reduce after idle"},
    };

    for (size_t i = 0; i < sizeof(progs) / sizeof(progs[0]); i++) {
        static char all[8192];
        struct diag_sink sink = {.warn = count_warning, .arg = (void *)progs[i].says};
        struct isa_asm_result *res;
        struct err err = {0};

        snprintf(all, sizeof(all), "%s%s\n", tiles, progs[i].text);
        warnings = 0;
        assert_int_equal(isa_asm(all, strlen(all), NULL, &sink, &res, &err), NRT_SUCCESS);
        isa_asm_free(res);
        assert_int_equal(warnings, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_refuses_its_record_and_accepts_the_neighbour),
        cmocka_unit_test(acc_needs_an_overwriting_matmul_before_it),
        cmocka_unit_test(doubtful_programs_are_warned_about),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
