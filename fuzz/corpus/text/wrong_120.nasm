tile A: sbuf f32[64, 8]
pool: iota A, pattern=[[1,2,3]]
