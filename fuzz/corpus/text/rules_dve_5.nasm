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
tensor_copy_predicated A, b8
tensor_copy_predicated A, psum.u8(0:128, 0, [1,64]), B
tensor_copy_predicated A, psum.u8(0:128, 0, [1,64]), P[:, 0:64]
memset b8, i32(255)
memset b8, i32(256)
memset A, i32(1)
memset A, r2
memset sbuf.float4_e2m1fn_x4(0:1, 0, [1,4]), i32(0)
memset sbuf.float4_e2m1fn_x4(0:1, 0, [1,4]), i32(1)
memset A, 0
reciprocal sbuf.float4_e2m1fn_x4(0:1, 0, [1,4]), A[0:1, 0:4]
tensor_tensor I, J, K, bitwise_and
