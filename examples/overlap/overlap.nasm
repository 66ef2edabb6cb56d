; SPDX-License-Identifier: Apache-2.0
; Transformer layers on four ranks: tensor parallel over ranks {0,1} and {2,3}, fully sharded data
; parallel (FSDP) over {0,2} and {1,3}. Of each layer a rank computes one attention head and half of
; the feed-forward part for its SEQS sequences, and the gradient of its half of the last matrix.
;
;   FSDP    all_gather of the weights of attention, and of those of the feed-forward part, of which
;           each rank keeps half; reduce_scatter of the gradient
;   tensor  all_reduce of what the halves of attention and feed-forward add to x
;
; POOL does nothing but start collectives. All of them go on stream 0 unless FSDP_STREAM is 1. With
; SHIFT s the weights of a layer are asked for s layers early, and its gradient goes s layers late.
;
; x is kept transposed, features over the partitions, so that every product finds its operands as
; they lie. The counters of the engines only grow: each layer adds PE, ACT and DVE steps to them.

.name "overlap"
.arch trn2

param LAYERS = 1
param SHIFT = 0
param FSDP_STREAM = 0
param F = 1024                  ; width of the feed-forward part of one rank, a multiple of 512

const H = 128                   ; features
const T = 128                   ; tokens of a sequence
const SEQS = 4
const N = SEQS * T
const D = 64                    ; size of a head
const SCALE = 0.125             ; 1 / sqrt(D)
const ATT = 5 * D               ; columns: q, k, v, out (in D rows)
const BLOCKS = F / 128          ; of the feed-forward part; columns: up, then a block of down each
const CHUNKS = F / 512

; Steps of a layer, and the last step of each of its parts.
const PE_ATT = 4 * SEQS + 1
const PE_UP = PE_ATT + BLOCKS
const PE_DOWN = PE_UP + 1
const PE_AGAIN = PE_DOWN + SEQS * CHUNKS
const PE = PE_AGAIN + BLOCKS
const ACT_ATT = 4 * SEQS + 1
const ACT_UP = ACT_ATT + BLOCKS
const ACT_DOWN = ACT_UP + 1
const ACT_AGAIN = ACT_DOWN + SEQS * CHUNKS
const ACT = ACT_AGAIN + BLOCKS
const DVE_ATT = 3 * SEQS
const DVE = DVE_ATT + 2

var x: input f32[H, N]
var dy: input f32[N, H]
var att: input f32[LAYERS, H / 2, ATT]
var ffn: input f32[LAYERS, H / 2, 2 * F]
var y: output f32[H, N]
var dw: output f32[LAYERS, F / 2, H]

queue qIn: in owner=sp n=16
queue qWeights: data owner=sp n=16
queue qParts: data owner=sp n=16
queue qOut: out owner=sp n=16

sem given, weights, parts, sums, grads, out
sem gathered, reduced, scattered
sem pe_at, act_at, dve_at

tile X, SUM, Y:        sbuf f32[H, N]
tile DY:               sbuf f32[T, SEQS, H]
tile QK:               sbuf f32[D, 2, T]
tile O:                sbuf f32[D, N]
tile V:                sbuf f32[T, D]
tile Z, P, PT:         sbuf f32[T, T]
tile HIDDEN:           sbuf f32[128, BLOCKS, N]
tile AGAIN:            sbuf f32[T, SEQS, F]
tile nmax, total, rtotal: sbuf f32[T, 1]
tile pQK:              psum f32[D, 2, T]
tile pO:               psum f32[D, T]
tile pV:               psum f32[T, D]
tile pZ:               psum f32[T, T]
tile pY:               psum f32[H, N]
tile pH0, pH1:         psum f32[128, N]
tile pLAST:            psum f32[128, 512]       ; hidden once more, then the gradient

