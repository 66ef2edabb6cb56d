tile A: sbuf f32[64, 8]
dve: tensor_tensor A, A, A, foo
