#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# configure.sh <build folder> [meson setup options...]: sets the folder up, or brings an existing one to
# these options. Uses ccache when it is there.
set -eu
dir=$1
shift
if [ -z "${CC:-}" ] && command -v ccache >/dev/null; then
    export CC="ccache gcc"
elif [ -n "${CC:-}" ] && command -v ccache >/dev/null && [ "${CC#ccache}" = "$CC" ]; then
    export CC="ccache $CC"
fi
# Asking Meson for the options that it already has would still make it configure again.
stamp="$dir/.opennrt-options"
if [ -f "$dir/build.ninja" ]; then
    [ $# -eq 0 ] || [ "$(cat "$stamp" 2>/dev/null)" = "$*" ] ||
        { meson configure "$dir" "$@" >/dev/null && echo "$*" >"$stamp"; }
else
    out=$(meson setup "$dir" "$@" 2>&1) || {
        echo "$out" >&2
        exit 1
    }
    echo "$*" >"$stamp"
fi
