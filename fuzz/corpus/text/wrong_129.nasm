sp: store psum.f32(0:1, 0, [1,1]), r1
