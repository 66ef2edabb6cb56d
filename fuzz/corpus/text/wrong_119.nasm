tile A: sbuf f32[64, 8]
act: activation A, A, exp, reduce_cmd=foo
