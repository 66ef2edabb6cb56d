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
tensor_copy A, P[:, 0:64]
tensor_tensor A, P[:, 0:64], B, add
tensor_tensor A, P[:, 0:64], Q[:, 0:64], add
reciprocal A, B
range_select A, B, c, d, ge, lt
tensor_copy A, B
range_select A, B, c, d, ge, lt
tensor_copy A[0:32], B[0:32]
tensor_copy A[0:32], B[0:31]
tensor_copy A[:, 0:8], B.reshape(4, 16)[:, 0:2, 0:4]
tensor_copy A[:, 0:8], B[:, 0:9]
nc_transpose A[0:32, 0:16], B[0:16, 0:32]
