/* SPDX-License-Identifier: Apache-2.0 */
/* A large NEFF that takes no room: a plain one of which a member is made larger by a hole. */
#ifndef TEST_SUPPORT_NEFF_HOLE_H
#define TEST_SUPPORT_NEFF_HOLE_H

#include <stddef.h>
#include <stdint.h>

/* A file of no name with the size bytes of a plain NEFF, whose regular member now has `grown`
 * bytes, no fewer than before: what it has, then zeros. The header is neither hashed anew nor
 * sealed. *ret_at: where the member's bytes begin; *ret_total: the file's size. -1 with errno: no
 * file of this size can be made here. Anything else that is wrong ends the program. */
int neff_hole_open(const void *neff, size_t size, const char *member, uint64_t grown,
                   uint64_t *ret_at, uint64_t *ret_total);

#endif
