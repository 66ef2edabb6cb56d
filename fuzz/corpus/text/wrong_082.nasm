sp: a: nop
a: nop
