sp: if r1 goto a
