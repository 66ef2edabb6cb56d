sp: r1 = r2 + r3 * 2
