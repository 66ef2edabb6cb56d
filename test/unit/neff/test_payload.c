/* SPDX-License-Identifier: Apache-2.0 */
/* The payload: truncation and damage everywhere, bombs, other formats, streaming in bounded memory,
 * speed of large files, failing allocations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <archive.h>
#include <archive_entry.h>
#include <cmocka.h>

#include "base/fault.h"
#include "maker.h"
#include "neff/neff.h"
#include "neff/write.h"
#include "neff_hole.h"
#include "proves.h"
#include "seed.h"

static void set_u64(uint8_t *p, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static NRT_STATUS load(const uint8_t *file, size_t size, struct err *err)
{
    struct neff *neff = NULL;
    uint8_t *copy = malloc(size ? size : 1); /* exact, for the address sanitizer */
    NRT_STATUS st;

    memcpy(copy, file, size);
    memset(err, 0, sizeof(*err));
    st = neff_create(copy, size, NULL, &neff, err);
    neff_destroy(neff);
    free(copy);
    return st;
}

/* A small file cut at every byte, with the header's size as it was and with a size that fits. */
static void truncation_anywhere_is_refused(void **state)
{
    (void)state;
    for (unsigned gzip = 0; gzip < 2; gzip++) {
        struct maker m;
        struct err err;
        uint8_t *file;
        size_t size, last = 0;

        maker_small(&m);
        m.gzip = gzip != 0;
        file = maker_write(&m, &size);
        assert_int_equal(load(file, size, &err), NRT_SUCCESS);
        for (size_t n = 0; n < size; n++) {
            assert_int_equal(load(file, n, &err), NRT_INVALID);
            assert_true(err.text[0] != '\0');
        }
        for (size_t n = 1025; n < size; n++) {
            set_u64(file + 16, n - 1024);
            if (load(file, n, &err) == NRT_SUCCESS) {
                /* only the tar's second end block may be missing */
                assert_false(gzip);
                assert_true(n >= size - 512);
            } else {
                last = n;
                assert_int_equal(err.status, NRT_INVALID);
                assert_int_equal(strncmp(err.text, "Failed to unpack NEFF: ", 23), 0);
            }
        }
        assert_int_equal(last, gzip ? size - 1 : size - 513);
        free(file);
        maker_fini(&m);
    }
    PROVES("neff-133");
}

static void a_damaged_gzip_is_refused(void **state)
{
    static const struct {
        const char *text;
        long at; /* from the end when negative */
        uint8_t flip;
    } cases[] = {
        {"Failed to unpack NEFF: incorrect data check", -5, 1},
        {"Failed to unpack NEFF: incorrect length check", -1, 1},
        {"Failed to unpack NEFF: unknown compression method", 1024 + 2, 1},
    };
    struct maker m;
    struct err err;
    uint8_t *file, *longer;
    size_t size;

    (void)state;
    maker_example(&m);
    m.gzip = true;
    file = maker_write(&m, &size);
    for (size_t i = 0; i < 3; i++) {
        size_t at = cases[i].at < 0 ? size + (size_t)cases[i].at : (size_t)cases[i].at;

        file[at] ^= cases[i].flip;
        assert_int_equal(load(file, size, &err), NRT_INVALID);
        assert_string_equal(err.text, cases[i].text);
        file[at] ^= cases[i].flip;
    }
    for (size_t at = 1024 + 10; at < size; at++) { /* flip every byte: refused or the same data */
        file[at] ^= 0x55;
        (void)load(file, size, &err);
        file[at] ^= 0x55;
    }
    longer = calloc(1, size + 10);
    memcpy(longer, file, size);
    set_u64(longer + 16, size + 10 - 1024);
    assert_int_equal(load(longer, size + 10, &err), NRT_SUCCESS); /* zeros pad a stream */
    longer[size + 9] = 7;
    assert_int_equal(load(longer, size + 10, &err), NRT_INVALID);
    assert_string_equal(err.text, "Failed to unpack NEFF: garbage after the gzip stream");
    free(longer);
    free(file);
    maker_fini(&m);
    PROVES("neff-133");
}

/* A tar header with a broken sum, a size past the end. */
static void a_damaged_tar_is_refused(void **state)
{
    struct maker m;
    struct err err;
    uint8_t *file;
    size_t size;

    (void)state;
    maker_small(&m);
    file = maker_write(&m, &size);
    file[1024 + 148] ^= 1;
    assert_int_equal(load(file, size, &err), NRT_INVALID);
    assert_int_equal(strncmp(err.text, "Failed to unpack NEFF: ", 23), 0);
    free(file);
    maker_fini(&m);
}

