var x: input f32[4]
queue q: in owner=sp
dma a on q: x <- add(x * 2)
