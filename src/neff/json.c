/* SPDX-License-Identifier: Apache-2.0 */
#include "neff/json_int.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "base/checked.h"
#include "neff/neff_int.h"

#define RESERVE_FROM (1u << 20) /* bytes of text */
#define RESERVE_MOST (1u << 24) /* nodes */

static const char *const key_names[K_COUNT] = {[K_OTHER] = "",
#define X(k) [K_##k] = #k,
                                               JSON_KEYS(X)
#undef X
};

const char *json_key_name(enum json_key k)
{
    return key_names[k];
}

const char *json_name(const struct json_doc *d, const struct json_node *n)
{
    return n->key_id != K_OTHER ? key_names[n->key_id] : d->text + n->key;
}

/* One open array or object while parsing. */
struct frame {
    uint32_t node;
    bool is_object;
    bool has_other;                     /* a key that is not in key_names */
    uint64_t seen[(K_COUNT + 63) / 64]; /* known keys met so far */
};

struct parser {
    struct json_doc *doc;
    const char *member;
    const char *bytes;
    size_t size;
    bool ended; /* all bytes are parsed; yajl completes a last number or word */
    yajl_handle yajl;
    struct err *err;
    NRT_STATUS status;
    locale_t c_locale;
    json_element_fn element; /* of a root that is an array; NULL: they stay */
    void *element_arg;
    size_t root_text; /* length of doc->text before the first element */
    uint32_t key;     /* of the value to come */
    uint16_t key_id;
    unsigned skip; /* > 0: inside the value of a comment key; counts open containers plus one */
    unsigned depth;
    struct frame frames[JSON_MAX_DEPTH];
};

/* Lookup of known keys: open addressing over a constant set, filled on first use of a parser. */
#define KEY_SLOTS 512u

static uint32_t key_hash(const char *s, size_t n)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 16777619u;
    return h ^ (h >> 15);
}

struct key_table {
    uint8_t slot[KEY_SLOTS];
};
static_assert(K_COUNT < 255, "slots hold a key in a byte");

static void key_table_init(struct key_table *t)
{
    memset(t, 0, sizeof(*t));
    for (unsigned k = 1; k < K_COUNT; k++) {
        uint32_t i = key_hash(key_names[k], strlen(key_names[k])) % KEY_SLOTS;

        while (t->slot[i] != 0)
            i = (i + 1) % KEY_SLOTS;
        t->slot[i] = (uint8_t)k;
    }
}

static enum json_key key_find(const struct key_table *t, const char *s, size_t n)
{
    uint32_t i = key_hash(s, n) % KEY_SLOTS;

    while (t->slot[i] != 0) {
        const char *name = key_names[t->slot[i]];

        if (strncmp(name, s, n) == 0 && name[n] == '\0')
            return (enum json_key)t->slot[i];
        i = (i + 1) % KEY_SLOTS;
    }
    return K_OTHER;
}

struct parse_state {
    struct parser p;
    struct key_table keys;
};

/* Bytes up to the end of the token that yajl has just handed over. A number or a word at the very
 * end of the text comes only when yajl is told so, and then it counts from 0 again. */
static size_t consumed(const struct parser *p)
{
    return p->ended ? p->size : yajl_get_bytes_consumed(p->yajl);
}

static void position(const struct parser *p, size_t off, unsigned long *line, unsigned long *col)
{
    const char *s = p->bytes, *end = p->bytes + off, *nl;

    *line = 1;
    while ((nl = memchr(s, '\n', (size_t)(end - s))) != NULL) {
        (*line)++;
        s = nl + 1;
    }
    *col = (unsigned long)(end - s) + 1;
}

/* J01 at byte offset off; returns 0, which makes yajl stop. */
static int syntax_error(struct parser *p, size_t off, const char *reason)
{
    unsigned long line, col;

    position(p, off, &line, &col);
    p->status = neff_fail(p->err, NRT_INVALID, "%s:%lu:%lu: %s", p->member, line, col, reason);
    return 0;
}

static int memory_error(struct parser *p)
{
    p->status = neff_fail(p->err, NRT_RESOURCE, "out of host memory reading %s", p->member);
    return 0;
}

/* Offset of the first byte of the token that yajl has just handed over (its last byte is before
 * `end`): only messages need it. */
