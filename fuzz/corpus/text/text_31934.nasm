.arch trn2
const N = 4
param M = N + 1
param T = bf16
var x: input T[N, M] align=64
var w: file f32[2, 2] = { 1, 2.5,
 -3, inf }
var ones: file i16[8] = {1}
var k: file f32[3] "dir/k.npy"
var t: tmp-buf u8[100]
var v: virtual f32[16] @ 64 area=pool_a
var p: pointer -> w
var tab: dge-table [x, w]
var sb: state-buffer
queue zz: in owner=act n=4 sem=7 fabric=alt
queue aa: data instances=[i0, "i.1"]
queue mm: dynamic
sem s0, s1 = 0, s2
event e0, e1
tile A: sbuf f32[128, 3]
tile B: sbuf f32[128, 100]
tile C: sbuf u8[32] part=96 @ 8
tile P: psum f32[64, 512]
tile Q: psum f32[64, 1]
tile R: psum f32[64, 1] bank=7
dma one on zz -> s2, e1, peer s1 id 9 { A[0:2] <- cast x[0:2, 0:3]
    B[0] <- fma(B[1] * 0.5, B[2])
 B[0] <- max(B[1], from=2.5), B[3] <- min(B[4], from=7)
    B[5:9, 0:6] <- transpose(w.bcast(6, 2, 2).reshape(6, 4)[:, :]) }
dma two on aa."i.1" by sp: w <- add(w, w, w)
pool: dma_dyn A, A, queue=mm
 dma_dyn A, A, queue=zz
act: dma_trigger one
sp: dma_trigger two
.op dot
nop
dve: tensor_copy C[0:32], C
 tensor_copy P[:, 0:1], Q
 tensor_copy Q, R
