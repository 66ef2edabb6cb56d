/* SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define HUGE_PAGE  (2u << 20)
#define ROUND_US   20000.0 /* time of one side in one round */
#define MOST_CALLS 20000u
#define TRIPS      20000u
#define NAME_WIDTH 46

double measure_now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

void *measure_alloc(size_t size)
{
    void *p = NULL;

    size = (size + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);
    if (posix_memalign(&p, HUGE_PAGE, size) != 0) {
        fprintf(stderr, "bench: no memory for %zu bytes\n", size);
        exit(1);
    }
    madvise(p, size, MADV_HUGEPAGE);
    memset(p, 1, size);
    return p;
}

static double side_time(struct measure_side *s, unsigned calls)
{
    double start;

    if (s->time_us)
        return s->time_us(s->arg, calls);
    start = measure_now_us();
    for (unsigned i = 0; i < calls; i++)
        s->run(s->arg);
    return (measure_now_us() - start) / calls;
}

static bool side_present(const struct measure_side *s)
{
    return s->run || s->time_us;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The first call of a turn does not count: it finds the caches as another side left them, and that
 * side's threads may still spin on the other CPU for what might come next. */
static double turn_time(struct measure_side *s, unsigned calls)
{
    side_time(s, 1);
    return side_time(s, calls);
}

/* Calls of a side that fill its share of a round, after warming up. */
static unsigned side_calls(struct measure_side *s)
{
    double us;

    side_time(s, 1);
    us = side_time(s, 2);
    if (us < 100)
        us = side_time(s, 50);
    if (us * MOST_CALLS < ROUND_US)
        return MOST_CALLS;
    return us > ROUND_US ? 1 : (unsigned)(ROUND_US / us);
}

void measure_run(struct measure_row *row)
{
    struct measure_side *side[MEASURE_SIDES] = {&row->ours};
    unsigned rounds = row->rounds ? row->rounds : MEASURE_ROUNDS, calls[MEASURE_SIDES];
    double *times = calloc((size_t)rounds * MEASURE_SIDES, sizeof(*times));

    if (!times)
        exit(1);
    for (unsigned i = 1; i < MEASURE_SIDES; i++)
        side[i] = &row->peer[i - 1];
    for (unsigned i = 0; i < MEASURE_SIDES; i++)
        calls[i] = side_present(side[i]) ? side_calls(side[i]) : 0;
    for (unsigned r = 0; r < rounds; r++)
        for (unsigned i = 0; i < MEASURE_SIDES; i++)
            if (calls[i] > 0)
                times[i * rounds + r] = turn_time(side[i], calls[i]);
    for (unsigned i = 0; i < MEASURE_SIDES; i++) {
        if (calls[i] == 0)
            continue;
        qsort(times + i * rounds, rounds, sizeof(*times), compare);
        side[i]->us = times[i * rounds + rounds / 2];
    }
    free(times);
}

void measure_print_head(void)
{
    printf("%-*s %10s  %-20s %10s %-8s %7s  %s\n", NAME_WIDTH, "what", "ours", "peer", "peer's",
           "unit", "ratio", "goal");
}

static double figure(const struct measure_row *row, double us)
{
    return row->work > 0 ? row->work / us : us;
}

bool measure_print(const struct measure_row *row)
{
    const struct measure_side *best = NULL;
    bool met = true, any = false;

    for (unsigned i = 0; i < MEASURE_SIDES - 1; i++) {
        const struct measure_side *p = &row->peer[i];

        if (side_present(p) && (!best || p->us < best->us))
            best = p;
    }
    for (unsigned i = 0; i < MEASURE_SIDES - 1; i++) {
        const struct measure_side *p = &row->peer[i];
        double ratio;

        if (!p->name)
            continue;
        any = true;
        printf("%-*s %10.3f  %-20s ", NAME_WIDTH, row->what, figure(row, row->ours.us), p->name);
        if (!side_present(p)) {
            printf("%10s %-8s %7s  NOT RUN: %s\n", "-", row->unit, "-", p->why ? p->why : "");
            continue;
        }
        ratio = row->kind == MEASURE_RATE ? p->us / row->ours.us : row->ours.us / p->us;
        printf("%10.3f %-8s %7.2f  ", figure(row, p->us), row->unit, ratio);
        if (p == best && row->goal > 0) {
            met = row->kind == MEASURE_RATE ? ratio >= row->goal : ratio <= row->goal;
            printf("%s %.2f %s", row->kind == MEASURE_RATE ? ">=" : "<=", row->goal,
                   met ? "met" : "MISSED");
        }
        printf("\n");
    }
    if (!any)
        printf("%-*s %10.3f  %-20s %10s %-8s\n", NAME_WIDTH, row->what, figure(row, row->ours.us),
               "-", "-", row->unit);
    fflush(stdout);
    return met;
}

void measure_print_missing(const char *what, const char *why)
{
    printf("%-*s %10s  NOT RUN: %s\n", NAME_WIDTH, what, "-", why);
    fflush(stdout);
}

struct trip {
    _Alignas(64) _Atomic unsigned ping;
    _Alignas(64) _Atomic unsigned pong;
};

static void *trip_echo(void *arg)
{
    struct trip *t = arg;

    for (unsigned i = 1; i <= TRIPS; i++) {
        while (atomic_load_explicit(&t->ping, memory_order_acquire) != i)
            ;
        atomic_store_explicit(&t->pong, i, memory_order_release);
    }
    return NULL;
}

double measure_round_trip_us(void)
{
    static struct trip t;
    pthread_t thread;
    double start;

    atomic_store(&t.ping, 0);
    atomic_store(&t.pong, 0);
    if (pthread_create(&thread, NULL, trip_echo, &t) != 0)
        return 0;
    start = measure_now_us();
    for (unsigned i = 1; i <= TRIPS; i++) {
        atomic_store_explicit(&t.ping, i, memory_order_release);
        while (atomic_load_explicit(&t.pong, memory_order_acquire) != i)
            ;
    }
    start = (measure_now_us() - start) / TRIPS;
    pthread_join(thread, NULL);
    return start;
}
