; c = a + b, elements of float32, in tiles of 128 rows; the queue's transfers overlap the additions.
.name add

param ROWS = 256
param COLS = 512
const TILES = cdiv(ROWS, 128)

var a, b: input f32[ROWS, COLS]
var c: output f32[ROWS, COLS]

queue qIn: in owner=sp n=16
queue qOut: out owner=act n=16
sem in, done, out

repeat t in 0..TILES {
    const n = min(128, ROWS - 128 * t)

    tile A#t, B#t: sbuf f32[n, COLS]
    dma load#t on qIn -> in {
        A#t <- a[128 * t : 128 * t + n]
        B#t <- b[128 * t : 128 * t + n]
    }
    dma save#t on qOut -> out: c[128 * t : 128 * t + n] <- A#t

    sp: dma_trigger load#t
    dve: wait in >= 16 * (t + 1): tensor_tensor A#t, A#t, B#t, add -> done++
    act: wait done >= t + 1: dma_trigger save#t
}
act: wait out >= 16 * TILES: end
