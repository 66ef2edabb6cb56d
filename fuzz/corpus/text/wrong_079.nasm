sp: for i in 0..r1+1 { }
