macro m(a) { }
sp: m()
