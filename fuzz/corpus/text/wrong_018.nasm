tile A: sbuf f32[128, 8, 1]
dve: tensor_copy A, A.bcast(8)
