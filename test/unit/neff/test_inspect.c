/* SPDX-License-Identifier: Apache-2.0 */
/* neff/inspect.h: what was built is what is seen, up to the last index and not behind it, by
 * several threads; what cannot be read is an error. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "neff/asm.h"
#include "neff/inspect.h"

static const uint64_t shape[2] = {3, 5};
static void *bytes;
static size_t size;

static int setup(void **state)
{
    static const char text[] =
        "var x: input f32[3, 5]\nvar y: output bf16[7]\nvar z: input u8\n"
        "var w: file u8[9] = {1,2,3,4,5,6,7,8,9}\nvar t: virtual u8[32] @ 64\n"
        "queue q: data owner=sp\nsp: dma on q: x <- x\n    end\n";
    struct neff_build *b = NULL;
    NRT_STATUS st = neff_asm_text(text, sizeof(text) - 1, NULL, &b, NULL, NULL);

    (void)state;
    if (st == NRT_SUCCESS)
        st = neff_build_write_memory(b, NULL, &bytes, &size);
    neff_build_destroy(b);
    return st == NRT_SUCCESS ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    neff_build_free(bytes);
    return 0;
}

static struct neff_image *opened(void)
{
    struct neff_image *image = NULL;

    return neff_image_open_memory(bytes, size, NEFF_IMAGE_CHECK_HASH, &image, NULL) == NRT_SUCCESS
               ? image
               : NULL;
}

/* Everything that can be asked; the index of what is wrong, 0 when nothing is. */
static int looked_at(const struct neff_image *image)
{
    struct neff_image_graph g;
    struct neff_image_variable v;
    struct neff_image_node n;
    struct neff_image_tensor t;
    uint64_t member_size = 0;
    uint32_t members = 0, data = UINT32_MAX;
    uint8_t got[9];

    if (neff_image_header(image)->pkg_version != 2 || !neff_image_is_gzip(image))
        return 1;
    if (strcmp(neff_image_name(image), "subgraph") != 0)
        return 2;
    for (; neff_image_member(image, members, &member_size) != NULL; members++)
        if (strcmp(neff_image_member(image, members, NULL), "sg00/w.npy") == 0)
            data = members;
    if (data == UINT32_MAX || neff_image_member(image, UINT32_MAX, &member_size) != NULL)
        return 3;
    (void)neff_image_member(image, data, &member_size);
    if (neff_image_member_read(image, data, member_size - 9, got, 9, NULL) != NRT_SUCCESS ||
        memcmp(got, "\1\2\3\4\5\6\7\10\11", 9) != 0)
        return 4;
    if (!neff_image_graph(image, 0, &g) || neff_image_graph(image, 1, &g) ||
        neff_image_graph(image, UINT32_MAX, &g))
        return 5;
    if (g.variable_count != 5 || strcmp(g.isa_name, "opennrt") != 0 || g.code_bytes[NEFF_SP] == 0 ||
        g.code_bytes[NEFF_PE] != 0 || g.constant_bytes < 9 || g.scratchpad_bytes < 96)
        return 6;
    if (neff_image_variable(image, 0, 5, &v) || neff_image_variable(image, 1, 0, &v) ||
        !neff_image_variable(image, 0, 3, &v) || strcmp(v.type, "file") != 0 ||
        strcmp(v.file, "sg00/w.npy") != 0 || v.size != 9 || v.var_id != 3)
        return 7;
    if (!neff_image_variable(image, 0, 4, &v) || v.scratch_off != 64 || v.file != NULL)
        return 8;
    if (!neff_image_node(image, 0, &n) || neff_image_node(image, 1, &n) || n.is_cpu ||
        n.input_count != 2 || n.output_count != 1)
        return 9;
    if (!neff_image_tensor(image, 0, 0, &t) || t.ndim != 2 || memcmp(t.shape, shape, 16) != 0 ||
        strcmp(t.dtype, "float32") != 0 || t.format != NULL || t.time_series)
        return 10;
    if (!neff_image_tensor(image, 0, 1, &t) || t.ndim != 1 || t.shape[0] != 1)
        return 11; /* rank 0 */
    if (!neff_image_tensor(image, 0, 2, &t) || strcmp(t.name, "y") != 0 || t.size != 14)
        return 12;
    if (neff_image_tensor(image, 0, 3, &t) || neff_image_tensor(image, 0, UINT32_MAX, &t) ||
        neff_image_tensor(image, 1, 0, &t))
        return 13;
    return 0;
}

