#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Starts the ranks of the all_reduce example, each as a process with a core of its own, on an instance made
# for them.
#
#     run.sh BUILD [RANKS [COUNT]]
set -eu

build=$1
ranks=${2:-4}
count=${3:-1000}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

export OPENNRT_INSTANCE_TYPE=trn2.48xlarge
export NEURON_LOGICAL_NC_CONFIG=1 # the NEFF has one subgraph: one physical core
export OPENNRT_INSTANCE="allreduce-$$"
# A port that nobody has now; rank 0 listens there, the others connect.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export NEURON_RT_ROOT_COMM_ID="127.0.0.1:$port"

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
