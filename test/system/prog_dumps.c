/* SPDX-License-Identifier: Apache-2.0 */
/* A rank that fails as test_dump.py says: loads a NEFF with inputs and outputs of one name each,
 * and does what its standard input says.
 *
 *     prog_dumps FILE.neff RANK RANKS
 *
 * "run" executes and prints the status; "begin" prints "begun" before; "loop" executes until one
 * fails; "crash" raises SIGSEGV. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nrt/nrt.h"
#include "nrt/nrt_experimental.h"

static void check(NRT_STATUS status, const char *what)
{
    if (status == NRT_SUCCESS)
        return;
    printf("%s %d\n", what, (int)status);
    fflush(stdout);
    exit(1);
}

static void *file_read(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "rb");
    void *bytes = malloc(1 << 20);

    if (!f || !bytes)
        exit(1);
    *ret_size = fread(bytes, 1, 1 << 20, f);
    fclose(f);
    return bytes;
}

static bool is_snapshot(int fd)
{
    char link[64], path[4096];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
    return strstr(path, "-lid-") != NULL;
}

static bool ends_snapshot(const char *bytes, size_t size)
{
    size_t line = size ? size - 1 : 0;

    while (line > 0 && bytes[line - 1] != '\n')
        line--;
    return size - line > 4 && memcmp(bytes + line, "end ", 4) == 0 && bytes[size - 1] == '\n';
}

/* The library's, too. PROG_DUMPS_DIES_AT=N: the process is killed where it would write byte N of
 * the snapshots of a dump, or the last one if they are shorter (how long they are depends on how
 * many digits a time has); the bytes before it stand in the file. */
ssize_t write(int fd, const void *bytes, size_t size)
{
    static size_t before;
    const char *at = getenv("PROG_DUMPS_DIES_AT");

    if (at && is_snapshot(fd)) {
        size_t room = strtoul(at, NULL, 10) - before;

        if (room >= size && ends_snapshot(bytes, size))
            room = size - 1;
        if (size > room) {
            syscall(SYS_write, fd, bytes, room);
            raise(SIGKILL);
        }
        before += size;
    }
    return syscall(SYS_write, fd, bytes, size);
}

/* What the program had installed before the library came. */
static void on_segv(int sig)
{
    (void)sig;
    _Exit(77);
}

/* What nohup or a shell has had ignored is inherited; every signal is to do here what it does. */
static void signals_heed(void)
{
    struct sigaction now;

    for (int sig = 1; sig < 32; sig++)
        if (sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
            signal(sig, SIG_DFL);
}

int main(int argc, char **argv)
{
    unsigned rank = argc > 3 ? (unsigned)atoi(argv[2]) : 0;
    unsigned ranks = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
    nrt_tensor_info_array_t *info;
    nrt_tensor_set_t *set[2];
    nrt_model_t *model;
    char line[80];
    void *neff;
    size_t size;

    if (argc != 4)
        return 2;
    signals_heed();
    if (getenv("PROG_DUMPS_HANDLER"))
        signal(SIGSEGV, on_segv);
    neff = file_read(argv[1], &size);
    check(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "init");
    if (ranks > 0)
        check(nrt_load_collectives(neff, size, 0, -1, rank, ranks, &model), "load");
    else
        check(nrt_load(neff, size, -1, -1, &model), "load");
    free(neff);
    check(nrt_allocate_tensor_set(&set[0]), "set");
    check(nrt_allocate_tensor_set(&set[1]), "set");
    check(nrt_get_model_tensor_info(model, &info), "info");
    for (uint64_t i = 0; i < info->tensor_count; i++) {
        const nrt_tensor_info_t *t = &info->tensor_array[i];
        nrt_tensor_t *tensor;

        check(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, t->size, t->name, &tensor),
              "tensor");
        check(
            nrt_add_tensor_to_tensor_set(set[t->usage == NRT_TENSOR_USAGE_OUTPUT], t->name, tensor),
            "add");
    }
    nrt_free_model_tensor_info(info);
    while (puts("ok"), fflush(stdout), fgets(line, sizeof(line), stdin)) {
        NRT_STATUS status = NRT_SUCCESS;

        if (strcmp(line, "crash\n") == 0)
            raise(SIGSEGV);
        if (strcmp(line, "begin\n") == 0) {
            puts("begun");
            fflush(stdout);
        }
        do
            status = nrt_execute(model, set[0], set[1]);
        while (status == NRT_SUCCESS && strcmp(line, "loop\n") == 0);
        printf("status %d\n", (int)status);
    }
    nrt_unload(model);
    nrt_close();
    return 0;
}
