/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded (LD_PRELOAD) into nccom-test: in the moment in which a program binds a port of
 * 127.0.0.1 that it names, whether another program could have it. $PORT_PROBE is a file that gets a
 * line for each: "free" or "taken". */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef int (*bind_fn)(int fd, const struct sockaddr *a, socklen_t len);

__attribute__((visibility("default"))) int bind(int fd, const struct sockaddr *a, socklen_t len);

static void look(bind_fn next, const struct sockaddr_in *a)
{
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool got = next(other, (const struct sockaddr *)a, sizeof(*a)) == 0;
    const char *said = got ? "free\n" : "taken\n", *path = getenv("PORT_PROBE");
    int to = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

    if (other < 0 || to < 0 || write(to, said, strlen(said)) < 0)
        abort();
    close(to);
    close(other);
}

int bind(int fd, const struct sockaddr *a, socklen_t len)
{
    bind_fn next = (bind_fn)(uintptr_t)dlsym(RTLD_NEXT, "bind");
    int type = 0;
    socklen_t size = sizeof(type);

    if (a->sa_family == AF_INET && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
        type == SOCK_STREAM) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a;

        if (in->sin_port != 0 && in->sin_addr.s_addr == htonl(INADDR_LOOPBACK))
            look(next, in);
    }
    return next(fd, a, len);
}