static size_t string_token_start(const struct parser *p, size_t end)
{
    size_t i = end >= 2 ? end - 2 : 0;

    for (; i > 0; i--) {
        size_t slashes = 0;

        if (p->bytes[i] != '"')
            continue;
        while (slashes < i && p->bytes[i - 1 - slashes] == '\\')
            slashes++;
        if (slashes % 2 == 0)
            return i;
    }
    return i;
}

static bool text_put(struct json_doc *d, const char *s, size_t n, uint64_t *ret_off)
{
    if (!mem_grow((void **)&d->text, &d->text_cap, d->text_len + n + 1, 1))
        return false;
    *ret_off = d->text_len;
    memcpy(d->text + d->text_len, s, n);
    d->text[d->text_len + n] = '\0';
    d->text_len += n + 1;
    return true;
}

static struct json_node *node_new(struct parser *p, enum json_type type)
{
    struct json_doc *d = p->doc;
    struct json_node *n;

    if (d->count >= UINT32_MAX - 1 ||
        !mem_grow((void **)&d->nodes, &d->cap, d->count + 1, sizeof(*d->nodes))) {
        memory_error(p);
        return NULL;
    }
    if (p->depth > 0)
        d->nodes[p->frames[p->depth - 1].node].u.count++;
    n = &d->nodes[d->count++];
    *n = (struct json_node){
        .key = p->key, .key_id = p->key_id, .type = (uint8_t)type, .next = (uint32_t)d->count};
    p->key = 0;
    p->key_id = K_OTHER;
    return n;
}

/* A value is complete: an element of the root may leave. */
static int value_ended(struct parser *p)
{
    struct json_doc *d = p->doc;

    if (p->element == NULL || p->depth != 1 || p->frames[0].is_object)
        return 1;
    p->status = p->element(p->element_arg, d, d->nodes[0].u.count - 1);
    d->count = 1;
    d->text_len = p->root_text;
    return p->status == NRT_SUCCESS;
}

/* True: the value belongs to a comment and is dropped. */
static bool skip_scalar(struct parser *p)
{
    if (p->skip == 0)
        return false;
    if (p->skip == 1)
        p->skip = 0;
    return true;
}

static int on_null(void *arg)
{
    struct parser *p = arg;

    if (skip_scalar(p))
        return 1;
    return node_new(p, JSON_NULL) != NULL && value_ended(p);
}

static int on_bool(void *arg, int value)
{
    struct parser *p = arg;
    struct json_node *n;

    if (skip_scalar(p))
        return 1;
    n = node_new(p, JSON_BOOL);
    if (n == NULL)
        return 0;
    n->u.b = value != 0;
    return value_ended(p);
}

static bool parse_int(const char *s, size_t n, int64_t *ret, bool *is_int)
{
    bool neg = n > 0 && s[0] == '-';
    int64_t v = 0;

    *is_int = true;
    for (size_t i = neg; i < n; i++) {
        if (s[i] < '0' || s[i] > '9') {
            *is_int = false;
            return true;
        }
        if (i64_mul_over(v, 10, &v) || i64_add_over(v, neg ? -(s[i] - '0') : s[i] - '0', &v)) {
            /* digits only so far; a fraction or exponent may follow */
            *is_int =
                memchr(s, '.', n) == NULL && memchr(s, 'e', n) == NULL && memchr(s, 'E', n) == NULL;
            return !*is_int;
        }
    }
    *ret = v;
    return true;
}

static int on_number(void *arg, const char *s, size_t len)
{
    struct parser *p = arg;
    char buf[64], *copy = buf;
    struct json_node *n;
    bool is_int;
    int64_t i;

    if (skip_scalar(p))
        return 1;
    if (!parse_int(s, len, &i, &is_int))
        return syntax_error(p, consumed(p) - len, "integer does not fit in 64 bits");
    n = node_new(p, is_int ? JSON_INT : JSON_REAL);
    if (n == NULL)
        return 0;
    if (is_int) {
        n->u.i = i;
        return value_ended(p);
    }

    /* the host program's locale must not decide what 0.5 means */
    if (p->c_locale == (locale_t)0)
        p->c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (len >= sizeof(buf))
        copy = mem_alloc(len + 1);
    if (copy == NULL || p->c_locale == (locale_t)0) {
        if (copy != buf)
            mem_free(copy);
        return memory_error(p);
    }
    memcpy(copy, s, len);
    copy[len] = '\0';
    n->u.d = strtod_l(copy, NULL, p->c_locale);
    if (copy != buf)
        mem_free(copy);
    return value_ended(p);
}

