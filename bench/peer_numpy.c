/* SPDX-License-Identifier: Apache-2.0 */
/* NumPy in a process of its own that is told "op n" on a pipe and answers with seconds, so that its
 * turns interleave with ours. */
#include "bench.h"

#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static FILE *to_child, *from_child;
static pid_t child = -1;

static bool numpy_open(void)
{
    int in[2], out[2];
    char line[64];

    if (to_child)
        return true;
    if (child == 0 || pipe(in))
        return false;
    if (pipe(out)) {
        close(in[0]), close(in[1]);
        return false;
    }
    child = fork();
    if (child == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[0]), close(in[1]), close(out[0]), close(out[1]);
        execlp(BENCH_PYTHON, BENCH_PYTHON, BENCH_NUMPY_PEER, (char *)NULL);
        _exit(127);
    }
    close(in[0]), close(out[1]);
    to_child = fdopen(in[1], "w");
    from_child = fdopen(out[0], "r");
    if (child < 0 || !fgets(line, sizeof(line), from_child) || strcmp(line, "ready\n")) {
        peer_numpy_close();
        child = 0; /* do not try again */
        return false;
    }
    return true;
}

void peer_numpy_close(void)
{
    if (to_child)
        fclose(to_child);
    if (from_child)
        fclose(from_child);
    to_child = from_child = NULL;
    if (child > 0)
        waitpid(child, NULL, 0);
    child = -1;
}

static double numpy_run(void *arg, unsigned n)
{
    char line[64];

    if (fprintf(to_child, "%s %u\n", (const char *)arg, n) < 0 || fflush(to_child) ||
        !fgets(line, sizeof(line), from_child))
        return -1;
    return atof(line);
}

bool peer_numpy(const char *op, struct bench_side *ret)
{
    *ret = (struct bench_side){.name = "numpy", .run = numpy_run, .arg = (void *)(uintptr_t)op};
    return numpy_open();
}
