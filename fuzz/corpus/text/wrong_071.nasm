const a = "x
