repeat k in 0..100000000 { }
