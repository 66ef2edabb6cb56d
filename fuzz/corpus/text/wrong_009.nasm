tile A: sbuf f32[128, 8]
dve: tensor_copy A, A[:, 0, 0]
