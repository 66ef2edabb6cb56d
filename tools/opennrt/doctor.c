/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt doctor: what of this host will hurt, each finding with its remedy. A check looks, tries
 * the real thing where it can, and says one line; nothing stays behind. */
#include "opennrt.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "device/device.h"
#include "device/hostmem.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

enum level { OK, NOTE, WARN, BAD };

struct finding {
    enum level level;
    char text[400], remedy[400];
};

struct patient {
    const struct topo_instance *topo;
    uint64_t hbm_bytes; /* of one HBM of an instance that is made now */
    struct err hbm_err; /* why there can be none with OPENNRT_HBM_MIB as it is */
    const char *instance, *hbm_dir;
};

static struct finding found(enum level level, const char *remedy, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static struct finding found(enum level level, const char *remedy, const char *fmt, ...)
{
    struct finding f = {.level = level};
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(f.text, sizeof(f.text), fmt, ap);
    va_end(ap);
    snprintf(f.remedy, sizeof(f.remedy), "%s", remedy ? remedy : "");
    return f;
}

static const char *size_of(uint64_t bytes, char buf[32])
{
    size_text(buf, 32, bytes);
    return buf;
}

/* ---- memory ---- */

static struct finding check_hbm(const struct patient *p)
{
    char a[32], b[32];

    if (p->hbm_err.status != NRT_SUCCESS)
        return found(BAD, "unset OPENNRT_HBM_MIB: HBM is used as it is written", "%s",
                     p->hbm_err.text);
    size_of(p->hbm_bytes, a);
    size_of(p->topo->hbm_bytes, b);
    if (p->hbm_bytes < p->topo->hbm_bytes)
        return found(NOTE, "unset OPENNRT_HBM_MIB, if programs need more",
                     "%s each in a new instance, where a %s has %s", a, p->topo->name, b);
    return found(OK, NULL, "%s each, as a %s has", b, p->topo->name);
}

static struct finding check_memory(const struct patient *p)
{
    struct host_room room;
    char a[32], b[32];
    uint64_t promised = p->hbm_bytes * topo_hbm_count(p->topo);

    host_room_get(NULL, &room);
    if (room.mem_avail == UINT64_MAX)
        return found(NOTE, "mount /proc", "not known: no /proc/meminfo");
    size_of(room.mem_avail, a);
    size_of(promised, b);
    if (room.mem_avail < 512 * MIB)
        return found(BAD, "free memory: device memory is host memory, used as it is written",
                     "%s available", a);
    if (room.mem_avail < promised)
        return found(NOTE, "fine as long as programs write less than the host has",
                     "%s available, the instance promises %s of HBM", a, b);
    return found(OK, NULL, "%s available", a);
}

static struct finding check_cgroup(const struct patient *p)
{
    struct host_room room;
    char a[32], b[32];

    (void)p;
    host_room_get(NULL, &room);
    if (room.cgroup_max == UINT64_MAX)
        return found(OK, NULL, "no memory limit");
    size_of(room.cgroup_max, a);
    size_of(room.available, b);
    return found(room.available < 512 * MIB ? WARN : OK,
                 "raise the memory limit of the container or cgroup", "limit %s, %s left", a, b);
}

static struct finding check_address_space(const struct patient *p)
{
    struct rlimit rl;
    char a[32];
    void *m =
        mmap(NULL, p->hbm_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (m != MAP_FAILED) {
        munmap(m, p->hbm_bytes);
        if (getrlimit(RLIMIT_AS, &rl) == 0 && rl.rlim_cur != RLIM_INFINITY)
            return found(WARN, "ulimit -v unlimited", "limited to %s: not every HBM can be mapped",
                         size_of(rl.rlim_cur, a));
        return found(OK, NULL, "no limit");
    }
    return found(BAD, "ulimit -v unlimited", "an HBM of %s cannot be mapped: %s",
                 size_of(p->hbm_bytes, a), strerror(errno));
}

static struct finding check_open_files(const struct patient *p)
{
    struct rlimit rl;
    unsigned need = topo_hbm_count(p->topo) + 64;

    if (getrlimit(RLIMIT_NOFILE, &rl) != 0 || rl.rlim_cur == RLIM_INFINITY)
        return found(OK, NULL, "no limit");
    return found(rl.rlim_cur < need ? WARN : OK, "ulimit -n 4096", "%llu files may be open",
                 (unsigned long long)rl.rlim_cur);
}

static struct finding check_file_size(const struct patient *p)
{
    struct rlimit rl;
    char a[32], b[32];

    if (getrlimit(RLIMIT_FSIZE, &rl) != 0 || rl.rlim_cur == RLIM_INFINITY)
        return found(OK, NULL, "no limit");
    size_of(rl.rlim_cur, a);
    size_of(p->hbm_bytes, b);
    if (rl.rlim_cur < p->hbm_bytes)
        return found(BAD, "ulimit -f unlimited", "limited to %s, an HBM is one of %s", a, b);
    return found(OK, NULL, "limited to %s, an HBM is one of %s", a, b);
}

/* ---- folders ---- */

static bool dir_usable(const char *dir)
{
    char path[512];

    if (snprintf(path, sizeof(path), "%s/.opennrt-doctor-XXXXXX", dir) >= (int)sizeof(path))
        return false;
    int fd = mkstemp(path);
    if (fd < 0)
        return false;
    close(fd);
    unlink(path);
    return true;
}

static struct finding check_dev_shm(const struct patient *p)
{
    uint64_t need = device_control_bytes(p->topo);
    struct statvfs vfs;
    char a[32], b[32];

    if (!dir_usable("/dev/shm"))
        return found(WARN,
                     "mount a tmpfs there; XDG_RUNTIME_DIR or /tmp serve meanwhile, and all "
                     "processes must see the same folder",
                     "/dev/shm cannot be written: %s", strerror(errno));
    if (statvfs("/dev/shm", &vfs) != 0)
        return found(WARN, NULL, "/dev/shm: %s", strerror(errno));
    uint64_t room = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    size_of(room, a);
    size_of(need, b);
    if (room < need)
        return found(WARN,
                     "give the container more (--shm-size=64m); another folder serves meanwhile",
                     "%s free, the control block needs %s", a, b);
    return found(OK, NULL, "%s free, the control block needs %s", a, b);
}

static struct finding check_runtime_dirs(const struct patient *p)
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    bool shm = dir_usable("/dev/shm"), tmp = dir_usable("/tmp");

    (void)p;
    if (!shm && !tmp && !(xdg && dir_usable(xdg)))
        return found(BAD, "make one of /dev/shm, XDG_RUNTIME_DIR, /tmp writable",
                     "no folder for the control block");
    return found(OK, NULL, "%s serves", shm ? "/dev/shm" : xdg && dir_usable(xdg) ? xdg : "/tmp");
}

static struct finding check_tmp(const struct patient *p)
{
    (void)p;
    if (!dir_usable("/tmp"))
        return found(WARN,
                     "mount a writable /tmp: memory tables, allocation logs and core dumps go "
                     "there (dumps: NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY)",
                     "/tmp cannot be written: %s", strerror(errno));
    return found(OK, NULL, "writable");
}

static struct finding check_home(const struct patient *p)
{
    const char *home = getenv("HOME");

    (void)p;
    if (!home || !home[0])
        return found(WARN, "export HOME=<a folder>; frameworks keep their caches there",
                     "HOME is not set");
    if (access(home, W_OK) != 0)
        return found(NOTE, "frameworks keep their caches there", "HOME %s: %s", home,
                     strerror(errno));
    return found(OK, NULL, "%s", home);
}

/* ---- sharing device memory ---- */

/* Exactly what a second process does: open our memfd through /proc, from a child. */
static int peer_open(int fd)
{
    char path[64];
    int status = 0;

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
    pid_t pid = fork();
    if (pid == 0)
        _exit(open(path, O_RDWR | O_CLOEXEC) >= 0 ? 0 : errno & 0xff);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return EINVAL;
    return WEXITSTATUS(status);
}

static struct finding check_sharing(const struct patient *p)
{
    static const char remedy[] = "set OPENNRT_DIR to a folder that all processes see; HBM is then "
                                 "kept in files there";
    int fd = memfd_create("opennrt-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (p->hbm_dir)
        return found(dir_usable(p->hbm_dir) ? OK : BAD, "make OPENNRT_DIR a writable folder",
                     "files in %s", p->hbm_dir);
    if (fd < 0)
        return found(BAD, remedy, "memfd: %s", strerror(errno));
    int e = ftruncate(fd, 4096) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) != 0 ? errno
                                                                                   : peer_open(fd);
    close(fd);
    if (e)
        return found(WARN, remedy, "a process cannot open another's memory through /proc: %s",
                     strerror(e));
    return found(OK, NULL, "memfds, opened through /proc");
}

static struct finding check_ptrace(const struct patient *p)
{
    char c = '0';
    int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);

    (void)p;
    if (fd >= 0 && read(fd, &c, 1) != 1)
        c = '0';
    if (fd >= 0)
        close(fd);
    if (c != '0')
        return found(NOTE,
                     "debuggers attach only to their own children; sharing device memory is not "
                     "affected (see \"sharing\")",
                     "yama ptrace_scope %c", c);
    return found(OK, NULL, "not restricted");
}

