/* SPDX-License-Identifier: Apache-2.0 */
/* One rank: loads its NEFFs, fills its tensors, executes, verifies. A client of libnrt. */
#include "rank.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/npy.h"
#include "neff/build.h"
#include "nrt/nrt_experimental.h"

#define NAME_MAX_BYTES 48
#define BLOCK          65536u /* elements that are filled or compared at once */

/* All that a rank holds. Tensors: one for each stream, buffer, part, in the order of the loops. */
struct rank {
    struct cc_rank_context *x;
    nrt_model_t *warm, *model;
    nrt_tensor_set_t *in_set, *out_set;
    nrt_tensor_t **in, **out, *table[CC_STREAMS_MAX];
    size_t count;
};

static bool good(const struct rank *r, NRT_STATUS st, const char *what)
{
    if (st == NRT_SUCCESS)
        return true;
    fprintf(stderr, "nccom-test: rank %u: %s: %s\n", r->x->rank, what, status_name(st));
    return false;
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Both NEFFs share the buffers: so many of a stream. */
static uint32_t buffers_of(const struct cc_job *j, unsigned s)
{
    uint32_t warm = cc_job_buffers(j, s, j->counts.warm_ops);
    uint32_t ops = cc_job_buffers(j, s, j->counts.ops);

    return warm > ops ? warm : ops;
}

/* ---- loading ---- */

static bool load(struct rank *r, uint32_t ops, nrt_model_t **model)
{
    const struct cc_job *j = r->x->job;
    struct err err = {0};
    void *bytes;
    size_t size;
    NRT_STATUS st = cc_job_neff(j, r->x->cases, r->x->rank, ops, &bytes, &size, &err);

    if (st != NRT_SUCCESS) {
        fprintf(stderr, "nccom-test: rank %u: NEFF: %s\n", r->x->rank, err.text);
        return false;
    }
    st = nrt_load_collectives(bytes, size, r->x->vnc, -1, r->x->rank, j->o.ranks, model);
    neff_build_free(bytes);
    if (st == NRT_SUCCESS)
        __atomic_store_n(&r->x->seat->met, 1, __ATOMIC_RELAXED);
    return good(r, st, "nrt_load_collectives");
}

/* ---- tensors ---- */

static bool tensor_make(struct rank *r, nrt_tensor_set_t *set, const char *name, size_t size,
                        nrt_tensor_t **ret)
{
    if (*ret == NULL &&
        !good(r, nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, r->x->vnc, size, name, ret),
              name))
        return false;
    return good(r, nrt_add_tensor_to_tensor_set(set, name, *ret), name);
}

static bool input_fill(struct rank *r, const struct cc_data *d, unsigned part, nrt_tensor_t *t,
                       void *block)
{
    size_t each = dtype_size(d->c->dtype);
    uint64_t all = d->c->in[part];

    for (uint64_t i = 0; i < all; i += BLOCK) {
        uint64_t n = all - i < BLOCK ? all - i : BLOCK;

        cc_data_input(d, r->x->rank, part, i, n, block);
        if (!good(r, nrt_tensor_write(t, block, i * each, n * each), "write an input"))
            return false;
    }
    return true;
}

/* The rank's columns of collectives.md 2.1; row 2 is the operation's to write. */
static bool table_make(struct rank *r, unsigned s)
{
    const struct cc_case *c = &r->x->cases[s];
    size_t n = c->n, row = (size_t)r->x->rank * n, rows = c->tables.has_recv_displ ? 4 : 3;
    uint32_t *t = calloc(4 * n, sizeof(*t));
    char name[NAME_MAX_BYTES];
    bool ok = t != NULL;

    cc_table_name(name, sizeof(name), s);
    for (size_t i = 0; ok && i < n; i++) {
        t[i] = c->tables.send_count[row + i];
        t[n + i] = c->tables.send_displ[row + i];
        t[3 * n + i] = c->tables.recv_displ[row + i];
    }
    ok = ok && tensor_make(r, r->in_set, name, rows * n * sizeof(*t), &r->table[s]) &&
         good(r, nrt_tensor_write(r->table[s], t, 0, rows * n * sizeof(*t)), "write a table");
    free(t);
    return ok;
}

