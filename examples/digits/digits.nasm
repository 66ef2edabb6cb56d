; SPDX-License-Identifier: Apache-2.0
; Classifies a batch of 128 digits: 64 -> 128 -> 128 -> 10 with relu, softmax, and the best class.
; build.c declares the tensors, the queues and the transfers, and gives the byte offsets below.
;
; Activations lie transposed, features on the partitions and images along the free dimension, so that
; a bias is one value per partition and each layer's result is the next one's moving operand. The
; hidden layers go block by block: the tensor engine works on one block of images while the scalar
; engine adds the bias to the block before it and cuts it off at zero.

.name "digits"

param XT = 0            ; images, transposed
param W1 = 512
param W2 = 1024
param W3 = 1536
param B1 = 1600
param B2 = 1604
param B3 = 1608
param PROBS = 4096
param INDEX = 4160

const BATCH = 128
const BLOCK = 32
const BLOCKS = BATCH / BLOCK

tile xt:    sbuf f32[64, BATCH]  @ XT
tile w1:    sbuf f32[64, 128]    @ W1
tile w2:    sbuf f32[128, 128]   @ W2
tile w3:    sbuf f32[128, 10]    @ W3
tile b1:    sbuf f32[128, 1]     @ B1
tile b2:    sbuf f32[128, 1]     @ B2
tile b3:    sbuf f32[1, 10]      @ B3
tile probs: sbuf f32[128, 10]    @ PROBS
tile index: sbuf u32[128, 8]     @ INDEX
tile ones:  sbuf f32[1, BATCH]
tile h1, h2: sbuf f32[128, BATCH]
tile nmax, total, rtotal: sbuf f32[128, 1]
tile top:   sbuf f32[128, 8]
tile z1:    psum f32[128, BATCH] bank=0
tile z2:    psum f32[128, BATCH] bank=1
tile z3:    psum f32[BATCH, 10]  bank=2

; Raised by transfers (16 queues each) ...
sem images = 1, layer1 = 2, layer2 = 3, layer3 = 4, stored = 5
; ... and by engines.
sem multiplied = 10, activated = 11, ones_ready = 12, reduced = 13

sp:
    dma_trigger 0                               ; images
    dma_trigger 1                               ; w1, b1
    dma_trigger 2                               ; w2, b2
    dma_trigger 3                               ; w3, b3
    wait reduced >= 2: dma_trigger 4            ; results
    wait stored >= 16: end

pool:
    memset ones, 1.0 -> ones_ready++

pe:
    reg seen
    seen = 0
    wait images >= 16, layer1 >= 16, layer2 >= 16: nop
    for i in 0..BLOCKS {
        nc_matmul z1[:, i * BLOCK +: BLOCK], w1, xt[:, i * BLOCK +: BLOCK] -> multiplied++
        seen += 1
        wait activated >= seen:
            nc_matmul z2[:, i * BLOCK +: BLOCK], w2, h1[:, i * BLOCK +: BLOCK] -> multiplied++
        seen += 1
    }
    ; The last layer has the images on the partitions; its bias is one more row of the product.
    wait activated >= 2 * BLOCKS, layer3 >= 16: nc_matmul z3, h2, w3
    wait ones_ready >= 1: nc_matmul z3, ones, b3, acc -> multiplied++

act:
    reg seen
    seen = 0
    for i in 0..BLOCKS {
        seen += 1
        wait multiplied >= seen:
            activation h1[:, i * BLOCK +: BLOCK], z1[:, i * BLOCK +: BLOCK], relu, bias = b1 -> activated++
        seen += 1
        wait multiplied >= seen:
            activation h2[:, i * BLOCK +: BLOCK], z2[:, i * BLOCK +: BLOCK], relu, bias = b2 -> activated++
    }
    ; softmax: exp(z - max), and its sum on the way
    wait reduced >= 1:
        activation probs, z3, exp, bias = nmax, reduce_op = add, reduce_cmd = reset_reduce, \
            reduce_res = total -> activated++

dve:
    wait multiplied >= 2 * BLOCKS + 1: tensor_reduce nmax, z3, max, negate -> reduced++
    wait activated >= 2 * BLOCKS + 1: reciprocal rtotal, total
    tensor_scalar probs, probs, multiply, rtotal
    max8 top, probs
    nc_find_index8 index, probs, top -> reduced++
