var x: input f32[4]
queue q: in owner=sp
dma a on p: x <- x
