/* SPDX-License-Identifier: Apache-2.0 */
/* What is printed when an execution failed: the information dump (behaviour.md 5) and, on request,
 * the inputs (8.4). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "api/api_int.h"
#include "base/fd.h"
#include "base/settings.h"
#include "base/strbuf.h"

extern char **environ;

bool api_infodump_wanted(NRT_STATUS status)
{
    switch (status) {
    case NRT_TIMEOUT:
    case NRT_HW_ERROR:
    case NRT_EXEC_UNIT_UNRECOVERABLE:
    case NRT_EXEC_COMPLETED_WITH_ERR:
    case NRT_EXEC_OOB:
        return true;
    default:
        return status >= NRT_EXEC_HW_ERR_COLLECTIVES && status <= NRT_NETWORK_PROXY_FAILURE;
    }
}

#define DUMP(...) LOGE(api_.log, LOG_NRT, "nrt_infodump", __VA_ARGS__)

static void dump_cores(void)
{
    struct strbuf list = {0};

    for (uint32_t i = 0; i < api_.vnc_count; i++)
        strbuf_printf(&list, "%s%u", i ? "," : "", api_.first_vnc + i);
    DUMP("Visible cores: %s", list.s ? list.s : "");
    strbuf_fini(&list);
}

/* Only where a deployment has set one of the three (form ours). */
static void dump_ultraserver(void)
{
    const char *mode = settings_str("NEURON_RT_ULTRASERVER_MODE", NULL);
    const char *server = settings_str("NEURON_RT_ULTRASERVER_SERVER_ID", NULL);
    const char *node = settings_str("NEURON_RT_ULTRASERVER_NODE_ID", NULL);

    if (mode || server || node)
        DUMP("UltraServer: mode %s, server %s, node %s", mode ? mode : "unset",
             server ? server : "unset", node ? node : "unset");
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* NAME=value, where the name is the runtime's. A log is no place for the key of a job. */
static void dump_variable(const char *e)
{
    static const char key[] = "OPENNRT_JOB_KEY=";

    if (begins(e, key))
        DUMP("    %s(not shown)", key);
    else if (begins(e, "NEURON_") || begins(e, "OPENNRT_"))
        DUMP("    %s", e);
}

void api_infodump(NRT_STATUS status, const char *func, uint32_t vnc)
{
    struct utsname u = {0};

    uname(&u);
    DUMP("Neuron runtime information - please include in any support request:");
    DUMP("------------->8------------[ cut here ]------------>8-------------");
    DUMP("NRT version: %d.%s (%s)", API_VERSION_MAJOR, OPENNRT_VERSION, OPENNRT_GIT_HASH);
    DUMP("Embedded FW version: OpenNRT software device %s (%s) loaded from \"libnrt.so.1\"",
         OPENNRT_VERSION, OPENNRT_GIT_HASH);
    DUMP("CCOM version: none (compat 0)");
    DUMP("NCFW version: OpenNRT software device %s (%s)", OPENNRT_VERSION, OPENNRT_GIT_HASH);
    DUMP("Instance ID: opennrt-%s", device_instance_name(api_.in));
    DUMP("Cluster ID: 0");
    DUMP("Kernel: %s %s %s", u.sysname, u.release, u.version);
    DUMP("Nodename: %s", u.nodename);
    DUMP("Driver version: OpenNRT software device %s (%s)", OPENNRT_VERSION,
         device_topo(api_.in)->name);
    log_raw(api_.log, LOG_NRT, LOG_ERROR, "");
    DUMP("Failure: %s in %s()", status_name(status), func);
    DUMP("LNC: %u", vnc);
    dump_cores();
    dump_ultraserver();
    DUMP("Environment:");
    for (char **e = environ; e && *e; e++)
        dump_variable(*e);
    DUMP("-------------8<-----------[ cut to here ]-----------8<------------");
}

/* ---- inputs ---- */

static bool write_file(int dir, const char *name, const void *data, uint64_t size)
{
    int fd = fd_keep(openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    bool done = fd >= 0 && fd_write_all(fd, data, size);

    return (fd < 0 || close(fd) == 0) && done;
}

/* "<input name>.bin" without anything that leaves the directory. */
static bool file_name(const char *input, char *buf, size_t size)
{
    int n = snprintf(buf, size, "%s.bin", input);

    for (char *p = buf; *p; p++)
        if (*p == '/')
            *p = '_';
    return n > 0 && (size_t)n < size;
}

void api_dump_inputs(const struct model *m, const struct model_arg *in)
{
    uint32_t random = 0, n = model_input_count(m), done = 0;
    char dir[64], name[NAME_MAX + 1];
    int fd;

    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
        random = (uint32_t)getpid();
    snprintf(dir, sizeof(dir), "input_dump_%u_h_nn_%u", random & 0x7fffffff, model_id(m));
    fd = mkdir(dir, 0755) == 0 ? fd_keep(open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) : -1;
    if (fd < 0) {
        LOGE(api_.log, LOG_TDRV, "tensor_dump_inputs", "cannot make directory %s: %s", dir,
             strerror(errno));
        return;
    }
    for (; done < n; done++)
        if (!file_name(model_input(m, done)->name, name, sizeof(name)) ||
            !write_file(fd, name, in[done].va, model_input(m, done)->size))
            break;
    /* Written last: that it is there means that the dump is complete. */
    if (done == n && write_file(fd, "model_name.txt", model_name(m), strlen(model_name(m))))
        LOGE(api_.log, LOG_TDRV, "tensor_dump_inputs",
             "%u input tensors were dumped successfully to directory %s. Model name is %s", n, dir,
             model_name(m));
    else
        LOGE(api_.log, LOG_TDRV, "tensor_dump_inputs",
             "the dump of the inputs to directory %s is not complete: %s", dir, strerror(errno));
    close(fd);
}
