var x: input f32[4]
queue q: in owner=sp
dma a at q: x <- x
