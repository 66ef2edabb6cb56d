const a = 1.5 | 2