/* Input and output number i of the rank: buffer b, part p of a stream. */
static bool pair_make(struct rank *r, unsigned s, uint32_t b, unsigned p, size_t i, void *block)
{
    const struct cc_data d = cc_job_data(r->x->job, r->x->cases, s, b);
    size_t each = dtype_size(d.c->dtype);
    size_t in = (d.c->in[p] > 0 ? d.c->in[p] : 1) * each;
    size_t out = (d.c->out[p] > 0 ? d.c->out[p] : 1) * each;
    char name[NAME_MAX_BYTES];

    cc_tensor_name(name, sizeof(name), s, b, p, "in");
    if (!tensor_make(r, r->in_set, name, in, &r->in[i]))
        return false;
    cc_tensor_name(name, sizeof(name), s, b, p, "out");
    if (!tensor_make(r, r->out_set, name, out, &r->out[i]))
        return false;
    if (d.check == CC_CHECK_OFF)
        return true; /* device memory begins with zeros */
    return input_fill(r, &d, p, r->in[i], block) &&
           good(r, nrt_tensor_memset(r->out[i], 0, CC_POISON, out), "fill an output");
}

static bool tensors_make(struct rank *r)
{
    const struct cc_job *j = r->x->job;
    void *block = malloc((size_t)BLOCK * 8);
    bool ok = block != NULL;
    size_t i = 0;

    for (unsigned s = 0; s < j->stream_count; s++)
        r->count += (size_t)buffers_of(j, s) * r->x->cases[s].parts;
    r->in = calloc(r->count, sizeof(nrt_tensor_t *));
    r->out = calloc(r->count, sizeof(nrt_tensor_t *));
    ok = ok && r->in != NULL && r->out != NULL &&
         good(r, nrt_allocate_tensor_set(&r->in_set), "tensor set") &&
         good(r, nrt_allocate_tensor_set(&r->out_set), "tensor set");
    if (ok && r->x->couple != NULL && !r->x->first)
        memcpy(r->out, r->x->couple->outputs, r->count * sizeof(nrt_tensor_t *));
    for (unsigned s = 0; s < j->stream_count && ok; s++) {
        for (uint32_t b = 0; b < buffers_of(j, s) && ok; b++)
            for (unsigned p = 0; p < r->x->cases[s].parts && ok; p++)
                ok = pair_make(r, s, b, p, i++, block);
        if (ok && cc_op_varies(r->x->cases[s].op))
            ok = table_make(r, s);
    }
    free(block);
    return ok;
}

/* ---- execution ---- */

static bool execute(struct rank *r, nrt_model_t *m)
{
    return good(r, nrt_execute(m, r->in_set, r->out_set), "nrt_execute");
}

static bool execute_all(struct rank *r)
{
    const struct cc_counts *c = &r->x->job->counts;
    uint32_t all = c->warm_execs + c->execs;

    if (c->warm_ups > 0 && !execute(r, r->warm))
        return false;
    for (uint32_t i = 0; i < all; i++) {
        uint64_t start;

        if (c->warm_each && !execute(r, r->warm))
            return false;
        start = now_ns();
        if (!execute(r, r->model))
            return false;
        if (i >= c->warm_execs) {
            r->x->end[i - c->warm_execs] = now_ns();
            r->x->start[i - c->warm_execs] = start;
        }
        __atomic_store_n(&r->x->seat->execs, i + 1, __ATOMIC_RELAXED);
    }
    return true;
}

/* ---- verification ---- */

