/* SPDX-License-Identifier: Apache-2.0 */
#include "touches.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* All of this is read and written by the signal handler, on the thread that touches. */
struct range {
    char *base;
    size_t pages;
    unsigned char *count;
    size_t open[TOUCHES_OPEN]; /* the pages opened last, in a ring */
    unsigned opened;           /* how many there were */
};
static struct range ranges[TOUCHES_RANGES];
static unsigned range_count;
static struct sigaction before;

size_t touches_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void protect(const struct range *r, size_t page, size_t pages, int prot)
{
    size_t size = touches_page_size();

    if (mprotect(r->base + page * size, pages * size, prot) != 0)
        abort();
}

static void page_open(struct range *r, size_t page)
{
    size_t *slot = &r->open[r->opened % TOUCHES_OPEN];

    if (r->opened >= TOUCHES_OPEN)
        protect(r, *slot, 1, PROT_NONE);
    *slot = page;
    r->opened++;
    r->count[page] += r->count[page] < UINT8_MAX;
    protect(r, page, 1, PROT_READ | PROT_WRITE);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    for (unsigned i = 0; i < range_count; i++) {
        struct range *r = &ranges[i];
        size_t off = (size_t)((char *)info->si_addr - r->base);

        if ((char *)info->si_addr >= r->base && off < r->pages * touches_page_size()) {
            page_open(r, off / touches_page_size());
            return;
        }
    }
    sigaction(sig, &before, NULL); /* not ours: comes again */
}

unsigned touches_watch(void *p, size_t bytes)
{
    size_t size = touches_page_size(), lead = (uintptr_t)p % size;
    struct range *r = &ranges[range_count];

    if (range_count == TOUCHES_RANGES)
        abort();
    *r = (struct range){.base = (char *)p - lead, .pages = (lead + bytes + size - 1) / size};
    r->count = calloc(r->pages, 1);
    if (r->count == NULL)
        abort();
    return range_count++;
}

void touches_start(void)
{
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    sigemptyset(&act.sa_mask);
    if (sigaction(SIGSEGV, &act, &before) != 0)
        abort();
    for (unsigned i = 0; i < range_count; i++)
        protect(&ranges[i], 0, ranges[i].pages, PROT_NONE);
}

void touches_stop(void)
{
    for (unsigned i = 0; i < range_count; i++)
        protect(&ranges[i], 0, ranges[i].pages, PROT_READ | PROT_WRITE);
    sigaction(SIGSEGV, &before, NULL);
}

size_t touches_pages(unsigned range)
{
    return ranges[range].pages;
}

unsigned touches_of(unsigned range, size_t page)
{
    return ranges[range].count[page];
}

void touches_forget(void)
{
    for (unsigned i = 0; i < range_count; i++)
        free(ranges[i].count);
    range_count = 0;
}
