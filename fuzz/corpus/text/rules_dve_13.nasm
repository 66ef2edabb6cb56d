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
select_reduce A, b8, B, c, reduce_op=add, reduce_cmd=reduce
max8 v8, A
max8 v8, A[:, 0:7]
max8 v8, A
max8 A[:, 0:7], B
max8 v8, A.reshape(4, 4, 4)
max8 v8, A.reshape(2, 2, 4, 4)
nc_find_index8 i8, A, v8
nc_find_index8 v8, A, w8
nc_find_index8 i8, A, v8
nc_find_index8 i8, A, B[:, 0:7]
nc_match_replace8 A, B, v8, -inf, dst_idx=i8
