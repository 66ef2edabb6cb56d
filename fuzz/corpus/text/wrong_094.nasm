sp: wait !$S[1]: nop
