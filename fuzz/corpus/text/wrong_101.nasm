sp: core_barrier $E[1]
