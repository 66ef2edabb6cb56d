; Two ranks: a collective and a transfer run beside computation, and an engine waits for each.
.name summed

var x: input f32[128, 512]
var y: output f32[128, 512]
queue q: in owner=sp
tile t: sbuf f32[128, 512]
sem loaded, reduced
collective total: y <- all_reduce(add, x) ranks=2

sp:
    dma on q -> loaded: t <- x
    wait reduced >= 1: end

pool:
    trigger_collective total, reduced
    end

dve:
    wait loaded >= 1: tensor_tensor t, t, t, add
    tensor_tensor t, t, t, add
    tensor_tensor t, t, t, add
    end
