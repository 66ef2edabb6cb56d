/* SPDX-License-Identifier: Apache-2.0 */
/* A worker of a capture: loads the NEFF on its core, fills the inputs, executes, looks at outputs.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "capture.h"
#include "nrt/nrt_async.h"

#define QUEUE_DEPTH 63u /* requests that a queue takes: docs/async.md */
#define SUFFIX_MAX  32

struct worker {
    const struct cap_options *o;
    unsigned vnc, rank;
    nrt_model_t *model;
    nrt_tensor_info_array_t *infos;
    nrt_tensor_set_t *in, *out;
    nrt_tensor_t **tensors;
    nrt_tensor_t *shared; /* of which tensors are slices, with single_io */
    uint32_t *crcs;       /* of the outputs of the first execution */
    nrta_error_tracker_t *errors;
};

static bool execution_failed(const struct worker *w, unsigned exec, NRT_STATUS status)
{
    if (status == NRT_SUCCESS)
        return false;
    fprintf(stderr, CAPTURE ": execution %u of rank %u: %s (%d)%s\n", exec, w->rank,
            nrt_get_status_as_str(status), (int)status, w->o->ignore_errors ? ", ignored" : "");
    return !w->o->ignore_errors;
}

/* ---- tensors ---- */

static bool is_shared(const struct worker *w, const nrt_tensor_info_t *t)
{
    return w->o->single_io && t->size > w->o->single_io_threshold;
}

static bool shared_make(struct worker *w)
{
    size_t largest = 0;

    for (uint64_t i = 0; i < w->infos->tensor_count; i++)
        if (is_shared(w, &w->infos->tensor_array[i]) && w->infos->tensor_array[i].size > largest)
            largest = w->infos->tensor_array[i].size;
    return largest == 0 || cap_good(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, (int)w->vnc,
                                                        largest, "single-io", &w->shared),
                                    "single-io");
}

static bool tensor_make(struct worker *w, uint64_t i)
{
    const nrt_tensor_info_t *t = &w->infos->tensor_array[i];
    NRT_STATUS status;

    if (is_shared(w, t))
        status = nrt_tensor_allocate_slice(w->shared, 0, t->size, t->name, &w->tensors[i]);
    else
        status = nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, (int)w->vnc, t->size, t->name,
                                     &w->tensors[i]);
    return cap_good(status, t->name) &&
           cap_good(
               nrt_add_tensor_to_tensor_set(t->usage == NRT_TENSOR_USAGE_INPUT ? w->in : w->out,
                                            t->name, w->tensors[i]),
               t->name);
}

static bool tensors_make(struct worker *w)
{
    w->tensors = calloc(w->infos->tensor_count + 1, sizeof(*w->tensors));
    w->crcs = calloc(w->infos->tensor_count + 1, sizeof(*w->crcs));
    if (!w->tensors || !w->crcs)
        return cap_good(NRT_RESOURCE, "memory");
    if (!cap_good(nrt_allocate_tensor_set(&w->in), "nrt_allocate_tensor_set") ||
        !cap_good(nrt_allocate_tensor_set(&w->out), "nrt_allocate_tensor_set") || !shared_make(w))
        return false;
    for (uint64_t i = 0; i < w->infos->tensor_count; i++)
        if (!tensor_make(w, i))
            return false;
    return true;
}

static bool input_fill(struct worker *w, const char *name, const char *path)
{
    for (uint64_t i = 0; i < w->infos->tensor_count; i++) {
        const nrt_tensor_info_t *t = &w->infos->tensor_array[i];

        if (t->usage == NRT_TENSOR_USAGE_INPUT && strcmp(t->name, name) == 0)
            return tool_tensor_fill(CAPTURE, t, w->tensors[i], path);
    }
    fprintf(stderr, CAPTURE ": the NEFF has no input %s\n", name);
    return false;
}

/* Inputs that the list does not have stay zero. */
static bool inputs_fill(struct worker *w, const struct cap_inputs *inputs)
{
    for (size_t i = 0; i < inputs->count; i++)
        if (!input_fill(w, inputs->words[2 * i], inputs->words[2 * i + 1]))
            return false;
    return true;
}

/* ---- outputs ---- */

