sp: r64 = 1
