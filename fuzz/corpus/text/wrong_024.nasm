tile A: sbuf f33[128, 8]
