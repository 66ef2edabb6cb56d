tile r5: sbuf f32[128, 8]
