/* SPDX-License-Identifier: Apache-2.0 */
/* PROVES("neff-017") stands next to the assertion that shows a line of docs/spec/checklist.md,
 * after it, so that it is reached only when the assertion held. It appends the id to the file named
 * by OPENNRT_PROVES_LOG; without the variable it does nothing. From that log, of a run that passed,
 * scripts/conformance.py writes docs/conformance.md. */
#ifndef TEST_SUPPORT_PROVES_H
#define TEST_SUPPORT_PROVES_H

#ifdef __cplusplus
extern "C" {
#endif

#define PROVES(id) proves_record(id, __FILE__, __LINE__)

/* One line "<id> <file>:<line>\n" in one write, so processes and threads may share the log. */
void proves_record(const char *id, const char *file, int line);

#ifdef __cplusplus
}
#endif
#endif
