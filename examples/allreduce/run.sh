#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Starts the ranks of the all_reduce example, each as a process with a core of its own, on an instance made
# for them.
#
#     run.sh BUILD [RANKS [COUNT]]
set -eu

# Rank 0 listens at a port, the others connect. One that nobody else gets: a socket that this script and the
# ranks inherit keeps it bound, without listening.
if [ -z "${NEURON_RT_ROOT_COMM_ID:-}" ]; then
    exec python3 -c '
import os, socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 0))
s.set_inheritable(True)
os.environ["NEURON_RT_ROOT_COMM_ID"] = "127.0.0.1:%d" % s.getsockname()[1]
os.execvp("sh", ["sh"] + sys.argv[1:])' "$0" "$@"
fi

build=$1
ranks=${2:-4}
count=${3:-1000}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

export OPENNRT_INSTANCE_TYPE=trn2.48xlarge
export NEURON_LOGICAL_NC_CONFIG=1 # the NEFF has one subgraph: one physical core
export OPENNRT_INSTANCE="allreduce-$$"
"$build/examples/allreduce_build" "$ranks" "$count" "$dir/allreduce.neff"
pids=
rank=0
while [ "$rank" -lt "$ranks" ]; do
    NEURON_RT_VISIBLE_CORES=$rank "$build/examples/allreduce_rank" "$dir/allreduce.neff" "$rank" "$ranks" "$count" &
    pids="$pids $!"
    rank=$((rank + 1))
done
failed=0
for pid in $pids; do
    wait "$pid" || failed=1
done
exit $failed
