/* SPDX-License-Identifier: Apache-2.0 */
/* The two places where ranks meet: this process (meet_local.c), a job (meet.c). */
#ifndef COLL_MEET_INT_H
#define COLL_MEET_INT_H

#include "coll/meet.h"

#define MEET_RETRY_MS 120000u /* between the documented "retrying" lines */

struct house_world;

/* A rank enters the world of `world` ranks that is being filled now. NRT_INVALID: the rank is in it
 * already. Blocks until it is full; NRT_TIMEOUT: it was not in time, and the rank is out again. */
NRT_STATUS house_join(const struct coll_meet_config *cfg, struct house_world **ret,
                      struct err *err);
void house_leave(struct house_world *w);
const struct coll_place *house_place(const struct house_world *w, uint32_t rank);
/* me: position of this rank in the list. ret NULL: as coll_meet_leave. */
NRT_STATUS house_gather(struct house_world *w, uint32_t me, const uint32_t *ranks, uint32_t n,
                        uint32_t tag, const void *mine, size_t size, const struct coll_terms *terms,
                        struct coll_parts *ret, struct err *err);

void house_forget(struct house_world *w, uint32_t me, const uint32_t *ranks, uint32_t n,
                  uint32_t tag);

/* Room for n parts of together `bytes`, unless p has that already. */
NRT_STATUS parts_make(struct coll_parts *p, uint32_t n, size_t bytes, struct err *err);

#endif
