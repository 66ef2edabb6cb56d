sp: wait $S[1]>2: nop
