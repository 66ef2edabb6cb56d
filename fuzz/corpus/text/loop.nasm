; total = the sum of N tiles, and count = N, by a loop whose addresses come from registers. POOL
; fetches tiles into two buffers in turn while DVE adds; semaphores hand the buffers over. N is even.
.name loop

param N = 6
param COLS = 64

var x: input f32[N, 128, COLS]
var total: output f32[128, COLS]
var count: output i32[1, 1]

queue qOut: out owner=sp n=16
queue qDyn: dynamic owner=pool n=4
sem fetched, taken, summed, saved

tile X0, X1: sbuf f32[128, COLS]
tile T: sbuf f32[128, COLS]
tile C: sbuf i32[1, 1]

pool:
    signal taken += 2
    for i in 0..N step 2 {
        repeat k in 0..2 {
            wait taken >= 1: nop -> taken--
            dma_dyn X#k, x[i + k], queue=qDyn, sem=fetched
        }
    }

dve:
    reg n
    memset T, 0
    n = 0
    for i in 0..N step 2 {
        repeat k in 0..2 {
            ; the transfer of a set of 4 queues raises its semaphore by 4
            wait fetched >= 4: tensor_tensor T, T, X#k, add -> fetched -= 4, taken++
            n += 1
        }
    }
    store C[0:1, 0], n -> summed++

sp:
    wait summed >= 1: dma on qOut -> saved { total <- T
                                            count <- C }
    wait saved >= 16: end
