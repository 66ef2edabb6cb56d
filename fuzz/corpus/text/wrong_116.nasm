tile A: sbuf u8[64, 8]
dve: memset A, 1.5
