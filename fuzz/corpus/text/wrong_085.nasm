sp: if 1 goto a