static void image_shows_what_was_built(void **state)
{
    struct neff_image *image = opened();

    (void)state;
    assert_non_null(image);
    assert_int_equal(looked_at(image), 0);
    neff_image_close(image);
    neff_image_close(NULL);
}

static void *look(void *image)
{
    for (int i = 0; i < 20; i++)
        if (looked_at(image) != 0)
            return image;
    return NULL;
}

static void threads_share_an_image(void **state)
{
    struct neff_image *image = opened();
    pthread_t t[4];
    void *wrong;

    (void)state;
    assert_non_null(image);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, look, image), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(t[i], &wrong), 0);
        assert_null(wrong);
    }
    neff_image_close(image);
}

static void reading_outside_a_member_is_refused(void **state)
{
    static const struct {
        uint32_t index;
        uint64_t off;
        size_t size;
    } rows[] = {{0, UINT64_MAX, 1}, {0, UINT64_MAX - 3, 8}, {0, 1 << 20, 1},
                {0, 0, 1 << 20},    {UINT32_MAX, 0, 1},     {1000, 0, 0}};
    struct neff_image *image = opened();
    static uint8_t dst[1 << 20];

    (void)state;
    assert_non_null(image);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct neff_error error = {0};
        NRT_STATUS st =
            neff_image_member_read(image, rows[i].index, rows[i].off, dst, rows[i].size, &error);

        assert_int_not_equal(st, NRT_SUCCESS);
        assert_int_equal(st, error.status);
        assert_string_not_equal(error.text, "");
    }
    neff_image_close(image);
}

static void missing_arguments_are_an_error(void **state)
{
    static const struct neff_asm_define no_value = {"X", NULL}, no_name = {NULL, "1"};
    struct neff_image *image = NULL;
    struct neff_build *b = NULL;

    (void)state;
    for (int i = 0; i < 8; i++) {
        struct neff_error error = {0};
        struct neff_asm_options o = {.defines = i == 5   ? &no_value
                                                : i == 6 ? &no_name
                                                         : NULL,
                                     .define_count = 1};
        NRT_STATUS st = i == 0   ? neff_image_open(NULL, 0, &image, &error)
                        : i == 1 ? neff_image_open("/dev/null", 0, NULL, &error)
                        : i == 2 ? neff_image_open_memory(NULL, 4096, 0, &image, &error)
                        : i == 3 ? neff_image_open_memory(bytes, size, 0, NULL, &error)
                        : i == 4 ? neff_image_open_memory(NULL, 0, 0, &image, &error)
                                 : neff_asm_text("sp: end\n", 8, &o, &b, NULL, &error);

        if (st != NRT_INVALID || error.status != NRT_INVALID || error.text[0] == '\0')
            fail_msg("row %d: %d %s", i, st, error.text);
        assert_null(image);
        assert_null(b);
    }
    assert_int_equal(neff_image_open(NULL, 0, &image, NULL), NRT_INVALID);
}

/* A value is one expression, and nothing behind it. */
static void definition_is_one_expression(void **state)
{
    static const char *const bad[] = {"1 2", "1\n2", "1\n\nsp: end", "1 }", "1 -> 2", "", "("};
    static const char text[] = "param X = 3\nvar x: input u8[X]\nsp: end\n";

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct neff_asm_define d = {"X", bad[i]};
        struct neff_asm_options o = {.defines = &d, .define_count = 1};
        struct neff_build *b = NULL;

        if (neff_asm_text(text, sizeof(text) - 1, &o, &b, NULL, NULL) != NRT_INVALID)
            fail_msg("'%s' is taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(image_shows_what_was_built),
        cmocka_unit_test(threads_share_an_image),
        cmocka_unit_test(reading_outside_a_member_is_refused),
        cmocka_unit_test(missing_arguments_are_an_error),
        cmocka_unit_test(definition_is_one_expression),
    };

    return cmocka_run_group_tests_name("neff-inspect", tests, setup, teardown);
}
