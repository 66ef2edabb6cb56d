sp: repeat k in 0..2000 { nop }
