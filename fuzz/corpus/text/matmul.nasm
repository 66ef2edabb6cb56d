; c = a @ b for a [M, K], b [K, N] in DT: K in steps of 128 accumulated in one PSUM bank.
.name matmul

param M = 128
param K = 384
param N = 512
param DT = bf16
const STEPS = cdiv(K, 128)

var a: input DT[M, K]
var b: input DT[K, N]
var c: output f32[M, N]

queue qIn: in owner=sp n=16
queue qOut: out owner=sp n=16
sem loaded, summed, copied, saved

tile A: sbuf DT[128, STEPS, M]
tile B: sbuf DT[128, STEPS, N]
tile C: sbuf f32[M, N]
tile P: psum f32[M, N]

sp:
    repeat s in 0..STEPS {
        const k = min(128, K - 128 * s)
        ; a is transposed by the descriptor: element by element, K over the partitions
        dma on qIn -> loaded {
            A[0:k, s] <- a[:, 128 * s : 128 * s + k].perm(1, 0)
            B[0:k, s] <- b[128 * s : 128 * s + k]
        }
    }
    wait copied >= 1: dma on qOut -> saved: c <- C
    wait saved >= 16: end

pe:
    repeat s in 0..STEPS {
        const k = min(128, K - 128 * s)
        wait loaded >= 16 * (s + 1): nc_matmul P, A[0:k, s], B[0:k, s], acc=(s > 0)
    }
    nop -> summed++

act:
    wait summed >= 1: activation C, P, copy -> copied++