static int on_string(void *arg, const unsigned char *s, size_t len)
{
    struct parser *p = arg;
    struct json_node *n;
    uint64_t off;

    if (skip_scalar(p))
        return 1;
    if (memchr(s, '\0', len) != NULL)
        return syntax_error(p, string_token_start(p, consumed(p)), "NUL character in a string");
    n = node_new(p, JSON_STRING);
    if (n == NULL)
        return 0;
    if (!text_put(p->doc, (const char *)s, len, &off))
        return memory_error(p);
    n->u.str = off;
    return value_ended(p);
}

static int duplicate_key(struct parser *p, size_t off, const char *key)
{
    char reason[160];

    (void)snprintf(reason, sizeof(reason), "duplicate key \"%.120s\"", key);
    return syntax_error(p, off, reason);
}

static int on_key(void *arg, const unsigned char *s, size_t len)
{
    struct parse_state *st = arg;
    struct parser *p = &st->p;
    struct frame *f = &p->frames[p->depth - 1];
    size_t end = consumed(p);
    enum json_key k;
    uint64_t off;

    if (p->skip > 0)
        return 1;
    if (memchr(s, '\0', len) != NULL)
        return syntax_error(p, string_token_start(p, end), "NUL character in a string");
    if (len > 0 && s[0] == '#') {
        p->skip = 1;
        return 1;
    }
    k = key_find(&st->keys, (const char *)s, len);
    if (k == K_OTHER) {
        f->has_other = true;
        if (!text_put(p->doc, (const char *)s, len, &off))
            return memory_error(p);
        if (off > UINT32_MAX)
            return memory_error(p);
        p->key = (uint32_t)off;
    } else {
        if (f->seen[k / 64] >> (k % 64) & 1)
            return duplicate_key(p, string_token_start(p, end), key_names[k]);
        f->seen[k / 64] |= 1ull << (k % 64);
        p->key = 0;
    }
    p->key_id = (uint16_t)k;
    return 1;
}

static int container_open(struct parser *p, enum json_type type)
{
    struct json_node *n;

    if (p->skip > 0) {
        if (p->skip >= JSON_MAX_DEPTH)
            return syntax_error(p, consumed(p) - 1, "nested too deeply");
        p->skip++;
        return 1;
    }
    if (p->depth == JSON_MAX_DEPTH)
        return syntax_error(p, consumed(p) - 1, "nested too deeply");
    n = node_new(p, type);
    if (n == NULL)
        return 0;
    p->frames[p->depth++] =
        (struct frame){.node = (uint32_t)(n - p->doc->nodes), .is_object = type == JSON_OBJECT};
    return 1;
}

static int on_open_map(void *arg)
{
    return container_open(arg, JSON_OBJECT);
}

static int on_open_array(void *arg)
{
    return container_open(arg, JSON_ARRAY);
}

static int name_cmp(const void *a, const void *b, void *arg)
{
    const struct json_doc *d = arg;

    return strcmp(d->text + *(const uint32_t *)a, d->text + *(const uint32_t *)b);
}

/* Keys outside the known set are compared when their object closes, by sorting: n log n whatever
 * the keys are. */
static int check_other_keys(struct parser *p, const struct json_node *obj)
{
    const struct json_node *c = json_first(obj);
    uint32_t few[16], *names = few;
    size_t n = 0;
    int ok = 1;

    if (obj->u.count > 16) {
        names = mem_calloc(obj->u.count, sizeof(*names));
        if (names == NULL)
            return memory_error(p);
    }
    for (uint64_t i = 0; i < obj->u.count; i++, c = json_next(p->doc, c)) {
        if (c->key_id == K_OTHER)
            names[n++] = c->key;
    }
    qsort_r(names, n, sizeof(*names), name_cmp, p->doc);
    for (size_t i = 1; i < n && ok; i++) {
        if (name_cmp(&names[i - 1], &names[i], p->doc) == 0)
            ok = duplicate_key(p, consumed(p) - 1, p->doc->text + names[i]);
    }
    if (names != few)
        mem_free(names);
    return ok;
}

