/* SPDX-License-Identifier: Apache-2.0 */
/* The header is the text of a Python dict with exactly the keys descr, fortran_order and shape. We
 * read that subset of the language which NumPy's own reader accepts and nothing more. */
#include "base/npy.h"

#include <string.h>

#include "base/checked.h"

#define NPY_HEADER_MAX 65536 /* more than any 32 dimensions need */

struct cursor {
    const char *p, *end;
};

static void blanks_skip(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\t' || *c->p == '\r'))
        c->p++;
}

/* The next character after blanks if it is ch. */
static bool take(struct cursor *c, char ch)
{
    blanks_skip(c);
    if (c->p >= c->end || *c->p != ch)
        return false;
    c->p++;
    return true;
}

/* A quoted string without escapes into buf. */
static bool string_take(struct cursor *c, char *buf, size_t size)
{
    const char *start;
    char quote;
    size_t n;

    blanks_skip(c);
    if (c->p >= c->end || (*c->p != '\'' && *c->p != '"'))
        return false;
    quote = *c->p++;
    start = c->p;
    while (c->p < c->end && *c->p != quote && *c->p != '\\' && *c->p != '\n' && *c->p != '\0')
        c->p++;
    n = (size_t)(c->p - start);
    if (c->p >= c->end || *c->p != quote || n >= size)
        return false;
    c->p++;
    memcpy(buf, start, n);
    buf[n] = '\0';
    return true;
}

static bool word_take(struct cursor *c, const char *word)
{
    size_t n = strlen(word);

    blanks_skip(c);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
        return false;
    c->p += n;
    return true;
}

static bool digits_take(struct cursor *c, uint64_t *ret)
{
    const char *start;
    uint64_t v = 0;

    blanks_skip(c);
    start = c->p;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9') {
        if (u64_mul_over(v, 10, &v) || u64_add_over(v, (uint64_t)(*c->p - '0'), &v))
            return false;
        c->p++;
    }
    *ret = v;
    return c->p > start;
}

/* A tuple of non-negative integers; Python 2 wrote long ones with an L. */
static NRT_STATUS shape_take(struct cursor *c, struct npy_desc *d, struct err *err)
{
    bool comma = true;

    if (!take(c, '('))
        return err_set(err, NRT_INVALID, "npy header: shape is not a tuple");
    while (!take(c, ')')) {
        if (!comma)
            return err_set(err, NRT_INVALID, "npy header: shape is malformed");
        if (d->ndim == NPY_MAX_DIMS)
            return err_set(err, NRT_INVALID, "npy header: shape has more than %d dimensions",
                           NPY_MAX_DIMS);
        if (!digits_take(c, &d->shape[d->ndim]) || d->shape[d->ndim] > INT64_MAX)
            return err_set(err, NRT_INVALID, "npy header: dimension %u of shape is malformed",
                           d->ndim);
        if (c->p < c->end && *c->p == 'L')
            c->p++;
        d->ndim++;
        comma = take(c, ',');
    }
    if (d->ndim == 1 && !comma) /* "(3)" is a number, not a tuple */
        return err_set(err, NRT_INVALID, "npy header: shape is not a tuple");
    return NRT_SUCCESS;
}

/* The kinds whose size in the descr counts bytes, and the sizes they come in (a bit per size). */
static const struct {
    char kind;
    uint32_t sizes;
    enum dtype by_size[9];
} KINDS[] = {
    {'b', 1u << 1, {[1] = DT_BOOL}},
    {'i',
     1u << 1 | 1u << 2 | 1u << 4 | 1u << 8,
     {[1] = DT_INT8, [2] = DT_INT16, [4] = DT_INT32, [8] = DT_INT64}},
    {'u',
     1u << 1 | 1u << 2 | 1u << 4 | 1u << 8,
     {[1] = DT_UINT8, [2] = DT_UINT16, [4] = DT_UINT32, [8] = DT_UINT64}},
    {'f', 1u << 2 | 1u << 4 | 1u << 8 | 1u << 16, {[2] = DT_FP16, [4] = DT_FP32}},
    {'c', 1u << 8 | 1u << 16, {DT_INVALID}},
    {'M', 1u << 8, {DT_INVALID}},
    {'m', 1u << 8, {DT_INVALID}},
};

