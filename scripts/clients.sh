#!/bin/bash
# Programs of others that move memory between processes, as they are packaged, with device memory of this libnrt:
# NIXL from its wheel by way of UCX, and the MPI of the distribution.
#
#     scripts/clients.sh PREFIX BUILD      after `make install PREFIX=...`; BUILD has opennrt
#
# Needs Python with venv and pip and the network (NIXL and NumPy), and mpicc and mpirun. Not a part of `make test`,
# which fetches nothing.
set -euo pipefail
prefix=$(realpath "$1") build=$(realpath "$2") here=$(cd "$(dirname "$0")" && pwd)/clients
work=$(mktemp -d)
trap 'OPENNRT_INSTANCE=clients "$build/tools/opennrt/opennrt" reset >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
export OPENNRT_INSTANCE=clients

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-deps nixl-cu12==1.5.1 numpy
echo "NIXL 1.5.1, UCX:"
"$work/venv/bin/python" "$here/nixl_peers.py" "$prefix/lib/libnrt.so.1"

mpicc -O2 -Wall "$here/mpi_peers.c" -o "$work/mpi_peers" -I "$prefix/include" -L "$prefix/lib" -Wl,-rpath="$prefix/lib" -lnrt
echo "MPI: $(mpirun --version | head -1)"
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 \
    mpirun -n 2 "$work/mpi_peers"
