/* SPDX-License-Identifier: Apache-2.0 */
#include "fault_tour.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "models.h"
#include "nrt/nrt.h"

const char *const tour_points[] = {"alloc",  "mmap",  "file",     "lock",       "backing",
                                   "thread", "queue", "hbm-full", "queue-full", "net-loss"};
static_assert(sizeof(tour_points) / sizeof(tour_points[0]) == FAULT_POINT_COUNT, "each has a name");

/* Names of the functions called, each once; the last one stays empty. */
static char called[256][64];

void tour_note(const char *call)
{
    size_t n = strcspn(call, "("), i = 0;

    while (called[i][0] && (strlen(called[i]) != n || strncmp(called[i], call, n) != 0))
        i++;
    assert_true(i + 1 < sizeof(called) / sizeof(called[0]) && n < sizeof(called[0]));
    memcpy(called[i], call, n);
}

static bool was_called(const char *name)
{
    for (size_t i = 0; called[i][0]; i++)
        if (strcmp(called[i], name) == 0)
            return true;
    return false;
}

bool tour_status_may_be(enum fault_point p, NRT_STATUS status)
{
    return status == NRT_SUCCESS || status == NRT_RESOURCE || status == NRT_FAILURE ||
           status == NRT_TIMEOUT || status == NRT_INVALID ||
           (p == FAULT_ASYNC && status == NRT_QUEUE_FULL);
}

unsigned tour_covers(const char *header, const char *const *but)
{
    size_t size;
    char *text = read_file(header, &size);
    unsigned found = 0;

    text = realloc(text, size + 1);
    assert_non_null(text);
    text[size] = '\0';
    for (char *p = text; (p = strstr(p, "\n")); p++) {
        char name[64] = "";
        const char *const *b = but;

        if (p[1] == '\n') /* scanf would skip it */
            continue;
        /* "NRT_STATUS nrt_x(" at the start of a line; the name may stand on the next one. */
        if (sscanf(p, "\nNRT_STATUS %63[a-z0-9_](", name) != 1 &&
            sscanf(p, "\nvoid %63[a-z0-9_](", name) != 1 &&
            sscanf(p, "\nvoid *%63[a-z0-9_](", name) != 1 &&
            sscanf(p, "\nsize_t %63[a-z0-9_](", name) != 1 &&
            sscanf(p, "\nconst char *%63[a-z0-9_](", name) != 1)
            continue;
        if (*(strstr(p + 1, name) + strlen(name)) != '(')
            continue;
        found++;
        while (*b && strncmp(name, *b, strlen(*b)) != 0)
            b++;
        if (!*b && !was_called(name))
            fail_msg("%s is not on the tour", name);
    }
    free(text);
    return found;
}

int tour_end_session(void **state)
{
    (void)state;
    fault_disarm();
    nrt_close();
    return 0;
}
