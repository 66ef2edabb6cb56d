; descriptors of bytes, arrays of transposes, rank 0, ids
var x: input u8[64] id=0
var y: output f32
queue q: data owner=sp
sem s
sp: dma on q -> s: y <- add(hbm.f32(x, 9, bytes, [-3,1], [1,4]), hbm.f32(x, 0, bytes, [2,4]), y)
    dma on q -> s: x[0:24] <- transpose(x[24:48], shape=[1, 3, 4], size=2)
    wait s >= 2: end
