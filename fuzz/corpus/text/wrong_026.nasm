tile A: sbuf f32[128, 8]
tile A: sbuf f32[1, 1]
