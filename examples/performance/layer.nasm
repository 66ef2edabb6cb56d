; y = tanh(x / 2) for x of 4 MiB: enough work that an execution takes about as long as moving its tensors
.name "layer"

var x: input f32[128, 8192]
var y: output f32[128, 8192]
queue qIn: in owner=sp
queue qOut: out owner=act
tile t: sbuf f32[128, 8192]
sem loaded, scaled, stored

sp:
    dma on qIn -> loaded: t <- x
    end
dve:
    wait loaded >= 1: tensor_scalar t, t, multiply, 0.5 -> scaled++
    end
act:
    wait scaled >= 1: activation t, t, tanh
    dma on qOut -> stored: y <- t
    wait stored >= 1: end
