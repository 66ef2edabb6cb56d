var x: input f32[4] = {1}
