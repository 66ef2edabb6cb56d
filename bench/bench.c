/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

double bench_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof(*v), compare);
    return n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

/* How many operations fill one turn; 0 when the side does not work. */
static unsigned calibrate(struct bench_side *s, double turn_s)
{
    unsigned n = 1;

    for (;;) {
        double t = s->run(s->arg, n);

        if (t < 0)
            return 0;
        if (t >= turn_s / 4 || n >= 1u << 24) {
            double want = (double)n * turn_s / (t > 1e-9 ? t : 1e-9);

            return want < 1 ? 1 : want > 1e8 ? 100000000u : (unsigned)want;
        }
        n *= 2;
    }
}

bool bench_wanted(const char *what, const struct bench_options *opt)
{
    return !opt->filter || strstr(what, opt->filter);
}

static double figure(const struct bench_row *row, double seconds)
{
    return row->unit == BENCH_US ? seconds * 1e6 : row->work / seconds * 1e-9;
}

static const char *unit_name(enum bench_unit u)
{
    return u == BENCH_US ? "us" : u == BENCH_GFLOPS ? "GFLOP/s" : "GB/s";
}

void bench_head(void)
{
    printf("%-46s %11s %11s  %-9s %-22s %7s  %s\n", "what", "ours", "peer", "unit", "fastest peer",
           "ratio", "goal");
}

static void measure(struct bench_row *row, unsigned rounds, double turn_s)
{
    static double times[BENCH_MAX_SIDES][BENCH_MAX_ROUNDS];
    unsigned n[BENCH_MAX_SIDES];

    for (unsigned i = 0; i < row->side_count; i++) {
        row->side[i].missing = !row->side[i].run;
        n[i] = row->side[i].missing ? 0 : calibrate(&row->side[i], turn_s);
        row->side[i].missing = n[i] == 0;
    }
    for (unsigned r = 0; r < rounds; r++) {
        for (unsigned i = 0; i < row->side_count; i++) {
            if (!row->side[i].missing)
                times[i][r] = row->side[i].run(row->side[i].arg, n[i]) / n[i];
        }
    }
    for (unsigned i = 0; i < row->side_count; i++) {
        if (row->side[i].missing)
            continue;
        row->side[i].median = median(times[i], rounds);
        row->side[i].best = times[i][0];
    }
}

static void write_json(const struct bench_row *row, const struct bench_side *peer, double ratio,
                       bool missed, const char *path)
{
    FILE *f = fopen(path, "a");

    if (!f) {
        perror(path);
        return;
    }
    fprintf(f, "{\"what\":\"%s\",\"unit\":\"%s\",\"ours\":%.6g,", row->what, unit_name(row->unit),
            figure(row, row->side[0].median));
    if (peer)
        fprintf(f, "\"peer\":\"%s\",\"peer_value\":%.6g,\"ratio\":%.4g,", peer->name,
                figure(row, peer->median), ratio);
    fprintf(f, "\"goal\":%.3g,\"goal_kind\":\"%s\",\"missed\":%s,\"sides\":{", row->goal,
            row->goal_kind == BENCH_GOAL_TIME ? "time" : "speed", missed ? "true" : "false");
    for (unsigned i = 0, first = 1; i < row->side_count; i++) {
        if (row->side[i].missing)
            continue;
        fprintf(f, "%s\"%s\":%.6g", first ? "" : ",", row->side[i].name,
                figure(row, row->side[i].median));
        first = 0;
    }
    fputs("}}\n", f);
    fclose(f);
}

int bench_row_run(struct bench_row *row, const struct bench_options *opt)
{
    unsigned rounds = opt->rounds ? opt->rounds : 15;
    const struct bench_side *peer = NULL;
    double ratio = 0;
    bool missed = false;

    if (!bench_wanted(row->what, opt))
        return 0;
    if (rounds > BENCH_MAX_ROUNDS)
        rounds = BENCH_MAX_ROUNDS;
    measure(row, rounds, opt->turn_s > 0 ? opt->turn_s : 0.03);
    if (row->side[0].missing) {
        printf("%-46s NOT RUN: our side failed\n", row->what);
        return 1;
    }
    for (unsigned i = 1; i < row->side_count; i++) {
        if (!row->side[i].missing && (!peer || row->side[i].median < peer->median))
            peer = &row->side[i];
    }
    printf("%-46s %11.3f ", row->what, figure(row, row->side[0].median));
    if (peer) {
        ratio = row->goal_kind == BENCH_GOAL_TIME ? row->side[0].median / peer->median
                                                  : peer->median / row->side[0].median;
        if (row->goal_kind == BENCH_GOAL_TIME)
            missed = ratio > row->goal;
        else if (row->goal_kind == BENCH_GOAL_SPEED)
            missed = ratio < row->goal;
        printf("%11.3f  %-9s %-22s %7.3f  ", figure(row, peer->median), unit_name(row->unit),
               peer->name, ratio);
        if (row->goal_kind != BENCH_GOAL_NONE)
            printf("%s %.2f %s", row->goal_kind == BENCH_GOAL_TIME ? "<=" : ">=", row->goal,
                   missed ? "MISSED" : "met");
    } else {
        printf("%11s  %-9s %s", row->side_count > 1 ? "NOT RUN" : "-", unit_name(row->unit),
               row->side_count > 1 ? "no peer is installed" : "");
    }
    if (row->two_threads)
        printf("  (flag round trip %.2f us)", bench_flag_round_trip());
    putchar('\n');
    fflush(stdout);
    if (opt->json)
        write_json(row, peer, ratio, missed, opt->json);
    return missed;
}

/* ---- the flag round trip ---- */

struct flags {
    _Alignas(64) atomic_int ping;
    _Alignas(64) atomic_int pong;
};

#define FLAG_ROUNDS 2000

static void relax(unsigned *spins)
{
    if (++*spins % 4096 == 0)
        sched_yield();
}

static void *flag_echo(void *arg)
{
    struct flags *f = arg;
    unsigned spins = 0;

    for (int i = 1; i <= FLAG_ROUNDS; i++) {
        while (atomic_load_explicit(&f->ping, memory_order_acquire) != i)
            relax(&spins);
        atomic_store_explicit(&f->pong, i, memory_order_release);
    }
    return NULL;
}

double bench_flag_round_trip(void)
{
    struct flags f = {0};
    unsigned spins = 0;
    pthread_t t;
    double t0;

    if (pthread_create(&t, NULL, flag_echo, &f))
        return -1;
    t0 = bench_now();
    for (int i = 1; i <= FLAG_ROUNDS; i++) {
        atomic_store_explicit(&f.ping, i, memory_order_release);
        while (atomic_load_explicit(&f.pong, memory_order_acquire) != i)
            relax(&spins);
    }
    t0 = bench_now() - t0;
    pthread_join(t, NULL);
    return t0 / FLAG_ROUNDS * 1e6;
}

void *bench_buffer(size_t bytes, bool huge)
{
    const size_t align = 2u << 20;
    void *p = NULL;

    bytes = (bytes + align - 1) & ~(align - 1);
    if (posix_memalign(&p, align, bytes)) {
        fprintf(stderr, "bench: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    madvise(p, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    memset(p, 1, bytes);
    return p;
}
