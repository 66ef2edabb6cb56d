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
sp:
r1 = load(hv[63, 31])
r1 = load(hbm.f32(0, 8192, [1,1]))
r1 = load(hv[r2, 31])
r1 = load(hbm.f32(9, 0, [1,1]))
r1 = load(hv[0, 0])
r1 = load(hv[0, 0:2])
r1 = load(I[5:6, 0])
r1 = load(I[5:7, 0])
store b8[5:6, 0], r1
store h[5:6, 0], r1
r1 = load(hv[0, 0])
r1 = load(hw[0, 0])
