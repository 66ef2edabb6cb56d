#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The example of processes that claim cores under contention: no core is owned twice, everybody gets what it wants, and
nothing is left.

usage: test_claim.py CLAIM_PY OPENNRT LIBNRT NEURON_LS"""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from tools import Site  # noqa: E402

CLAIM, OPENNRT, LIB, LS = map(os.path.abspath, sys.argv[1:5])
PROCESSES, CLAIMS = 8, 5

with Site('claim', OPENNRT, LIB, 'trn1.32xlarge') as site:
    log = os.path.join(site.tmp.name, 'log')
    out = site.run(sys.executable, CLAIM, '--neuron-ls', LS, '--lib', site.lib, '--processes', str(PROCESSES), '--claims',
                   str(CLAIMS), NEURON_RT_LOG_LOCATION=log).stdout
    claims, refused = map(int, re.search('%d processes, ([0-9]+) claims, ([0-9]+) refused, .*no core was owned twice'
                                         % PROCESSES, out).groups())
    # One got the device that all went for, and the others were refused; then each had its own claims.
    assert claims == 1 + PROCESSES * CLAIMS and refused >= PROCESSES - 1, out
    text = open(log, encoding='utf-8').read()
    assert text.count(' ERROR ') == refused, (refused, text)
    rows = json.loads(site.run(LS, '-j').stdout)
    assert len(rows) == 16 and not any(row['neuron_processes'] for row in rows), rows
