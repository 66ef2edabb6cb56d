macro m(a) { }
sp: m(1, 2)