/* The members of m as libarchive packs them; *ret_size 0 where this libarchive has no such format
 * or filter of its own. */
static void pack_with(const struct maker *m, const char *format, const char *filter, uint8_t *to,
                      size_t room, size_t *ret_size)
{
    struct archive *a = archive_write_new();

    *ret_size = 0;
    archive_write_set_bytes_per_block(a, 0);
    if (archive_write_set_format_by_name(a, format) == ARCHIVE_OK &&
        (filter == NULL || archive_write_add_filter_by_name(a, filter) == ARCHIVE_OK)) {
        assert_int_equal(archive_write_open_memory(a, to, room, ret_size), ARCHIVE_OK);
        for (size_t i = 0; i < m->count; i++) {
            struct archive_entry *e = archive_entry_new();

            archive_entry_set_pathname(e, m->members[i].name);
            archive_entry_set_filetype(e, AE_IFREG);
            archive_entry_set_perm(e, 0644);
            archive_entry_set_size(e, (la_int64_t)m->members[i].size);
            assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
            assert_int_equal(archive_write_data(a, m->members[i].data, m->members[i].size),
                             m->members[i].size);
            archive_entry_free(e);
        }
        assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    }
    archive_write_free(a);
}

/* Whole archives of a NEFF that loads, so that nothing but the format is wrong. */
static void other_formats_are_refused(void **state)
{
    static const struct {
        const char *format, *filter;
        bool loads;
    } cases[] = {
        {"ustar", NULL, true},    {"pax", NULL, true},          {"gnutar", NULL, true},
        {"ustar", "gzip", true},  {"zip", NULL, false},         {"cpio", NULL, false},
        {"newc", NULL, false},    {"7zip", NULL, false},        {"iso9660", NULL, false},
        {"xar", NULL, false},     {"mtree", NULL, false},       {"shar", NULL, false},
        {"warc", NULL, false},    {"zip", "gzip", false},       {"cpio", "gzip", false},
        {"ustar", "xz", false},   {"ustar", "bzip2", false},    {"ustar", "zstd", false},
        {"ustar", "lz4", false},  {"ustar", "lzma", false},     {"ustar", "compress", false},
        {"ustar", "lzip", false}, {"ustar", "uuencode", false}, {"ustar", "b64encode", false}};
    const size_t room = 4 << 20;
    uint8_t *file = malloc(NEFF_HEADER_SIZE + room);
    unsigned packed = 0;
    struct maker m;

    (void)state;
    maker_small(&m);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *filter = cases[i].filter != NULL ? cases[i].filter : "no filter";
        struct err err;
        NRT_STATUS st;
        size_t size;

        pack_with(&m, cases[i].format, cases[i].filter, file + NEFF_HEADER_SIZE, room, &size);
        if (size == 0) {
            print_message("no %s with %s here\n", cases[i].format, filter);
            continue;
        }
        packed++;
        memcpy(file, m.header, NEFF_HEADER_SIZE);
        set_u64(file + 16, size);
        st = load(file, NEFF_HEADER_SIZE + size, &err);
        if ((st == NRT_SUCCESS) != cases[i].loads)
            print_error("%s with %s: %d %s\n", cases[i].format, filter, st, err.text);
        assert_int_equal(st, cases[i].loads ? NRT_SUCCESS : NRT_INVALID);
        if (cases[i].loads)
            continue;
        if (strcmp(cases[i].format, "iso9660") == 0) /* begins as an empty tar does, with zeros */
            assert_string_equal(err.text, "kelf-0.json not found in NEFF");
        else
            assert_int_equal(strncmp(err.text, "Failed to unpack NEFF: ", 23), 0);
    }
    assert_true(packed >= 15);
    free(file);
    maker_fini(&m);
    PROVES("neff-133");
}

/* A whole NEFF whose payload unpacks to exactly `ratio` times its size: a member of zeros, which
 * deflate makes smaller than that, and zeros behind the stream. */
