var x: input f32[4] what=1
