tile A: sbuf f32[64, 8]
dve: tensor_scalar A, A, add, A