static NRT_STATUS descr_parse(const char *text, struct npy_desc *d, struct err *err)
{
    struct cursor c = {text, text + strlen(text)};
    char order = '|', kind;
    uint64_t n;

    if (c.p < c.end && strchr("<>=|", *c.p) != NULL)
        order = *c.p++;
    if (c.p >= c.end)
        goto bad;
    kind = *c.p++;
    if (kind == 'O')
        return err_set(err, NRT_INVALID, "npy header: descr \"%s\" needs pickled data", text);
    if (c.p >= c.end || *c.p == ' ' || !digits_take(&c, &n))
        goto bad;
    if ((kind == 'M' || kind == 'm') && c.p < c.end && *c.p == '[' && c.end[-1] == ']')
        c.p = c.end; /* a unit, "[ns]" */
    if (c.p != c.end)
        goto bad;
    d->dtype = DT_INVALID;
    if (kind == 'V' || kind == 'S' || kind == 'U' || kind == 'a') {
        if (n > (kind == 'U' ? INT32_MAX / 4 : INT32_MAX))
            goto bad;
        d->elem_size = (size_t)n * (kind == 'U' ? 4 : 1);
        return NRT_SUCCESS;
    }
    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
        if (KINDS[i].kind != kind || n > 16 || !(KINDS[i].sizes >> n & 1))
            continue;
        if (order == '|' && n > 1 && text[0] == '|')
            goto bad;
        d->elem_size = (size_t)n;
        if (n <= 8 && (order != '>' || n == 1))
            d->dtype = KINDS[i].by_size[n];
        return NRT_SUCCESS;
    }
bad:
    return err_set(err, NRT_INVALID, "npy header: descr \"%s\" is not a type", text);
}

static NRT_STATUS value_take(struct cursor *c, unsigned key, struct npy_desc *d, struct err *err)
{
    char text[64];

    switch (key) {
    case 0:
        if (!string_take(c, text, sizeof(text)))
            return err_set(err, NRT_INVALID, "npy header: descr is not a plain type string");
        return descr_parse(text, d, err);
    case 1:
        d->fortran_order = word_take(c, "True");
        if (!d->fortran_order && !word_take(c, "False"))
            return err_set(err, NRT_INVALID, "npy header: fortran_order is not True or False");
        return NRT_SUCCESS;
    default:
        return shape_take(c, d, err);
    }
}

static NRT_STATUS dict_parse(struct cursor *c, struct npy_desc *d, struct err *err)
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    unsigned seen = 0;
    bool comma = true;

    if (!take(c, '{'))
        return err_set(err, NRT_INVALID, "npy header: not a dictionary");
    while (!take(c, '}')) {
        char name[32];
        unsigned k = 0;
        NRT_STATUS status;

        if (!comma || !string_take(c, name, sizeof(name)) || !take(c, ':'))
            return err_set(err, NRT_INVALID, "npy header: dictionary is malformed");
        while (k < 3 && strcmp(name, keys[k]) != 0)
            k++;
        if (k == 3 || (seen >> k & 1))
            return err_set(err, NRT_INVALID, "npy header: key \"%s\" is %s", name,
                           k == 3 ? "unknown" : "there twice");
        seen |= 1u << k;
        status = value_take(c, k, d, err);
        if (status != NRT_SUCCESS)
            return status;
        comma = take(c, ',');
    }
    blanks_skip(c);
    if (c->p != c->end)
        return err_set(err, NRT_INVALID, "npy header: text after the dictionary");
    for (unsigned k = 0; k < 3; k++) {
        if (!(seen >> k & 1))
            return err_set(err, NRT_INVALID, "npy header: key \"%s\" is missing", keys[k]);
    }
    return NRT_SUCCESS;
}

