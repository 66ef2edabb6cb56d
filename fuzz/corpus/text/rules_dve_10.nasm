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
nc_stream_shuffle A, B[:, 0:32], mask=0
nc_stream_shuffle A, B, mask=0
nc_stream_shuffle A, I, mask=0
tensor_reduce c, A, add
tensor_reduce c, A, greater
tensor_reduce c, A, add, negate
tensor_reduce ci, I, bitwise_or, negate
tensor_reduce A[:, 0:4], B.reshape(4, 16), add
tensor_reduce A[:, 0:4], B.reshape(4, 16), add, naxes=2
tensor_reduce c, B.reshape(4, 16), add, naxes=2
tensor_reduce c, B.reshape(4, 16), add, naxes=3
tensor_scalar_reduce A, B, mul, 2.0, max, reduce_res=c
