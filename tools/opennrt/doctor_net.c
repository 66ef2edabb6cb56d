/* SPDX-License-Identifier: Apache-2.0 */
/* The network providers of libfabric, as opennrt doctor lists them. A child asks, so that a
 * provider that crashes, hangs or leaves something behind concerns nobody else. */
#include "opennrt.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef HAVE_FABRIC_H
#include <rdma/fabric.h>

/* The child's exit codes. */
enum { ANSWERED, NO_LIBRARY, NO_ANSWER };

#define PATIENCE 10 /* seconds */

/* "tcp;ofi_rxm" is a layer on tcp: the name before the layer, once. */
static void name_add(char *names, size_t size, const char *prov)
{
    size_t len = strcspn(prov, ";"), at = strlen(names);

    for (const char *s = names; *s != '\0'; s += strcspn(s, ","), s += strspn(s, ", "))
        if (strcspn(s, ",") == len && strncmp(s, prov, len) == 0)
            return;
    (void)snprintf(names + at, size - at, "%s%.*s", at > 0 ? ", " : "", (int)len, prov);
}

static int ask(int fd)
{
    int (*getinfo)(uint32_t, const char *, const char *, uint64_t, const struct fi_info *,
                   struct fi_info **);
    void *lib = dlopen("libfabric.so.1", RTLD_NOW | RTLD_LOCAL);
    struct fi_info *list = NULL;
    char names[256] = "";
    size_t len;

    if (lib == NULL)
        return NO_LIBRARY;
    *(void **)&getinfo = dlsym(lib, "fi_getinfo");
    if (getinfo == NULL)
        return NO_ANSWER;
    /* No provider at all is an answer: the list stays empty. */
    (void)getinfo(FI_VERSION(1, 9), NULL, NULL, 0, NULL, &list);
    for (struct fi_info *i = list; i != NULL; i = i->next)
        if (i->fabric_attr != NULL && i->fabric_attr->prov_name != NULL)
            name_add(names, sizeof(names), i->fabric_attr->prov_name);
    len = strlen(names);
    return write(fd, names, len) == (ssize_t)len ? ANSWERED : NO_ANSWER;
}

static bool between_nodes(const char *names)
{
    static const char *const wanted[] = {"efa", "tcp", "net"};

    for (const char *s = names; *s != '\0'; s += strcspn(s, ","), s += strspn(s, ", "))
        for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
            if (strcspn(s, ",") == strlen(wanted[i]) &&
                strncmp(s, wanted[i], strlen(wanted[i])) == 0)
                return true;
    return false;
}

enum doctor_net doctor_net_providers(char *names, size_t size)
{
    int fds[2], status = 0;
    size_t len = 0;
    ssize_t got;
    pid_t pid;

    names[0] = '\0';
    if (pipe(fds) != 0)
        return DOCTOR_NET_FAILED;
    pid = fork();
    if (pid == 0) {
        close(fds[0]);
        alarm(PATIENCE);
        _exit(ask(fds[1]));
    }
    close(fds[1]);
    while (pid > 0 && len + 1 < size && (got = read(fds[0], names + len, size - 1 - len)) > 0)
        len += (size_t)got;
    names[len] = '\0';
    close(fds[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return DOCTOR_NET_FAILED;
    if (WEXITSTATUS(status) == NO_LIBRARY)
        return DOCTOR_NET_ABSENT;
    if (WEXITSTATUS(status) != ANSWERED)
        return DOCTOR_NET_FAILED;
    return between_nodes(names) ? DOCTOR_NET_SOME : DOCTOR_NET_NONE;
}
#else
/* Built without the header: whether the library is there is all that can be said. */
enum doctor_net doctor_net_providers(char *names, size_t size)
{
    void *lib = dlopen("libfabric.so.1", RTLD_LAZY | RTLD_LOCAL);

    if (lib == NULL)
        return DOCTOR_NET_ABSENT;
    dlclose(lib);
    (void)snprintf(names, size, "not listed: built without rdma/fabric.h");
    return DOCTOR_NET_SOME;
}
#endif
