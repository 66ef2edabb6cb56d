#!/bin/bash
# SPIKE, the open runtime layer of NKIPy (github.com/aws-neuron/nkipy), as it is, on this libnrt: one model on one core,
# on two, and a collective of two ranks in one process.
#
#     scripts/spike.sh PREFIX BUILD      after `make install PREFIX=...`; BUILD has opennrt and allreduce_build
#
# Needs spike-run and a Python with NumPy on PATH: SPIKE installed as its own page says, with NEURON_ROOT=PREFIX. Not a part
# of `make test`.
set -euo pipefail
prefix=$(realpath "$1") build=$(realpath "$2") root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'OPENNRT_INSTANCE=spike "$build/tools/opennrt/opennrt" reset >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
export OPENNRT_INSTANCE=spike LD_LIBRARY_PATH=$prefix/lib

cd "$work"
"$build/tools/opennrt/opennrt" asm "$root/examples/attention/attention.nasm" -o attention.neff
"$build/examples/allreduce_build" 2 1024 allreduce.neff
python - <<'PY'
import numpy as np
draw = np.random.default_rng(0)
for name in 'qkv':
    np.save(name + '.npy', draw.standard_normal((256, 64)).astype(np.float32))
for rank in range(2):
    np.save('x_%d.npy' % rank, np.arange(1024, dtype=np.float32) * (rank + 1))
PY
inputs="-i q=q.npy -i k=k.npy -i v=v.npy"
spike-run attention.neff $inputs --benchmark -v -o one | grep Benchmark
spike-run attention.neff $inputs --save-trace
spike-run attention.neff $inputs --num-cores 2 --benchmark -v -o two | grep benchmark
spike-run allreduce.neff -i 'x=x_{rank}.npy' --num-cores 2 --collective -o sum
"$build/tools/opennrt/opennrt" view attention.ntff --output-format summary | head -2
python - <<'PY'
import numpy as np
q, k, v = (np.load(name + '.npy').astype(np.float64) for name in 'qkv')
score = q @ k.T / 8
score[np.triu_indices(256, 1)] = -np.inf
weight = np.exp(score - score.max(1, keepdims=True))
want = weight / weight.sum(1, keepdims=True) @ v
for got in ('one/o.npy', 'two/core_0/o.npy', 'two/core_1/o.npy'):
    assert abs(np.load(got) - want).max() < 1e-5, got
for rank in range(2):
    assert np.array_equal(np.load('sum/core_%d/y.npy' % rank), 3 * np.arange(1024)), rank
print('all results are right')
PY
