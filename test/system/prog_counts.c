/* SPDX-License-Identifier: Apache-2.0 */
/* A process whose account and counters are what it was told, for test_sysfs.py and
 * test_watchers_told.py: takes all cores of the instance of the environment and does what its
 * standard input says until that ends. Each line is answered by "ok" or by what went wrong. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"

#define EXTENTS 4096

static struct device_extent extents[EXTENTS];

static enum device_cat cat_from_name(const char *name)
{
    unsigned c = 0;

    while (c < DEVICE_CAT_COUNT && strcmp(device_cat_name((enum device_cat)c), name) != 0)
        c++;
    return (enum device_cat)c;
}

static enum device_counter counter_from_name(const char *name)
{
    unsigned c = 0;

    while (c < DEVICE_CTR_COUNT && strcmp(device_counter_name((enum device_counter)c), name) != 0)
        c++;
    return (enum device_counter)c;
}

static NRT_STATUS allocate(struct device_instance *in, unsigned n, uint32_t core, uint64_t size,
                           const char *cat)
{
    struct device_alloc a = {
        .core = core, .neff = DEVICE_NONE, .cat = cat_from_name(cat), .size = size};

    return n < EXTENTS ? device_alloc(in, &a, &extents[n], NULL) : NRT_INVALID;
}

static NRT_STATUS obey(struct device_instance *in, const char *line)
{
    char word[80];
    uint32_t core, kind;
    uint64_t size;
    int64_t delta;
    unsigned n;

    if (sscanf(line, "alloc %u %" SCNu32 " %" SCNu64 " %79[a-z ]", &n, &core, &size, word) == 4)
        return allocate(in, n, core, size, word);
    if (sscanf(line, "free %u", &n) == 1 && n < EXTENTS)
        return device_free(in, &extents[n], NULL);
    if (sscanf(line, "count %" SCNu32 " %" SCNu64 " %79s", &core, &size, word) == 3) {
        device_counter_add(in, core, counter_from_name(word), size);
        return NRT_SUCCESS;
    }
    if (sscanf(line, "host %" SCNu32 " %" SCNd64, &kind, &delta) == 2) {
        device_host_mem_add(in, (enum device_host_mem)kind, delta);
        return NRT_SUCCESS;
    }
    if (sscanf(line, "hardware %" SCNu32 " %79s", &core, word) == 2) {
        NRT_STATUS st = device_hw_inject(in, core, device_hw_error_from_name(word), 0, 0, NULL);

        return st != NRT_SUCCESS                                ? st
               : device_hw_check(in, core, NULL) == NRT_SUCCESS ? NRT_FAILURE
                                                                : NRT_SUCCESS;
    }
    return NRT_INVALID;
}

int main(void)
{
    struct device_config cfg = {
        .name = getenv("OPENNRT_INSTANCE"), .type = getenv("OPENNRT_INSTANCE_TYPE"), .lnc = 1};
    struct device_instance *in;
    struct err err = {0};
    uint32_t first;
    char line[200];

    if (device_instance_open(&cfg, &in, &err) || device_cores_claim_run(in, 0, &first, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    puts("ok");
    while (fflush(stdout), fgets(line, sizeof(line), stdin)) {
        NRT_STATUS st = obey(in, line);

        if (st == NRT_SUCCESS)
            puts("ok");
        else
            printf("failed %d\n", (int)st);
    }
    device_instance_close(in);
    return 0;
}
