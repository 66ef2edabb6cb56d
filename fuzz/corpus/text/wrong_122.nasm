tile A: sbuf f32[64, 8]
dve: nc_stream_shuffle A, A, mask=[1,2]
