/* SPDX-License-Identifier: Apache-2.0 */
/* Every function of neff/build.h with NULL for each of its pointers, and with NULL in each pointer
 * of every struct: an error like others, or what a comment of the header allows (gen_null.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "neff/build.h"
#include "null_calls.h"

static const uint64_t shape[1] = {1};
static const uint8_t bytes[8] = {1};
static const int vars[1] = {0};
static const uint32_t numbers[2] = {0, 1};
static const uint32_t pairs[1][2] = {{0, 1}};
static const char *const names[1] = {"instance"};
static char path[] = "/tmp/neff-null-XXXXXX";
static void *written;
static size_t written_size;

/* One valid sample of each struct. Where a rule forbids all fields at once the strict reader is not
 * asked: only the samples without a NULL in doubt are written. */
static const struct neff_build_queue queue = {.name = "another",
                                              .type = "data",
                                              .owner = "sp",
                                              .semaphore_set = numbers,
                                              .semaphore_set_count = 1,
                                              .instances = names,
                                              .instance_count = 1};
static const struct neff_build_group group = {.id = 1,
                                              .instance_name = "instance",
                                              .function_start = "",
                                              .remote_semaphores = numbers,
                                              .remote_semaphore_count = 1};
static const struct neff_build_side side = {
    .var = 0, .ndim = 1, .steps = {1}, .sizes = {4}, .dtype = "float32"};
static const float scales[1] = {2};
static const struct neff_build_desc desc = {.op = "fma",
                                            .from = &side,
                                            .from_count = 1,
                                            .to = {.var = 1, .ndim = 1, .steps = {1}, .sizes = {4}},
                                            .scales = scales,
                                            .constant_dtype = "float32",
                                            .constant = 1};
static const struct neff_build_coll_range range = {.var = 0, .size = 4};
static const struct neff_build_coll_group ranks = {numbers, 2};
static const struct neff_build_coll coll = {.op = "all_reduce",
                                            .reduce = "add",
                                            .dtype = "float32",
                                            .groups = &ranks,
                                            .group_count = 1,
                                            .pairs = pairs,
                                            .pair_count = 1,
                                            .in = &range,
                                            .out = &range,
                                            .in_count = 1,
                                            .out_count = 1,
                                            .algorithm = "ring"};
static const struct neff_build_tensor tensor = {"t", "float32", 1, shape, "NC", false};
static const struct neff_build_node node = {.name = "host",
                                            .is_cpu = true,
                                            .library = "lib.so",
                                            .function = "f",
                                            .inputs = &tensor,
                                            .outputs = &tensor,
                                            .input_count = 1,
                                            .output_count = 1};
static const struct neff_build_options options = {.build_version = "1", .arch = "trn1"};

static int failed(NRT_STATUS status)
{
    neff_build_free(written);
    written = NULL;
    return -(int)status;
}

static int created(struct neff_build *b)
{
    neff_build_destroy(b);
    return b == NULL ? -1 : 0;
}

static int told(const char *text)
{
    return *text != '\0' ? -1 : 0;
}

/* ---- a struct, used ---- */

#define USE(type) static int use_##type(struct neff_build *b, const struct type *s)

USE(neff_build_queue)
{
    return neff_build_queue(b, 0, s);
}

USE(neff_build_group)
{
    return neff_build_group(b, 0, NEFF_SP, s);
}

USE(neff_build_side)
{
    struct neff_build_desc d = desc;

    d.from = s;
    return neff_build_desc(b, 0, NEFF_SP, 0, &d);
}

USE(neff_build_desc)
{
    return neff_build_desc(b, 0, NEFF_SP, 0, s);
}

USE(neff_build_coll)
{
    return neff_build_collective(b, 0, s);
}

USE(neff_build_coll_group)
{
    struct neff_build_coll c = coll;

    c.groups = s;
    return neff_build_collective(b, 0, &c);
}

USE(neff_build_tensor)
{
    struct neff_build_node n = node;

    n.inputs = s;
    return neff_build_node(b, &n);
}

USE(neff_build_node)
{
    return neff_build_node(b, s);
}

USE(neff_build_options)
{
    return failed(neff_build_write_memory(b, s, &written, &written_size));
}

#define sample_neff_build_queue      queue
#define sample_neff_build_group      group
#define sample_neff_build_side       side
#define sample_neff_build_desc       desc
#define sample_neff_build_coll       coll
#define sample_neff_build_coll_group ranks
#define sample_neff_build_tensor     tensor
#define sample_neff_build_node       node
#define sample_neff_build_options    options

