/* SPDX-License-Identifier: Apache-2.0 */
/* The payload: gzip or plain tar to members. libarchive reads the tar; zlib unpacks, because
 * libarchive 3.6 does not compare the checksum at the end of a gzip stream and because the bomb
 * limits count here. A plain tar is walked where it lies: member data are pointers into it. */
#include "neff/neff_int.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/checked.h"
#include "base/strbuf.h"
#include "base/npy.h"

#define CHUNK          262144u
#define NPY_HEADER_MAX 66000u /* a version 1 header and some; a longer one counts as damaged */
#define TAR_BLOCK      512u

/* The unpacked bytes, one piece after the other. */
struct source {
    const uint8_t *payload;
    uint64_t payload_bytes;
    uint64_t max_unpacked;
    bool lenient;
    bool gzip;
    bool z_open, z_end;
    uint64_t in_off, total_out;
    z_stream z;
    uint8_t *buf; /* CHUNK bytes; gzip only */
    struct err *err;
    NRT_STATUS status;
};

static NRT_STATUS too_large(struct err *err)
{
    return neff_fail(err, NRT_RESOURCE, "NEFF payload too large");
}

static NRT_STATUS damaged(struct err *err, const char *reason)
{
    return neff_fail(err, NRT_INVALID, "Failed to unpack NEFF: %s", reason);
}

static NRT_STATUS source_open(struct source *s, const struct neff *neff,
                              const struct neff_options *opt, struct err *err)
{
    *s = (struct source){.payload = neff->payload,
                         .payload_bytes = neff->payload_bytes,
                         .max_unpacked = opt->max_unpacked,
                         .lenient = opt->lenient,
                         .gzip = neff->is_gzip,
                         .err = err,
                         .status = NRT_SUCCESS};
    if (!s->gzip)
        return neff->payload_bytes > s->max_unpacked ? too_large(err) : NRT_SUCCESS;

    s->buf = mem_alloc(CHUNK);
    if (s->buf == NULL)
        return neff_oom(err);
    if (inflateInit2(&s->z, 16 + MAX_WBITS) != Z_OK) {
        mem_free(s->buf);
        s->buf = NULL;
        return neff_oom(err);
    }
    s->z_open = true;
    return NRT_SUCCESS;
}

static void source_close(struct source *s)
{
    if (s->z_open)
        (void)inflateEnd(&s->z);
    mem_free(s->buf);
}

/* After the end of one gzip stream: another one may follow, zeros may pad it. */
static NRT_STATUS source_stream_end(struct source *s)
{
    const uint8_t *rest = s->payload + s->in_off;
    uint64_t n = s->payload_bytes - s->in_off;

    if (n >= 2 && rest[0] == 0x1f && rest[1] == 0x8b) {
        if (inflateReset(&s->z) != Z_OK)
            return damaged(s->err, "gzip stream cannot be reset");
        return NRT_SUCCESS;
    }
    s->z_end = true;
    if (s->lenient)
        return NRT_SUCCESS;
    for (uint64_t i = 0; i < n; i++) {
        if (rest[i] != 0)
            return damaged(s->err, "garbage after the gzip stream");
    }
    return NRT_SUCCESS;
}

/* The next piece; *ret_size 0 at the end. Errors stay in s->status. */
static NRT_STATUS source_next(struct source *s, const void **ret, size_t *ret_size)
{
    uint64_t in;
    int z;

    *ret = s->buf;
    *ret_size = 0;
    if (s->status != NRT_SUCCESS)
        return s->status;
    s->z.next_out = s->buf;
    s->z.avail_out = CHUNK;
    while (!s->z_end && s->z.avail_out == CHUNK) {
        in = s->payload_bytes - s->in_off;
        s->z.avail_in = in > CHUNK ? CHUNK : (uInt)in;
        s->z.next_in = (Bytef *)(s->payload + s->in_off); /* zlib only reads it */
        z = inflate(&s->z, Z_NO_FLUSH);
        s->in_off = (uint64_t)(s->z.next_in - s->payload);
        if (z == Z_STREAM_END)
            s->status = source_stream_end(s);
        else if (z == Z_MEM_ERROR)
            s->status = neff_oom(s->err);
        else if (z == Z_BUF_ERROR || (z == Z_OK && in == 0 && s->z.avail_out == CHUNK))
            s->status = damaged(s->err, "gzip stream ends early");
        else if (z != Z_OK)
            s->status = damaged(s->err, s->z.msg != NULL ? s->z.msg : "gzip data error");
        if (s->status != NRT_SUCCESS)
            return s->status;
    }
    *ret_size = CHUNK - s->z.avail_out;
    s->total_out += *ret_size;
    if (s->total_out > s->max_unpacked ||
        (s->total_out > NEFF_RATIO_FREE && s->total_out / NEFF_MAX_RATIO > s->payload_bytes))
        s->status = too_large(s->err);
    return s->status;
}