static struct finding check_record_locks(const struct patient *p)
{
    char path[] = "/dev/shm/.opennrt-doctor-XXXXXX", other[] = "/tmp/.opennrt-doctor-XXXXXX";
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char *use = path;
    int fd = mkstemp(path);

    (void)p;
    if (fd < 0)
        fd = mkstemp(use = other);
    if (fd < 0)
        return found(WARN, "see \"folder\"", "not tried: %s", strerror(errno));
    int rc = fcntl(fd, F_SETLK, &fl);
    int e = errno;
    close(fd);
    unlink(use);
    if (rc != 0)
        return found(BAD, "use a local file system for the control block",
                     "record locks do not work: %s", strerror(e));
    return found(OK, NULL, "they work");
}

static struct finding check_dmabuf(const struct patient *p)
{
    (void)p;
    if (access("/dev/udmabuf", R_OK | W_OK) != 0)
        return found(
            NOTE,
            "load the udmabuf module and give this user access; without it clients register "
            "plain addresses",
            "no dma-bufs: /dev/udmabuf: %s", strerror(errno));
    return found(OK, NULL, "/dev/udmabuf");
}

/* ---- processors and network ---- */

static struct finding check_cpus(const struct patient *p)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 0;
    unsigned vnc = topo_vnc_count(p->topo, p->topo->lnc_default);

    if (n == 1)
        return found(WARN, "more CPUs (taskset, container CPU set): ranks and workers take turns",
                     "1 CPU for %u logical cores", vnc);
    return found(n < (int)vnc ? NOTE : OK, "fine: cores without a CPU of their own take turns",
                 "%d CPUs for %u logical cores", n, vnc);
}

