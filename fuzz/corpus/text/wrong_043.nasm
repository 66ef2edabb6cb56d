var x: input f32[4]
queue q: in
dma a on q: x <- x