static int on_close(void *arg)
{
    struct parser *p = arg;
    struct frame *f;
    struct json_node *n;

    if (p->skip > 0) {
        if (--p->skip == 1)
            p->skip = 0;
        return 1;
    }
    f = &p->frames[--p->depth];
    n = &p->doc->nodes[f->node];
    n->next = (uint32_t)p->doc->count;
    if (f->is_object && f->has_other && !check_other_keys(p, n))
        return 0;
    return value_ended(p);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_bool,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_open_map,
    .yajl_map_key = on_key,
    .yajl_end_map = on_close,
    .yajl_start_array = on_open_array,
    .yajl_end_array = on_close,
};

static void yajl_reason(struct parser *p, size_t off)
{
    unsigned char *text = yajl_get_error(p->yajl, 0, NULL, 0);
    char reason[160];

    (void)snprintf(reason, sizeof(reason), "%s",
                   text != NULL ? (const char *)text : "syntax error");
    if (text != NULL)
        yajl_free_error(p->yajl, text);
    reason[strcspn(reason, "\n")] = '\0';
    syntax_error(p, off, reason);
}

/* Room for the nodes of a large text at once, where there is: growing would copy most of them, into
 * pages that are touched for it. A node of the files that compilers write is some ten bytes of
 * text. */
static void nodes_reserve(struct json_doc *d, size_t size)
{
    size_t nodes = size / 10 < RESERVE_MOST ? size / 10 : RESERVE_MOST;

    if (size >= RESERVE_FROM && (d->nodes = mem_alloc(nodes * sizeof(*d->nodes))) != NULL)
        d->cap = nodes;
}

NRT_STATUS json_parse(struct json_doc *doc, const char *member, const void *bytes, size_t size,
                      struct err *err)
{
    return json_parse_elements(doc, member, bytes, size, NULL, NULL, err);
}

NRT_STATUS json_parse_elements(struct json_doc *doc, const char *member, const void *bytes,
                               size_t size, json_element_fn fn, void *arg, struct err *err)
{
    struct parse_state st = {.p = {.doc = doc,
                                   .member = member,
                                   .bytes = bytes,
                                   .size = size,
                                   .element = fn,
                                   .element_arg = arg,
                                   .err = err,
                                   .status = NRT_SUCCESS}};
    struct parser *p = &st.p;
    yajl_status ys;
    uint64_t off;

    memset(doc, 0, sizeof(*doc));
    key_table_init(&st.keys);
    p->yajl = yajl_alloc(&callbacks, NULL, &st);
    if (p->yajl == NULL || !text_put(doc, "", 0, &off)) {
        memory_error(p);
        goto free_parser;
    }
    p->root_text = doc->text_len;
    if (fn == NULL)
        nodes_reserve(doc, size);

    ys = yajl_parse(p->yajl, bytes, size);
    if (ys == yajl_status_error) {
        yajl_reason(p, consumed(p));
    } else if (ys == yajl_status_ok) {
        p->ended = true;
        ys = yajl_complete_parse(p->yajl);
        if (ys == yajl_status_error)
            yajl_reason(p, size);
    }
    if (p->status == NRT_SUCCESS && (ys != yajl_status_ok || doc->count == 0))
        syntax_error(p, size, "premature end of input");

free_parser:
    if (p->yajl != NULL)
        yajl_free(p->yajl);
    if (p->c_locale != (locale_t)0)
        freelocale(p->c_locale);
    if (p->status != NRT_SUCCESS)
        json_doc_fini(doc);
    return p->status;
}

void json_doc_fini(struct json_doc *doc)
{
    mem_free(doc->nodes);
    mem_free(doc->text);
    memset(doc, 0, sizeof(*doc));
}

const struct json_node *json_get(const struct json_doc *d, const struct json_node *obj,
                                 enum json_key k)
{
    const struct json_node *c = json_first(obj);

    for (uint64_t i = 0; i < obj->u.count; i++, c = json_next(d, c)) {
        if (c->key_id == k)
            return c;
    }
    return NULL;
}

const struct json_node *json_member(const struct json_doc *d, const struct json_node *obj,
                                    const char *name)
{
    const struct json_node *c = json_first(obj);

    for (uint64_t i = 0; i < obj->u.count; i++, c = json_next(d, c)) {
        if (strcmp(json_name(d, c), name) == 0)
            return c;
    }
    return NULL;
}

