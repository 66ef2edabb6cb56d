#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs a test in a user and mount name space of its own, where it may mount; 77 (skipped) where the
# host forbids one.
unshare -rm true 2>/dev/null || { echo "this host allows no mount name space"; exit 77; }
exec unshare -rm "$@"
