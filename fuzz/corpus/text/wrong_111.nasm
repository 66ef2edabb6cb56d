macro m(1) { }
