tile A: sbuf bf16[128, 7]
dve: tensor_copy A, A.view(f32)
