tile A: sbuf f32[64, 8]
var x: input f32[64, 8]
dve: tensor_copy A, x
