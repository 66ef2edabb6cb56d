/* SPDX-License-Identifier: Apache-2.0 */
/* The 1024 bytes at the front and the digest: docs/spec/neff.md sections 2 to 4. */
#include "neff/neff_int.h"
#include "neff/write.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/broken.h"
#include "base/checked.h"
#include "base/crypto.h"

static uint64_t load_u64(const uint8_t *p)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < 8; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void store_u64(uint8_t *p, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static void store_u32(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

#define AT(field) offsetof(struct neff_header, field)

/* The seal: the last bytes of the pad. The digest of the payload does not cover the header; this
 * one does. */
#define SEAL_MAGIC "hdrS"
#define SEAL_SIZE  32u
#define SEAL_AT    (NEFF_HEADER_SIZE - SEAL_SIZE - 4)

/* SHA-256 of the header with the magic in place and the bytes of the seal's digest zero. */
static bool seal_compute(const uint8_t *b, uint8_t digest[SEAL_SIZE])
{
    uint8_t copy[NEFF_HEADER_SIZE];
    unsigned len = 0;

    crypto_start();
    memcpy(copy, b, sizeof(copy));
    memcpy(copy + SEAL_AT, SEAL_MAGIC, 4);
    memset(copy + SEAL_AT + 4, 0, SEAL_SIZE);
    return EVP_Digest(copy, sizeof(copy), digest, &len, EVP_sha256(), NULL) == 1;
}

/* What other writers keep in the pad is their business: the header is sealed when the magic stands
 * in its place, or when the digest fits and only the magic is damaged. */
static NRT_STATUS seal_check(const uint8_t *b, struct err *err)
{
    bool magic = memcmp(b + SEAL_AT, SEAL_MAGIC, 4) == 0, fits;
    uint8_t digest[SEAL_SIZE];

    if (!seal_compute(b, digest))
        return neff_fail(err, NRT_FAILURE, "the hash of the NEFF could not be computed");
    fits = memcmp(digest, b + SEAL_AT + 4, sizeof(digest)) == 0;
    if (magic == fits)
        return NRT_SUCCESS;
    return neff_fail(err, NRT_INVALID, "NEFF header is damaged: its seal does not fit");
}

void neff_header_decode(const uint8_t *b, struct neff_header *h)
{
    memcpy(h, b, sizeof(*h));
    h->pkg_version = load_u64(b + AT(pkg_version));
    h->header_size = load_u64(b + AT(header_size));
    h->data_size = load_u64(b + AT(data_size));
    h->neff_version_major = load_u64(b + AT(neff_version_major));
    h->neff_version_minor = load_u64(b + AT(neff_version_minor));
    h->num_tpb = load_u32(b + AT(num_tpb));
    h->requested_tpb_count = load_u32(b + AT(requested_tpb_count));
    h->feature_bits = load_u64(b + AT(feature_bits));
    h->lnc_size = load_u32(b + AT(lnc_size));
}

void neff_header_put(const struct neff_header *h, uint8_t *b)
{
    uint8_t digest[SEAL_SIZE];

    memcpy(b, h, sizeof(*h));
    store_u64(b + AT(pkg_version), h->pkg_version);
    store_u64(b + AT(header_size), h->header_size);
    store_u64(b + AT(data_size), h->data_size);
    store_u64(b + AT(neff_version_major), h->neff_version_major);
    store_u64(b + AT(neff_version_minor), h->neff_version_minor);
    store_u32(b + AT(num_tpb), h->num_tpb);
    store_u32(b + AT(requested_tpb_count), h->requested_tpb_count);
    store_u64(b + AT(feature_bits), h->feature_bits);
    store_u32(b + AT(lnc_size), h->lnc_size);
    memset(b + AT(pad), 0, sizeof(h->pad));
    if (seal_compute(b, digest)) { /* else unsealed, as other writers leave it */
        memcpy(b + SEAL_AT, SEAL_MAGIC, 4);
        memcpy(b + SEAL_AT + 4, digest, sizeof(digest));
    }
}

void neff_hex(char *dst, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        dst[2 * i] = digits[bytes[i] >> 4];
        dst[2 * i + 1] = digits[bytes[i] & 15];
    }
    dst[2 * n] = '\0';
}

size_t neff_digest(uint64_t pkg_version, const void *payload, size_t size,
                   uint8_t hash[NEFF_HASH_SIZE])
{
    const EVP_MD *md = pkg_version == NEFF_PKG_SHA256 ? EVP_sha256()
                       : pkg_version == NEFF_PKG_MD5  ? EVP_md5()
                                                      : NULL;
    unsigned len = 0;

    crypto_start();
    memset(hash, 0, NEFF_HASH_SIZE);
    if (md == NULL || EVP_Digest(payload, size, hash, &len, md, NULL) != 1)
        return 0;
    return len;
}

/* N05: majors 0 (from 0.4 on), 1 and 2. */
static bool version_supported(const struct neff_header *h)
{
    if (h->neff_version_major == 0)
        return h->neff_version_minor >= 4;
    return h->neff_version_major <= 2;
}

/* N03. Lenient also takes the form where data_size counts the header, and trailing bytes. */
static NRT_STATUS payload_size(const struct neff_header *h, uint64_t size, bool lenient,
                               uint64_t *ret, struct err *err)
{
    uint64_t rest = size - h->header_size;

    if (h->data_size == rest || (lenient && h->data_size == size)) {
        *ret = rest;
        return NRT_SUCCESS;
    }
    if (lenient && h->data_size < rest && h->data_size > 0) {
        *ret = h->data_size;
        return NRT_SUCCESS;
    }
    return neff_fail(err, NRT_INVALID, "Invalid NEFF data size %llu, file has %llu",
                     (unsigned long long)h->data_size, (unsigned long long)rest);
}

static NRT_STATUS hash_check(const struct neff_header *h, const void *payload, uint64_t size,
                             const struct neff_options *opt, struct err *err)
{
    char want[2 * NEFF_HASH_SIZE + 1], got[2 * NEFF_HASH_SIZE + 1];
    uint8_t hash[NEFF_HASH_SIZE];
    size_t n;

    if (h->pkg_version != NEFF_PKG_SHA256 && h->pkg_version != NEFF_PKG_MD5) {
        if (opt->validate_hash)
            return neff_fail(err, NRT_UNSUPPORTED_NEFF_VERSION,
                             "Unsupported NEFF package version %llu",
                             (unsigned long long)h->pkg_version);
        diag_warn(opt->sink, "Unsupported NEFF package version %llu",
                  (unsigned long long)h->pkg_version);
        return NRT_SUCCESS;
    }
    if (!opt->validate_hash)
        return NRT_SUCCESS;

    n = neff_digest(h->pkg_version, payload, size, hash);
    if (n == 0)
        return neff_fail(err, NRT_FAILURE, "the hash of the NEFF could not be computed");
    if (memcmp(hash, h->hash, n) == 0)
        return NRT_SUCCESS;
    neff_hex(want, h->hash, n);
    neff_hex(got, hash, n);
    return neff_fail(err, NRT_INVALID, "NEFF hash mismatch: header %s, data %s", want, got);
}

NRT_STATUS neff_header_check(const void *bytes, size_t size, const struct neff_options *opt,
                             struct neff_header *h, const uint8_t **ret_payload,
                             uint64_t *ret_payload_bytes, struct err *err)
{
    uint64_t unsupported;
    NRT_STATUS st;

    if (BROKEN(NEFF))
        abort(); /* not even damage is survived */
    if (size < NEFF_HEADER_SIZE)
        return neff_fail(err, NRT_INVALID, "Invalid NEFF: %zu bytes is smaller than the header",
                         size);
    neff_header_decode(bytes, h);
    if (h->header_size < NEFF_HEADER_SIZE || h->header_size >= size)
        return neff_fail(err, NRT_INVALID, "Invalid NEFF header size %llu",
                         (unsigned long long)h->header_size);
    st = payload_size(h, size, opt->lenient, ret_payload_bytes, err);
    if (st != NRT_SUCCESS)
        return st;
    *ret_payload = (const uint8_t *)bytes + h->header_size;

    if (!version_supported(h))
        return neff_fail(err, NRT_UNSUPPORTED_NEFF_VERSION,
                         "NEFF version mismatch supported: 2.0 received: %llu.%llu",
                         (unsigned long long)h->neff_version_major,
                         (unsigned long long)h->neff_version_minor);
    unsupported = h->feature_bits & ~NEFF_FEATURES_SUPPORTED;
    if (h->neff_version_major >= 2 && unsupported != 0)
        return neff_fail(err, NRT_UNSUPPORTED_NEFF_VERSION,
                         "NEFF version %llu.%llu uses unsupported features: [0x%llx]. Neuron "
                         "Runtime NEFF supported features map: [0x%llx]. Please update the "
                         "aws-neuronx-runtime-lib package",
                         (unsigned long long)h->neff_version_major,
                         (unsigned long long)h->neff_version_minor, (unsigned long long)unsupported,
                         NEFF_FEATURES_SUPPORTED);
    if (h->lnc_size > 2)
        return neff_fail(err, NRT_INVALID, "Invalid LNC size %u in NEFF", h->lnc_size);
    if (opt->validate_hash) {
        st = seal_check(bytes, err);
        if (st != NRT_SUCCESS)
            return st;
    }
    return hash_check(h, *ret_payload, *ret_payload_bytes, opt, err);
}

NRT_STATUS neff_header_read(const void *bytes, size_t size, const struct neff_options *opt,
                            struct neff_header *ret_header, struct err *err)
{
    static const struct neff_options strict;
    struct neff_header h;
    const uint8_t *payload;
    uint64_t payload_bytes;
    NRT_STATUS st;

    st = neff_header_check(bytes, size, opt != NULL ? opt : &strict, &h, &payload, &payload_bytes,
                           err);
    if (st == NRT_SUCCESS)
        *ret_header = h;
    return st;
}
