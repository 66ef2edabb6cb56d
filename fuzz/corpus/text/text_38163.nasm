macro copy2(d, s, n) {
  repeat k in 0..n { tensor_copy d[:, k * 2 + 1], s[:, k] }
  goto skip
  nop
skip:
}
macro twice(n) { r1 = n * 2
 macro inner(z) { r2 = z + n
 }
 inner(n + 1) }
repeat t in 0..2 { tile A#t: sbuf f32[128, 8]
 const here = t * 10
  dve: r3 = here
}
dve: copy2(A0, A1[:, 0:4], 1 + 1)
 copy2(A1, A0, 1)
twice(3 + 4)
 r4 = A
const A = 3
