macro m() { }
sp: m(1)