static la_ssize_t source_read_cb(struct archive *a, void *arg, const void **ret)
{
    struct source *s = arg;
    size_t n;

    if (source_next(s, ret, &n) != NRT_SUCCESS) {
        archive_set_error(a, -1, "unpacking failed");
        return -1;
    }
    return (la_ssize_t)n;
}

/* What a walk over the tar does. entry decides whether data are wanted; data gets consecutive
 * pieces and may clear *more to skip the rest; done is called after the entry. */
struct visitor {
    NRT_STATUS (*entry)(void *arg, const char *name, uint64_t size, bool *want, struct err *err);
    NRT_STATUS(*data)
    (void *arg, uint64_t off, const void *data, size_t size, bool *more, struct err *err);
    NRT_STATUS (*done)(void *arg, struct err *err);
    void *arg;
};

const char *neff_name_safe(const char *name)
{
    const char *s = name;

    while (s[0] == '.' && s[1] == '/')
        s += 2;
    if (*s == '\0' || *s == '/' || strlen(s) > 4095)
        return NULL;
    for (const char *part = s; *part != '\0';) {
        size_t n = strcspn(part, "/");

        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return NULL;
        for (size_t i = 0, k; i < n; i += k) {
            k = utf8_size(part + i);
            if (k == 0 || (unsigned char)part[i] < 0x20 || part[i] == 0x7f)
                return NULL;
        }
        part += n;
        if (*part == '/')
            part++;
    }
    return s;
}

static bool is_utf8(const char *s)
{
    for (size_t k; *s != '\0'; s += k) {
        k = utf8_size(s);
        if (k == 0)
            return false;
    }
    return true;
}

static NRT_STATUS bad_name(struct err *err, const char *name)
{
    return neff_fail(err, NRT_INVALID, "Invalid NEFF member name %s",
                     name != NULL && is_utf8(name) ? name : "(not UTF-8)");
}

/* The name as it stands in the file. libarchive gives the bytes of ustar and GNU names as they are;
 * a pax name in UTF-8 it may turn into the process's character set, and then has both. NULL: bytes
 * that are no UTF-8. */
static const char *entry_name(struct archive_entry *e)
{
    const char *raw = archive_entry_pathname(e);

    if (raw == NULL || !is_utf8(raw))
        raw = archive_entry_pathname_utf8(e);
    return raw != NULL && is_utf8(raw) ? raw : NULL;
}

static NRT_STATUS archive_failed(struct archive *a, const struct source *s)
{
    const char *text = archive_error_string(a);

    if (s->status != NRT_SUCCESS)
        return s->status;
    return damaged(s->err, text != NULL ? text : "not a tar archive");
}

/* The pieces of the current entry to the visitor. */
static NRT_STATUS walk_data(struct archive *a, struct source *s, const struct visitor *v,
                            uint64_t size)
{
    uint64_t next = 0;
    bool more = true;
    const void *data;
    la_int64_t off;
    size_t n;
    int rc;

    while (more && next < size) {
        NRT_STATUS st;

        rc = archive_read_data_block(a, &data, &n, &off);
        if (rc == ARCHIVE_EOF)
            return damaged(s->err, "member shorter than its header says");
        if (rc != ARCHIVE_OK)
            return archive_failed(a, s);
        if (n == 0)
            continue;
        if (off < 0 || (uint64_t)off != next || n > size - next)
            return damaged(s->err, "sparse member");
        st = v->data(v->arg, next, data, n, &more, s->err);
        if (st != NRT_SUCCESS)
            return st;
        next += n;
    }
    return NRT_SUCCESS;
}

