.name softmax
var x: input f32[128, 512]
var y: output f32[128, 512]
queue qIn: in owner=sp n=16
queue qOut: out owner=sp n=16
sem loaded = 1, stored = 2, dve_done = 10, act_done
tile X, E: sbuf f32[128, 512]
tile nmax, sum, rinv: sbuf f32[128, 1]
dma load on qIn -> loaded: X <- x
dma save on qOut -> stored: y <- E
sp: dma_trigger load
    wait dve_done>=2: dma_trigger save
    wait stored>=16: end
dve:
    wait loaded>=16: tensor_reduce nmax, X, max, negate -> dve_done++
again: wait $S[11]>=1: reciprocal rinv, sum
    tensor_scalar E, E, multiply, rinv -> dve_done++
act:
    wait dve_done>=1: activation E, X, exp, bias=nmax, reduce_op=add, \
        reduce_cmd=reset_reduce, reduce_res=sum -> $S[11]++
