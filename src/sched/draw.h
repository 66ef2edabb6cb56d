/* SPDX-License-Identifier: Apache-2.0 */
/* A picture of a schedule for people: an SVG with a row for each rank and channel, logical time to
 * the right, a box for each step that moves data (coloured by phase), arrows for what crosses ranks
 * and for signals, and grey bars where a rank waits. It shows one operation as the checker ran it,
 * up to the first violation, which is marked. Pure. */
#ifndef SCHED_DRAW_H
#define SCHED_DRAW_H

#include "base/strbuf.h"
#include "sched/check.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SCHED_DRAW_ROWS_MAX  256u   /* ranks times channels of one picture */
#define SCHED_DRAW_STEPS_MAX 20000u /* executed steps of one picture */

struct sched_draw_options {
    const char *title;                            /* UTF-8; may be NULL */
    const char *(*phase)(void *arg, unsigned ph); /* name of a phase; may be NULL, and give NULL */
    void *arg;
};

/* Run the schedule once and draw it into svg. NRT_SUCCESS: drawn and proved for that one run.
 * NRT_FAILURE: drawn, with the violation in err. NRT_INVALID: the request makes no sense, or there
 * is too much for a picture; nothing is drawn. NRT_RESOURCE: memory; svg is undefined. */
NRT_STATUS sched_draw(const struct sched_request *req, uint32_t ranks, uint32_t channels,
                      const struct sched_check_source *source,
                      const struct sched_draw_options *options, struct strbuf *svg,
                      struct err *err);

#ifdef __cplusplus
}
#endif
#endif
