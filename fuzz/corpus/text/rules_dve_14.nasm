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
nc_match_replace8 A, B, v8, -inf, dst_idx=w8
nc_match_replace8 A, B, v8, 0.0
nc_match_replace8 A, B, v8, i32(0)
bn_stats A[:, 0:6], big[:, 0:512]
bn_stats A[:, 0:6], big[:, 0:513]
bn_stats A[:, 0:6], B
bn_stats A[:, 0:5], B
bn_aggr A[:, 0:2], B[:, 0:6]
bn_aggr A[:, 0:2], B[:, 0:7]
rng U
rng A
rng U
