var x: file f32[1] = {1, 2}
