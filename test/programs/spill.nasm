; SPDX-License-Identifier: Apache-2.0
; c = a, by way of three tensors of the scratchpad whose lives overlap: for the viewer's memory tracker.
.name "spill"

var a: input f32[128, 64]
var c: output f32[128, 64]
var t: tmp-buf f32[128, 64]
var u: tmp-buf f32[128, 32]
var v: virtual f32[128, 64] @ 0
queue qIn: in owner=sp
queue qOut: out owner=sp
tile A: sbuf f32[128, 64]
tile B: sbuf f32[128, 32]
sem done

sp: dma on qIn -> done: A <- a
    wait done >= 1: dma on qOut -> done: t <- A
    wait done >= 2: dma on qOut -> done: v <- A
    wait done >= 3: dma on qOut -> done: u <- B
    wait done >= 4: dma on qIn -> done: B <- u
    wait done >= 5: dma on qIn -> done: A <- v
    wait done >= 6: dma on qIn -> done: A <- t
    wait done >= 7: dma on qOut -> done: c <- A
    wait done >= 8: end
