/* SPDX-License-Identifier: Apache-2.0 */
/* Headers written by NumPy itself, NumPy's own header bytes for our writer, and hostile ones. */
#include "base/npy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "npy_vectors.h"

static void parse_what_numpy_wrote(void **state)
{
    for (size_t i = 0; i < sizeof(NPY) / sizeof(NPY[0]); i++) {
        const struct npy_vec *v = &NPY[i];
        struct npy_desc d;
        struct err err = {.status = NRT_SUCCESS};

        if (npy_parse(v->bytes, v->size, &d, &err) != NRT_SUCCESS)
            fail_msg("vector %zu: %s", i, err.text);
        assert_int_equal(d.dtype, v->t);
        assert_int_equal(d.elem_size, v->elem);
        assert_int_equal(d.fortran_order, v->fortran);
        assert_int_equal(d.ndim, v->ndim);
        assert_memory_equal(d.shape, v->shape, v->ndim * sizeof(v->shape[0]));
        assert_int_equal(d.data_off, v->off);
        assert_int_equal(d.data_bytes, v->data);
    }
}

static void parse_truncated_anywhere_is_refused(void **state)
{
    for (size_t i = 0; i < sizeof(NPY) / sizeof(NPY[0]); i++) {
        for (size_t n = 0; n < NPY[i].size; n += 1 + n / 16) {
            char *exact = malloc(n ? n : 1);
            struct npy_desc d;
            struct err err = {.status = NRT_SUCCESS};

            memcpy(exact, NPY[i].bytes, n);
            assert_int_equal(npy_parse(exact, n, &d, &err), NRT_INVALID);
            assert_true(err.text[0] != '\0');
            free(exact);
        }
    }
}

static NRT_STATUS parse_text(const char *dict, struct npy_desc *d, struct err *err)
{
    unsigned char buf[2048] = "\x93NUMPY\x01";
    size_t n = strlen(dict);

    memset(err, 0, sizeof(*err));
    buf[8] = (unsigned char)n;
    buf[9] = (unsigned char)(n >> 8);
    memcpy(buf + 10, dict, n);
    return npy_parse(buf, 10 + n, d, err);
}

