/* SPDX-License-Identifier: Apache-2.0 */
/* The NEFF container's fixed parts: header layout, feature bits, engine order. No logic. Source:
 * "Work with NEFF Files" of the Neuron documentation; docs/spec/neff.md section 2. */
#ifndef NEFF_FORMAT_H
#define NEFF_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NEFF_HEADER_SIZE       1024u
#define NEFF_BUILD_VERSION_MAX 128u
#define NEFF_NAME_MAX          256u
#define NEFF_HASH_SIZE         32u
#define NEFF_UUID_SIZE         16u
#define NEFF_TPB_NODES         64u

#define NEFF_PKG_SHA256 1u /* pkg_version whose hash is SHA-256 of the payload */
#define NEFF_PKG_MD5    2u /* pkg_version whose hash is MD5 of the payload, in bytes 0-15 */

/* The first bytes of the file. Little-endian; text fields are padded with NUL. */
struct neff_header {
    uint64_t pkg_version;
    uint64_t header_size; /* the payload starts here; at least 1024 */
    uint64_t data_size;   /* bytes of the payload as stored */
    uint64_t neff_version_major;
    uint64_t neff_version_minor;
    uint8_t neff_build_version[NEFF_BUILD_VERSION_MAX];
    uint32_t num_tpb; /* physical cores, one per subgraph */
    uint8_t hash[NEFF_HASH_SIZE];
    uint8_t uuid[NEFF_UUID_SIZE];
    char name[NEFF_NAME_MAX];
    uint32_t requested_tpb_count; /* cores asked for when compiling; shown only */
    uint8_t tpb_per_node[NEFF_TPB_NODES];
    uint64_t feature_bits;
    uint32_t lnc_size; /* 0: unspecified */
    uint8_t pad[468];
};

static_assert(sizeof(struct neff_header) == NEFF_HEADER_SIZE, "published layout is 1024 bytes");
static_assert(offsetof(struct neff_header, neff_build_version) == 40, "published offset");
static_assert(offsetof(struct neff_header, num_tpb) == 168, "published offset");
static_assert(offsetof(struct neff_header, hash) == 172, "published offset");
static_assert(offsetof(struct neff_header, uuid) == 204, "published offset");
static_assert(offsetof(struct neff_header, name) == 220, "published offset");
static_assert(offsetof(struct neff_header, requested_tpb_count) == 476, "published offset");
static_assert(offsetof(struct neff_header, tpb_per_node) == 480, "published offset");
static_assert(offsetof(struct neff_header, feature_bits) == 544, "published offset");
static_assert(offsetof(struct neff_header, lnc_size) == 552, "published offset");
static_assert(offsetof(struct neff_header, pad) == 556, "published offset");

/* Feature bits. The names are published, the positions are this project's (neff.md section 4). */
#define NEFF_FEATURE_BIN_WEIGHTS         (1ull << 0)
#define NEFF_FEATURE_COLLECTIVES_OFFSET  (1ull << 1)
#define NEFF_FEATURE_CUSTOM_OPS          (1ull << 2)
#define NEFF_FEATURE_COALESCED_CC        (1ull << 3)
#define NEFF_FEATURE_QUEUE_SET_INSTANCES (1ull << 4)
#define NEFF_FEATURE_ON_CHIP_FUNCTIONS   (1ull << 5)
#define NEFF_FEATURES_SUPPORTED          0x1ffull

/* The engines of a physical core, in the order used by every table of this project. */
enum neff_engine {
    NEFF_PE = 0,
    NEFF_DVE = 1,
    NEFF_ACT = 2,
    NEFF_POOL = 3,
    NEFF_SP = 4,
    NEFF_ENGINE_COUNT = 5
};

#ifdef __cplusplus
}
#endif
#endif
