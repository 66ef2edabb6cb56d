/* SPDX-License-Identifier: Apache-2.0 */
/* A process with flight records, for test_ranks.py: takes the first core of the instance of the
 * environment, records, and does what its standard input says until that ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "device/flight.h"
#include "sched/sched.h"

int main(void)
{
    struct device_config cfg = {.name = getenv("OPENNRT_INSTANCE"), .type = "trn1.2xlarge"};
    struct device_flight_group g = {
        .comm = 7, .me = 1, .n = 9, .members = 6, .member = {10, 11, 12, 13, 14, 15}};
    struct device_flight_at at = {0};
    struct device_instance *in;
    struct err err = {0};
    char line[80];
    unsigned long seq, seed;

    if (device_instance_open(&cfg, &in, &err) || device_cores_claim(in, 0, 1, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    device_flight_open(in, 0, &g);
    while (puts("ok"), fflush(stdout), fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "begin %lu", &seq) == 1)
            at = device_flight_begin(
                &g, seq, device_flight_what(SCHED_ALL_GATHER, SCHED_MESH, SCHED_DIRECT, DT_BF16),
                4096, 34);
        else if (strcmp(line, "wait\n") == 0)
            device_flight_stand(&at, 12, device_flight_wait(SCHED_SEM_RECV, 14));
        else if (strcmp(line, "end\n") == 0)
            device_flight_end(&at, 34, NRT_SUCCESS, 0);
        else if (strcmp(line, "fail\n") == 0)
            device_flight_end(&at, 12, NRT_EXEC_HW_ERR_COLLECTIVES, 14);
        else if (sscanf(line, "garbage %lu", &seed) == 1) {
            uint8_t *p = (uint8_t *)&device_live(in, 0)->flights;

            srand((unsigned)seed);
            for (size_t i = 0; i < sizeof(struct device_flights); i++)
                p[i] = (uint8_t)(rand() >> 7);
            if (seed % 2) { /* numbers that fit, so that the rest is looked at */
                struct device_flights *l = (struct device_flights *)p;

                l->next = DEVICE_FLIGHTS;
                for (unsigned i = 0; i < DEVICE_FLIGHTS; i++)
                    l->flight[i].number = i + 1;
            }
        } else
            return 1;
    }
    device_instance_close(in);
    return 0;
}
