var x: thing f32[4]
