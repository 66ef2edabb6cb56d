/* SPDX-License-Identifier: Apache-2.0 */
/* Which sides there are, and how they are started and stopped. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "coll_sides.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS  20000
#define ANSWER_MS 20000
#define STOP_MS   3000

/* Temporaries of the libraries stay mapped, in huge pages: else they are mapped, faulted and
 * unmapped in every large call. */
#define KEEP                                                                 \
    "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=2147483648:"                 \
    "glibc.malloc.trim_threshold=8589934592:glibc.malloc.top_pad=268435456:" \
    "glibc.malloc.hugetlb=1 "
#define ROOT   "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
#define OMPI   KEEP ROOT "exec mpirun.openmpi --bind-to none --oversubscribe -np %N "
#define OMPI_2 OMPI "--mca mpi_yield_when_idle 0 "
#define OMPI_4 OMPI "--mca mpi_yield_when_idle 1 "
#define UCX                                                          \
    "--mca pml ucx --mca pml_ucx_tls any --mca pml_ucx_devices any " \
    "-x UCX_TLS=posix,cma,self "
#define REDUCE  "--mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_allreduce_algorithm "
#define MPICH   "exec mpirun.mpich -np %N "
#define REGION  "%D/coll_openmpi %R"
#define REGIONH "%D/coll_mpich %R"

/* Between nodes, which are processes here: no shared memory, loopback instead of it. FI_PROVIDER
 * makes libfabric offer tcp;ofi_rxm as the only one of ours. */
#define OFI                                          \
    "-x FI_TCP_IFACE=lo --mca pml cm --mca mtl ofi " \
    "--mca mtl_ofi_provider_include 'tcp;ofi_rxm' "
#define TCP "--mca pml ob1 --mca btl tcp,self --mca btl_tcp_if_include lo "
#define UCX_TCP                                                      \
    "--mca pml ucx --mca pml_ucx_tls any --mca pml_ucx_devices any " \
    "-x UCX_TLS=tcp,self -x UCX_NET_DEVICES=lo "
#define MPICH_TCP                                        \
    "exec mpirun.mpich -np %N -env MPIR_CVAR_NOLOCAL 1 " \
    "-env UCX_TLS tcp,self -env UCX_NET_DEVICES lo "
#define SAME "FI_PROVIDER=tcp "

/* %D: folder of the programs, %N: ranks, %R: region. For all_reduce the algorithm is fixed in some;
 * they take part in those rows only. */
