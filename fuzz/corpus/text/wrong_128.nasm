var x: input f32[64, 8]
sp: r1 = load(x[0, 0:2])
