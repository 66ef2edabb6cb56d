var x, y: input f32[4]
queue q: in owner=sp
dma a on q: x <- y[0:3]
