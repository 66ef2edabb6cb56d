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
range_select A, B, c, d, ge, lt, 16777153.0
range_select A, B, c, d, ge, lt
range_select A, B, c, d, ge, lt, reduce_op=add
range_select A, B, c, d, ge, lt
range_select A, B, c, d, ge, lt, reduce_cmd=load_reduce
select_reduce A, b8, B, -1.0
select_reduce A, U, B, -1.0
select_reduce A, b8, h, c
select_reduce A, b8, I, -1.0
select_reduce A, b8, B, c
select_reduce A, b8, B, ch
select_reduce A, b8, B, c, reduce_op=max, reduce_cmd=reduce
