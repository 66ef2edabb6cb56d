/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-monitor --prometheus: the metrics in the text format of Prometheus (0.0.4), over HTTP. */
#ifndef TOOLS_NEURON_MONITOR_PROMETHEUS_H
#define TOOLS_NEURON_MONITOR_PROMETHEUS_H

#include "base/strbuf.h"
#include "common/sample.h"
#include "neuron-monitor/config.h"

/* Serve GET /metrics until the process is ended. Rates are those since the scrape before, or, when
 * that is less than the shortest configured period ago, since the one before it. Processes are
 * those that an entry of the configuration matches. False: the address is none, the port cannot be
 * had (said on the standard error), or no memory. */
bool prometheus_serve(struct view *v, const struct mon_config *c, const char *address,
                      unsigned port);
/* The text. */
void prometheus_text(struct strbuf *b, const struct view *v, const struct mon_config *c,
                     const struct sample *prev, const struct sample *cur);

#endif
