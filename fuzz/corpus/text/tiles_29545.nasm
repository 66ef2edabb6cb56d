reg i
tile A: sbuf f32[128, 8, 16]
tile B: sbuf f32[128, 16]
var x: input f32[100, 4, 16]
queue q: dynamic
tile I: sbuf i32[128, 1]
