for i in 0..3 { }