static const struct side_kind kinds[] = {
    {"in NEFFs", SIDE_OURS, SIDE_NODE, false, "coll_neff", "exec %D/coll_neff %R", 1000},
    {"coll room", SIDE_OURS, SIDE_NODE, false, "coll_ours", "exec %D/coll_ours %R"},
    {"sendrecv", SIDE_OURS, SIDE_NODE_2, false, "coll_sendrecv", "exec %D/coll_sendrecv %R"},
    {"half", SIDE_FLOOR, SIDE_NODE, false, "coll_floor", "exec %D/coll_floor %R half"},
    {"half, around", SIDE_FLOOR, SIDE_NODE, false, "coll_floor", "exec %D/coll_floor %R around"},
    {"full", SIDE_FLOOR, SIDE_NODE, false, "coll_floor", "exec %D/coll_floor %R full"},
    {"openmpi", SIDE_PEER, SIDE_NODE_2, false, "coll_openmpi", OMPI_2 REGION},
    {"openmpi eager 32k", SIDE_PEER, SIDE_NODE_2, false, "coll_openmpi",
     OMPI_2 "--mca btl_vader_eager_limit 32768 " REGION},
    {"openmpi two copies", SIDE_PEER, SIDE_NODE_2, false, "coll_openmpi",
     OMPI_2 "--mca btl_vader_single_copy_mechanism none " REGION},
    {"openmpi ucx", SIDE_PEER, SIDE_NODE_2, false, "coll_openmpi", OMPI_2 UCX REGION},
    {"openmpi doubling", SIDE_PEER, SIDE_NODE_2, true, "coll_openmpi", OMPI_2 REDUCE "3 " REGION},
    {"openmpi rabenseifner", SIDE_PEER, SIDE_NODE_2, true, "coll_openmpi",
     OMPI_2 REDUCE "6 " REGION},
    {"openmpi segmented ring", SIDE_PEER, SIDE_NODE_2, true, "coll_openmpi",
     OMPI_2 REDUCE "5 --mca coll_tuned_allreduce_algorithm_segmentsize 65536 " REGION},
    {"openmpi sm", SIDE_PEER, SIDE_NODE_2, false, "coll_openmpi",
     OMPI_2 "--mca coll_sm_priority 100 " REGION},
    {"mpich", SIDE_PEER, SIDE_NODE_2, false, "coll_mpich", KEEP MPICH REGIONH},
    {"mpich rendezvous 64k", SIDE_PEER, SIDE_NODE_2, false, "coll_mpich",
     KEEP MPICH "-env UCX_RNDV_THRESH 64k " REGIONH},
    {"mpich doubling", SIDE_PEER, SIDE_NODE_2, true, "coll_mpich",
     KEEP MPICH "-env MPIR_CVAR_DEVICE_COLLECTIVES none "
                "-env MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM recursive_doubling " REGIONH},
    {"openmpi", SIDE_PEER, SIDE_NODE_4, false, "coll_openmpi", OMPI_4 REGION},
    {"openmpi ucx", SIDE_PEER, SIDE_NODE_4, false, "coll_openmpi", OMPI_4 UCX REGION},
    {"openmpi rabenseifner", SIDE_PEER, SIDE_NODE_4, true, "coll_openmpi",
     OMPI_4 REDUCE "6 " REGION},
    {"mpich", SIDE_PEER, SIDE_NODE_4, false, "coll_mpich", KEEP MPICH REGIONH},
    {"in NEFFs, tcp;ofi_rxm", SIDE_OURS, SIDE_NODES, false, "coll_neff",
     SAME "exec %D/coll_neff %R nodes", 1000},
    {"coll room, tcp;ofi_rxm", SIDE_OURS, SIDE_NODES, false, "coll_ours",
     SAME "exec %D/coll_ours %R nodes"},
    {"sendrecv, tcp;ofi_rxm", SIDE_OURS, SIDE_NODES, false, "coll_sendrecv",
     SAME "exec %D/coll_sendrecv %R nodes"},
    {"sendrecv", SIDE_OURS, SIDE_NODES, false, "coll_sendrecv", "exec %D/coll_sendrecv %R nodes"},
    {"in NEFFs", SIDE_OURS, SIDE_NODES, false, "coll_neff", "exec %D/coll_neff %R nodes", 1000},
    {"coll room", SIDE_OURS, SIDE_NODES, false, "coll_ours", "exec %D/coll_ours %R nodes"},
    {"openmpi ofi", SIDE_PEER, SIDE_NODES, false, "coll_openmpi", OMPI_2 OFI REGION},
    {"openmpi ofi doubling", SIDE_PEER, SIDE_NODES, true, "coll_openmpi",
     OMPI_2 OFI REDUCE "3 " REGION},
    {"openmpi ofi rabenseifner", SIDE_PEER, SIDE_NODES, true, "coll_openmpi",
     OMPI_2 OFI REDUCE "6 " REGION},
    {"openmpi tcp", SIDE_OTHER, SIDE_NODES, false, "coll_openmpi", OMPI_2 TCP REGION},
    {"openmpi tcp 4 MiB", SIDE_OTHER, SIDE_NODES, false, "coll_openmpi",
     OMPI_2 TCP "--mca btl_tcp_sndbuf 4194304 --mca btl_tcp_rcvbuf 4194304 " REGION},
    {"openmpi ucx tcp", SIDE_OTHER, SIDE_NODES, false, "coll_openmpi", OMPI_2 UCX_TCP REGION},
    {"mpich ucx tcp", SIDE_OTHER, SIDE_NODES, false, "coll_mpich", KEEP MPICH_TCP REGIONH},
    {"gloo ring", SIDE_OTHER, SIDE_NODES, false, "coll_gloo", "exec %D/coll_gloo %R ring"},
    {"gloo bcube", SIDE_OTHER, SIDE_NODES, true, "coll_gloo", "exec %D/coll_gloo %R bcube"},
    {"gloo ring", SIDE_PEER, SIDE_NODE, false, "coll_gloo", "exec %D/coll_gloo %R ring"},
    {"gloo bcube", SIDE_PEER, SIDE_NODE, true, "coll_gloo", "exec %D/coll_gloo %R bcube"},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* ---- starting ---- */

static void command_line(const char *pattern, const char *dir, const struct side *s, char *out,
                         size_t size)
{
    size_t at = 0;

    for (const char *p = pattern; *p && at + 1 < size; p++) {
        int n = 0;

        if (*p != '%')
            out[at++] = *p;
        else if (*++p == 'D')
            n = snprintf(out + at, size - at, "%s", dir);
        else if (*p == 'R')
            n = snprintf(out + at, size - at, "%s", s->path);
        else
            n = snprintf(out + at, size - at, "%u", s->region->ranks);
        at += (size_t)n;
    }
    if (at >= size) {
        fprintf(stderr, "bench: a command is too long\n");
        exit(1);
    }
    out[at] = 0;
}

static void lost(struct side *s, const char *why)
{
    if (!s->lost[0])
        snprintf(s->lost, sizeof(s->lost), "%s", why);
}

static bool alive(void *arg)
{
    struct side *s = arg;
    int status;

    if (s->pid && waitpid(s->pid, &status, WNOHANG) == s->pid) {
        s->pid = 0;
        lost(s, "its processes ended");
    }
    return s->pid != 0;
}

static void start(struct side *s, const struct side_kind *kind, const char *dir, uint32_t ranks)
{
    char program[512], line[2048];

    *s = (struct side){.kind = kind};
    snprintf(program, sizeof(program), "%s/%s", dir, kind->program);
    if (access(program, X_OK) != 0) {
        lost(s, "not built: its library is not installed");
        return;
    }
    snprintf(s->path, sizeof(s->path), "/dev/shm/bench-coll-%ld-%zu", (long)getpid(),
             (size_t)(kind - kinds));
    s->region = job_region_make(s->path, ranks);
    command_line(kind->command, dir, s, line, sizeof(line));
    s->pid = fork();
    if (s->pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (!getenv("BENCH_VERBOSE"))
            freopen("/dev/null", "w", stderr);
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    if (s->pid < 0)
        s->pid = 0;
}

static bool takes_part(const struct side_kind *kind, uint32_t ranks, bool nodes)
{
    switch (kind->jobs) {
    case SIDE_NODE:
        return !nodes && (ranks > 1 || kind->role == SIDE_OURS);
    case SIDE_NODE_2:
        return !nodes && ranks == 2;
    case SIDE_NODE_4:
        return !nodes && ranks == 4;
    default:
        return nodes;
    }
}

/* BENCH_PEERS: only peers whose name contains it. */
static bool wanted(const struct side_kind *kind)
{
    const char *word = getenv("BENCH_PEERS");

    return kind->role == SIDE_OURS || kind->role == SIDE_FLOOR || !word || strstr(kind->name, word);
}

unsigned sides_start(struct side *sides, const char *dir, uint32_t ranks, bool nodes)
{
    unsigned n = 0;

    for (unsigned i = 0; i < KINDS; i++)
        if (takes_part(&kinds[i], ranks, nodes) && wanted(&kinds[i]))
            start(&sides[n++], &kinds[i], dir, ranks);
    for (unsigned i = 0; i < n; i++) {
        struct side *s = &sides[i];

        if (s->pid && !job_command_wait(s->region, START_MS, alive, s))
            lost(s, "its ranks did not start");
        if (s->region)
            unlink(s->path);
    }
    return n;
}

bool side_do(struct side *s, enum job_command command)
{
    if (s->lost[0])
        return false;
    job_command_post(s->region, command);
    if (job_command_wait(s->region, ANSWER_MS, alive, s))
        return true;
    lost(s, "it did not answer");
    return false;
}

void sides_stop(struct side *sides, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct side *s = &sides[i];
        double end = job_now_us() + STOP_MS * 1e3;

        if (s->pid && !s->lost[0])
            job_command_post(s->region, JOB_QUIT);
        while (s->pid && !s->lost[0] && alive(s) && job_now_us() < end)
            usleep(1000);
        if (s->pid) { /* its own process group */
            kill(-s->pid, SIGKILL);
            waitpid(s->pid, NULL, 0);
        }
        if (s->region)
            job_region_close(s->region);
    }
}
