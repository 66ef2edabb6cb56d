/* SPDX-License-Identifier: Apache-2.0 */
#include "maker.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "example.h"

static void *need(void *p)
{
    if (p == NULL)
        abort();
    return p;
}

struct maker_member *maker_find(struct maker *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++) {
        if (strcmp(m->members[i].name, name) == 0)
            return &m->members[i];
    }
    return NULL;
}

void maker_put(struct maker *m, const char *name, const void *data, size_t size)
{
    struct maker_member *e = maker_find(m, name);

    if (e == NULL) {
        if (m->count == sizeof(m->members) / sizeof(m->members[0]))
            abort();
        e = &m->members[m->count++];
        e->name = need(strdup(name));
        e->type = '0';
    } else {
        free(e->data);
    }
    e->data = need(malloc(size + 1));
    memcpy(e->data, data, size);
    e->data[size] = '\0';
    e->size = size;
}

void maker_text(struct maker *m, const char *name, const char *text)
{
    maker_put(m, name, text, strlen(text));
}

void maker_remove(struct maker *m, const char *name)
{
    struct maker_member *e = need(maker_find(m, name));

    free(e->name);
    free(e->data);
    memmove(e, e + 1, (size_t)(&m->members[m->count] - (e + 1)) * sizeof(*e));
    m->count--;
}

void maker_edit(struct maker *m, const char *name, const char *from, const char *to)
{
    struct maker_member *e = need(maker_find(m, name));
    char *at = strstr((char *)e->data, from), *text;
    size_t head, n;

    if (at == NULL || strstr(at + 1, from) != NULL) {
        fprintf(stderr, "maker_edit: \"%s\" is not there exactly once in %s\n", from, name);
        abort();
    }
    head = (size_t)(at - (char *)e->data);
    n = e->size - strlen(from) + strlen(to);
    text = need(malloc(n + 1));
    memcpy(text, e->data, head);
    memcpy(text + head, to, strlen(to));
    memcpy(text + head + strlen(to), at + strlen(from), e->size - head - strlen(from));
    text[n] = '\0';
    free(e->data);
    e->data = (uint8_t *)text;
    e->size = n;
}

void maker_set_u64(struct maker *m, size_t off, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        m->header[off + i] = (uint8_t)(v >> (8 * i));
}

void maker_set_u32(struct maker *m, size_t off, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        m->header[off + i] = (uint8_t)(v >> (8 * i));
}

void maker_npy(struct maker *m, const char *name, size_t n, const char *header_override)
{
    char text[128];
    uint8_t *file = need(calloc(1, 128 + 4 * n));

    memset(text, ' ', 118);
    text[117] = '\n';
    if (header_override != NULL)
        memcpy(text, header_override, strlen(header_override));
    else
        text[snprintf(text, 100, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu,), }",
                      n)] = ' ';
    memcpy(file, "\x93NUMPY\x01\x00\x76\x00", 10);
    memcpy(file + 10, text, 118);
    for (size_t i = 0; i < 4 * n; i++)
        file[128 + i] = (uint8_t)(i * 7 + 1);
    maker_put(m, name, file, 128 + 4 * n);
    free(file);
}

static void default_header(struct maker *m)
{
    maker_set_u64(m, 0, 2);
    maker_set_u64(m, 8, 1024);
    maker_set_u64(m, 24, 2);
    memcpy(m->header + 40, "maker 1", 7);
    maker_set_u32(m, 168, 1);
    memset(m->header + 204, 0xab, 16);
    memcpy(m->header + 220, "example", 7);
    maker_set_u32(m, 476, 1);
    m->header[480] = 1;
    maker_set_u32(m, 552, 1);
}

static void put_subgraph(struct maker *m, const char *dir)
{
    static const char *const engines[][2] = {
        {"Activation", NULL}, {"DVE", NULL}, {"PE", NULL}, {"Pool", NULL}, {"SP", example_sp}};
    char name[64];

    snprintf(name, sizeof(name), "%s/def.json", dir);
    maker_text(m, name, example_def);
    for (size_t i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "%s/%s.json", dir, engines[i][0]);
        maker_text(m, name, engines[i][1] != NULL ? engines[i][1] : "{\"dma\": []}");
        snprintf(name, sizeof(name), "%s/%s.bin", dir, engines[i][0]);
        maker_put(m, name, "0123456789abcdef", 16);
    }
    snprintf(name, sizeof(name), "%s/w.npy", dir);
    maker_npy(m, name, 64, NULL);
}