static struct finding check_vector_unit(const struct patient *p)
{
    (void)p;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return found(OK, NULL, "AVX-512");
    if (__builtin_cpu_supports("avx2"))
        return found(OK, NULL, "AVX2");
    return found(WARN, "a newer processor, or a virtual machine that shows its features",
                 "neither AVX2 nor AVX-512: portable kernels are slow");
#else
    return found(OK, NULL, "not an x86-64 processor: portable kernels, compiler vectors");
#endif
}

static struct finding check_network(const struct patient *p)
{
    char names[256] = "";
    enum doctor_net net = doctor_net_providers(names, sizeof(names));

    (void)p;
    switch (net) {
    case DOCTOR_NET_ABSENT:
        return found(NOTE, "install libfabric (libfabric1) to run several nodes",
                     "no libfabric: ranks of one machine only");
    case DOCTOR_NET_FAILED:
        return found(WARN, "try fi_info; a provider can be left out with FI_PROVIDER=^name",
                     "libfabric does not list its providers");
    case DOCTOR_NET_NONE:
        return found(WARN,
                     "let FI_PROVIDER name one of them, or install what they need (efa: the EFA "
                     "driver)",
                     "none of the providers efa, tcp, net between nodes; there are: %s",
                     names[0] != '\0' ? names : "none");
    case DOCTOR_NET_SOME:
        break;
    }
    return found(OK, NULL, "providers %s", names);
}

/* ---- an instance that is there already ---- */

static struct finding check_instance(const struct patient *p)
{
    struct device_config cfg = {.name = p->instance, .observe = true};
    struct device_instance *in = NULL;
    struct err err = {0};
    NRT_STATUS status = device_instance_open(&cfg, &in, &err);
    unsigned live = 0, dead = 0;