NRT_STATUS npy_parse(const void *bytes, size_t size, struct npy_desc *ret, struct err *err)
{
    const uint8_t *b = (const uint8_t *)bytes;
    struct npy_desc d = {.dtype = DT_INVALID};
    struct cursor c;
    uint64_t header, data_bytes;
    size_t at;
    NRT_STATUS status;

    if (size < 10 || memcmp(b, "\x93NUMPY", 6) != 0)
        return err_set(err, NRT_INVALID, "npy: magic is missing");
    if (b[6] < 1 || b[6] > 3 || b[7] != 0)
        return err_set(err, NRT_INVALID, "npy: version %u.%u is not supported", b[6], b[7]);
    if (b[6] == 1) {
        header = (uint64_t)b[8] | (uint64_t)b[9] << 8;
        at = 10;
    } else {
        if (size < 12)
            return err_set(err, NRT_INVALID, "npy: header length is cut off");
        header =
            (uint64_t)b[8] | (uint64_t)b[9] << 8 | (uint64_t)b[10] << 16 | (uint64_t)b[11] << 24;
        at = 12;
    }
    if (!range_ok(at, header, size))
        return err_set(err, NRT_INVALID, "npy: header of %llu bytes does not fit into %zu bytes",
                       (unsigned long long)header, size);
    if (header > NPY_HEADER_MAX)
        return err_set(err, NRT_INVALID, "npy: header of %llu bytes exceeds %d",
                       (unsigned long long)header, NPY_HEADER_MAX);
    c = (struct cursor){(const char *)b + at, (const char *)b + at + header};
    status = dict_parse(&c, &d, err);
    if (status != NRT_SUCCESS)
        return status;
    data_bytes = d.elem_size;
    for (unsigned i = 0; i < d.ndim; i++) {
        if (u64_mul_over(data_bytes, d.shape[i], &data_bytes))
            return err_set(err, NRT_INVALID, "npy header: size of the array overflows");
    }
    d.data_off = at + (size_t)header;
    d.data_bytes = data_bytes;
    *ret = d;
    return NRT_SUCCESS;
}

static const char *descr_of(enum dtype t)
{
    switch (t) {
    case DT_UINT64:
        return "<u8";
    case DT_INT8:
        return "|i1";
    case DT_UINT8:
        return "|u1";
    case DT_INT16:
        return "<i2";
    case DT_UINT16:
        return "<u2";
    case DT_BF16:
        return "<V2";
    case DT_FP16:
        return "<f2";
    case DT_INT32:
        return "<i4";
    case DT_UINT32:
        return "<u4";
    case DT_FP32:
    case DT_FP32R:
    case DT_TF32:
        return "<f4";
    case DT_INT64:
        return "<i8";
    case DT_FP8_E3:
    case DT_FP8_E4:
    case DT_FP8_E5:
    case DT_FP8_E4FN:
    case DT_FP8_E8M0:
        return "|V1";
    case DT_BOOL:
        return "|b1";
    case DT_FP8_E5_X4:
    case DT_FP8_E4FN_X4:
        return "|V4";
    case DT_FP4_E2M1_X4:
        return "|V2";
    case DT_INVALID:
    case DT_COUNT:
        break;
    }
    return NULL;
}

bool npy_holds(const struct npy_desc *d, enum dtype t)
{
    const char *want = descr_of(t), *have = descr_of(d->dtype);

    if (want == NULL)
        return false;
    if (want[1] == 'V')
        return d->elem_size == dtype_size(t);
    return have != NULL && strcmp(have, want) == 0;
}

bool npy_write_header(struct strbuf *out, enum dtype t, unsigned ndim, const uint64_t *shape)
{
    const char *descr = descr_of(t);
    struct strbuf dict = {.s = NULL};
    size_t total;
    bool ok = false;

    if (descr == NULL || ndim > NPY_MAX_DIMS)
        return false;
    strbuf_printf(&dict, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (unsigned i = 0; i < ndim; i++)
        strbuf_printf(&dict, "%s%llu", i ? ", " : "", (unsigned long long)shape[i]);
    strbuf_put(&dict, ndim == 1 ? ",), }" : "), }");
    total = (10 + dict.len + 1 + 63) / 64 * 64; /* data starts on 64 bytes, as NumPy does */
    while (!dict.failed && dict.len < total - 11)
        strbuf_putn(&dict, " ", 1);
    strbuf_put(&dict, "\n");
    if (!dict.failed) {
        char head[10] = {
            '\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, (char)(dict.len & 0xFF), (char)(dict.len >> 8)};

        strbuf_putn(out, head, sizeof(head));
        strbuf_putn(out, dict.s, dict.len);
        ok = !out->failed;
    }
    strbuf_fini(&dict);
    return ok;
}
