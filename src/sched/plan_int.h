/* SPDX-License-Identifier: Apache-2.0 */
/* From a checked request to stages and parts; used by sched.c. */
#ifndef SCHED_PLAN_INT_H
#define SCHED_PLAN_INT_H

#include "sched/sched_int.h"

/* Choose stages, channels, buffer sizes and the order of parts. NRT_FAILURE (the text says
 * why), NRT_INVALID, NRT_RESOURCE. */
NRT_STATUS sched_plan(struct sched *s, struct err *err);
/* Fill the classes of ranks. */
NRT_STATUS sched_classify(struct sched *s, struct err *err);

#endif
