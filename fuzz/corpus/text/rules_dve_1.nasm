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
tensor_copy A, sbuf.f32(0:128, 252, [-1,64])
tensor_copy A, sbuf.f32(0:128, 248, [-1,64])
tensor_copy A, psum.f32(0:128, 16128, [1,64])
tensor_copy A, psum.f32(0:128, 16132, [1,64])
tensor_copy A, sbuf.f32(0:128, 0, [1,64])
tensor_copy A, sbuf.f32(0:128, 0, [1,0], [1,64])
tensor_copy A[:, 0:1], sbuf.f32(0:128, 0, [1,1])
tensor_copy sbuf.f32(1:130, 0, [1,1]), A[:, 0:1]
memset sbuf.u8(0:1, 0, [0,256], [1,0]) , 0
memset sbuf.u8(0:1, 0, [1,2], [2,40000]) , 0
memset psum.u8(0:1, 0, [1,4096]), 0
memset psum.u8(0:1, 0, [1,4097]), 0