static NRT_STATUS walk_entry(struct archive *a, struct archive_entry *e, struct source *s,
                             const struct visitor *v, uint64_t *total)
{
    const char *raw = entry_name(e), *name;
    mode_t type = archive_entry_filetype(e);
    bool want = false;
    NRT_STATUS st;

    if (raw == NULL)
        return bad_name(s->err, NULL);
    if (archive_entry_hardlink(e) != NULL || (type != AE_IFREG && type != AE_IFDIR))
        return bad_name(s->err, raw);
    if (type == AE_IFDIR) {
        if (strcmp(raw, ".") == 0 || strcmp(raw, "./") == 0)
            return NRT_SUCCESS;
        return neff_name_safe(raw) == NULL ? bad_name(s->err, raw) : NRT_SUCCESS;
    }
    name = neff_name_safe(raw);
    if (name == NULL || name[strlen(name) - 1] == '/')
        return bad_name(s->err, raw);
    if (archive_entry_size(e) < 0)
        return damaged(s->err, "negative member size");
    if (archive_entry_sparse_count(e) > 0)
        return damaged(s->err, "sparse member");
    if (u64_add_over(*total, (uint64_t)archive_entry_size(e), total) || *total > s->max_unpacked)
        return too_large(s->err);

    st = v->entry(v->arg, name, (uint64_t)archive_entry_size(e), &want, s->err);
    if (st != NRT_SUCCESS || !want)
        return st;
    st = walk_data(a, s, v, (uint64_t)archive_entry_size(e));
    return st == NRT_SUCCESS && v->done != NULL ? v->done(v->arg, s->err) : st;
}

/* After the last entry: the end marker must be there, and a gzip stream must end well. */
static NRT_STATUS walk_end(struct archive *a, struct source *s)
{
    uint64_t end = (uint64_t)archive_read_header_position(a), have;
    const void *data;
    size_t n = 1;

    while (s->gzip && n > 0) {
        if (source_next(s, &data, &n) != NRT_SUCCESS)
            return s->status;
    }
    have = s->gzip ? s->total_out : s->payload_bytes;
    if (!s->lenient && !range_ok(end, TAR_BLOCK, have))
        return damaged(s->err, "tar archive has no end");
    return NRT_SUCCESS;
}

static NRT_STATUS tar_walk(const struct neff *neff, const struct neff_options *opt,
                           const struct visitor *v, struct err *err)
{
    struct archive_entry *e;
    struct source s;
    struct archive *a;
    uint64_t total = 0;
    NRT_STATUS st;
    int rc;

    st = source_open(&s, neff, opt, err);
    if (st != NRT_SUCCESS)
        return st;
    a = archive_read_new();
    if (a == NULL) {
        st = neff_oom(err);
        goto close_source;
    }
    (void)archive_read_support_format_tar(a);
    rc = s.gzip ? archive_read_open(a, &s, NULL, source_read_cb, NULL)
                : archive_read_open_memory(a, s.payload, s.payload_bytes);
    if (rc != ARCHIVE_OK) {
        st = archive_failed(a, &s);
        goto free_archive;
    }

    for (;;) {
        rc = archive_read_next_header(a, &e);
        if (rc == ARCHIVE_EOF)
            break;
        /* a warning speaks of names in another character set; the name check decides */
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN) {
            st = archive_failed(a, &s);
            goto free_archive;
        }
        st = walk_entry(a, e, &s, v, &total);
        if (st != NRT_SUCCESS)
            goto free_archive;
    }
    st = walk_end(a, &s);

free_archive:
    (void)archive_read_free(a);
close_source:
    source_close(&s);
    return st;
}

/* ---- pass 1: the index ---- */

struct indexer {
    struct neff *neff;
    struct neff_priv *priv;
    uint8_t *npy; /* first bytes of an .npy member */
    size_t npy_len;
    uint64_t retained;
};

static bool has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);

    return n >= k && strcmp(s + n - k, suffix) == 0;
}

static NRT_STATUS index_entry(void *arg, const char *name, uint64_t size, bool *want,
                              struct err *err)
{
    struct indexer *x = arg;
    struct neff_priv *p = x->priv;
    struct neff *neff = x->neff;
    uint32_t i = neff->member_count;
    struct neff_member *m;
    bool existed, keep;
    size_t cap = p->member_cap;

