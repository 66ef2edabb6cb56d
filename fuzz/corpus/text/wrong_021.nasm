tile A: sbuf f32[129, 8]
