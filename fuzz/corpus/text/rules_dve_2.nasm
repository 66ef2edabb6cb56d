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
memset sbuf.f32(0:1, 0, [4,4], [1,4]), 0
memset sbuf.f32(0:1, 0, [3,4], [1,4]), 0
memset sbuf.f32(0:1, 0, [0,1], [1,4]), 0
memset sbuf.f32(0:1, 0, [0,2], [1,4]), 0
tensor_copy A[:, 0:4], sbuf.f32(0:128, 0, [0,4])
tensor_copy sbuf.f32(0:128, 0, [0,4]), A[:, 0:4]
tensor_copy A[:, r3 +: 4], B[:, 0:4]
tensor_copy sbuf.float8_e4m3fn(0:1, 0, [1,4]), sbuf.float8_e4m3fn(0:1, 8, [1,4])
tensor_copy A, B
tensor_copy sbuf.float8_e4m3fn(0:1, 0, [1,4]), sbuf.float8_e4m3fn(0:1, 8, [1,4])
tensor_copy A, B
tensor_copy sbuf.int64(0:1, 0, [1,4]), A[0:1, 0:4]