static void path_put(const struct json_path *p, char *buf, size_t size, size_t *len)
{
    int n;

    if (p == NULL)
        return;
    path_put(p->up, buf, size, len);
    if (*len >= size)
        return;
    if (p->key == NULL)
        n = snprintf(buf + *len, size - *len, "[%llu]", (unsigned long long)p->index);
    else
        n = snprintf(buf + *len, size - *len, "%s%.100s", *len > 0 ? "." : "", p->key);
    *len += n > 0 ? (size_t)n : 0;
}

void json_path_text(const struct json_path *p, char *buf, size_t size)
{
    size_t len = 0;

    buf[0] = '\0';
    path_put(p, buf, size, &len);
    if (len == 0)
        (void)snprintf(buf, size, "top level");
}

NRT_STATUS json_must_be(const struct json_ctx *c, const struct json_path *p, const char *what)
{
    char text[256];

    json_path_text(p, text, sizeof(text));
    return neff_fail(c->err, NRT_INVALID, "%s: %s must be %s", c->member, text, what);
}

static NRT_STATUS missing(const struct json_ctx *c, const struct json_path *p)
{
    char text[256];

    json_path_text(p, text, sizeof(text));
    return neff_fail(c->err, NRT_INVALID, "%s: %s is missing", c->member, text);
}

/* The field, checked to be present if required and of one of the types, a set of bits 1 << enum
 * json_type, which what names in the message. NULL when it is absent, or on an error, which *st
 * then holds. */
static const struct json_node *field(const struct json_ctx *c, const struct json_path *up,
                                     const struct json_node *obj, enum json_key k, bool required,
                                     unsigned types, const char *what, NRT_STATUS *st)
{
    const struct json_node *n = json_get(c->doc, obj, k);
    struct json_path p = {up, key_names[k], 0};

    *st = NRT_SUCCESS;
    if (n == NULL) {
        if (required)
            *st = missing(c, &p);
        return NULL;
    }
    if ((types >> n->type & 1) == 0) {
        *st = json_must_be(c, &p, what);
        return NULL;
    }
    return n;
}

NRT_STATUS json_field_int(const struct json_ctx *c, const struct json_path *up,
                          const struct json_node *obj, enum json_key k, bool required, int64_t *ret)
{
    NRT_STATUS st;
    const struct json_node *n = field(c, up, obj, k, required, 1u << JSON_INT, "an integer", &st);

    if (n != NULL)
        *ret = n->u.i;
    return st;
}

NRT_STATUS json_field_num(const struct json_ctx *c, const struct json_path *up,
                          const struct json_node *obj, enum json_key k, bool required, double *ret)
{
    NRT_STATUS st;
    const struct json_node *n =
        field(c, up, obj, k, required, 1u << JSON_INT | 1u << JSON_REAL, "a number", &st);

    if (n != NULL)
        *ret = n->type == JSON_INT ? (double)n->u.i : n->u.d;
    return st;
}

NRT_STATUS json_field_bool(const struct json_ctx *c, const struct json_path *up,
                           const struct json_node *obj, enum json_key k, bool *ret)
{
    NRT_STATUS st;
    const struct json_node *n =
        field(c, up, obj, k, JSON_OPTIONAL, 1u << JSON_BOOL, "a boolean", &st);

    if (n != NULL)
        *ret = n->u.b;
    return st;
}

NRT_STATUS json_field_str(const struct json_ctx *c, const struct json_path *up,
                          const struct json_node *obj, enum json_key k, bool required,
                          const char **ret)
{
    NRT_STATUS st;
    const struct json_node *n = field(c, up, obj, k, required, 1u << JSON_STRING, "a string", &st);

    if (n != NULL)
        *ret = json_text(c->doc, n);
    return st;
}

NRT_STATUS json_field_array(const struct json_ctx *c, const struct json_path *up,
                            const struct json_node *obj, enum json_key k, bool required,
                            const struct json_node **ret)
{
    NRT_STATUS st;

    *ret = field(c, up, obj, k, required, 1u << JSON_ARRAY, "an array", &st);
    return st;
}

NRT_STATUS json_field_object(const struct json_ctx *c, const struct json_path *up,
                             const struct json_node *obj, enum json_key k, bool required,
                             const struct json_node **ret)
{
    NRT_STATUS st;

    *ret = field(c, up, obj, k, required, 1u << JSON_OBJECT, "an object", &st);
    return st;
}
