; y = (x - mean) * rsqrt(var + eps) * gamma + beta over the columns.
.name layernorm

param ROWS = 128
param COLS = 1024
param EPS = 1e-5
const PIECES = cdiv(COLS, 512)

var x: input f32[ROWS, COLS]
var gamma, beta: input f32[COLS]
var y: output f32[ROWS, COLS]

queue qIn: in owner=sp n=16
queue qOut: out owner=sp n=16
sem loaded, params, stats, rstd_done, normed, saved

tile X, G, B: sbuf f32[ROWS, COLS]
tile S: sbuf f32[ROWS, PIECES, 6]
tile mv: sbuf f32[ROWS, 2]
tile eps, rstd: sbuf f32[ROWS, 1]

sp:
    dma on qIn -> loaded: X <- x
    ; one row for all partitions: step 0
    dma on qIn -> params: G <- gamma.bcast(ROWS, COLS), B <- beta.bcast(ROWS, COLS)
    wait normed >= 1: dma on qOut -> saved: y <- X
    wait saved >= 16: end

dve:
    memset eps, EPS
    wait loaded >= 16: nop
    repeat p in 0..PIECES {
        bn_stats S[:, p], X[:, 512 * p : min(COLS, 512 * (p + 1))]
    }
    bn_aggr mv, S -> stats++
    wait rstd_done >= 1: tensor_scalar X, X, subtract, mv[:, 0], multiply, rstd
    wait params >= 16: tensor_tensor X, X, G, multiply
    tensor_tensor X, X, B, add -> normed++

act:
    wait stats >= 1: activation rstd, mv[:, 1:2], rsqrt, bias=eps -> rstd_done++
