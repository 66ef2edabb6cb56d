/* SPDX-License-Identifier: Apache-2.0 */
/* What bench/off_cost measures, and one process of it (off_sides.c). */
#ifndef BENCH_OFF_COST_H
#define BENCH_OFF_COST_H

/* The library, the one that it is compared with, the library again. */
enum { OFF_HERE, OFF_OTHER, OFF_AGAIN, OFF_SIDES };
#define OFF_ORDERS 6 /* in which they can be opened */

struct off_job {
    const char *neff, *lib, *other;
    const char *instance; /* what the names of the sides' instances begin with */
    unsigned rounds, times;
};

/* In a process that has no library open: opens all sides in the order of this number, below
 * OFF_ORDERS, and lets them take turns. ret_took[OFF_HERE]: nanoseconds of processor time of an
 * execution by the library; the other two: what the library takes more than these. Exits when
 * something fails. */
void off_sides(const struct off_job *job, unsigned order, double *ret_took);

/* Sorts. */
double off_median(double *v, unsigned n);
/* Says it and exits. */
void off_ended(const char *what, const char *why) __attribute__((noreturn));

#endif