static void parse_hostile_is_refused_with_a_reason(void **state)
{
    static const struct {
        const char *dict, *reason;
    } bad[] = {
        {"", "not a dictionary"},
        {"[]", "not a dictionary"},
        {"{}", "\"descr\" is missing"},
        {"{'descr': '<f4', 'fortran_order': False}", "\"shape\" is missing"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)", "malformed"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} x", "text after"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3)}", "not a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': [3]}", "not a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}", "dimension 0"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,,)}", "dimension 1"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3 4)}", "malformed"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (3,)}", "fortran_order"},
        {"{'descr': 4, 'fortran_order': False, 'shape': (3,)}", "descr"},
        {"{'descr': '<q4', 'fortran_order': False, 'shape': (3,)}", "not a type"},
        {"{'descr': '<f3', 'fortran_order': False, 'shape': (3,)}", "not a type"},
        {"{'descr': '<f', 'fortran_order': False, 'shape': (3,)}", "not a type"},
        {"{'descr': '', 'fortran_order': False, 'shape': (3,)}", "not a type"},
        {"{'descr': '<V99999999999', 'fortran_order': False, 'shape': (3,)}", "not a type"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", "pickled"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}", "descr"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", "twice"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x': 1}", "unknown"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 2)}",
         "overflows"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
         "dimension 0"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
         "1,1,1,1,1,1,1,1,1,1,1,1,1,1)}",
         "more than 32"},
    };
    struct npy_desc d;
    struct err err;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memset(&d, 0x5A, sizeof(d));
        assert_int_equal(parse_text(bad[i].dict, &d, &err), NRT_INVALID);
        if (strstr(err.text, bad[i].reason) == NULL)
            fail_msg("case %zu says: %s", i, err.text);
        assert_int_equal(d.ndim, 0x5A5A5A5A); /* untouched on failure */
    }
    assert_int_equal(npy_parse("\x93NUMPY\x04\x00\x00\x00\x00\x00", 12, &d, &err), NRT_INVALID);
    assert_int_equal(npy_parse("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12, &d, NULL), NRT_INVALID);
}

static void parse_accepts_older_spellings(void **state)
{
    struct npy_desc d;
    struct err err;

    assert_int_equal(
        parse_text("{\"shape\": (3L, 4L,), 'fortran_order':True,'descr':'=i4',}\n", &d, &err),
        NRT_SUCCESS);
    assert_int_equal(d.dtype, DT_INT32);
    assert_int_equal(d.ndim, 2);
    assert_int_equal(d.data_bytes, 48);
    assert_true(d.fortran_order);
}

static void write_is_what_numpy_writes(void **state)
{
    for (size_t i = 0; i < sizeof(NPY_WRITE) / sizeof(NPY_WRITE[0]); i++) {
        struct strbuf b = {.s = NULL};

        assert_true(npy_write_header(&b, NPY_WRITE[i].t, NPY_WRITE[i].ndim, NPY_WRITE[i].shape));
        assert_int_equal(b.len, NPY_WRITE[i].size);
        assert_memory_equal(b.s, NPY_WRITE[i].bytes, b.len);
        strbuf_fini(&b);
    }
}

static void write_of_types_that_numpy_lacks(void **state)
{
    struct strbuf b = {.s = NULL};
    struct npy_desc d;
    uint64_t shape[1] = {9};

    assert_true(npy_write_header(&b, DT_BF16, 1, shape));
    assert_non_null(strstr(b.s + 10, "'<V2'"));
    assert_int_equal(npy_parse(b.s, b.len, &d, NULL), NRT_SUCCESS);
    assert_int_equal(d.data_bytes, 18);
    strbuf_fini(&b);
    assert_true(npy_write_header(&b, DT_FP8_E4, 1, shape));
    assert_non_null(strstr(b.s + 10, "'|V1'"));
    strbuf_fini(&b);
    assert_false(npy_write_header(&b, DT_INVALID, 1, shape));
    assert_false(npy_write_header(&b, DT_FP32, NPY_MAX_DIMS + 1, shape));
}

/* Which elements an array may hold: NumPy's own type, or as many bytes where it has none. */
static void an_array_holds_its_type(void **state)
{
    static const struct {
        enum dtype array, elements;
        bool holds;
    } rows[] = {
        {DT_FP32, DT_FP32, true},     {DT_FP32, DT_TF32, true},    {DT_INT32, DT_FP32, false},
        {DT_UINT32, DT_INT32, false}, {DT_BOOL, DT_UINT8, false},  {DT_BF16, DT_BF16, true},
        {DT_UINT16, DT_BF16, true},   {DT_FP16, DT_BF16, true},    {DT_FP32, DT_BF16, false},
        {DT_BF16, DT_FP16, false},    {DT_UINT8, DT_FP8_E4, true}, {DT_FP8_E5, DT_UINT8, false},
        {DT_FP32, DT_INVALID, false}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct strbuf b = {.s = NULL};
        struct npy_desc d;
        uint64_t n = 3;

        assert_true(npy_write_header(&b, rows[i].array, 1, &n));
        assert_int_equal(npy_parse(b.s, b.len, &d, NULL), NRT_SUCCESS);
        if (npy_holds(&d, rows[i].elements) != rows[i].holds)
            fail_msg("row %zu", i);
        strbuf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_what_numpy_wrote),
        cmocka_unit_test(parse_truncated_anywhere_is_refused),
        cmocka_unit_test(parse_hostile_is_refused_with_a_reason),
        cmocka_unit_test(parse_accepts_older_spellings),
        cmocka_unit_test(write_is_what_numpy_writes),
        cmocka_unit_test(write_of_types_that_numpy_lacks),
        cmocka_unit_test(an_array_holds_its_type),
    };

    return cmocka_run_group_tests_name("npy", tests, NULL, NULL);
}
