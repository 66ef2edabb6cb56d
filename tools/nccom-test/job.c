/* SPDX-License-Identifier: Apache-2.0 */
/* From options to a job. Launcher and nodes make it each for themselves from the same command line,
 * so that only latencies travel between them. */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/settings.h"
#include "device/device.h"

#define FILE_MAX_BYTES (16u << 20) /* of a JSON input (ours) */

/* The whole file, freed with mem_free. */
static NRT_STATUS file_read(const char *path, char **ret, size_t *ret_size, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    struct stat st;
    ssize_t n = 0;
    char *text;

    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set(err, NRT_INVALID, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return NRT_INVALID;
    }
    text = S_ISREG(st.st_mode) && st.st_size <= FILE_MAX_BYTES ? mem_alloc((size_t)st.st_size + 1)
                                                               : NULL;
    while (text != NULL && size < (size_t)st.st_size &&
           (n = read(fd, text + size, (size_t)st.st_size - size)) > 0)
        size += (size_t)n;
    close(fd);
    if (text == NULL || n < 0) {
        mem_free(text);
        return err_set(err, NRT_INVALID, "%s: not a file of up to 16 MiB that can be read", path);
    }
    *ret = text;
    *ret_size = size;
    return NRT_SUCCESS;
}

/* ---- the instance ---- */

unsigned cc_job_node_cores(const struct cc_job *j)
{
    return (unsigned)j->type->device_count * j->type->cores_per_device / j->lnc;
}

NRT_STATUS cc_job_world(const struct cc_job *j, struct topo_world *ret, struct err *err)
{
    struct topo_fabric fabric;
    NRT_STATUS st = topo_fabric_init(&fabric, j->type, 1, err);

    return st == NRT_SUCCESS
               ? topo_world_init(ret, &fabric, j->lnc, j->o.nodes, j->o.ranks / j->o.nodes, err)
               : st;
}

static NRT_STATUS instance_find(struct cc_job *j, struct err *err)
{
    struct device_config cfg = {0};
    struct device_instance *in = NULL;
    const char *want;
    int64_t lnc = 0;

    if (device_config_env(&cfg, err) != NRT_SUCCESS)
        return NRT_INVALID;
    cfg.observe = true;
    want = cfg.type ? cfg.type : "trn1.2xlarge";
    if (device_instance_open(&cfg, &in, NULL) == NRT_SUCCESS) {
        j->type = topo_instance_find(device_topo(in)->name);
        lnc = device_lnc(in);
        device_instance_close(in);
    } else {
        j->type = topo_instance_find(want);
        lnc = cfg.lnc;
    }
    if (j->type == NULL)
        return err_set(err, NRT_INVALID, "no instance type \"%s\"", want);
    j->lnc = lnc > 0 && topo_lnc_ok(j->type, (unsigned)lnc) ? (unsigned)lnc : j->type->lnc_default;
    return NRT_SUCCESS;
}

static NRT_STATUS instance_fits(const struct cc_job *j, struct err *err)
{
    uint32_t each = j->o.ranks / j->o.nodes;

    if (each > cc_job_node_cores(j))
        return err_set(err, NRT_INVALID,
                       "%u ranks on a node, but %s has %u logical cores at LNC %u; "
                       "OPENNRT_INSTANCE_TYPE chooses another type (trn1.32xlarge has 32, "
                       "trn2.48xlarge 64)",
                       each, j->type->name, cc_job_node_cores(j), j->lnc);
    if (j->o.nodes > 1 && strncmp(j->type->name, "inf2", 4) == 0)
        return err_set(err, NRT_INVALID,
                       "%s: collectives between nodes are not supported on Inf2 instances",
                       j->type->name);
    for (unsigned s = 0; s < j->stream_count; s++)
        if (j->stream[s].shared_output && (each % 2 != 0 || j->o.nodes > 1))
            return err_set(err, NRT_INVALID, "--shared-output-buff: ranks of one node, in pairs");
        else if (j->stream[s].shared_output &&
                 j->type->cores_per_device / j->type->hbms_per_device / j->lnc < 2)
            return err_set(err, NRT_INVALID,
                           "--shared-output-buff: no two logical cores of %s at LNC %u share an "
                           "HBM",
                           j->type->name, j->lnc);
    return NRT_SUCCESS;
}

/* ---- streams ---- */

static NRT_STATUS streams_load(struct cc_job *j, struct err *err)
{
    char *text;
    size_t size;
    NRT_STATUS st;

    if (j->o.streams_json == NULL) {
        j->stream[0] = j->o.all;
        j->stream_count = 1;
        return NRT_SUCCESS;
    }
    st = file_read(j->o.streams_json, &text, &size, err);
    if (st != NRT_SUCCESS)
        return st;
    st =
        cc_streams_read(j->stream, &j->stream_count, &j->o.all, j->o.streams_json, text, size, err);
    mem_free(text);
    for (unsigned s = 0; s < j->stream_count && st == NRT_SUCCESS; s++)
        st = cc_stream_check(&j->stream[s], &j->o, err);
    return st;
}

static NRT_STATUS groups_load(struct cc_job *j, unsigned s, struct err *err)
{
    const struct cc_stream *t = &j->stream[s];
    char *text;
    size_t size;
    NRT_STATUS st;

    if (t->groups[0] == '\0')
        return cc_groups_make(&j->groups[s], j->o.ranks, t->parallel ? t->parallel : j->o.ranks,
                              err);
    st = file_read(t->groups, &text, &size, err);
    if (st == NRT_SUCCESS) {
        st = cc_groups_read(&j->groups[s], t->groups, text, size, j->o.ranks, err);
        mem_free(text);
    }
    return st;
}

