/* SPDX-License-Identifier: Apache-2.0 */
/* Core dumps (docs/dumps.md): what a core and its process were at when an execution failed or the
 * process died, as text files in the directory of NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY, and the call
 * of neuron-dump, which adds what it knows of the host. docs/spec/behaviour.md 16.
 *
 *   execution fails:  dump_begin, dump_core for each physical core, dump_log, dump_tool
 *   process is gone:  dump_dead, by whoever reclaims its cores, from their live pages; neuron-dump
 *                     then runs behind its back
 *   signal:           dump_begin with quick, dump_core
 *
 * Nothing here fails a caller: what goes wrong is logged as a warning and counts for nothing.
 * Files grow line by line, so that a dump that was cut short anywhere can be read up to there.
 * Threads: any; a struct dump belongs to one. With quick set, only what a signal handler may do:
 * no lock, no memory, no child. */
#ifndef DIAG_DUMP_H
#define DIAG_DUMP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/dumpdir.h"
#include "base/err.h"
#include "device/device.h"
#include "model/model.h"

struct log;

/* Where neuron-dump is, as published. */
#define DUMP_TOOL "/opt/aws/neuron/bin/neuron-dump"

/* Runs of neuron-dump for the dead, one after another on a thread of their own, which is there
 * while there are any. Any thread; forget: in the child of a fork. */
struct dump_later {
    pthread_mutex_t lock;
    struct dump_run *first;
    pthread_t thread;
    bool running, joinable; /* the thread takes from first · and nobody joins it yet */
};
#define DUMP_LATER_INIT                   \
    {                                     \
        .lock = PTHREAD_MUTEX_INITIALIZER \
    }
void dump_later_wait(struct dump_later *l); /* until all have run; nobody adds any */
void dump_later_forget(struct dump_later *l);

/* Fixed for a session. */
struct dump_config {
    struct device_instance *in; /* borrowed */
    struct log *log;            /* borrowed, may be NULL */
    struct dump_later *later;   /* borrowed; NULL: dump_dead waits for neuron-dump */
    char dir[DUMPDIR_MAX];      /* pattern; "": no files of ours */
    char s3[DUMPDIR_MAX];       /* pattern; meaningful with has_s3 */
    char tool[DUMPDIR_MAX];
    bool has_s3;
    bool off; /* both variables are set to nothing */
};
/* Reads the variables; a pattern that does not fit disables and warns. */
void dump_config_env(struct dump_config *cfg, struct device_instance *in, struct log *log);
/* Whether there are dumps at all: not off, and neuron-dump is an executable file. */
bool dump_enabled(const struct dump_config *cfg);

/* One dump of one process. */
struct dump {
    const struct dump_config *cfg;
    NRT_STATUS status;
    const char *call; /* the API function; borrowed */
    const char *text; /* why; borrowed */
    int pid, tid;
    uint32_t log_id;
    uint64_t epoch, cluster; /* of the job; cluster 0: of none, epoch is now's */
    uint32_t rank, world;    /* world 0: not joined */
    bool dead;               /* pid is gone */
    bool quick;
    int signal; /* that ends the process; 0: none */
    char instance[DEVICE_NAME_MAX + 16], dir[DUMPDIR_MAX];
    int dir_fd; /* -1: no files */
    /* For neuron-dump; set by dump_core. */
    char neff_name[256];
    uint8_t neff_uuid[16];
};
/* Fills in pid, tid, log id (the process's next), job (from the live page of core) and opens the
 * directory. cfg, status, call, text, quick and signal are set by the caller, dir_fd is -1 after a
 * failure, which is logged. */
void dump_begin(struct dump *d, uint32_t core);
/* The next files of the dump are another core's of the same job. False: it is of another job. */
bool dump_turn(struct dump *d, uint32_t core);
void dump_end(struct dump *d);
/* The file of a physical core, and that of its CC-core if it has had collectives. f: the failure
 * of an execution; NULL: from the live page alone. at: position of the core in f. */
void dump_core(struct dump *d, uint32_t core, const struct model_failure *f, unsigned at);
/* The tail of the log, of all dumps of this process in this directory the last one's. */
void dump_log(struct dump *d);
/* Runs neuron-dump, for at most a minute. */
void dump_tool(struct dump *d);

/* For device_config.on_dead: what the cores of a process that is gone were at, those that were in
 * an execution or in a collective operation. One dump, and one neuron-dump, for all of a job, which
 * may still be to run: cfg->later. */
void dump_dead(const struct dump_config *cfg, int pid, const uint32_t *cores, unsigned count);

#endif