    if (status == NRT_INVALID_HANDLE)
        return found(OK, NULL, "none yet");
    if (status != NRT_SUCCESS) {
        if (strstr(err.text, "instance name"))
            return found(BAD, "another name in OPENNRT_INSTANCE or --instance", "%s", err.text);
        return found(BAD, "opennrt reset", "%s", err.text);
    }
    for (uint32_t s = 0; s < device_slot_count(in); s++) {
        struct device_process proc;

        if (device_process_get(in, s, &proc)) {
            live += proc.live;
            dead += !proc.live;
        }
    }
    struct finding f =
        found(OK, NULL, "\"%s\", %s, in %s, %u processes%s", device_instance_name(in),
              device_topo(in)->name, device_instance_dir(in), live,
              dead ? ", and some that died: the next to attach cleans up" : "");
    device_instance_close(in);
    return f;
}

static const struct check {
    const char *name;
    struct finding (*look)(const struct patient *p);
} checks[] = {
    {"memory", check_memory},
    {"HBM", check_hbm},
    {"cgroup", check_cgroup},
    {"address space", check_address_space},
    {"open files", check_open_files},
    {"file size", check_file_size},
    {"folder", check_runtime_dirs},
    {"/dev/shm", check_dev_shm},
    {"/tmp", check_tmp},
    {"HOME", check_home},
    {"sharing", check_sharing},
    {"record locks", check_record_locks},
    {"ptrace", check_ptrace},
    {"dma-buf", check_dmabuf},
    {"CPUs", check_cpus},
    {"vector unit", check_vector_unit},
    {"network", check_network},
    {"instance", check_instance},
};

static int examine(const struct patient *p)
{
    static const char *const words[] = {"ok", "note", "warning", "error"};
    unsigned count[4] = {0};

    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        struct finding f = checks[i].look(p);

        count[f.level]++;
        printf("%-8s %-14s %s\n", words[f.level], checks[i].name, f.text);
        if (f.level != OK && f.remedy[0])
            printf("%-8s %-14s   remedy: %s\n", "", "", f.remedy);
    }
    printf("%u errors, %u warnings, %u notes\n", count[BAD], count[WARN], count[NOTE]);
    return count[BAD] ? EXIT_FAILED : EXIT_OK;
}

static void hbm_judge(struct patient *p)
{
    uint64_t bytes = 0;

    if (device_hbm_env(&bytes, &p->hbm_err) == NRT_SUCCESS)
        (void)device_hbm_check(p->topo, bytes, &p->hbm_err);
    p->hbm_bytes = p->hbm_err.status == NRT_SUCCESS && bytes != 0 ? bytes : p->topo->hbm_bytes;
}

int cmd_doctor(int argc, char **argv)
{
    const char *type = device_env("OPENNRT_INSTANCE_TYPE");
    struct patient p = {.instance = device_env("OPENNRT_INSTANCE"),
                        .hbm_dir = device_env("OPENNRT_DIR")};
    const struct tool_option options[] = {
        {'t', "type", "TYPE", "instance type to judge for (default: OPENNRT_INSTANCE_TYPE)",
         .text = &type},
        {'i', "instance", "NAME", "instance to look at (default: OPENNRT_INSTANCE)",
         .text = &p.instance}};
    const struct tool t = {"opennrt doctor",
                           "[--type TYPE] [--instance NAME]",
                           "Says what of this host will hurt, each finding with its remedy.\n"
                           "Exit code 1 if something makes the runtime fail.\n",
                           options,
                           sizeof(options) / sizeof(options[0]),
                           .mixed = true};
    int first, rc;

    if (!tool_parse(&t, argc, argv, &first, &rc))
        return rc;
    if (first < argc)
        return tool_usage(&t, "unexpected \"%s\"", argv[first]);
    if (!type)
        type = "trn1.2xlarge";
    p.topo = topo_instance_find(type);
    if (!p.topo)
        return tool_usage(&t, "unknown instance type \"%s\"", type);
    hbm_judge(&p);
    signal(SIGXFSZ, SIG_IGN); /* a limit of the size of files is a finding */
    return examine(&p);
}
