/* SPDX-License-Identifier: Apache-2.0 */
/* What the places that traces, profiles and the record of device time have in the code cost while
 * nobody looks on: executions by the library, by another, and by a second copy of the first take
 * turns in one process, and that in many processes. Nanoseconds of processor time of the executing
 * thread. The other is the library with these places overwritten (off_patch.py), or one that was
 * built without them (src/base/watched.h), or the library in another layout (moved.c): by where
 * code lies two builds differ by more than the places cost.
 *
 *     off_cost FILE.neff libnrt.so other.so [processes] [rounds] [executions per round]
 *
 * Two equal libraries of one process differ by some nanoseconds for as long as it lasts, by where
 * the loader, the allocator and the kernel have put what is theirs. So the processes are many and
 * new, and the sides, all of them copies in memory, are opened in each of the six orders equally
 * often. Printed are the medians over processes of what the library takes more than the others,
 * the interval in which this median is with 95 % (of order statistics, so nothing is assumed of
 * the distribution), and the quartiles. The second copy says what equal libraries differ by.
 *
 * It attaches to instances NAME-off0 to NAME-off2, NAME being OPENNRT_INSTANCE or off_cost; as any
 * instance they outlast it, until `opennrt reset`.
 */
#include "off_cost.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const side_names[OFF_SIDES] = {"nobody looks on", "more than the other",
                                                  "more than its copy"};

/* In the child: becomes this program anew, so that all addresses are others. */
static void child_become(char **argv, unsigned order, int out)
{
    char number[16];

    snprintf(number, sizeof(number), "%u", order);
    setenv("OFF_COST_ORDER", number, 1);
    if (dup2(out, STDOUT_FILENO) == STDOUT_FILENO)
        execv("/proc/self/exe", argv);
    off_ended("/proc/self/exe", "cannot be executed");
}

static void process_measure(char **argv, unsigned order, double *ret_took)
{
    int ends[2], status;
    pid_t pid;

    if (pipe(ends) != 0 || (pid = fork()) < 0)
        off_ended("fork", "failed");
    if (pid == 0)
        child_become(argv, order, ends[1]);
    close(ends[1]);
    if (waitpid(pid, &status, 0) != pid || status != 0 ||
        read(ends[0], ret_took, OFF_SIDES * sizeof(*ret_took)) !=
            (ssize_t)(OFF_SIDES * sizeof(*ret_took)))
        off_ended("one process", "failed");
    close(ends[0]);
}

/* took: of n processes; sorted by it. */
static void side_print(int side, double *took, unsigned n, double base)
{
    double mid = off_median(took, n), half = 0.98 * sqrt(n);
    unsigned low = half < n / 2.0 ? (unsigned)(n / 2.0 - half) : 0;

    printf("%-19s %+8.1f ns %+7.2f %%", side_names[side], mid, 100.0 * mid / base);
    printf("   median within %+.1f to %+.1f ns (95 %%), quartiles %+.1f and %+.1f ns\n", took[low],
           took[n - 1 - low], took[n / 4], took[n - 1 - n / 4]);
}

/* By the orders in turn. */
static void processes_measure(char **argv, unsigned n)
{
    double *took[OFF_SIDES], one[OFF_SIDES], base;

    for (int i = 0; i < OFF_SIDES; i++) {
        took[i] = calloc(n, sizeof(*took[i]));
        if (!took[i])
            off_ended("calloc", "no memory");
    }
    for (unsigned p = 0; p < n; p++) {
        process_measure(argv, p % OFF_ORDERS, one);
        for (int i = 0; i < OFF_SIDES; i++)
            took[i][p] = one[i];
    }
    base = off_median(took[OFF_HERE], n);
    for (int i = 0; i < OFF_SIDES; i++) {
        side_print(i, took[i], n, base);
        free(took[i]);
    }
}

static unsigned argument(int argc, char **argv, int i, unsigned otherwise)
{
    return argc > i ? (unsigned)atoi(argv[i]) : otherwise;
}

int main(int argc, char **argv)
{
    const char *given = getenv("OPENNRT_INSTANCE"), *order = getenv("OFF_COST_ORDER");
    char instance[40];
    unsigned processes = argument(argc, argv, 4, 60);
    struct off_job job = {.instance = instance,
                          .rounds = argument(argc, argv, 5, 11),
                          .times = argument(argc, argv, 6, 500)};
    double took[OFF_SIDES];

    if (argc < 4 || processes < 1 || job.rounds < 1 || job.times < 1) {
        fprintf(stderr, "usage: off_cost FILE.neff LIBNRT OTHER [processes] [rounds] "
                        "[executions]\n");
        return 2;
    }
    if (!order) {
        processes_measure(argv, processes);
        return 0;
    }
    job.neff = argv[1], job.lib = argv[2], job.other = argv[3];
    /* off_sides changes what given points to */
    snprintf(instance, sizeof(instance), "%s", given && given[0] ? given : "off_cost");
    off_sides(&job, (unsigned)atoi(order), took);
    return write(STDOUT_FILENO, took, sizeof(took)) == (ssize_t)sizeof(took) ? 0 : 1;
}
