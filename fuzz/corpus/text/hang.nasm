; Never ends: DVE waits for a semaphore that nobody can raise any more.
.name hang

var x: input f32[128, 64]
var y: output f32[128, 64]

queue qIn: in owner=sp n=16
queue qOut: out owner=sp n=16
sem loaded = 3, done = 4
tile X: sbuf f32[128, 64]

sp:
    dma on qIn -> loaded: X <- x
    wait done >= 1: dma on qOut: y <- X
dve:
stuck:
    wait loaded >= 17: reciprocal X, X -> done++
