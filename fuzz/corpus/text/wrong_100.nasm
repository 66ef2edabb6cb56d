sp: nop -> foo++