    if (i >= NEFF_MAX_MEMBERS)
        return damaged(err, "too many members");
    if (!mem_grow((void **)&p->members, &p->member_cap, (size_t)i + 1, sizeof(*p->members)))
        return neff_oom(err);
    neff->members = p->members;
    if (p->member_cap != cap || p->copies == NULL) {
        if (!mem_grow((void **)&p->copies, &p->copy_cap, p->member_cap, sizeof(*p->copies)))
            return neff_oom(err);
    }
    m = &p->members[i];
    *m = (struct neff_member){.name = arena_strdup(&p->arena, name), .size = size};
    p->copies[i] = NULL;
    if (m->name == NULL || !str_map_put(&p->by_name, name, i, &existed))
        return neff_oom(err);
    if (existed)
        return bad_name(err, name);
    neff->member_count++;

    m->is_npy = has_suffix(name, ".npy");
    if (has_suffix(name, ".bin"))
        neff->code_bytes += size; /* bounded by max_unpacked */
    x->npy_len = 0;
    if (!neff->is_gzip) {
        m->data = neff->payload; /* of an empty member; otherwise set with its first piece */
        *want = size > 0;
        return NRT_SUCCESS;
    }
    keep = (has_suffix(name, ".json") && size <= p->opt.max_json) ||
           (has_suffix(name, ".bin") && size <= NEFF_RETAIN_BIN);
    if (keep && size <= NEFF_RETAIN_TOTAL - x->retained) {
        p->copies[i] = mem_alloc(size);
        if (p->copies[i] == NULL)
            return neff_oom(err);
        m->data = p->copies[i];
        x->retained += size;
    }
    *want = size > 0 && (m->data != NULL || m->is_npy);
    return NRT_SUCCESS;
}

static NRT_STATUS index_data(void *arg, uint64_t off, const void *data, size_t size, bool *more,
                             struct err *err)
{
    struct indexer *x = arg;
    struct neff *neff = x->neff;
    uint32_t i = neff->member_count - 1;
    struct neff_member *m = &x->priv->members[i];
    size_t n;

    if (!neff->is_gzip) {
        const uint8_t *p = data;

        /* the memory reader hands out the member as one piece of the payload */
        if (off != 0 || size != m->size || p < neff->payload ||
            !range_ok((uint64_t)(p - neff->payload), size, neff->payload_bytes))
            return damaged(err, "member is cut short");
        m->data = p;
        *more = false;
        return NRT_SUCCESS;
    }
    if (x->priv->copies[i] != NULL) {
        memcpy((uint8_t *)x->priv->copies[i] + off, data, size);
        return NRT_SUCCESS;
    }
    n = NPY_HEADER_MAX - x->npy_len < size ? NPY_HEADER_MAX - x->npy_len : size;
    memcpy(x->npy + x->npy_len, data, n);
    x->npy_len += n;
    *more = x->npy_len < NPY_HEADER_MAX;
    return NRT_SUCCESS;
}

static NRT_STATUS index_done(void *arg, struct err *err)
{
    struct indexer *x = arg;
    struct neff_member *m = &x->priv->members[x->neff->member_count - 1];
    const void *bytes = m->data != NULL ? m->data : x->npy;
    uint64_t size = m->data != NULL ? m->size : x->npy_len;
    struct npy_desc d = {0};
    uint64_t *shape;

    if (!m->is_npy)
        return NRT_SUCCESS;
    if (size > NPY_HEADER_MAX)
        size = NPY_HEADER_MAX;
    if (npy_parse(bytes, size, &d, NULL) != NRT_SUCCESS ||
        !range_ok(d.data_off, d.data_bytes, m->size))
        return NRT_SUCCESS; /* npy_ok stays false: rule V08 if a variable names it */
    shape = arena_calloc(&x->priv->arena, d.ndim, sizeof(*shape));
    if (shape == NULL)
        return neff_oom(err);
    memcpy(shape, d.shape, d.ndim * sizeof(*shape));
    m->npy_ok = true;
    m->npy_fortran = d.fortran_order;
    m->npy_dtype = d.dtype;
    m->npy_data_off = d.data_off;
    m->npy_data_bytes = d.data_bytes;
    m->npy_ndim = d.ndim;
    m->npy_shape = shape;
    return NRT_SUCCESS;
}

