/* SPDX-License-Identifier: Apache-2.0 */
/* Private to neff: what its files share. */
#ifndef NEFF_NEFF_INT_H
#define NEFF_NEFF_INT_H

#include "base/mem.h"
#include "neff/json_int.h"
#include "neff/neff.h"

#define NEFF_DEFAULT_MAX_JSON     268435456ull   /* behaviour.md 1.2.1 */
#define NEFF_DEFAULT_MAX_UNPACKED 17179869184ull /* rule N14 */
#define NEFF_MAX_RATIO            1000u          /* unpacked to stored, rule N14 */
#define NEFF_RATIO_FREE           16777216ull    /* bytes that may be unpacked at any ratio */
#define NEFF_MAX_MEMBERS          1048576u
#define NEFF_MAX_GRAPHS           2u
#define NEFF_RETAIN_BIN           67108864ull /* a .bin member kept from the first pass over gzip */
#define NEFF_RETAIN_TOTAL         536870912ull /* all of them */

/* What struct neff owns and nobody else sees. */
struct neff_priv {
    struct arena arena;
    struct neff_member *members; /* the same array as neff.members, writable */
    size_t member_cap;
    struct str_map by_name; /* member name -> index */
    void **copies;          /* bytes of gzip members, mem_alloc'ed; parallel to members */
    size_t copy_cap;
    struct neff_options opt; /* limits filled in; opt.sink is NULL after neff_create */
};

/* err_set with control characters made harmless: texts carry names from the file into logs. An
 * error that err holds already stays. */
void neff_note(struct err *err, NRT_STATUS status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same as a value: the status, in plain sight of the compiler, evaluated twice. */
#define neff_fail(err, status, ...) (neff_note(err, status, __VA_ARGS__), (status))
NRT_STATUS neff_oom(struct err *err);

/* neff_header.c: rules N01-N08, N11; also where the payload lies. */
NRT_STATUS neff_header_check(const void *bytes, size_t size, const struct neff_options *opt,
                             struct neff_header *ret, const uint8_t **ret_payload,
                             uint64_t *ret_payload_bytes, struct err *err);
struct strbuf;
void neff_hex(char *dst, const uint8_t *bytes, size_t n); /* 2n characters and NUL */
/* Digest of the payload by pkg_version into hash[32], the rest zero; returns its length, 0 for an
 * unknown version or when the library fails. */
size_t neff_digest(uint64_t pkg_version, const void *payload, size_t size,
                   uint8_t hash[NEFF_HASH_SIZE]);
void neff_header_decode(const uint8_t *bytes, struct neff_header *ret);

/* neff_tar.c: rules N09, N10, N14. */
NRT_STATUS neff_members_index(struct neff *neff, struct neff_priv *priv, struct err *err);
/* Bring a member into memory if it is not there; its data pointer is set. */
NRT_STATUS neff_member_need(const struct neff *neff, struct neff_priv *priv, uint32_t member,
                            struct err *err);
NRT_STATUS neff_payload_stream(const struct neff *neff,
                               NRT_STATUS (*put)(void *arg, const void *data, size_t size),
                               void *arg, struct err *err);
/* Normalised member name (no leading "./") or NULL when it is unsafe. */
const char *neff_name_safe(const char *name);

/* The reading of one NEFF: passed to every parser file. */
struct neff_reader {
    struct neff *neff;
    struct neff_priv *priv;
    struct arena *arena;
    const struct neff_options *opt;
    struct err *err;
};

/* A JSON member parsed; json_doc_fini(&doc) afterwards. J01, J02. */
NRT_STATUS neff_json_open(struct neff_reader *r, uint32_t member, struct json_doc *doc);
/* The same of a member that is a long array: each element goes to fn, as json_parse_elements has
 * it. */
NRT_STATUS neff_json_elements(struct neff_reader *r, uint32_t member, struct json_doc *doc,
                              json_element_fn fn, void *arg);
/* DEBUG records for keys that the schema does not know. */
void neff_unknown_keys(const struct neff_reader *r, const struct json_ctx *c,
                       const struct json_node *obj, const char *where);
/* "<dir><name>" in the arena, its member index or NEFF_NONE; name stays NULL when out of memory. */
NRT_STATUS neff_sibling(struct neff_reader *r, const char *dir, const char *name,
                        const char **ret_full, uint32_t *ret_member);

NRT_STATUS neff_kelf_read(struct neff_reader *r);  /* neff_graph.c: K01-K04 */
NRT_STATUS neff_info_read(struct neff_reader *r);  /* neff_graph.c: info.json */
NRT_STATUS neff_nodes_read(struct neff_reader *r); /* neff_graph.c: neff.json, G01, V12, V13 */

/* One subgraph while it is read. */
struct neff_sg_reader {
    struct neff_reader *r;
    struct neff_subgraph *sg;
    struct neff_queue *queues;
    struct neff_var *vars;
    struct str_map var_by_name, queue_by_name;
    struct str_map instance_by_name; /* -> queue index << 32 | instance index */
};

NRT_STATUS neff_subgraph_read(struct neff_reader *r, struct neff_subgraph *sg); /* neff_def.c */
NRT_STATUS neff_vars_read(struct neff_sg_reader *s, const struct json_ctx *c,
                          const struct json_node *vars);                   /* neff_var.c: V01-V11 */
NRT_STATUS neff_engine_read(struct neff_sg_reader *s, enum neff_engine e); /* neff_engine.c */
/* neff_desc.c: E01-E14. where is "<member>: dma[<i>].desc[<j>]". */
NRT_STATUS neff_desc_read(struct neff_sg_reader *s, const struct json_ctx *c,
                          const struct json_path *path, const struct json_node *obj,
                          struct neff_desc *ret);
NRT_STATUS neff_colls_read(struct neff_sg_reader *s, uint32_t member);    /* neff_coll.c */
NRT_STATUS neff_debug_read(struct neff_sg_reader *s, enum neff_engine e); /* neff_debug.c */

/* The names of section 7.2, "bool" too where allowed; DT_INVALID for any other. */
enum dtype neff_dtype(const char *name, bool allow_bool);
/* An optional array whose elements are all integers; *ret NULL when absent. */
NRT_STATUS neff_int_array(struct neff_reader *r, const struct json_ctx *c,
                          const struct json_path *up, const struct json_node *obj, enum json_key k,
                          const struct json_node **ret);

int neff_natural_cmp(const char *a, const char *b); /* digit runs compare as numbers */

#endif
