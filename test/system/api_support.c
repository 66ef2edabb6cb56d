/* SPDX-License-Identifier: Apache-2.0 */
#include "api_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "device/device.h"

static char log_path[64];
static char *text;
static long mark;

/* An instance of this process. Its number alone would not do: a killed test leaves its instance
 * behind, and numbers of processes come again. */
static const char *instance_name(void)
{
    static char name[32];
    static pid_t owner;
    struct timespec now;

    if (owner != getpid()) {
        owner = getpid();
        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(name, sizeof(name), "t%d-%lx", (int)owner, (long)now.tv_nsec);
    }
    return name;
}

void api_env(const char *type, unsigned lnc)
{
    char value[64];

    setenv("OPENNRT_INSTANCE", instance_name(), 1);
    if (type)
        setenv("OPENNRT_INSTANCE_TYPE", type, 1);
    else
        unsetenv("OPENNRT_INSTANCE_TYPE");
    snprintf(value, sizeof(value), "%u", lnc);
    if (lnc)
        setenv("NEURON_LOGICAL_NC_CONFIG", value, 1);
    else
        unsetenv("NEURON_LOGICAL_NC_CONFIG");
    snprintf(log_path, sizeof(log_path), "/tmp/libnrt-test-%d.log", (int)getpid());
    for (const char *const *c = (const char *const[]){"NRT", "TDRV", "NMGR", "HAL", NULL}; *c;
         c++) {
        snprintf(value, sizeof(value), "NEURON_RT_LOG_LOCATION_%s", *c);
        setenv(value, log_path, 1);
    }
    setenv("NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY", "", 1);
    unsetenv("NEURON_RT_VISIBLE_CORES");
    unsetenv("NEURON_RT_NUM_CORES");
    unsetenv("NEURON_RT_VIRTUAL_CORE_SIZE");
}

void api_env_end(void)
{
    struct device_config cfg = {.name = getenv("OPENNRT_INSTANCE")};
    bool removed;

    device_instance_reset(&cfg, false, &removed, NULL);
    unlink(log_path);
}

const char *api_log(void)
{
    FILE *f = fopen(log_path, "r");
    long size = 0;

    free(text);
    text = NULL;
    if (f) {
        fseek(f, 0, SEEK_END);
        size = ftell(f) - mark;
        fseek(f, mark, SEEK_SET);
        text = calloc(1, (size_t)size + 1);
        if (text && fread(text, 1, (size_t)size, f) != (size_t)size)
            text[0] = '\0';
        fclose(f);
    }
    return text ? text : "";
}

unsigned api_log_errors(void)
{
    unsigned n = 0;

    for (const char *p = api_log(); (p = strstr(p, " ERROR ")); p++)
        n++;
    return n;
}

bool api_log_has(const char *what)
{
    return strstr(api_log(), what) != NULL;
}

void api_log_clear(void)
{
    FILE *f = fopen(log_path, "r");

    mark = 0;
    if (f) {
        fseek(f, 0, SEEK_END);
        mark = ftell(f);
        fclose(f);
    }
}

size_t api_disk_full(bool full)
{
    struct rlimit limit;
    size_t room;

    api_log_clear();
    room = (size_t)mark + 1024;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0)
        abort();
    limit.rlim_cur = full ? (rlim_t)room : limit.rlim_max;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        abort();
    return room;
}

int api_disk_free(void **state)
{
    (void)state;
    (void)api_disk_full(false);
    return 0;
}
