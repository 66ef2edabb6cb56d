sp: nop -> $S[1]++@start
