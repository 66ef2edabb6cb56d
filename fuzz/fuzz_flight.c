/* SPDX-License-Identifier: Apache-2.0 */
/* Flight records as a hostile or dying process may leave them: the input is what the page holds,
 * then all of it is read and printed. Nothing may crash or hang; what is printed is text, and what
 * is given out is in bounds. The first byte says at which record the rest begins. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "device/flight.h"

static void check_text(const struct device_flight_view *v)
{
    char text[DEVICE_FLIGHT_TEXT], cut[16];
    size_t n;

    device_flight_text(v, text, sizeof(text));
    n = strlen(text);
    if (n == 0 || n >= sizeof(text) - 1 || text[n - 1] < 0x20) /* never cut */
        abort();
    for (size_t i = 0; i < n; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            abort();
    device_flight_text(v, cut, sizeof(cut));
    if (strncmp(cut, text, sizeof(cut) - 1) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct device_flights log;
    struct device_flight_view v;
    const size_t head = offsetof(struct device_flights, flight);
    size_t at;

    if (size < 1 + head)
        return 0;
    memset(&log, 0, sizeof(log));
    memcpy(&log, data + 1, head);
    at = head + data[0] % DEVICE_FLIGHTS * sizeof(struct device_flight);
    data += 1 + head;
    size -= 1 + head;
    memcpy((uint8_t *)&log + at, data, size < sizeof(log) - at ? size : sizeof(log) - at);
    for (unsigned back = 0; back < DEVICE_FLIGHTS + 2; back++) {
        if (!device_flight_read(&log, back, &v))
            continue;
        if (back >= DEVICE_FLIGHTS || v.number == 0 || v.members > DEVICE_FLIGHT_MEMBERS ||
            v.members > v.n || v.age_ns > INT64_MAX || v.lasted_ns > INT64_MAX)
            abort();
        check_text(&v);
    }
    return 0;
}
