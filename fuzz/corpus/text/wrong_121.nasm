tile A: sbuf f32[64, 8]
pool: iota A, pattern=[[1,8]], offset=1.5
