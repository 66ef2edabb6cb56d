tile A: sbuf f32[64, 8]
queue q: dynamic
var x: input f32[64, 8]
pool: dma_dyn A, x, q
