const a = b
