/* SPDX-License-Identifier: Apache-2.0 */
/* A bucket of an InfluxDB 2 server, to write lines into, over its HTTP API. */
#ifndef VIEWER_INFLUX_H
#define VIEWER_INFLUX_H

#include "base/err.h"
#include "viewer/rows.h"

struct influx_config {
    const char *endpoint; /* "http://host:port" */
    const char *org, *bucket;
    const char *token; /* NULL: none is sent */
    bool force;        /* the bucket may be there already: what is in it goes */
};

struct influx;
/* Makes the bucket. NRT_INVALID: it is there already, and that is not allowed. NRT_FAILURE: the
 * server cannot be reached or says no, or this is built without libcurl. */
NRT_STATUS influx_open(const struct influx_config *config, struct influx **ret, struct err *err);
/* Whole lines. Of a sink: arg is the struct influx; what was wrong is told by influx_close. */
bool influx_write(void *arg, const void *bytes, size_t size);
/* Takes it over. The first error of a write. */
NRT_STATUS influx_close(struct influx *x, struct err *err);

/* What the server answers: the id of the element with that name in an array of the answer's object.
 * False: it is no such answer or has no such element. Pure. */
#define INFLUX_ID_SIZE 64
bool influx_id_find(const void *answer, size_t size, const char *array, const char *name,
                    char ret[INFLUX_ID_SIZE]);
/* The "message" of an error, as text for a terminal, appended; nothing when there is none. Pure. */
void influx_message_put(const void *answer, size_t size, struct strbuf *out);

#endif
