tile A: sbuf i32[64, 8]
dve: tensor_scalar A, A, shl, 1.5