static uint8_t *output_read(struct worker *w, uint64_t i)
{
    const nrt_tensor_info_t *t = &w->infos->tensor_array[i];
    uint8_t *data = malloc(t->size ? t->size : 1);

    if (!data)
        cap_good(NRT_RESOURCE, "memory");
    else if (!cap_good(nrt_tensor_read(w->tensors[i], data, 0, t->size), t->name)) {
        free(data);
        data = NULL;
    }
    return data;
}

/* Of every output: its sum is that of the first execution. */
static bool outputs_check(struct worker *w, unsigned exec)
{
    for (uint64_t i = 0; i < w->infos->tensor_count; i++) {
        const nrt_tensor_info_t *t = &w->infos->tensor_array[i];
        uint8_t *data;
        uint32_t crc;

        if (t->usage != NRT_TENSOR_USAGE_OUTPUT)
            continue;
        data = output_read(w, i);
        if (!data)
            return false;
        crc = (uint32_t)crc32_z(0, data, t->size);
        free(data);
        if (exec == 1)
            w->crcs[i] = crc;
        if (crc != w->crcs[i]) {
            fprintf(stderr,
                    CAPTURE ": output %s of rank %u: CRC32 %08" PRIx32 " of execution %u differs "
                            "from %08" PRIx32 " of the first\n",
                    t->name, w->rank, crc, exec, w->crcs[i]);
            return false;
        }
    }
    return true;
}

/* How an output's file ends. */
static void suffix_make(const struct worker *w, bool npy, char ret[SUFFIX_MAX])
{
    const char *end = npy ? ".npy" : "";

    if (w->o->collectives)
        snprintf(ret, SUFFIX_MAX, "_rank_%u%s", w->rank, end);
    else
        snprintf(ret, SUFFIX_MAX, "%s", end);
}

static bool outputs_apart(const struct worker *w)
{
    char raw[SUFFIX_MAX], npy[SUFFIX_MAX];
    const char *suffixes[3] = {NULL};
    unsigned n = 0;

    suffix_make(w, false, raw);
    suffix_make(w, true, npy);
    if (w->o->save_raw)
        suffixes[n++] = raw;
    if (w->o->save_npy)
        suffixes[n++] = npy;
    return tool_outputs_apart(CAPTURE, w->infos, suffixes);
}

static bool output_save(struct worker *w, uint64_t i, bool npy)
{
    const nrt_tensor_info_t *t = &w->infos->tensor_array[i];
    char suffix[SUFFIX_MAX], path[EXPLORER_PATH_MAX];
    uint8_t *data;
    bool ok;

    if (npy && tool_tensor_dtype(t) == DT_BF16) {
        fprintf(stderr,
                CAPTURE ": output %s is of type bfloat16, which NumPy does not have: use "
                        "--save-output\n",
                t->name);
        return false;
    }
    suffix_make(w, npy, suffix);
    data = output_read(w, i);
    ok = data && tool_tensor_save(CAPTURE, ".", suffix, npy, t, data, path, sizeof(path));
    if (ok)
        printf("%s\n", path + 2);
    free(data);
    return ok;
}

static bool outputs_save(struct worker *w)
{
    for (uint64_t i = 0; i < w->infos->tensor_count; i++)
        if (w->infos->tensor_array[i].usage == NRT_TENSOR_USAGE_OUTPUT &&
            ((w->o->save_raw && !output_save(w, i, false)) ||
             (w->o->save_npy && !output_save(w, i, true))))
            return false;
    return true;
}

/* ---- executions ---- */

static bool schedule(struct worker *w, nrta_seq_t *ret)
{
    return cap_good(nrta_execute_schedule(w->model, w->in, w->out, 0, w->errors, ret),
                    "nrta_execute_schedule");
}

static bool await(nrta_seq_t seq)
{
    struct pollfd p = {.events = POLLIN};

    if (!cap_good(nrta_get_completion_handle(seq, &p.fd), "nrta_get_completion_handle"))
        return false;
    while (poll(&p, 1, -1) < 0)
        continue;
    close(p.fd);
    return true;
}

/* The status of a request that is complete; its tracker has those of others as well. */
static NRT_STATUS outcome(struct worker *w, nrta_seq_t seq)
{
    const nrta_error_t *list;
    size_t n;

    if (nrta_error_tracker_get_list(w->errors, &list, &n) != NRT_SUCCESS)
        return NRT_FAILURE;
    for (size_t i = 0; i < n; i++)
        if (list[i].seq_id == seq)
            return (NRT_STATUS)list[i].error_code;
    return NRT_SUCCESS;
}

