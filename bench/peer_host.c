/* SPDX-License-Identifier: Apache-2.0 */
/* Plain memory, and NumPy in a process of its own. */
#include "peers.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

void peer_copy_libc(void *copy)
{
    struct peer_copy *c = copy;

    memcpy(c->dst, c->src, c->bytes);
}

void peer_copy_streaming(void *copy)
{
    struct peer_copy *c = copy;
#ifdef __x86_64__
    char *d = c->dst;
    const char *s = c->src;

    if ((uintptr_t)d % 16 == 0) {
        size_t i = 0;

        for (; i + 64 <= c->bytes; i += 64)
            for (size_t k = 0; k < 64; k += 16)
                _mm_stream_si128((__m128i *)(d + i + k),
                                 _mm_loadu_si128((const __m128i *)(s + i + k)));
        _mm_sfence();
        memcpy(d + i, s + i, c->bytes - i);
        return;
    }
#endif
    memcpy(c->dst, c->src, c->bytes);
}

void peer_malloc_copy_free(void *copy)
{
    struct peer_copy *c = copy;
    void *p = malloc(c->bytes);

    if (!p)
        abort();
    memcpy(p, c->src, c->bytes);
    __asm__ volatile("" : : "r"(p) : "memory");
    free(p);
}

struct peer_numpy {
    pid_t pid;
    FILE *to, *from;
};

struct peer_numpy *peer_numpy_open(const char *script, const char **why)
{
    struct peer_numpy *n = calloc(1, sizeof(*n));
    int in[2], out[2];
    char line[256] = "";

    *why = "python3 with NumPy is not there";
    if (!n || pipe(in) != 0 || pipe(out) != 0) {
        free(n);
        return NULL;
    }
    n->pid = fork();
    if (n->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        const char *python = getenv("BENCH_PYTHON");

        if (!python)
            python = "python3";
        execlp(python, python, script, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    n->to = fdopen(in[1], "w");
    n->from = fdopen(out[0], "r");
    signal(SIGPIPE, SIG_IGN);
    if (n->pid < 0 || !n->to || !n->from || !fgets(line, sizeof(line), n->from) ||
        strncmp(line, "ready", 5) != 0) {
        peer_numpy_close(n);
        return NULL;
    }
    return n;
}

double peer_numpy_time_us(void *op, unsigned calls)
{
    struct peer_numpy_op *o = op;
    char line[256];

    fprintf(o->numpy->to, "%s %u\n", o->name, calls);
    fflush(o->numpy->to);
    if (!fgets(line, sizeof(line), o->numpy->from)) {
        fprintf(stderr, "bench: the NumPy process ended\n");
        exit(1);
    }
    return atof(line);
}

void peer_numpy_close(struct peer_numpy *n)
{
    if (!n)
        return;
    if (n->to)
        fclose(n->to);
    if (n->from)
        fclose(n->from);
    if (n->pid > 0)
        waitpid(n->pid, NULL, 0);
    free(n);
}
