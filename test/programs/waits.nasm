; SPDX-License-Identifier: Apache-2.0
; c = b + the first columns of a, by an instruction with two waits, of which one holds later: for the viewer's reasons
; of idle time.
.name "waits"

var a: input f32[128, 2048]
var b: input f32[128, 16]
var c: output f32[128, 16]
queue qIn: in owner=sp
queue qOut: out owner=sp
tile A: sbuf f32[128, 2048]
tile B: sbuf f32[128, 16]
sem long, short, done, saved

sp: dma on qIn -> short: B <- b
    dma on qIn -> long: A <- a
    wait done >= 1: dma on qOut -> saved: c <- B
    wait saved >= 1: end
dve: wait long >= 1, short >= 1: tensor_tensor B, B, A[:, 0:16], add -> done++
