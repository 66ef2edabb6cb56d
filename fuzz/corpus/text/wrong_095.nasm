sp: wait $Q[1]: nop
