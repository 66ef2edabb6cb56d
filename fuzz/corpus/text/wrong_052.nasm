var x: input f32[2,2,2,2,2]
queue q: in owner=sp
dma a on q: x <- x.perm(4,3,2,1,0)
