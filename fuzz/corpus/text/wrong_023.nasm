tile A: dram f32[128, 8]
