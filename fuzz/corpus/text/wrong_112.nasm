tile A: sbuf f32[64, 8]
tile c: sbuf f32[128, 1]
dve: tensor_scalar A, A, add, c
