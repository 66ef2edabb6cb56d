; y[t] = table[ids[t]]: a gather by a vector of indices; indices outside the table leave the row as
; it was (the fill).
.name embed

param TOKENS = 128
param VOCAB = 1000
param DIM = 64
param FILL = -1.0

var ids: input i32[TOKENS, 1]
var table: input f32[VOCAB, DIM]
var y: output f32[TOKENS, DIM]

queue qIn: in owner=sp n=16
queue qOut: out owner=sp n=16
queue qDyn: dynamic owner=pool n=16
sem got_ids, rows, saved

tile I: sbuf i32[TOKENS, 1]
tile E: sbuf f32[TOKENS, DIM]

sp:
    dma on qIn -> got_ids: I <- ids
    wait rows >= 16: dma on qOut -> saved: y <- E
    wait saved >= 16: end

pool:
    memset E, FILL
    wait got_ids >= 16: dma_dyn E, table[I, :], queue=qDyn, oob=skip, sem=rows