/* An .npy file of a tensor, given block by block. */
static bool file_save(const struct rank *r, const struct cc_data *d, unsigned part, uint64_t n,
                      const char *what, nrt_tensor_t *t, void *block)
{
    enum dtype type = d->c->dtype;
    size_t each = dtype_size(type);
    struct strbuf head = {0};
    char path[CC_PATH_MAX];
    FILE *f = NULL;
    bool ok;

    ok =
        (size_t)snprintf(path, sizeof(path), "%s/rank%u_stream%u_op%u_part%u_%s.npy",
                         r->x->save_dir, r->x->rank, d->stream, d->op, part, what) < sizeof(path) &&
        npy_write_header(&head, type, 1, &n) && (f = fopen(path, "wb")) != NULL &&
        fwrite(head.s, 1, head.len, f) == head.len;
    for (uint64_t i = 0; i < n && ok; i += BLOCK) {
        uint64_t k = n - i < BLOCK ? n - i : BLOCK;

        if (t == NULL)
            cc_data_golden_bytes(d, r->x->rank, part, i, k, block);
        else
            ok = good(r, nrt_tensor_read(t, block, i * each, k * each), "read");
        ok = ok && fwrite(block, each, k, f) == k;
    }
    if (f != NULL)
        ok = fclose(f) == 0 && ok;
    strbuf_fini(&head);
    fprintf(stderr, "nccom-test: rank %u: %s of operation %u %s %s\n", r->x->rank, what, d->op,
            ok ? "saved as" : "could not be saved as", path);
    return ok;
}

static void mismatch_report(const struct rank *r, const struct cc_data *d, unsigned part, size_t i,
                            const struct cc_mismatch *m, void *block)
{
    fprintf(stderr,
            "nccom-test: rank %u: check failed: stream %u %s, operation %u, tensor %u: %llu of "
            "%llu elements are wrong, first element %llu: %.9g, not %.9g (within %.3g)\n",
            r->x->rank, d->stream, cc_op_name(d->c->op), d->op, part, (unsigned long long)m->count,
            (unsigned long long)d->c->out[part], (unsigned long long)m->first, m->got, m->want,
            m->slack);
    if (d->check != CC_CHECK_RANDOM)
        return;
    if (mkdir(r->x->save_dir, 0755) != 0 && errno != EEXIST) {
        fprintf(stderr, "nccom-test: %s: %s\n", r->x->save_dir, strerror(errno));
        return;
    }
    (void)file_save(r, d, part, d->c->in[part], "input", r->in[i], block);
    (void)file_save(r, d, part, d->c->out[part], "output", r->out[i], block);
    (void)file_save(r, d, part, d->c->out[part], "golden", NULL, block);
}

/* For tests: NCCOM_TEST_CORRUPT=<rank> damages one byte of that rank's first output: the highest of
 * its first element, since the sums of floats may differ in the lower ones. */
static bool corrupt(const struct rank *r)
{
    const char *who = getenv("NCCOM_TEST_CORRUPT");
    size_t at = dtype_size(r->x->cases[0].dtype) - 1;
    uint8_t byte;

    if (who == NULL || strtoul(who, NULL, 10) != r->x->rank)
        return true;
    if (!good(r, nrt_tensor_read(r->out[0], &byte, at, 1), "read"))
        return false;
    byte ^= 0x40;
    return good(r, nrt_tensor_write(r->out[0], &byte, at, 1), "write");
}

/* What the operation received, in row 2 of its table. */
static bool table_check(const struct rank *r, unsigned s)
{
    const struct cc_case *c = &r->x->cases[s];
    size_t n = c->n;
    uint32_t *got = calloc(n, sizeof(*got));
    bool ok = got != NULL && good(r, nrt_tensor_read(r->table[s], got, 2 * n * 4, n * 4), "read");

    for (size_t i = 0; ok && i < n; i++) {
        uint32_t want = c->tables.recv_count[(size_t)r->x->rank * n + i];

        ok = got[i] == want;
        if (!ok)
            fprintf(stderr,
                    "nccom-test: rank %u: check failed: stream %u: received count %zu is %u, not "
                    "%u\n",
                    r->x->rank, s, i, got[i], want);
    }
    free(got);
    return ok;
}

