/* SPDX-License-Identifier: Apache-2.0 */
/* Where core dumps and flight records go: NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY and
 * NEURON_RT_S3_CORE_DUMP_PREFIX with their format variables (docs/spec/behaviour.md 16). No
 * memory, locale or lock: usable in a signal handler. */
#ifndef BASE_DUMPDIR_H
#define BASE_DUMPDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As published. */
#define DUMPDIR_DEFAULT "/tmp/neuron-core-dump/dt-%d-cid-%c"
#define DUMPDIR_MAX     512 /* of an expanded path, with NUL */
#define DUMPDIR_DATE    24  /* of a date, with NUL */

/* What the format variables stand for. */
struct dumpdir_names {
    uint64_t epoch;   /* %d: of the first barrier of the collective job, else of this process, s */
    uint64_t cluster; /* %c: the job's; 0: there is none */
    int pid;          /* %p */
    int tid;          /* %t */
    uint32_t log_id;  /* %l */
    const char *instance; /* %i */
};

/* "yyyy-mm-dd-HH-MM" in UTC: the ranks of a job agree whatever their time zones. */
void dumpdir_date(uint64_t epoch, char buf[DUMPDIR_DATE]);
/* The pattern with %d %c %p %t %l %i replaced; "%%" and unknown letters stay. False: it does not
 * fit. */
bool dumpdir_expand(const char *pattern, const struct dumpdir_names *names, char *buf, size_t size);
/* Makes the folders on the way and opens the last one; -1 with errno. */
int dumpdir_open(const char *dir);

#endif