/* The sample with one pointer less. */
#define WITHOUT(type, member)                \
    ({                                       \
        struct type without = sample_##type; \
        without.member = NULL;               \
        use_##type(b, &without);             \
    })

/* ---- the test ---- */

/* Can be written: two variables, a queue, and a program that ends. */
static struct neff_build *writable(void)
{
    static const uint8_t end[320] = {4, 0, 1, NEFF_SP};
    struct neff_build *b = neff_build_create("null");
    struct neff_build_queue q = {.name = "q", .type = "data"};
    struct neff_build_group g = {.id = 0};

    assert_non_null(b);
    assert_int_equal(neff_build_input(b, 0, "x", "float32", 1, shape), 0);
    assert_int_equal(neff_build_output(b, 0, "y", "float32", 1, shape), 1);
    assert_int_equal(neff_build_queue(b, 0, &q), 0);
    assert_int_equal(neff_build_group(b, 0, NEFF_SP, &g), 0);
    assert_int_equal(neff_build_copy(b, 0, NEFF_SP, 0, 0, 0, 1, 0, 4), 0);
    assert_int_equal(neff_build_program(b, 0, NEFF_SP, end, sizeof(end)), 0);
    return b;
}

/* What a builder says after a call with NULL, and at its end. */
static void judge(struct neff_build *b, const char *what, bool may_be_null, int result)
{
    const char *reason = neff_build_error(b);
    bool has_none = strstr(what, ".b") != NULL && what[strlen(what) - 2] == '.'; /* no builder */

    if (may_be_null ? result < 0 : result >= 0)
        fail_msg("%s: %d, %s", what, result, reason);
    if (may_be_null || has_none)
        assert_string_equal(reason, "");
    else if (reason[0] == '\0')
        fail_msg("%s: no reason", what);
    if (reason[0] != '\0') {
        assert_true(neff_build_state_buffer(b, 0, "SB") < 0);
        assert_int_equal(neff_build_write_memory(b, NULL, &written, &written_size), NRT_INVALID);
    }
    neff_build_destroy(b);
}

static void null_is_an_error_like_others(void **state)
{
    unsigned n = 0;

    (void)state;
#define CALL(what, may_be_null, expression)  \
    {                                        \
        struct neff_build *b = writable();   \
        int result = (expression);           \
                                             \
        judge(b, what, may_be_null, result); \
        n++;                                 \
    }
    NULL_CALLS(CALL)
    assert_true(n > 80);
}

static void name_of_an_instance_is_needed(void **state)
{
    static const char *const none[2] = {"a", NULL};
    struct neff_build *b = writable();
    struct neff_build_queue q = queue;

    (void)state;
    q.instances = none;
    q.instance_count = 2;
    judge(b, "instances[1]", false, neff_build_queue(b, 0, &q));
}

/* Where nothing is to be read there need be nothing. */
static void nothing_is_read_from_null(void **state)
{
    struct neff_build *b = writable();
    struct neff_build_node n = {.is_cpu = true, .library = "lib.so", .function = "f"};
    struct neff_build_tensor t = {.name = "t", .dtype = "float32"};
    struct neff_build_queue q = {.name = "p", .type = "data"};

    (void)state;
    assert_true(neff_build_constant_raw(b, 0, "zeros", 8, NULL, 0) >= 0);
    assert_true(neff_build_constant(b, 0, "nothing", "float32", 1, (const uint64_t[]){0}, NULL) >=
                0);
    assert_true(neff_build_input(b, 0, "scalar", "float32", 0, NULL) >= 0);
    assert_true(neff_build_dge_table(b, 0, "table", NULL, 0) >= 0);
    assert_true(neff_build_program(b, 0, NEFF_ACT, NULL, 0) >= 0);
    assert_true(neff_build_member(b, "empty", NULL, 0) >= 0);
    assert_true(neff_build_queue(b, 0, &q) >= 0);
    assert_true(neff_build_node(b, &n) >= 0);
    n.inputs = &t;
    n.input_count = 1;
    assert_true(neff_build_node(b, &n) >= 0);
    assert_string_equal(neff_build_error(b), "");
    neff_build_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_is_an_error_like_others),
        cmocka_unit_test(name_of_an_instance_is_needed),
        cmocka_unit_test(nothing_is_read_from_null),
    };
    int fd = mkstemp(path), rc;

    if (fd < 0)
        return 1;
    close(fd);
    rc = cmocka_run_group_tests_name("neff-null", tests, NULL, NULL);
    unlink(path);
    return rc;
}
