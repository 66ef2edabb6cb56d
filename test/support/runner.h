/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of several processes. A test program lists helpers by name; runner_start runs the program
 * again as one of them, and the two talk in lines over pipes, so that no test needs to sleep.
 *
 *     static int holder(int argc, char **argv) { ...; runner_say("ready"); runner_hear(b, sizeof
 * b); ... } static const struct runner_helper helpers[] = {{"holder", holder}, {NULL, NULL}}; int
 * main(int argc, char **argv)
 *     {
 *         int rc = runner_dispatch(argc, argv, helpers);
 *         if (rc >= 0)
 *             return rc;
 *         ... cmocka ...
 *     }
 *     test: runner_start(&p, "holder", args, env); runner_expect(&p, "ready", RUNNER_WAIT_MS);
 *           runner_tell(&p, "go"); assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), 0);
 *
 * A helper dies with the process that started it. OPENNRT_EXE_WRAPPER names an emulator to run
 * helpers with, where the kernel cannot start them by itself. */
#ifndef TEST_SUPPORT_RUNNER_H
#define TEST_SUPPORT_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct runner_helper {
    const char *name; /* NULL ends the list */
    int (*fn)(int argc,
              char **argv); /* argv[0] is the helper's name; the result is the exit code */
};

/* Runs a helper if the command line asks for one and returns its exit code (0..255), else -1. */
int runner_dispatch(int argc, char **argv, const struct runner_helper *helpers);

struct runner_proc {
    pid_t pid;    /* 0: not running */
    int to, from; /* its standard input and output */
    char buf[1024];
    size_t len;
};

/* The limit for whatever a test waits for: only a hang reaches it, on a slow machine under load,
 * too. */
#define RUNNER_WAIT_MS 120000

#define RUNNER_TIMED_OUT   (-1)
#define RUNNER_SIGNAL(sig) (256 + (sig))

/* args (may be NULL) and env (NAME=value, or NAME to unset; may be NULL) end with NULL. False:
 * errno. */
bool runner_start(struct runner_proc *p, const char *name, const char *const *args,
                  const char *const *env);
/* The same for another program: argv[0] is its path. */
bool runner_start_program(struct runner_proc *p, const char *const *argv, const char *const *env);
bool runner_tell(struct runner_proc *p, const char *line);
/* Next line of its output without the newline; false at its end or after timeout_ms. */
bool runner_line(struct runner_proc *p, char *buf, size_t size, int timeout_ms);
/* Whether there is something to read, or its end, within timeout_ms. */
bool runner_peek(const struct runner_proc *p, int timeout_ms);
/* Reads lines until one equals line; others go to stderr. */
bool runner_expect(struct runner_proc *p, const char *line, int timeout_ms);
void runner_kill(struct runner_proc *p, int sig);
/* Exit code, RUNNER_SIGNAL(n), or RUNNER_TIMED_OUT (it is then killed and reaped). Closes p. */
int runner_wait(struct runner_proc *p, int timeout_ms);

/* Kills and reaps whatever was started and has not been waited for: what a test that has failed
 * left behind would disturb those that come after it. */
void runner_drop_all(void);

/* In the helper. */
void runner_say(const char *line);
bool runner_hear(char *buf, size_t size); /* false: the test closed its end */

/* The CPUs that this process's thread of that name may run on, for one that may run on a single
 * one; -1: there is no such thread, or it may run on several. And the last CPU of the caller. */
int runner_thread_cpu(const char *name);

/* How many threads of this process have that name. One that has been joined counts for a moment
 * more: it says that it has ended before the kernel has taken it off its list. */
unsigned runner_thread_count(const char *name);
/* The same, when there are so many, or after RUNNER_WAIT_MS: one that was started has not given
 * itself its name yet. */
unsigned runner_threads_become(const char *name, unsigned want);
/* How many CPUs have at least one thread of that name that may run on no other. */
unsigned runner_threads_pinned(const char *name);
int runner_last_cpu(void);

/* A number that grows by one with every descriptor that this process opens and does not close. */
unsigned runner_open_fds(void);

/* Whether this process runs under an emulator of another processor, which has no robust mutexes
 * (the kernel does not see the owner die) and is slow to fork with large mappings: the tests that
 * need these print NOT RUN with the reason and end with RUNNER_SKIP. */
bool runner_emulated(void);
/* In an emulator true, after a line that says that `test` is NOT RUN there and why: of one of a
 * group, which then skips. scripts/count_tests.py shows such lines of programs that pass, too. */
bool runner_emulator_lacks(const char *test, const char *why);
#define RUNNER_NO_ROBUST "it kills who may hold a lock, and an emulator has no robust mutexes"
/* Rounds of a test that draws its cases anew in each of them: n, in an emulator, where a round
 * costs ten times as much and the processor's part is what is looked for, a quarter
 * (docs/tests.md). */
unsigned runner_rounds(unsigned n);
/* Bytes of each HBM of a test's instance, 0: as the type has. An emulator keeps tables of all that
 * is mapped, gigabytes where every process maps whole HBMs: there they are small. */
uint64_t runner_hbm_bytes(void);
/* Whether an address space is too small for the HBMs of many ranks: the thread sanitizer leaves
 * little of it to programs. */
static inline bool runner_little_room(void)
{
#if defined(__SANITIZE_THREAD__) /* gcc's name for it */
    return true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
    return true;
#endif
#endif
    return false;
}
#define RUNNER_SKIP 77

/* Ends the whole process with SIGABRT and a message when it still runs after 10 * idle_seconds:
 * idle_seconds is what a machine with nothing else to do may take at most. Meson's limit, which a
 * run stretches with -t, comes first on a loaded one; this ends what nobody else watches. */
void runner_watchdog(unsigned idle_seconds);

#endif