repeat l in 0..LAYERS {
    tile A#l: sbuf f32[H, ATT]
    tile W#l: sbuf f32[H, 2 * F]
    tile G#l: sbuf f32[128, BLOCKS, H]
    var fullA#l: tmp-buf f32[H, ATT]
    var fullW#l: tmp-buf f32[H, 2 * F]
    var g#l: tmp-buf f32[BLOCKS, 128, H]
    var part#(2 * l), part#(2 * l + 1), sum#(2 * l), sum#(2 * l + 1): tmp-buf f32[H, N]
    collective gatherA#l: fullA#l <- all_gather(att[l]) group={0, 2} group={1, 3} stream=FSDP_STREAM
    collective gatherW#l: fullW#l <- all_gather(ffn[l]) group={0, 2} group={1, 3} stream=FSDP_STREAM
    collective scatter#l: dw[l] <- reduce_scatter(add, g#l) group={0, 2} group={1, 3} stream=FSDP_STREAM
    repeat k in 2 * l..2 * l + 2 {
        collective reduce#k: sum#k <- all_reduce(add, part#k) group={0, 1} group={2, 3} stream=0
    }
}

pool:
    repeat l in 0..min(SHIFT, LAYERS) {
        trigger_collective gatherA#l, gathered
        trigger_collective gatherW#l, gathered
    }
    repeat l in 0..LAYERS {
        wait dve_at >= DVE * l: nop
        repeat k in l + SHIFT..min(l + SHIFT + 1, LAYERS) {
            trigger_collective gatherA#k, gathered
            trigger_collective gatherW#k, gathered
        }
        wait parts >= 16 * (2 * l + 1): trigger_collective reduce#(2 * l), reduced
        wait parts >= 16 * (2 * l + 2): trigger_collective reduce#(2 * l + 1), reduced
        repeat k in max(l - SHIFT, 0)..max(l - SHIFT + 1, 0) {
            wait grads >= 16 * (k + 1): trigger_collective scatter#k, scattered
        }
    }
    repeat k in max(LAYERS - SHIFT, 0)..LAYERS {
        wait grads >= 16 * (k + 1): trigger_collective scatter#k, scattered
    }
    wait scattered >= LAYERS: end

sp:
    dma on qIn -> given: X <- x, DY <- dy.reshape(SEQS, T, H).perm(1, 0, 2)
    repeat l in 0..LAYERS {
        wait gathered >= 2 * l + 1: dma on qWeights -> weights: A#l <- fullA#l
        wait act_at >= ACT * l + ACT_ATT: dma on qParts -> parts: part#(2 * l) <- Y
        wait gathered >= 2 * l + 2: dma on qWeights -> weights: W#l <- fullW#l
        wait reduced >= 2 * l + 1: dma on qParts -> sums: SUM <- sum#(2 * l)
        wait act_at >= ACT * l + ACT_DOWN: dma on qParts -> parts: part#(2 * l + 1) <- Y
        wait act_at >= ACT * l + ACT: dma on qParts -> grads: g#l.perm(1, 0, 2) <- G#l
        wait reduced >= 2 * l + 2: dma on qParts -> sums: SUM <- sum#(2 * l + 1)
    }
    wait dve_at >= DVE * LAYERS: dma on qOut -> out: y <- X
    wait out >= 16: end

