repeat k in 0..3 {
