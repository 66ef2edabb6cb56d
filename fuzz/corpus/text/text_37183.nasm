.lnc 2
.arch trn2
var x: input f32[2, 8]
queue q: in owner=sp
sem s, b
tile A: sbuf f32[1, 8]
sp: dma on q -> s: A <- x[core]
if core == 0 { r1 = 5 } else { r1 = 6
 nop }
core_barrier b
nop -> peer s++
