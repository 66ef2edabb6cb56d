const a = cdiv(1, 0)
