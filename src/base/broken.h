/* SPDX-License-Identifier: Apache-2.0 */
/* Deliberate defects: the proof that docs/conformance.md can fail. A build configured with
 * -Dbreak=<section> has one defect, and with it the lines of that section of the checklist must
 * turn open; scripts/check_breaks.py shows it. In an ordinary build every BROKEN(...) is the
 * constant 0.
 *
 * NEFF, section 1: the reader crashes, the core prepares no program.
 *
 * OVL, section 2: no CC-core is found, sizes of packets have no limits and change all descriptors,
 * rings do not take turns, settings are found at fault, a core has one thread for its requests.
 *
 * MEM, section 3: nothing is allocated; scratchpads, banks, limits and the text of sizes are wrong.
 *
 * HBM, section 4: no instance type is known.
 *
 * PERF, section 5: nothing is executed or queued, settings without effect are not checked, lists of
 * CPUs are not understood, neuron-ls knows no NUMA nodes, waiters do not yield.
 *
 * DUMP, section 6: the log drops its records, dumps have no files and run no neuron-dump, what a
 * device prints is lost.
 *
 * INTER, section 7: no world of two nodes, no root address; what is asked of network devices and of
 * routing ids is answered wrongly, and settings are found at fault.
 *
 * INTRA, section 8: no chips are linked, so there are no groups.
 *
 * API, section 9: nrt_init fails, status texts are empty, the log ignores its variables, and the
 * public headers have other layouts and values (scripts/break_headers.py).
 *
 * TOOL, section 10: every tool ends before it begins (tools/broken.c); what nccom-test makes of its
 * options, JSON and times is wrong (its tests link the parts). */
#ifndef BASE_BROKEN_H
#define BASE_BROKEN_H

#include "base/broken_config.h" /* made by the build: OPENNRT_BREAK_<SECTION> 0 or 1 */

#define BROKEN(section) (OPENNRT_BREAK_##section)

#endif
