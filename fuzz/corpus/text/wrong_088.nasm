sp: r1 = r2 * 2 + 1