static uint8_t *file_of_ratio(size_t unpacked, size_t ratio, size_t *ret_size)
{
    uint8_t *zeros = calloc(1, unpacked), *tar, *packed, *file;
    struct maker m;
    size_t rest, size;

    maker_small(&m);
    m.gzip = true;
    maker_put(&m, "extra", "", 0);
    tar = maker_tar(&m, &rest);
    maker_put(&m, "extra", zeros, unpacked - rest);
    packed = maker_write(&m, &size);
    *ret_size = NEFF_HEADER_SIZE + unpacked / ratio;
    assert_true(size <= *ret_size);
    file = calloc(1, *ret_size);
    memcpy(file, packed, size);
    set_u64(file + 16, unpacked / ratio);
    free(packed);
    free(tar);
    free(zeros);
    maker_fini(&m);
    return file;
}

/* A thousand to one is allowed; a byte less that unpacks to the same is a bomb. */
static void a_thousand_to_one_is_the_limit(void **state)
{
    const size_t unpacked = 67200000; /* blocks of 512 bytes, and thousands */
    struct err err;
    size_t size;
    uint8_t *file = file_of_ratio(unpacked, 1000, &size);

    (void)state;
    assert_int_equal(size - NEFF_HEADER_SIZE, unpacked / 1000);
    assert_int_equal(load(file, size, &err), NRT_SUCCESS);
    set_u64(file + 16, unpacked / 1000 - 1);
    assert_int_equal(load(file, size - 1, &err), NRT_RESOURCE);
    assert_string_equal(err.text, "NEFF payload too large");
    free(file);
    PROVES("neff-138");
}

static void bombs_are_refused(void **state)
{
    struct neff_options opt = {.max_unpacked = 20000};
    struct neff *neff = NULL;
    struct maker m;
    struct err err;
    uint8_t *file;
    size_t size;

    (void)state;
    for (unsigned gzip = 0; gzip < 2; gzip++) { /* the limit on the total */
        maker_example(&m);
        m.gzip = gzip != 0;
        file = maker_write(&m, &size);
        memset(&err, 0, sizeof(err));
        assert_int_equal(neff_create(file, size, &opt, &neff, &err), NRT_RESOURCE);
        assert_string_equal(err.text, "NEFF payload too large");
        free(file);
        maker_fini(&m);
    }

    maker_small(&m); /* a member that says it has 2^60 bytes: refused before anything is read */
    file = maker_write(&m, &size);
    memcpy(file + 1024 + 124, "\x80\0\0\0\x10\0\0\0\0\0\0\0", 12);
    memset(file + 1024 + 148, ' ', 8);
    {
        unsigned sum = 0;

        for (size_t i = 0; i < 512; i++)
            sum += file[1024 + i];
        snprintf((char *)file + 1024 + 148, 8, "%06o", sum);
    }
    assert_int_equal(load(file, size, &err), NRT_RESOURCE);
    assert_string_equal(err.text, "NEFF payload too large");
    free(file);
    maker_fini(&m);
    PROVES("neff-138");
}

/* ---- streaming ---- */

struct collect {
    const struct neff *neff;
    uint8_t *bytes; /* of variable w of subgraph 0 */
    uint64_t next;
    unsigned pieces;
};

static NRT_STATUS collect_put(void *arg, uint32_t graph, uint32_t var, uint64_t off,
                              const void *data, size_t size, struct err *err)
{
    struct collect *c = arg;

    (void)err;
    assert_int_equal(graph, 0);
    assert_string_equal(c->neff->graphs[0].vars[var].name, "w");
    assert_int_equal(off, c->next);
    memcpy(c->bytes + off, data, size);
    c->next += size;
    c->pieces++;
    return NRT_SUCCESS;
}

static NRT_STATUS refuse_put(void *arg, uint32_t graph, uint32_t var, uint64_t off,
                             const void *data, size_t size, struct err *err)
{
    (void)arg;
    (void)graph;
    (void)var;
    (void)off;
    (void)data;
    (void)size;
    return err_set(err, NRT_HW_ERROR, "full");
}

