tile A: sbuf f32[128, 100000]