static bool output_check(struct rank *r, unsigned s, uint32_t b, unsigned p, size_t i, void *block)
{
    const struct cc_data d = cc_job_data(r->x->job, r->x->cases, s, b);
    size_t each = dtype_size(d.c->dtype);
    uint64_t all = d.c->out[p], *hash = &r->x->seat->hash[s][b % cc_job_lists(r->x->job, s)];
    struct cc_mismatch m = {0};

    for (uint64_t k = 0; k < all; k += BLOCK) {
        uint64_t n = all - k < BLOCK ? all - k : BLOCK;

        if (!good(r, nrt_tensor_read(r->out[i], block, k * each, n * each), "read an output"))
            return false;
        *hash = cc_hash(*hash, block, n * each);
        cc_data_compare(&d, r->x->rank, p, k, n, block, &m);
    }
    if (m.count > 0)
        mismatch_report(r, &d, p, i, &m, block);
    return m.count == 0;
}

static bool check(struct rank *r)
{
    const struct cc_job *j = r->x->job;
    void *block = malloc((size_t)BLOCK * 8);
    bool ok = block != NULL && corrupt(r);
    size_t i = 0;

    for (unsigned s = 0; s < j->stream_count && block != NULL; s++) {
        for (unsigned l = 0; l < CC_LISTS_MAX; l++)
            r->x->seat->hash[s][l] = CC_HASH;
        for (uint32_t b = 0; b < buffers_of(j, s); b++)
            for (unsigned p = 0; p < r->x->cases[s].parts; p++)
                ok = output_check(r, s, b, p, i++, block) && ok;
        if (cc_op_varies(r->x->cases[s].op))
            ok = table_check(r, s) && ok;
    }
    free(block);
    return ok;
}

/* ---- the rank ---- */

static void rank_close(struct rank *r)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->in != NULL)
            nrt_tensor_free(&r->in[i]);
        if (r->out != NULL && (r->x->couple == NULL || r->x->first))
            nrt_tensor_free(&r->out[i]);
    }
    for (unsigned s = 0; s < CC_STREAMS_MAX; s++)
        nrt_tensor_free(&r->table[s]);
    nrt_destroy_tensor_set(&r->in_set);
    nrt_destroy_tensor_set(&r->out_set);
    if (r->warm != NULL)
        nrt_unload(r->warm);
    if (r->model != NULL)
        nrt_unload(r->model);
    free(r->in);
    free(r->out);
}

/* The first of a couple makes its tensors, then the second, which copies the list of outputs; then
 * both go on. A first that failed leaves no list. */
static bool tensors_meet(struct rank *r, bool ok)
{
    struct cc_couple *c = r->x->couple;

    if (c == NULL)
        return ok && tensors_make(r);
    if (r->x->first) {
        ok = ok && tensors_make(r);
        c->outputs = ok ? r->out : NULL;
        pthread_barrier_wait(&c->ready);
    } else {
        pthread_barrier_wait(&c->ready);
        ok = ok && c->outputs != NULL && tensors_make(r);
    }
    pthread_barrier_wait(&c->ready);
    return ok;
}

bool cc_rank_run(struct cc_rank_context *x)
{
    const struct cc_counts *c = &x->job->counts;
    struct rank r = {.x = x};
    bool ok = (c->warm_ops == 0 || load(&r, c->warm_ops, &r.warm)) && load(&r, c->ops, &r.model);
    bool right = true;

    ok = tensors_meet(&r, ok) && execute_all(&r);
    if (ok && x->job->o.check != CC_CHECK_OFF)
        right = check(&r);
    if (ok) /* nobody leaves before all have read their results */
        ok = good(&r, nrt_barrier(x->vnc, x->rank, x->job->o.ranks), "nrt_barrier") && right;
    rank_close(&r);
    return ok;
}
