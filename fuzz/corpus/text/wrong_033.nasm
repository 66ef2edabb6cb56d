var x: file f32[4] = {1, 2}
