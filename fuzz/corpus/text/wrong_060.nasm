const a = r1