static NRT_STATUS pairs_load(struct cc_job *j, unsigned s, struct err *err)
{
    const struct cc_stream *t = &j->stream[s];
    char *text;
    size_t size;
    NRT_STATUS st;

    if (t->op != CC_PERMUTE && t->op != CC_SENDRECV)
        return NRT_SUCCESS;
    if (t->pairs[0] == '\0') {
        struct topo_world world;

        st = cc_job_world(j, &world, err);
        return st == NRT_SUCCESS ? cc_pairs_make(&j->pairs[s], &j->groups[s], &world, err) : st;
    }
    st = file_read(t->pairs, &text, &size, err);
    if (st == NRT_SUCCESS) {
        st = cc_pairs_read(&j->pairs[s], t->pairs, text, size, j->o.ranks, err);
        mem_free(text);
    }
    return st;
}

static NRT_STATUS metadata_load(struct cc_job *j, unsigned s, struct err *err)
{
    const char *path = j->stream[s].metadata;
    char *text;
    size_t size;
    NRT_STATUS st;

    if (path[0] == '\0')
        return NRT_SUCCESS;
    st = file_read(path, &text, &size, err);
    if (st == NRT_SUCCESS) {
        st = cc_metadata_read(&j->metadata[s], path, text, size, err);
        mem_free(text);
    }
    return st;
}

NRT_STATUS cc_job_make(struct cc_job *j, const struct cc_options *o, struct err *err)
{
    NRT_STATUS st;

    memset(j, 0, sizeof(*j));
    j->o = *o;
    st = streams_load(j, err);
    if (st == NRT_SUCCESS)
        st = instance_find(j, err);
    if (st == NRT_SUCCESS)
        st = instance_fits(j, err);
    for (unsigned s = 0; s < j->stream_count && st == NRT_SUCCESS; s++) {
        unsigned steps = cc_sweep(&j->stream[s], NULL, 0);

        j->steps = steps > j->steps ? steps : j->steps;
        st = groups_load(j, s, err);
        if (st == NRT_SUCCESS)
            st = pairs_load(j, s, err);
        if (st == NRT_SUCCESS)
            st = metadata_load(j, s, err);
    }
    j->counts = cc_counts_of(o);
    if (st != NRT_SUCCESS)
        cc_job_fini(j);
    return st;
}

void cc_job_fini(struct cc_job *j)
{
    for (unsigned s = 0; s < CC_STREAMS_MAX; s++) {
        cc_groups_fini(&j->groups[s]);
        cc_pairs_fini(&j->pairs[s]);
        cc_metadata_fini(&j->metadata[s]);
    }
    memset(j, 0, sizeof(*j));
}

/* ---- one step ---- */

NRT_STATUS cc_job_cases(const struct cc_job *j, unsigned step, struct cc_case *cases,
                        struct err *err)
{
    uint64_t *sizes = mem_calloc(CC_SIZES_MAX, sizeof(*sizes));
    NRT_STATUS st = NRT_SUCCESS;

    memset(cases, 0, j->stream_count * sizeof(*cases));
    if (sizes == NULL)
        return err_set(err, NRT_RESOURCE, "out of host memory");
    for (unsigned s = 0; s < j->stream_count && st == NRT_SUCCESS; s++) {
        unsigned n = cc_sweep(&j->stream[s], sizes, CC_SIZES_MAX);

        st = cc_case_make(&cases[s], &j->stream[s], sizes[step < n ? step : n - 1], &j->groups[s],
                          &j->metadata[s], j->o.ranks, err);
    }
    mem_free(sizes);
    for (unsigned s = 0; s < j->stream_count && st != NRT_SUCCESS; s++)
        cc_case_fini(&cases[s]);
    return st;
}

unsigned cc_job_lists(const struct cc_job *j, unsigned stream)
{
    return j->pairs[stream].count > 0 ? j->pairs[stream].count : j->groups[stream].count;
}

uint32_t cc_job_buffers(const struct cc_job *j, unsigned stream, uint32_t ops)
{
    uint32_t all = ops * j->stream[stream].ops_per_iter, lists = cc_job_lists(j, stream);

    if (j->stream[stream].unique_buff || all < lists)
        return all;
    return lists;
}

struct cc_data cc_job_data(const struct cc_job *j, const struct cc_case *cases, unsigned stream,
                           uint32_t buffer)
{
    unsigned list = buffer % cc_job_lists(j, stream);

    return (struct cc_data){.c = &cases[stream],
                            .groups = &j->groups[stream].list[j->pairs[stream].count ? 0 : list],
                            .pairs = j->pairs[stream].count ? &j->pairs[stream].list[list] : NULL,
                            .check = j->o.check,
                            .seed = j->o.seed,
                            .stream = stream,
                            .op = buffer};
}

void cc_tensor_name(char *buf, size_t size, unsigned stream, uint32_t buffer, unsigned part,
                    const char *side)
{
    snprintf(buf, size, "s%u_b%u_p%u_%s", stream, buffer, part, side);
}

void cc_table_name(char *buf, size_t size, unsigned stream)
{
    snprintf(buf, size, "s%u_meta", stream);
}
