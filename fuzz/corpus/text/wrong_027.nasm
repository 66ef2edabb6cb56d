tile pe: sbuf f32[128, 8]
