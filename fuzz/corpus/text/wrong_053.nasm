tile P: psum f32[128, 8]
var x: input f32[128, 8]
queue q: in owner=sp
dma a on q: P <- x
