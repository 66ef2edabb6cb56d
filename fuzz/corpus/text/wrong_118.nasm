tile A: sbuf f32[64, 8]
act: activation A, A, foo