static void constants_stream_in_order(void **state)
{
    (void)state;
    for (unsigned gzip = 0; gzip < 2; gzip++) {
        struct neff_constant_sink sink = {collect_put, NULL}, bad = {refuse_put, NULL};
        struct collect c = {.next = 0};
        struct neff *neff;
        struct maker m;
        struct err err = {0};
        uint8_t *file, part[100];
        uint32_t member;
        size_t size, n = 300000;

        maker_example(&m);
        m.gzip = gzip != 0;
        maker_edit(&m, "sg00/def.json", "\"var_id\": 5, \"size\": 256", "\"var_id\": 5");
        maker_npy(&m, "sg00/w.npy", n, NULL);
        file = maker_write(&m, &size);
        assert_int_equal(neff_create(file, size, NULL, &neff, &err), NRT_SUCCESS);
        c.neff = neff;
        c.bytes = malloc(4 * n);
        sink.arg = &c;
        assert_int_equal(neff_constants_stream(neff, &sink, &err), NRT_SUCCESS);
        assert_int_equal(c.next, 4 * n);
        assert_memory_equal(c.bytes, maker_find(&m, "sg00/w.npy")->data + 128, 4 * n);
        assert_true(gzip ? c.pieces > 3 : c.pieces == 1);

        member = neff_member_find(neff, "sg00/w.npy");
        assert_int_equal(neff_member_read(neff, member, 700000, part, 100, &err), NRT_SUCCESS);
        assert_memory_equal(part, maker_find(&m, "sg00/w.npy")->data + 700000, 100);
        assert_int_equal(neff_member_read(neff, member, 4 * n + 100, part, 100, &err), NRT_INVALID);
        assert_int_equal(neff_member_find(neff, "no"), NEFF_NONE);
        memset(&err, 0, sizeof(err));
        assert_int_equal(neff_constants_stream(neff, &bad, &err), NRT_HW_ERROR);
        assert_string_equal(err.text, "full");
        neff_destroy(neff);
        free(c.bytes);
        free(file);
        maker_fini(&m);
    }
    PROVES("neff-124");
}

static long anonymous_kb(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[200];
    long kb = -1;

    while (fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "RssAnon: %ld", &kb) == 1)
            break;
    }
    fclose(f);
    return kb;
}

struct sum {
    uint64_t bytes;
    unsigned value;
};

static NRT_STATUS sum_put(void *arg, uint32_t graph, uint32_t var, uint64_t off, const void *data,
                          size_t size, struct err *err)
{
    struct sum *s = arg;

    (void)graph;
    (void)var;
    (void)off;
    (void)err;
    for (size_t i = 0; i < size; i += 4096)
        s->value += ((const uint8_t *)data)[i];
    s->bytes += size;
    return NRT_SUCCESS;
}

