const a = 1 << 63
