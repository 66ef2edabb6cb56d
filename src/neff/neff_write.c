/* SPDX-License-Identifier: Apache-2.0 */
#include "neff/write.h"

#include <archive.h>
#include <archive_entry.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/checked.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "neff/neff_int.h"

#define COPY_CHUNK 1048576u

/* Payload bytes on their way: hashed and counted. */
struct payload_out {
    const struct neff_out *out;
    EVP_MD_CTX *md;
    uint64_t off; /* in the file */
    struct err *err;
    NRT_STATUS status;
};

static NRT_STATUS hash_failed(struct err *err)
{
    return neff_fail(err, NRT_FAILURE, "the hash of the NEFF could not be computed");
}

static NRT_STATUS payload_open(struct payload_out *p, const struct neff_header *h,
                               const struct neff_out *out, struct err *err)
{
    const EVP_MD *md = h->pkg_version == NEFF_PKG_SHA256 ? EVP_sha256()
                       : h->pkg_version == NEFF_PKG_MD5  ? EVP_md5()
                                                         : NULL;

    *p = (struct payload_out){.out = out, .off = h->header_size, .err = err};
    if (md == NULL)
        return neff_fail(err, NRT_INVALID, "Unsupported NEFF package version %llu",
                         (unsigned long long)h->pkg_version);
    crypto_start();
    p->md = EVP_MD_CTX_new();
    if (p->md == NULL)
        return neff_oom(err);
    return EVP_DigestInit_ex(p->md, md, NULL) == 1 ? NRT_SUCCESS : hash_failed(err);
}

static NRT_STATUS payload_put(struct payload_out *p, const void *data, size_t size)
{
    if (p->status == NRT_SUCCESS && EVP_DigestUpdate(p->md, data, size) != 1)
        p->status = hash_failed(p->err);
    if (p->status == NRT_SUCCESS)
        p->status = p->out->write(p->out->arg, p->off, data, size, p->err);
    p->off += size;
    return p->status;
}

/* The header, now that size and hash are known. */
static NRT_STATUS payload_finish(struct payload_out *p, struct neff_header *h)
{
    uint8_t bytes[NEFF_HEADER_SIZE];
    unsigned len;

    memset(h->hash, 0, sizeof(h->hash));
    if (EVP_DigestFinal_ex(p->md, h->hash, &len) != 1)
        return hash_failed(p->err);
    h->data_size = p->off - h->header_size;
    neff_header_put(h, bytes);
    return p->out->write(p->out->arg, 0, bytes, sizeof(bytes), p->err);
}

NRT_STATUS neff_write_payload(struct neff_header *h, const void *payload, size_t size,
                              const struct neff_out *out, struct err *err)
{
    struct payload_out p;
    NRT_STATUS st;

    h->header_size = NEFF_HEADER_SIZE;
    st = payload_open(&p, h, out, err);
    if (st == NRT_SUCCESS)
        st = payload_put(&p, payload, size);
    if (st == NRT_SUCCESS)
        st = payload_finish(&p, h);
    EVP_MD_CTX_free(p.md);
    return st;
}

static NRT_STATUS plain_put(void *arg, const void *data, size_t size)
{
    return payload_put(arg, data, size);
}

NRT_STATUS neff_write_plain(const struct neff *neff, const struct neff_out *out, struct err *err)
{
    struct neff_header h = neff->header;
    struct payload_out p;
    NRT_STATUS st;

    if (h.pkg_version != NEFF_PKG_SHA256)
        h.pkg_version = NEFF_PKG_MD5; /* a version without a known hash gets the usual one */
    h.header_size = NEFF_HEADER_SIZE;
    st = payload_open(&p, &h, out, err);
    if (st == NRT_SUCCESS)
        st = neff_payload_stream(neff, plain_put, &p, err);
    if (st == NRT_SUCCESS)
        st = payload_finish(&p, &h);
    EVP_MD_CTX_free(p.md);
    return st;
}

/* Never fails: after an error libarchive would not free its compressor. Bytes are dropped from then
 * on, and p->status says why. */
static la_ssize_t tar_write_cb(struct archive *a, void *arg, const void *data, size_t size)
{
    struct payload_out *p = arg;

    (void)a;
    if (p->status == NRT_SUCCESS)
        (void)payload_put(p, data, size);
    return (la_ssize_t)size;
}

static NRT_STATUS tar_failed(struct archive *a, const struct payload_out *p)
{
    const char *text = archive_error_string(a);

    if (p->status != NRT_SUCCESS)
        return p->status;
    return neff_fail(p->err, NRT_FAILURE, "the NEFF archive cannot be written: %s",
                     text != NULL ? text : "unknown error");
}

