; Two physical cores of one logical core: each sums its half of the rows, writes the sum to HBM, and
; after the barrier reads the sum of the other; y = x - (sum of all rows), each core its half.
.name pair
.arch trn2
.lnc 2

param COLS = 256

var x: input f32[256, COLS]
var sums: output f32[2, COLS]
var y: output f32[256, COLS]

queue qIn: in owner=sp n=16
queue qOut: out owner=sp n=16
sem loaded, summed, written, barrier, fetched, normed, saved, hello

tile X, S: sbuf f32[128, COLS]
tile T: sbuf f32[128, COLS]
tile H: sbuf f32[1, COLS]

sp:
    dma on qIn -> loaded: X <- x[128 * core : 128 * core + 128]
    wait summed >= 1: dma on qOut -> written: sums[core : core + 1] <- H
    wait written >= 16: core_barrier barrier
    nop -> peer hello++
    wait hello >= 1: dma on qIn -> fetched {
        S <- sums[0].bcast(128, COLS)
        T <- sums[1].bcast(128, COLS)
    }
    wait normed >= 1: dma on qOut -> saved: y[128 * core : 128 * core + 128] <- X
    wait saved >= 16: end

pool:
    wait loaded >= 16: tensor_partition_reduce H, X, add -> summed++

dve:
    wait fetched >= 16: tensor_tensor S, S, T, add
    tensor_tensor X, X, S, subtract -> normed++
