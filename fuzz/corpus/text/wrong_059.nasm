reg a = 5
