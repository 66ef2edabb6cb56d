var x: tmp f32[4]
