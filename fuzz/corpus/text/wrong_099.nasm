sp: nop -> $E[1]=2