pe:
    wait given >= 16: nop
    repeat l in 0..LAYERS {
        wait weights >= 16 * (2 * l + 1), dve_at >= DVE * l, act_at >= ACT * l: nop
        repeat b in 0..SEQS {
            wait act_at >= ACT * l + 4 * b: nc_matmul pQK[:, 0], A#l[:, 0 +: D], X[:, b * T +: T]
            nc_matmul pQK[:, 1], A#l[:, D +: D], X[:, b * T +: T]
            nc_matmul pV, X[:, b * T +: T], A#l[:, 2 * D +: D] -> pe_at++
            wait act_at >= ACT * l + 4 * b + 1: nc_matmul pZ, QK[:, 0], QK[:, 1] -> pe_at++
            wait dve_at >= DVE * l + 3 * b + 2: nc_transpose pZ, P -> pe_at++
            wait dve_at >= DVE * l + 3 * b + 3: nc_matmul pO, V, PT -> pe_at++
        }
        wait act_at >= ACT * l + 4 * SEQS: nc_matmul pY, A#l[0:D, 3 * D +: H], O -> pe_at++
        wait weights >= 16 * (2 * l + 2), dve_at >= DVE * l + DVE_ATT + 1: nop
        repeat f in 0..BLOCKS {
            wait act_at >= ACT * l + ACT_ATT + f - 1: nc_matmul pH#(f % 2), W#l[:, 128 * f +: 128], X -> pe_at++
        }
        wait act_at >= ACT * l + ACT_UP: nc_matmul pY, W#l[:, F +: H], HIDDEN[:, 0]
        repeat f in 1..BLOCKS - 1 {
            nc_matmul pY, W#l[:, F + f * H +: H], HIDDEN[:, f], acc
        }
        nc_matmul pY, W#l[:, F + (BLOCKS - 1) * H +: H], HIDDEN[:, BLOCKS - 1], acc -> pe_at++
        repeat i in 0..SEQS * CHUNKS {
            wait act_at >= ACT * l + ACT_DOWN + i:
                nc_matmul pLAST, X[:, (i / CHUNKS) * T +: T], W#l[:, (i % CHUNKS) * 512 +: 512] -> pe_at++
        }
        repeat f in 0..BLOCKS {
            wait act_at >= ACT * l + ACT_AGAIN + f: nc_matmul pLAST[:, 0:H], AGAIN[:, 0, 128 * f +: 128], DY[:, 0]
            repeat b in 1..SEQS - 1 {
                nc_matmul pLAST[:, 0:H], AGAIN[:, b, 128 * f +: 128], DY[:, b], acc
            }
            nc_matmul pLAST[:, 0:H], AGAIN[:, SEQS - 1, 128 * f +: 128], DY[:, SEQS - 1], acc -> pe_at++
        }
    }
    end

act:
    repeat l in 0..LAYERS {
        repeat b in 0..SEQS {
            wait pe_at >= PE * l + 4 * b + 1: activation QK, pQK, copy
            activation V, pV, copy -> act_at++
            wait pe_at >= PE * l + 4 * b + 2: activation Z, pZ, copy, scale = SCALE -> act_at++
            wait dve_at >= DVE * l + 3 * b + 1:
                activation P, Z, exp, bias = nmax, reduce_op = add, reduce_cmd = reset_reduce, \
                    reduce_res = total -> act_at++
            wait pe_at >= PE * l + 4 * b + 4: activation O[:, b * T +: T], pO, copy -> act_at++
        }
        wait pe_at >= PE * l + PE_ATT: activation Y, pY, copy -> act_at++
        repeat f in 0..BLOCKS {
            wait pe_at >= PE * l + PE_ATT + f + 1: activation HIDDEN[:, f], pH#(f % 2), relu -> act_at++
        }
        wait pe_at >= PE * l + PE_DOWN, reduced >= 2 * l + 1: activation Y, pY, copy -> act_at++
        repeat i in 0..SEQS * CHUNKS {
            wait pe_at >= PE * l + PE_DOWN + i + 1:
                activation AGAIN[:, i / CHUNKS, (i % CHUNKS) * 512 +: 512], pLAST, relu -> act_at++
        }
        repeat f in 0..BLOCKS {
            wait pe_at >= PE * l + PE_AGAIN + f + 1: activation G#l[:, f], pLAST[:, 0:H], copy -> act_at++
        }
    }
    end

dve:
    repeat l in 0..LAYERS {
        repeat b in 0..SEQS {
            wait act_at >= ACT * l + 4 * b + 2: tensor_reduce nmax, Z, max, negate -> dve_at++
            wait act_at >= ACT * l + 4 * b + 3: reciprocal rtotal, total
            tensor_scalar P, P, multiply, rtotal -> dve_at++
            wait pe_at >= PE * l + 4 * b + 3: tensor_copy PT, pZ -> dve_at++
        }
        wait sums >= 16 * (2 * l + 1): tensor_tensor X, X, SUM, add -> dve_at++
        wait sums >= 16 * (2 * l + 2), pe_at >= PE * l + PE_AGAIN: tensor_tensor X, X, SUM, add -> dve_at++
    }
    end
