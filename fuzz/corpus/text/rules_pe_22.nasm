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
pe:
nc_matmul P[0:64, 0:64], h, g
nc_matmul P[0:64, 0:63], h, g
nc_matmul psum.f32(0:64, 1792, [1,64]), h, g
nc_matmul psum.f32(0:64, 1796, [1,64]), h, g
nc_matmul P[0:64, 0:64], h[0:32], g[0:32], pe_rows=32, pe_cols=64, pe_row=96
nc_matmul P[0:64, 0:64], h[0:32], g[0:32], pe_rows=32, pe_cols=64, pe_row=16
nc_matmul P[0:64, 0:64], h[0:64], g[0:64], pe_rows=64, pe_cols=64
nc_matmul P[0:64, 0:64], h[0:32], g[0:32], pe_rows=32, pe_cols=64
nc_matmul P[0:64, 0:64], h, g, pe_rows=128, pe_cols=64, pe_col=64
nc_matmul P[0:64, 0:64], h, g, pe_rows=128, pe_cols=64, pe_col=32
nc_matmul P[0:64, 0:64], h, g, pe_rows=128, pe_cols=64
nc_matmul P[0:64, 0:64], h, g, pe_rows=64, pe_cols=64
