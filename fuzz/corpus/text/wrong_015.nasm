tile A: sbuf f32[128, 8]
dve: tensor_copy A, A[:, 0:8:2].reshape(4).reshape(2,2).perm(1,0).reshape(4)
