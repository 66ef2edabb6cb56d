sp: if r1 + 1 < 3 goto a
