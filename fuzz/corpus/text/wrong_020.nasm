tile A: sbuf f32[128, 2, 2, 2, 2, 2]
dve: tensor_copy A, A.perm(4, 3, 2, 1, 0)
