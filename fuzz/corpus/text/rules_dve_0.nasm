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
tensor_copy A[0:65], B[0:65]
tensor_copy A[32:97], B[32:97]
tensor_copy A[64:128], B[0:64]
tensor_copy A[32:96], B[0:64]
tensor_copy A[96:128], B[0:32]
tensor_copy A[16:48], B[0:32]
tensor_copy A, sbuf.f32(0:128, 4, [1,64])
tensor_copy A, sbuf.f32(0:128, 2, [1,64])
tensor_copy A, sbuf.f32(0:128, 196352, [1,64])
tensor_copy A, sbuf.f32(0:128, 196356, [1,64])
tensor_copy A, sbuf.f32(0:128, 229120, [1,64])
tensor_copy A, sbuf.f32(0:128, 229124, [1,64])