static NRT_STATUS tar_data(struct archive *a, struct payload_out *p, const struct neff_source *s)
{
    uint64_t chunk = s->size < COPY_CHUNK ? s->size : COPY_CHUNK;
    uint8_t *buf = NULL;
    NRT_STATUS st = NRT_SUCCESS;

    if (s->data == NULL) {
        buf = mem_alloc(chunk);
        if (buf == NULL)
            return neff_oom(p->err);
    }
    for (uint64_t off = 0; off < s->size && st == NRT_SUCCESS;) {
        size_t n = s->size - off < COPY_CHUNK ? (size_t)(s->size - off) : COPY_CHUNK;
        const void *data = buf;

        if (buf != NULL)
            st = s->read(s->arg, off, buf, n, p->err);
        else
            data = (const uint8_t *)s->data + off;
        if (st == NRT_SUCCESS && archive_write_data(a, data, n) != (la_ssize_t)n)
            st = tar_failed(a, p);
        if (st == NRT_SUCCESS)
            st = p->status;
        off += n;
    }
    mem_free(buf);
    return st;
}

static NRT_STATUS tar_member(struct archive *a, struct archive_entry *e, struct payload_out *p,
                             const struct neff_source *s)
{
    int rc;

    if (s->size > INT64_MAX)
        return neff_fail(p->err, NRT_INVALID, "member %s is too large", s->name);
    archive_entry_clear(e);
    archive_entry_copy_pathname(e, s->name); /* bytes, in any locale */
    archive_entry_set_size(e, (la_int64_t)s->size);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0644);
    archive_entry_set_mtime(e, 0, 0);
    rc = archive_write_header(a, e);
    if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
        return tar_failed(a, p);
    return tar_data(a, p, s);
}

static NRT_STATUS tar_open(struct archive *a, struct payload_out *p, int level)
{
    char digit[2] = {(char)('0' + level), '\0'};

    if (archive_write_set_format_pax_restricted(a) != ARCHIVE_OK ||
        archive_write_set_bytes_per_block(a, 0) != ARCHIVE_OK)
        return tar_failed(a, p);
    if (level != NEFF_PLAIN &&
        (archive_write_add_filter_gzip(a) != ARCHIVE_OK ||
         archive_write_set_filter_option(a, "gzip", "timestamp", NULL) != ARCHIVE_OK ||
         archive_write_set_filter_option(a, "gzip", "compression-level", digit) != ARCHIVE_OK))
        return tar_failed(a, p);
    return archive_write_open(a, p, NULL, tar_write_cb, NULL) == ARCHIVE_OK ? NRT_SUCCESS
                                                                            : tar_failed(a, p);
}

NRT_STATUS neff_write_members(struct neff_header *h, const struct neff_source *sources,
                              size_t count, int level, const struct neff_out *out, struct err *err)
{
    struct archive_entry *e = NULL;
    struct archive *a = NULL;
    struct payload_out p;
    NRT_STATUS st;

    h->header_size = NEFF_HEADER_SIZE;
    st = payload_open(&p, h, out, err);
    if (st != NRT_SUCCESS)
        goto free_all;
    a = archive_write_new();
    e = archive_entry_new();
    if (a == NULL || e == NULL) {
        st = neff_oom(err);
        goto free_all;
    }
    st = tar_open(a, &p, level);
    for (size_t i = 0; i < count && st == NRT_SUCCESS; i++)
        st = tar_member(a, e, &p, &sources[i]);
    if (st != NRT_SUCCESS)
        p.status = st; /* what closing still writes is dropped */
    if (a != NULL && archive_write_close(a) != ARCHIVE_OK && st == NRT_SUCCESS)
        st = tar_failed(a, &p);
    if (st == NRT_SUCCESS)
        st = p.status;
    if (st == NRT_SUCCESS)
        st = payload_finish(&p, h);

free_all:
    archive_entry_free(e);
    if (a != NULL)
        (void)archive_write_free(a);
    EVP_MD_CTX_free(p.md);
    return st;
}

NRT_STATUS neff_uuid_random(uint8_t uuid[NEFF_UUID_SIZE], struct err *err)
{
    crypto_start();
    if (RAND_bytes(uuid, NEFF_UUID_SIZE) != 1)
        return neff_fail(err, NRT_FAILURE, "no random numbers for the NEFF's uuid");
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
    return NRT_SUCCESS;
}

NRT_STATUS neff_memory_write(void *arg, uint64_t off, const void *data, size_t size,
                             struct err *err)
{
    struct neff_memory *m = arg;
    size_t end;

    if (off > SIZE_MAX || size_add_over((size_t)off, size, &end) ||
        !mem_grow((void **)&m->bytes, &m->cap, end, 1))
        return neff_oom(err);
    if (off > m->size)
        memset(m->bytes + m->size, 0, (size_t)off - m->size);
    memcpy(m->bytes + off, data, size);
    if (end > m->size)
        m->size = end;
    return NRT_SUCCESS;
}
