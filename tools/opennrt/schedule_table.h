/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt schedule: the tables of the variable forms. */
#ifndef OPENNRT_TOOLS_SCHEDULE_TABLE_H
#define OPENNRT_TOOLS_SCHEDULE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "sched/sched.h"
#include "topo/group.h"

#define SCHEDULE_TABLE_RANKS 1024u /* a table has the square of it as cells */

/* Fills the tables and sizes of *req, whose op and group are set. Blocks lie one after another in
 * both buffers. text: lengths of blocks in elements, separated by commas: one a rank, or for
 * all_to_all_v N rows of N, row r what rank r sends; NULL: all have `each` elements. *ret_cells is
 * the memory of all tables, of the caller, freed after the schedule. False: said on stderr why. */
bool schedule_table_fill(const char *text, uint64_t each, struct sched_request *req,
                         uint32_t **ret_cells);

#endif
