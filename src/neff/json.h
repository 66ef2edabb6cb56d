/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text in, a flat tree out: for the members of a NEFF, and for the tools that read JSON files
 * of their users. The lexer is yajl's (docs/modules/neff.md has the measurement); the tree is one
 * array of nodes in document order, so that an engine file of a hundred thousand descriptors costs
 * two allocations that grow, not a million small ones. Depth, numbers, duplicate keys and NUL
 * characters are checked here, once. */
#ifndef NEFF_JSON_H
#define NEFF_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

#ifdef __cplusplus
extern "C" {
#endif

#define JSON_MAX_DEPTH  32u
#define JSON_MAX_PARSER 4294967295ull /* published limit of a JSON member, bytes */

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,  /* fits in 64 signed bits */
    JSON_REAL, /* any other number */
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

/* 24 bytes. Children of an array or object follow it; next is the node after the whole subtree. */
struct json_node {
    union {
        int64_t i;
        double d;
        uint64_t str;   /* JSON_STRING: offset of the text in json_doc.text */
        uint64_t count; /* elements or members, comment keys not counted */
        bool b;
    } u;
    uint32_t key; /* offset of the member's name in json_doc.text; 0: no name */
    uint32_t next;
    uint16_t key_id; /* of a key that the reader of NEFFs knows, else 0 */
    uint8_t type;    /* enum json_type */
};

/* Zero-initialise; json_doc_fini frees it. Node 0 is the root. */
struct json_doc {
    struct json_node *nodes;
    size_t count, cap;
    char *text;
    size_t text_len, text_cap;
};

/* Parse the whole of bytes. member names the file in messages (J01): syntax, duplicate keys, depth,
 * numbers outside 64 bits, NUL characters in strings. Members whose key starts with '#' are left
 * out. */
NRT_STATUS json_parse(struct json_doc *doc, const char *member, const void *bytes, size_t size,
                      struct err *err);
void json_doc_fini(struct json_doc *doc);

/* Takes element number index of an array whose elements are read one by one; it is node 1 of doc
 * and gone afterwards. Anything but NRT_SUCCESS (err is filled) ends the parse with that status. */
typedef NRT_STATUS (*json_element_fn)(void *arg, const struct json_doc *doc, uint64_t index);

/* json_parse of a text that is a long array of small things: fn gets each element when it is
 * complete, and of the whole only node 0 and its count stay in doc, so that memory is that of the
 * largest element. Of a root that is no array fn gets nothing, and doc has all of it. */
NRT_STATUS json_parse_elements(struct json_doc *doc, const char *member, const void *bytes,
                               size_t size, json_element_fn fn, void *arg, struct err *err);

static inline const char *json_text(const struct json_doc *d, const struct json_node *n)
{
    return d->text + n->u.str;
}

/* Name of a member of an object. */
const char *json_name(const struct json_doc *d, const struct json_node *n);

/* First child, and the sibling after a child; the caller counts to u.count. */
static inline const struct json_node *json_first(const struct json_node *n)
{
    return n + 1;
}

static inline const struct json_node *json_next(const struct json_doc *d, const struct json_node *n)
{
    return d->nodes + n->next;
}

/* Member of an object by name; NULL if absent. Looks at each: for objects of a few members. */
const struct json_node *json_member(const struct json_doc *d, const struct json_node *obj,
                                    const char *name);

#ifdef __cplusplus
}
#endif
#endif