NRT_STATUS neff_members_index(struct neff *neff, struct neff_priv *priv, struct err *err)
{
    struct indexer x = {.neff = neff, .priv = priv};
    struct visitor v = {index_entry, index_data, index_done, &x};
    NRT_STATUS st;

    x.npy = mem_alloc(NPY_HEADER_MAX);
    if (x.npy == NULL)
        return neff_oom(err);
    st = tar_walk(neff, &priv->opt, &v, err);
    mem_free(x.npy);
    return st;
}

/* ---- later passes ---- */

struct streamer {
    const struct neff *neff;
    const struct neff_sink *sink;
    uint32_t next, cur; /* members counted; the one whose data come */
};

static NRT_STATUS stream_entry(void *arg, const char *name, uint64_t size, bool *want,
                               struct err *err)
{
    struct streamer *s = arg;
    const struct neff_member *m;

    if (s->next >= s->neff->member_count)
        return damaged(err, "bytes changed while they were read");
    m = &s->neff->members[s->next];
    if (m->size != size || strcmp(m->name, name) != 0)
        return damaged(err, "bytes changed while they were read");
    s->cur = s->next++;
    *want = size > 0 && s->sink->want(s->sink->arg, s->cur);
    return NRT_SUCCESS;
}

static NRT_STATUS stream_data(void *arg, uint64_t off, const void *data, size_t size, bool *more,
                              struct err *err)
{
    struct streamer *s = arg;

    (void)more;
    return s->sink->chunk(s->sink->arg, s->cur, off, data, size, err);
}

NRT_STATUS neff_stream(const struct neff *neff, const struct neff_sink *sink, struct err *err)
{
    struct streamer s = {.neff = neff, .sink = sink};
    struct visitor v = {stream_entry, stream_data, NULL, &s};
    bool all_here = true;
    NRT_STATUS st;

    for (uint32_t i = 0; i < neff->member_count; i++) {
        if (neff->members[i].data == NULL && sink->want(sink->arg, i))
            all_here = false;
    }
    if (!all_here)
        return tar_walk(neff, &neff->priv->opt, &v, err);
    for (uint32_t i = 0; i < neff->member_count; i++) {
        const struct neff_member *m = &neff->members[i];

        if (m->size == 0 || !sink->want(sink->arg, i))
            continue;
        st = sink->chunk(sink->arg, i, 0, m->data, m->size, err);
        if (st != NRT_SUCCESS)
            return st;
    }
    return NRT_SUCCESS;
}

/* Copies one range out of a pass. */
struct range_copy {
    uint32_t member;
    uint64_t off, size;
    uint8_t *dst;
};

static bool range_want(void *arg, uint32_t member)
{
    const struct range_copy *r = arg;

    return member == r->member;
}

static NRT_STATUS range_chunk(void *arg, uint32_t member, uint64_t off, const void *data,
                              size_t size, struct err *err)
{
    const struct range_copy *r = arg;
    uint64_t lo = off > r->off ? off : r->off;
    uint64_t hi = off + size < r->off + r->size ? off + size : r->off + r->size;

    (void)member;
    (void)err;
    if (lo < hi)
        memcpy(r->dst + (lo - r->off), (const uint8_t *)data + (lo - off), hi - lo);
    return NRT_SUCCESS;
}

NRT_STATUS neff_member_read(const struct neff *neff, uint32_t member, uint64_t off, void *dst,
                            size_t size, struct err *err)
{
    struct range_copy r = {member, off, size, dst};
    struct neff_sink sink = {range_want, range_chunk, &r};

    if (member >= neff->member_count || !range_ok(off, size, neff->members[member].size))
        return neff_fail(err, NRT_INVALID, "read outside a NEFF member");
    if (size == 0)
        return NRT_SUCCESS;
    return neff_stream(neff, &sink, err);
}

NRT_STATUS neff_member_need(const struct neff *neff, struct neff_priv *priv, uint32_t member,
                            struct err *err)
{
    struct neff_member *m = &priv->members[member];
    NRT_STATUS st;
    void *copy;

