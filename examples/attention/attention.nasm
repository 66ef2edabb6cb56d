; SPDX-License-Identifier: Apache-2.0
; One causal attention head: O = softmax(Q K^T / sqrt(D) with later keys masked) V, for S tokens.
;
; Queries go in blocks of 128, one per partition. A block's row of scores is scaled by the scalar
; engine, masked by POOL, turned into weights by the vector and scalar engines, transposed by the
; tensor engine in blocks of 128 keys, and multiplied with V; the division by the sum of the weights
; comes last, on the way out of PSUM. Semaphores are handed over: each wait takes away what it waited
; for, so that the loop needs no counters.

.name "attention"
.arch trn1

const S = 256                   ; tokens, a multiple of BLOCK, at most 512
const D = 64                    ; size of the head
const BLOCK = 128
const BLOCKS = S / BLOCK
const SCALE = 0.125             ; 1 / sqrt(D)

var q, k, v: input f32[S, D]
var o: output f32[S, D]

queue qIn: in owner=sp n=16
queue qOut: out owner=sp n=16

tile qt, kt: sbuf f32[D, S]
tile vs:     sbuf f32[BLOCK, BLOCKS, D]
tile s, p:   sbuf f32[BLOCK, S]
tile pt:     sbuf f32[BLOCK, BLOCKS, BLOCK]
tile out:    sbuf f32[BLOCK, BLOCKS, D]
tile nmax, total, rtotal: sbuf f32[BLOCK, 1]
tile z:      psum f32[BLOCK, S]
tile turn:   psum f32[BLOCK, BLOCKS, BLOCK]
tile sums:   psum f32[BLOCK, D]

sem loaded, stored
sem free, scored, scaled, masked, shifted, weighted, inverted, turned, copied, summed, done

sp:
    dma on qIn -> loaded: qt <- q.perm(1, 0)
    dma on qIn -> loaded: kt <- k.perm(1, 0)
    dma on qIn -> loaded: vs <- v.reshape(BLOCKS, BLOCK, D).perm(1, 0, 2)
    repeat b in 0..BLOCKS {
        wait done >= b + 1: dma on qOut -> stored: o[b * BLOCK : (b + 1) * BLOCK, :] <- out[:, b, :]
    }
    wait stored >= 16 * BLOCKS: end

pe:
    wait loaded >= 3 * 16 -> free++

pool:
    reg first                   ; of the block's queries
    first = 0

    for b in 0..BLOCKS on pe, act, pool, dve {
pe:
        wait free >= 1: nc_matmul z, qt[:, b * BLOCK +: BLOCK], kt -> free -= 1, scored++
act:
        wait scored >= 1: activation s, z, copy, scale = SCALE -> scored -= 1, scaled++
pool:
        ; keep where query - key >= 0
        wait scaled >= 1:
            affine_select s, s, -3.4028235e38, ge, [[-1, S]], offset = first, channel_multiplier = 1 \
                -> scaled -= 1, masked++
        first += BLOCK
dve:
        wait masked >= 1: tensor_reduce nmax, s, max, negate -> masked -= 1, shifted++
act:
        wait shifted >= 1:
            activation p, s, exp, bias = nmax, reduce_op = add, reduce_cmd = reset_reduce, \
                reduce_res = total -> shifted -= 1, weighted += 2
dve:
        wait weighted >= 1: reciprocal rtotal, total -> weighted -= 1, inverted++
pe:
        wait weighted >= 1: nc_transpose turn[:, 0, :], p[:, 0:BLOCK] -> turned++
        repeat kb in 1..BLOCKS {
            nc_transpose turn[:, kb, :], p[:, kb * BLOCK : (kb + 1) * BLOCK] -> turned++
        }
        wait copied >= 1: nc_matmul sums, pt[:, 0, :], vs[:, 0, :] -> copied -= 1
        repeat kb in 1..BLOCKS {
            wait copied >= 1: nc_matmul sums, pt[:, kb, :], vs[:, kb, :], acc -> copied -= 1
        }
        signal summed++, weighted -= 1
dve:
        repeat kb in 0..BLOCKS {
            wait turned >= 1: tensor_copy pt[:, kb, :], turn[:, kb, :] -> turned -= 1, copied++
        }
act:
        wait summed >= 1, inverted >= 1:
            activation out[:, b, :], sums, copy, scale = rtotal \
                -> summed -= 1, inverted -= 1, free++, done++
    }
