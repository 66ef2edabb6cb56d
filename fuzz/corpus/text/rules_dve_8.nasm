var hv: input f32[64, 32]
var hw: input bf16[64, 32]
queue dyn: dynamic n=4
tile A, B, C: sbuf f32[128, 64]
tile h, g: sbuf bf16[128, 64]
tile q, qq: sbuf f16[128, 64]
tile I, J, K: sbuf i32[128, 64]
tile U: sbuf u32[128, 64]
tile S, SS: sbuf u16[128, 64]
tile b8: sbuf u8[128, 64]
tile e4, e4b: sbuf float8e4[128, 64]
tile c, d: sbuf f32[128, 1]
tile ci: sbuf i32[128, 1]
tile ch: sbuf bf16[128, 1]
tile v8, w8: sbuf f32[128, 8]
tile i8: sbuf u32[128, 8]
tile big: sbuf f32[128, 600]
tile P, Q: psum f32[128, 512]
tile Ph: psum bf16[128, 512]
dve:
tensor_scalar A, B, average, 1.0
tensor_scalar A, B, add, c
tensor_scalar A[0:64], B[0:64], add, sbuf.f32(32, 0)
tensor_scalar A, B, add, psum.f32(0, 16380)
tensor_scalar A, B, add, psum.f32(0, 16384)
scalar_tensor_tensor A, B, mul, 2.0, add, C
scalar_tensor_tensor I, J, bitwise_and, 2, bitwise_or, K
scalar_tensor_tensor A, B, mul, 2.0, add, C
scalar_tensor_tensor A, B, mul, 2.0, abs, C
scalar_tensor_tensor A, P[:, 0:64], mul, 2.0, add, C
scalar_tensor_tensor A, P[:, 0:64], mul, 2.0, add, Q[:, 0:64]
dropout A, B, 0.5
