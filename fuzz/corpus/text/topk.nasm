; The K largest values of each row with their positions, and the position of the largest.
.name topk

param ROWS = 64
param COLS = 300
param K = 16
const ROUNDS = cdiv(K, 8)

var x: input f32[ROWS, COLS]
var values: output f32[ROWS, 8 * ROUNDS]
var indices: output u32[ROWS, 8 * ROUNDS]
var argmax: output u32[ROWS, 1]

queue qIn: in owner=sp n=16
queue qOut: out owner=sp n=16
sem loaded, found, saved

tile X, Y: sbuf f32[ROWS, COLS]
tile V: sbuf f32[ROWS, ROUNDS, 8]
tile I: sbuf u32[ROWS, ROUNDS, 8]

; one round: the 8 largest of src, then dst = src without them
macro round(r, src, dst) {
    max8 V[:, r], src
    nc_find_index8 I[:, r], src, V[:, r]
    nc_match_replace8 dst, src, V[:, r], -inf
}

sp:
    dma on qIn -> loaded: X <- x
    wait found >= 1: dma on qOut -> saved {
        values <- V
        indices <- I
        argmax <- I[:, 0, 0:1]
    }
    wait saved >= 16: end

dve:
    wait loaded >= 16: nop
    repeat r in 0..ROUNDS {
        if r % 2 == 0 {
            round(r, X, Y)
        } else {
            round(r, Y, X)
        }
    }
    nop -> found++