static NRT_STATUS execute(struct worker *w)
{
    nrta_seq_t seq;

    if (w->o->mode == CAP_SYNC)
        return nrt_execute(w->model, w->in, w->out);
    return schedule(w, &seq) && await(seq) ? outcome(w, seq) : NRT_FAILURE;
}

static bool one_by_one(struct worker *w, unsigned count, bool profiled)
{
    char path[EXPLORER_PATH_MAX];
    bool single = count == 1 && w->o->nth == 1;

    for (unsigned exec = 1; exec <= count; exec++) {
        bool profile = profiled && exec % w->o->nth == 0, failed;

        if (profile && (!cap_session_name(w->o, w->rank, single ? 0 : exec, path) ||
                        !cap_profile_begin(w->model, path)))
            return false;
        failed = execution_failed(w, exec, execute(w));
        if ((profile && !cap_profile_end(path)) || failed ||
            (w->o->check_crc && !outputs_check(w, exec)))
            return false;
    }
    return true;
}

/* All are queued, as many at a time as the queue holds, and one profile covers them. */
static bool all_at_once(struct worker *w, unsigned count, bool profiled)
{
    nrta_seq_t seqs[QUEUE_DEPTH];
    char path[EXPLORER_PATH_MAX];
    unsigned done = 0, queued = 0;
    bool ok = true;

    if (profiled &&
        (!cap_session_name(w->o, w->rank, 0, path) || !cap_profile_begin(w->model, path)))
        return false;
    while (done < queued || (ok && queued < count)) {
        if (ok && queued < count && queued - done < QUEUE_DEPTH) {
            ok = schedule(w, &seqs[queued % QUEUE_DEPTH]);
            queued += ok;
            continue;
        }
        ok = await(seqs[done % QUEUE_DEPTH]) &&
             !execution_failed(w, done + 1, outcome(w, seqs[done % QUEUE_DEPTH])) && ok;
        done++;
    }
    return (!profiled || cap_profile_end(path)) && ok;
}

static bool executions(struct worker *w)
{
    const struct cap_options *o = w->o;
    unsigned count = o->num_exec > o->nth ? o->num_exec : o->nth;
    bool mine = o->profiled == UINT32_MAX || o->profiled == w->rank;
    bool profiled = !o->systrace && o->nth != 0 && mine;
    char path[EXPLORER_PATH_MAX];

    if (o->mode != CAP_SYNC &&
        !cap_good(nrta_error_tracker_create(w->vnc, &w->errors), "nrta_error_tracker_create"))
        return false;
    if (!(o->mode == CAP_ASYNC ? all_at_once : one_by_one)(w, count, profiled))
        return false;
    return !(o->systrace && mine) ||
           (cap_session_name(o, w->rank, 0, path) && cap_systrace_write(w->vnc, path));
}

static bool load(struct worker *w, const struct tool_file *f)
{
    NRT_STATUS status = w->o->collectives
                            ? nrt_load_collectives(f->bytes, f->size, (int32_t)w->vnc, 1, w->rank,
                                                   w->o->world, &w->model)
                            : nrt_load(f->bytes, f->size, (int32_t)w->vnc, 1, &w->model);

    if (status != NRT_SUCCESS)
        w->model = NULL;
    return cap_good(status, w->o->neff) &&
           cap_good(nrt_get_model_tensor_info(w->model, &w->infos), "nrt_get_model_tensor_info");
}

static void worker_fini(struct worker *w)
{
    for (uint64_t i = 0; w->tensors && i < w->infos->tensor_count; i++)
        nrt_tensor_free(&w->tensors[i]);
    nrt_tensor_free(&w->shared);
    free(w->tensors);
    free(w->crcs);
    nrta_error_tracker_destroy(w->errors);
    nrt_destroy_tensor_set(&w->in);
    nrt_destroy_tensor_set(&w->out);
    if (w->infos)
        nrt_free_model_tensor_info(w->infos);
    if (w->model)
        nrt_unload(w->model);
}

bool cap_worker_run(const struct cap_options *o, const struct tool_file *file, unsigned vnc,
                    const struct cap_inputs *inputs)
{
    struct worker w = {.o = o, .vnc = vnc, .rank = o->first_rank + vnc};
    bool ok = load(&w, file) && outputs_apart(&w) && tensors_make(&w) && inputs_fill(&w, inputs) &&
              executions(&w) && outputs_save(&w);

    worker_fini(&w);
    return ok;
}
