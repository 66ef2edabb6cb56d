#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs the distribution packages that a group of commands needs (Debian 12, Ubuntu 24.04):
#     scripts/setup.sh [build] [test] [slurm] [bench] [fuzz] [cross]        (default: build test)
# Does nothing, quickly, when all are there. Needs root or sudo when something is missing.
# OPENNRT_SETUP=0 skips it: the machine's owner has seen to the packages.
set -eu

build="gcc g++ meson ninja-build pkg-config make python3 python3-numpy
       libarchive-dev libyajl-dev zlib1g-dev libssl-dev libhwloc-dev libsleef-dev libfabric-dev libncurses-dev libfuse3-dev
       libmicrohttpd-dev libcurl4-openssl-dev"
test="libcmocka-dev valgrind openmpi-bin spin fuse3 python3-grpcio python3-protobuf"
# A test starts a Slurm of its own where this is installed; elsewhere stand-ins for its commands are used.
slurm="slurmctld slurmd slurm-client"
bench="libopenblas-dev libdnnl-dev libxsmm-dev pocl-opencl-icd ocl-icd-opencl-dev opencl-c-headers
       libopenmpi-dev openmpi-bin libmpich-dev mpich libgloo-dev"
fuzz="clang llvm libclang-rt-dev"
cross="gcc-aarch64-linux-gnu qemu-user libc6-dev-arm64-cross"
# For the CI run: both compilers, the formatter, and clang's sanitizers.
ci="clang libclang-rt-dev clang-format git"
# Of the other architecture, from the distribution's multiarch repository.
arm64="libarchive-dev:arm64 libyajl-dev:arm64 zlib1g-dev:arm64 libssl-dev:arm64 libhwloc-dev:arm64
       libsleef-dev:arm64 libcmocka-dev:arm64 libfabric1:arm64"

[ "${OPENNRT_SETUP:-1}" != 0 ] || exit 0
[ $# -gt 0 ] || set -- build test

want=""
arch=""
for group in "$@"; do
    case $group in
    build) want="$want $build" ;;
    test) want="$want $build $test" ;;
    slurm) want="$want $slurm" ;;
    bench) want="$want $build $bench" ;;
    fuzz) want="$want $build $fuzz" ;;
    ci) want="$want $build $test $ci" ;;
    cross) want="$want $build $cross $arm64" arch=arm64 ;;
    *) echo "setup.sh: unknown group $group (build test slurm bench fuzz ci cross)" >&2; exit 2 ;;
    esac
done

# One query: what is installed, as name and name:architecture.
installed=" $(dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Package}:${Architecture}\n' 2>/dev/null |
    awk -F'|' '/^ii/ { print $2, $3 }' | tr '\n' ' ')"
missing=""
for p in $want; do
    case "$installed" in
    *" $p "*) ;;
    *) case " $missing " in *" $p "*) ;; *) missing="$missing $p" ;; esac ;;
    esac
done
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null || {
    echo "setup.sh: this system has no apt-get; please install:$missing" >&2
    exit 1
}
sudo=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "setup.sh: not root and no sudo; please install:$missing" >&2
        exit 1
    }
    sudo="sudo"
fi
echo "setup.sh: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
[ -z "$arch" ] || $sudo dpkg --add-architecture "$arch"
# Another installation may be under way (a fresh machine updates itself): wait for its lock.
wait="-o DPkg::Lock::Timeout=600"
# shellcheck disable=SC2086
$sudo apt-get -q $wait update >&2
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y $wait --no-install-recommends install $missing >&2
