/* SPDX-License-Identifier: Apache-2.0 */
/* CPU nodes: native code from the NEFF, run on the caller's thread (behaviour.md 7). */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"
#include "model/model_int.h"

/* dlopen needs a file: an anonymous one, or a temporary one where those may not be executed. */
static void *open_bytes(const uint8_t *bytes, uint64_t size, bool anonymous, char *why,
                        size_t why_size)
{
    char path[64] = "/tmp/opennrt-cpu-XXXXXX";
    void *lib = NULL;
    int fd;

    if (fault_hit(FAULT_FILE))
        fd = -1;
    else
        fd = fd_keep(anonymous ? memfd_create("opennrt-cpu-node", MFD_CLOEXEC)
                               : mkostemp(path, O_CLOEXEC));
    if (fd < 0) {
        snprintf(why, why_size, "%s", strerror(errno));
        return NULL;
    }
    if (!fd_size_ok(size) || !fd_write_all(fd, bytes, size)) {
        snprintf(why, why_size, "%s", strerror(errno));
    } else {
        if (anonymous)
            snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!lib) {
            const char *text = dlerror();

            snprintf(why, why_size, "%s", text ? text : "unknown reason");
        }
    }
    if (!anonymous)
        unlink(path);
    close(fd);
    return lib;
}

NRT_STATUS cpu_open(struct model *m, struct node *n, struct err *err)
{
    const struct neff_member *mem;
    char why[256] = "";

    if (!m->env.cpu_nodes)
        return err_set(err, NRT_INVALID,
                       "node %s is a CPU node and OPENNRT_CPU_NODES forbids those", n->n->name);
    if (n->n->library_member == NEFF_NONE)
        return err_set(err, NRT_INVALID, "node %s: library %s not found in NEFF", n->n->name,
                       n->n->library ? n->n->library : "");
    mem = &m->neff->members[n->n->library_member];
    LOGW(m->h->cfg.log, LOG_NMGR, "kmgr_load_nn",
         "NEFF %s contains native code: CPU node %s runs %s of %s in this process", m->neff->name,
         n->n->name, n->n->function, mem->name);

    n->lib = open_bytes(mem->data, mem->size, true, why, sizeof(why));
    if (!n->lib)
        n->lib = open_bytes(mem->data, mem->size, false, why, sizeof(why));
    if (!n->lib)
        return err_set(err, NRT_INVALID, "node %s: cannot open %s: %s", n->n->name, mem->name, why);

    /* ISO C has no conversion from object to function pointer; POSIX promises this one. */
    *(void **)&n->fn = dlsym(n->lib, n->n->function);
    if (!n->fn)
        return err_set(err, NRT_INVALID, "node %s: no function %s in %s", n->n->name,
                       n->n->function, mem->name);
    return NRT_SUCCESS;
}

void graph_fini(struct model *m)
{
    for (uint32_t i = 0; i < m->node_count; i++)
        if (m->nodes[i].lib)
            dlclose(m->nodes[i].lib);
}

static uint32_t public_dtype(enum dtype t)
{
    if (t == DT_BOOL)
        return DT_UINT8;
    return t <= DT_FP8_E5 ? (uint32_t)t : DT_INVALID;
}

/* The bytes of a tensor as the host sees them: the user's own, not the core's staging. */
static void *host_bytes(struct frame *f, struct slot_ref ref)
{
    switch (ref.kind) {
    case SLOT_IN:
        return (void *)f->in_from[ref.index];
    case SLOT_OUT:
        return f->out_to[ref.index];
    default:
        return f->mid[ref.index].va;
    }
}

NRT_STATUS cpu_run(struct model *m, const struct node *n, struct frame *f, struct err *err)
{
    int32_t result;

    for (uint32_t k = 0; k < n->in_count + n->out_count; k++) {
        const struct node_io *io = k < n->in_count ? &n->in[k] : &n->out[k - n->in_count];

        f->cpu[k] = (struct opennrt_cpu_buf){.size_of = sizeof(f->cpu[k]),
                                             .dtype = public_dtype(io->t->dtype),
                                             .ndim = io->t->ndim,
                                             .data = host_bytes(f, io->ref),
                                             .size = io->t->size,
                                             .shape = io->t->shape};
    }
    result = n->fn(n->in_count, f->cpu, n->out_count, f->cpu + n->in_count);
    if (result != NRT_SUCCESS)
        return err_set(err, (NRT_STATUS)result, "CPU node %s of model %s ended with status %d",
                       n->n->name, m->neff->name, result);
    return NRT_SUCCESS;
}
