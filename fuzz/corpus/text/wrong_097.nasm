sp: nop -> $S[1]