void maker_example(struct maker *m)
{
    memset(m, 0, sizeof(*m));
    default_header(m);
    maker_text(m, "kelf-0.json", example_kelf);
    maker_text(m, "neff.json", example_neff);
    maker_text(m, "info.json",
               "{\"tool_version\": \"0.1.0\", \"name\": \"toy_add\", "
               "\"arch\": \"trn2\"}");
    maker_text(m, "hlo_stats.json", "{\"operations\": 1}");
    maker_text(m, "metrics.json", "{\"compile_seconds\": 0.1}");
    put_subgraph(m, "sg00");
}

void maker_two_cores(struct maker *m)
{
    maker_example(m);
    maker_text(m, "kelf-0.json",
               "{\"graphs\": [{\"definition\": \"sg00/def.json\", \"name\": \"sg00\"}, "
               "{\"definition\": \"sg01/def.json\", \"name\": \"sg01\"}]}");
    put_subgraph(m, "sg01");
    maker_set_u32(m, 168, 2);
    m->header[480] = 2;
    maker_set_u32(m, 552, 2);
}

void maker_small(struct maker *m)
{
    memset(m, 0, sizeof(*m));
    default_header(m);
    maker_text(m, "kelf-0.json", example_kelf);
    maker_text(m, "sg00/def.json", "{\"sp\": \"SP.json\", \"sp_instr\": \"SP.bin\", \"var\": {}}");
    maker_text(m, "sg00/SP.json", "{}");
    maker_put(m, "sg00/SP.bin", "x", 1);
}

void maker_fini(struct maker *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->members[i].name);
        free(m->members[i].data);
    }
    memset(m, 0, sizeof(*m));
}

uint8_t *maker_tar(const struct maker *m, size_t *ret_size)
{
    size_t size = 1024, off = 0;
    uint8_t *tar;

    for (size_t i = 0; i < m->count; i++)
        size += 512 + (m->members[i].size + 511) / 512 * 512;
    tar = need(calloc(1, size));
    for (size_t i = 0; i < m->count; i++) {
        const struct maker_member *e = &m->members[i];
        uint8_t *h = tar + off;
        unsigned sum = 0;

        strncpy((char *)h, e->name, 100);
        memcpy(h + 100, "0000644", 8);
        memcpy(h + 108, "0000000", 8);
        memcpy(h + 116, "0000000", 8);
        snprintf((char *)h + 124, 12, "%011llo", (unsigned long long)e->size);
        memcpy(h + 136, "00000000000", 12);
        h[156] = (uint8_t)e->type;
        if (e->type == '1' || e->type == '2')
            memcpy(h + 157, "target", 6);
        memcpy(h + 257, "ustar\00000", 8);
        memset(h + 148, ' ', 8);
        for (size_t k = 0; k < 512; k++)
            sum += h[k];
        snprintf((char *)h + 148, 8, "%06o", sum);
        h[155] = ' ';
        off += 512;
        memcpy(tar + off, e->data, e->size);
        off += (e->size + 511) / 512 * 512;
    }
    *ret_size = size;
    return tar;
}

static uint8_t *compress_gzip(const uint8_t *in, size_t n, size_t *ret_size)
{
    z_stream z = {0};
    size_t cap = n + n / 100 + 1024;
    uint8_t *out = need(malloc(cap));

    if (deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    z.next_in = (Bytef *)in;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)cap;
    if (deflate(&z, Z_FINISH) != Z_STREAM_END)
        abort();
    *ret_size = z.total_out;
    deflateEnd(&z);
    return out;
}

uint8_t *maker_write(struct maker *m, size_t *ret_size)
{
    size_t n, header = 0;
    uint8_t *payload = maker_tar(m, &n), *file;

    if (m->gzip) {
        uint8_t *z = compress_gzip(payload, n, &n);

        free(payload);
        payload = z;
    }
    for (unsigned i = 0; i < 8; i++)
        header |= (size_t)m->header[8 + i] << (8 * i);
    if (header < NEFF_HEADER_SIZE || header > 65536)
        header = NEFF_HEADER_SIZE;
    if (!m->keep_data_size)
        maker_set_u64(m, 16, n);
    if (!m->keep_hash) {
        unsigned len = 0;

        memset(m->header + 172, 0, 32);
        if (EVP_Digest(payload, n, m->header + 172, &len,
                       m->header[0] == 1 ? EVP_sha256() : EVP_md5(), NULL) != 1)
            abort();
    }
    file = need(calloc(1, header + n));
    memcpy(file, m->header, sizeof(m->header));
    memcpy(file + header, payload, n);
    free(payload);
    *ret_size = header + n;
    return file;
}
