/* SPDX-License-Identifier: Apache-2.0 */
/* Counts how often memory is gone over. Pages that are watched cannot be accessed; the first access
 * of one opens it and closes the page of its range that was opened TOUCHES_OPEN pages before. A
 * page that is gone over once counts 1, however many loads or stores that takes; one that is come
 * back to after others counts 2. For one thread of a process at a time, and not for system calls on
 * what is watched. */
#ifndef TEST_SUPPORT_TOUCHES_H
#define TEST_SUPPORT_TOUCHES_H

#include <stdbool.h>
#include <stddef.h>

#define TOUCHES_OPEN   4u
#define TOUCHES_RANGES 64u

/* Watches the pages that these bytes lie in, as a range of its own; no page is of two ranges.
 * Returns the number of the range, from 0. */
unsigned touches_watch(void *p, size_t bytes);
void touches_start(void); /* closes all pages */
void touches_stop(void);  /* opens all pages; the counts stay */
size_t touches_pages(unsigned range);
unsigned touches_of(unsigned range, size_t page);
void touches_forget(void); /* ranges and counts */
size_t touches_page_size(void);

#endif
