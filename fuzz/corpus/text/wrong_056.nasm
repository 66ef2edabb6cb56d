var x: input f32[4]
queue q: in owner=sp
dve: dma on q: x <- x
