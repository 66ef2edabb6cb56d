tile A: sbuf f32[128, 8] what