    if (m->data != NULL)
        return NRT_SUCCESS;
    if (m->size > SIZE_MAX / 2)
        return neff_oom(err);
    copy = mem_alloc(m->size);
    if (copy == NULL)
        return neff_oom(err);
    st = neff_member_read(neff, member, 0, copy, m->size, err);
    if (st != NRT_SUCCESS) {
        mem_free(copy);
        return st;
    }
    priv->copies[member] = copy;
    m->data = copy;
    return NRT_SUCCESS;
}

/* The unpacked payload, piece by piece (neff_write_plain). */
NRT_STATUS neff_payload_stream(const struct neff *neff,
                               NRT_STATUS (*put)(void *arg, const void *data, size_t size),
                               void *arg, struct err *err)
{
    struct source s;
    const void *data;
    size_t n = 1;
    NRT_STATUS st = source_open(&s, neff, &neff->priv->opt, err);

    if (st != NRT_SUCCESS)
        return st;
    if (!s.gzip) {
        st = put(arg, neff->payload, neff->payload_bytes);
        n = 0;
    }
    while (n > 0 && st == NRT_SUCCESS) {
        st = source_next(&s, &data, &n);
        if (st == NRT_SUCCESS && n > 0)
            st = put(arg, data, n);
    }
    source_close(&s);
    return st;
}

/* ---- constants ---- */

struct constant_ref {
    uint32_t graph, var;
};

/* Variables by the member that holds their bytes: refs[first[m]] up to refs[first[m + 1]]. */
struct constant_pass {
    const struct neff *neff;
    const struct neff_constant_sink *sink;
    struct constant_ref *refs;
    uint32_t *first; /* member_count + 2 */
};

static bool constant_want(void *arg, uint32_t member)
{
    const struct constant_pass *p = arg;

    return p->first[member] != p->first[member + 1];
}

static NRT_STATUS constant_chunk(void *arg, uint32_t member, uint64_t off, const void *data,
                                 size_t size, struct err *err)
{
    const struct constant_pass *p = arg;

    for (uint32_t k = p->first[member]; k < p->first[member + 1]; k++) {
        const struct constant_ref *ref = &p->refs[k];
        const struct neff_var *v = &p->neff->graphs[ref->graph].vars[ref->var];
        uint64_t end = v->file_off + v->file_bytes;
        uint64_t lo = off > v->file_off ? off : v->file_off;
        uint64_t hi = off + size < end ? off + size : end;
        NRT_STATUS st;

        if (lo >= hi)
            continue;
        st = p->sink->put(p->sink->arg, ref->graph, ref->var, lo - v->file_off,
                          (const uint8_t *)data + (lo - off), hi - lo, err);
        if (st != NRT_SUCCESS)
            return st;
    }
    return NRT_SUCCESS;
}

/* A counting sort: first[m + 2] counts, becomes the fill position, ends as the start of m + 1. */
static void constant_refs(struct constant_pass *p)
{
    const struct neff *n = p->neff;

    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t g = 0; g < n->graph_count; g++) {
            for (uint32_t i = 0; i < n->graphs[g].var_count; i++) {
                uint32_t m = n->graphs[g].vars[i].file_member;

                if (m == NEFF_NONE)
                    continue;
                if (pass == 0)
                    p->first[m + 2]++;
                else
                    p->refs[p->first[m + 1]++] = (struct constant_ref){g, i};
            }
        }
        if (pass == 0) {
            for (uint32_t m = 1; m < n->member_count + 2; m++)
                p->first[m] += p->first[m - 1];
        }
    }
}

NRT_STATUS neff_constants_stream(const struct neff *neff, const struct neff_constant_sink *sink,
                                 struct err *err)
{
    struct constant_pass p = {.neff = neff, .sink = sink};
    struct neff_sink s = {constant_want, constant_chunk, &p};
    size_t vars = 0;
    NRT_STATUS st;

    for (uint32_t g = 0; g < neff->graph_count; g++)
        vars += neff->graphs[g].var_count;
    p.first = mem_calloc((size_t)neff->member_count + 2, sizeof(*p.first));
    p.refs = mem_calloc(vars, sizeof(*p.refs));
    if (p.first == NULL || p.refs == NULL) {
        st = neff_oom(err);
    } else {
        constant_refs(&p);
        st = neff_stream(neff, &s, err);
    }
    mem_free(p.first);
    mem_free(p.refs);
    return st;
}