/* m with a member of `big` bytes, a hole behind what it has, mapped. */
static uint8_t *map_with_hole(struct maker *m, const char *member, uint64_t big, uint64_t *ret_size)
{
    uint8_t *file, *map;
    uint64_t at;
    size_t size;
    int fd;

    file = maker_write(m, &size);
    fd = neff_hole_open(file, size, member, big, &at, ret_size);
    assert_true(fd >= 0);
    map = mmap(NULL, *ret_size, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    close(fd);
    free(file);
    return map;
}

/* 1 GiB of constants in a mapped plain tar: memory of the process stays. */
static void a_gigabyte_of_constants_costs_no_memory(void **state)
{
    const uint64_t big = 1ull << 30;
    struct neff_constant_sink sink = {sum_put, NULL};
    struct sum s = {0};
    struct neff *neff;
    struct maker m;
    struct err err = {0};
    uint8_t *map;
    uint64_t total;
    long before, peak;

    (void)state;
    maker_example(&m);
    maker_edit(&m, "sg00/def.json", "\"var_id\": 5, \"size\": 256, \"file_name\": \"w.npy\"",
               "\"var_id\": 5, \"file_name\": \"w.raw\"");
    maker_put(&m, "sg00/w.raw", "x", 1);
    map = map_with_hole(&m, "sg00/w.raw", big, &total);
    before = anonymous_kb();
    assert_int_equal(neff_create(map, total, NULL, &neff, &err), NRT_SUCCESS);
    assert_int_equal(neff->constant_bytes, big);
    sink.arg = &s;
    assert_int_equal(neff_constants_stream(neff, &sink, &err), NRT_SUCCESS);
    peak = anonymous_kb();
    assert_int_equal(s.bytes, big);
#ifndef __SANITIZE_THREAD__ /* its shadow of what is read is anonymous memory too */
    assert_true(peak - before < 8 * 1024);
#else
    (void)before, (void)peak;
#endif
    neff_destroy(neff);
    munmap(map, total);
    maker_fini(&m);
}

static void json_past_four_gigabytes_is_refused(void **state)
{
    struct neff_options opt = {.max_json = UINT64_MAX};
    struct neff *neff = NULL;
    struct maker m;
    struct err err = {0};
    uint8_t *map;
    uint64_t total;

    (void)state;
    maker_small(&m);
    maker_put(&m, "info.json", "{}", 2);
    map = map_with_hole(&m, "info.json", 4294967296ull, &total);
    assert_int_equal(neff_create(map, total, &opt, &neff, &err), NRT_INVALID);
    assert_string_equal(
        err.text, "File info.json size (4294967296) exceeds json parser maximum (4294967295)");
    PROVES("neff-145");
    PROVES("neff-201");
    munmap(map, total);
    maker_fini(&m);
}

/* What a plain payload holds is counted whole: 16 GiB may be there, not a block more. */
static void sixteen_gigabytes_are_the_limit(void **state)
{
    const uint64_t limit = 16ull << 30;

    (void)state;
    for (unsigned more = 0; more < 2; more++) {
        struct neff *neff = NULL;
        struct maker m;
        struct err err = {0};
        uint64_t total, rest;
        uint8_t *map;

        maker_small(&m);
        maker_put(&m, "extra", "x", 1);
        map = map_with_hole(&m, "extra", 512, &total);
        rest = total - NEFF_HEADER_SIZE - 512; /* headers, the other members, the end */
        munmap(map, total);
        map = map_with_hole(&m, "extra", limit - rest + 512 * more, &total);
        assert_int_equal(total, NEFF_HEADER_SIZE + limit + 512 * more);
        assert_int_equal(neff_create(map, total, NULL, &neff, &err),
                         more ? NRT_RESOURCE : NRT_SUCCESS);
        if (more)
            assert_string_equal(err.text, "NEFF payload too large");
        neff_destroy(neff);
        munmap(map, total);
        maker_fini(&m);
    }
    PROVES("neff-138");
}

/* 100,000 descriptors: they all arrive; a bound on memory instead of one on time. */
static void many_descriptors_are_read(void **state)
{
    static const char desc[] =
        "{\"from\": \"a\", \"from_off\": %u, \"from_steps\": [1], \"from_sizes\": [4], "
        "\"to\": \"t0\", \"to_off\": 0, \"to_steps\": [1], \"to_sizes\": [4]}";
    char *text = malloc(200 * 100000), *p = text;
    const struct neff_engine_code *sp;
    struct neff *neff;
    struct maker m;
    struct err err = {0};
    uint8_t *file;
    size_t size;

    (void)state;
    p += sprintf(p, "{\"dma\": [");
    for (unsigned g = 0; g < 1000; g++) {
        p += sprintf(p, "%s{\"id\": %u, \"queue\": \"qIn\", \"desc\": [", g > 0 ? ", " : "", g);
        for (unsigned d = 0; d < 100; d++) {
            p += sprintf(p, "%s", d > 0 ? ", " : "");
            p += sprintf(p, desc, d);
        }
        p += sprintf(p, "]}");
    }
    sprintf(p, "]}");
    maker_example(&m);
    maker_text(&m, "sg00/SP.json", text);
    file = maker_write(&m, &size);
    assert_int_equal(neff_create(file, size, NULL, &neff, &err), NRT_SUCCESS);
    sp = &neff->graphs[0].engines[NEFF_SP];
    assert_int_equal(sp->group_count, 1000);
    assert_int_equal(sp->groups[999].descs[57].from[0].off, 57);
    assert_int_equal(neff->graphs[0].ring_io_bytes, 100000 * (16 + 16 + 16));
    neff_destroy(neff);
    free(file);
    free(text);
    maker_fini(&m);
}

static void failed_allocations_are_reported(void **state)
{
    (void)state;
    for (unsigned gzip = 0; gzip < 2; gzip++) {
        uint64_t total = 0;
        struct maker m;
        uint8_t *file;
        size_t size;

        maker_two_cores(&m);
        m.gzip = gzip != 0;
        file = maker_write(&m, &size);
        for (uint64_t nth = 0; nth == 0 || nth <= total; nth++) {
            struct neff *neff = NULL;
            struct err err = {0};
            NRT_STATUS st;

            if (nth == 0)
                fault_count_start();
            else
                fault_arm(FAULT_ALLOC, nth);
            st = neff_create(file, size, NULL, &neff, &err);
            if (nth == 0)
                total = fault_count(FAULT_ALLOC);
            fault_disarm();
            assert_int_equal(st, nth == 0 ? NRT_SUCCESS : NRT_RESOURCE);
            neff_destroy(neff);
        }
        assert_true(total > 50);
        free(file);
        maker_fini(&m);
    }
}

/* Random damage of every kind of file: a status, never a crash. */
static void random_damage_never_crashes(void **state)
{

    (void)state;
    srand((unsigned)seed_take(77));
    for (unsigned gzip = 0; gzip < 2; gzip++) {
        struct maker m;
        struct err err;
        uint8_t *file, *copy;
        size_t size;

        maker_example(&m);
        m.gzip = gzip != 0;
        file = maker_write(&m, &size);
        copy = malloc(size);
        for (unsigned round = 0; round < 3000; round++) {
            memcpy(copy, file, size);
            for (unsigned k = (unsigned)rand() % 8; k-- > 0;)
                copy[(size_t)rand() % size] ^= (uint8_t)(1u << (rand() % 8));
            (void)load(copy, size, &err);
        }
        free(copy);
        free(file);
        maker_fini(&m);
    }
    PROVES("neff-208");
}

static NRT_STATUS drop_out(void *arg, uint64_t off, const void *data, size_t size, struct err *err)
{
    return neff_memory_write(arg, off, data, size, err);
}

/* Section 12: plain and optimized forms hold the same. */
static void rewritten_files_hold_the_same(void **state)
{
    struct neff_memory plain = {0}, small = {0};
    struct neff_out out = {drop_out, &plain}, out2 = {drop_out, &small};
    struct neff_options check = {.validate_hash = true};
    struct neff *a, *b, *c;
    struct maker m;
    struct err err = {0};
    uint8_t *file, *tar, got[256];
    size_t size, tar_size;

    (void)state;
    maker_two_cores(&m);
    m.gzip = true;
    maker_text(&m, "debug_info/sg00-sp.json", "[]");
    file = maker_write(&m, &size);
    tar = maker_tar(&m, &tar_size);
    assert_int_equal(neff_create(file, size, &check, &a, &err), NRT_SUCCESS);
    assert_int_equal(neff_write_plain(a, &out, &err), NRT_SUCCESS);
    assert_int_equal(plain.size, 1024 + tar_size);
    assert_memory_equal(plain.bytes + 1024, tar, tar_size);
    assert_int_equal(neff_create(plain.bytes, plain.size, &check, &b, &err), NRT_SUCCESS);
    assert_false(b->is_gzip);
    assert_memory_equal(b->header.uuid, a->header.uuid, 16);

    assert_int_equal(neff_write_optimized(a, false, &out2, &err), NRT_INVALID); /* gzip */
    memset(&err, 0, sizeof(err));
    assert_int_equal(neff_write_optimized(b, false, &out2, &err), NRT_SUCCESS);
    assert_int_equal(neff_create(small.bytes, small.size, &check, &c, &err), NRT_SUCCESS);
    assert_int_equal(neff_member_find(c, "debug_info/sg00-sp.json"), NEFF_NONE);
    assert_int_equal(neff_member_find(c, "sg00/w.npy"), NEFF_NONE);
    assert_true(c->header.feature_bits & NEFF_FEATURE_BIN_WEIGHTS);
    for (unsigned g = 0; g < 2; g++) {
        const struct neff_var *v = &c->graphs[g].vars[5];

        assert_int_equal(c->graphs[g].var_count, b->graphs[g].var_count);
        assert_int_equal(v->size, 256);
        assert_int_equal(neff_member_read(c, v->file_member, v->file_off, got, 256, &err),
                         NRT_SUCCESS);
        assert_memory_equal(got, maker_find(&m, "sg00/w.npy")->data + 128, 256);
        assert_int_equal(c->graphs[g].engines[NEFF_SP].group_count, 4);
    }
    neff_destroy(a);
    neff_destroy(b);
    neff_destroy(c);
    free(plain.bytes);
    free(small.bytes);
    free(file);
    free(tar);
    maker_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncation_anywhere_is_refused),
        cmocka_unit_test(a_damaged_gzip_is_refused),
        cmocka_unit_test(a_damaged_tar_is_refused),
        cmocka_unit_test(other_formats_are_refused),
        cmocka_unit_test(a_thousand_to_one_is_the_limit),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(constants_stream_in_order),
        cmocka_unit_test(a_gigabyte_of_constants_costs_no_memory),
        cmocka_unit_test(json_past_four_gigabytes_is_refused),
        cmocka_unit_test(sixteen_gigabytes_are_the_limit),
        cmocka_unit_test(many_descriptors_are_read),
        cmocka_unit_test(failed_allocations_are_reported),
        cmocka_unit_test(random_damage_never_crashes),
        cmocka_unit_test(rewritten_files_hold_the_same),
    };

    return cmocka_run_group_tests_name("neff-payload", tests, NULL, NULL);
}
