/* SPDX-License-Identifier: Apache-2.0 */
/* Section 10 of docs/spec/neff.md: each rule has a file, mutated in one place, that triggers
 * exactly its message and status. The unmutated file loads (test_example). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "maker.h"
#include "neff/neff.h"
#include "proves.h"

#define SP  "sg00/SP.json"
#define DEF "sg00/def.json"

/* One text edit of the example. */
struct edit_rule {
    const char *id;
    const char *member, *from, *to;
    const char *text;
};

static const struct edit_rule edit_rules[] = {
    {"neff-140", "kelf-0.json", "\"graphs\"", "\"graph\"", "kelf-0.json: invalid graphs"},
    {"neff-140", "kelf-0.json", "[{\"definition\": \"sg00/def.json\", \"name\": \"sg00\"}]", "[]",
     "kelf-0.json: invalid graphs"},
    {"neff-140", "kelf-0.json", "[{\"definition\": \"sg00/def.json\", \"name\": \"sg00\"}]", "3",
     "kelf-0.json: invalid graphs"},
    {"neff-141", "kelf-0.json", "sg00/def.json", "sg07/def.json",
     "sg07/def.json not found in NEFF"},
    {"neff-147", "kelf-0.json", ", \"name\": \"sg00\"", "",
     "kelf-0.json: graphs[0].name is missing"},
    {"neff-146", "kelf-0.json", "\"name\": \"sg00\"", "\"name\": 7",
     "kelf-0.json: graphs[0].name must be a string"},
    {"neff-142", "kelf-0.json", "\"name\": \"sg00\"}]",
     "\"name\": \"sg00\"}, {\"definition\": \"sg00/def.json\", \"name\": \"x\"}]",
     "NEFF has 2 subgraphs, LNC size is 1"},
    /* neff.json */
    {"neff-143", "neff.json", "\"name\": \"a\", \"size\": 256, \"shape\": [8, 8]",
     "\"name\": \"a\", \"size\": 256, \"shape\": [8, 9]", "tensor a: size 256, expected 288"},
    {"neff-143", "neff.json", "\"name\": \"a\", \"size\": 256, \"shape\": [8, 8]",
     "\"name\": \"a\", \"size\": 512, \"shape\": [8, 16]", "tensor a: size 512, expected 256"},
    {"neff-143", "neff.json", "\"name\": \"a\", \"size\": 256, \"shape\": [8, 8]",
     "\"name\": \"a\", \"size\": 256, \"shape\": [4294967295, 4294967295, 8]",
     "tensor a: size 256, expected 18446744073709551615"},
    {NULL, "neff.json", "\"name\": \"a\", \"size\": 256, \"shape\": [8, 8]",
     "\"name\": \"a\", \"size\": 256, \"shape\": [8, 4294967296]",
     "tensor a: shape entry 4294967296 out of range"},
    {NULL, "neff.json", "\"name\": \"a\"", "\"name\": \"zz\"", "tensor zz: no such variable"},
    {"neff-146", "neff.json", "\"executor\": \"NeuronCore\"", "\"executor\": \"GPU\"",
     "neff.json: nodes[0].executor must be NeuronCore or CPU"},
    {"neff-147", "neff.json", "\"name\": \"sg00\", ", "", "neff.json: nodes[0].name is missing"},
    {NULL, "neff.json", "\"executor\": \"NeuronCore\"",
     "\"executor\": \"CPU\", \"library\": \"lib.so\", \"function\": \"f\"",
     "lib.so not found in NEFF"},
    /* JSON */
    {"neff-144", DEF, "{\"name\": \"definition\"", "{\n \"name\" \"definition\"",
     "sg00/def.json:2:21: parse error: object key and value must be separated by a colon (':')"},
    {"neff-144", DEF, "\"version\": \"0.1\"", "\"name\": \"0.1\"",
     "sg00/def.json:1:24: duplicate key \"name\""},
    {"neff-144", DEF, "\"b\": {\"type\"", "\"a\": {\"type\"",
     "sg00/def.json:1:1112: duplicate key \"a\""},
    {"neff-144", "info.json", "\"toy_add\"", "9223372036854775808",
     "info.json:1:35: integer does not fit in 64 bits"},
    {"neff-144", "info.json", "\"toy_add\"", "\"toy\\u0000add\"",
     "info.json:1:35: NUL character in a string"},
    {"neff-146", DEF, "\"version\": \"0.1\"", "\"version\": 1",
     "sg00/def.json: version must be a string"},
    {"neff-146", "sg00/PE.json", "{\"dma\": []}", "[]",
     "sg00/PE.json: top level must be an object"},
    {"neff-146", "sg00/PE.json", "{\"dma\": []}", "{\"dma\": {}}",
     "sg00/PE.json: dma must be an array"},
    {"neff-146", SP, "\"section_start_desc\": true", "\"section_start_desc\": 1",
     "sg00/SP.json: dma[1].section_start_desc must be a boolean"},
    {"neff-147", DEF, "\"var\": {\"SB\"", "\"vars\": {\"SB\"", "sg00/def.json: var is missing"},
    /* def.json */
    {"neff-148", DEF, "\"SP.json\"", "\"SP9.json\"", "sg00/SP9.json not found in NEFF"},
    {"neff-148", DEF, "\"SP.bin\"", "\"SP9.bin\"", "sg00/SP9.bin not found in NEFF"},
    {"neff-147", DEF, "\"sp_instr\": \"SP.bin\", ", "", "sg00/def.json: sp_instr is missing"},
    {"neff-146", DEF, "\"SP.bin\"", "\"SP.json2\"",
     "sg00/def.json: sp_instr must be a name that ends in .bin"},
    {"neff-150", DEF, "\"type\": \"in\"", "\"type\": \"inn\"", "dma_queue qIn: invalid type inn"},
    {"neff-151", DEF, "\"num_queues\": 2", "\"num_queues\": 0",
     "dma_queue qIn: num_queues 0 out of range"},
    {"neff-151", DEF, "\"num_queues\": 2", "\"num_queues\": 17",
     "dma_queue qIn: num_queues 17 out of range"},
    {"neff-151", DEF, "\"num_queues\": 2", "\"num_queues\": -9223372036854775808",
     "dma_queue qIn: num_queues -9223372036854775808 out of range"},
    {"neff-152", DEF, "\"type\": \"in\", \"owner\": \"sp\"", "\"type\": \"in\", \"owner\": \"cpu\"",
     "dma_queue qIn: unknown owner cpu"},
    {"neff-153", DEF, "\"fabric_path\": \"alt\"", "\"fabric_path\": \"third\"",
     "dma_queue qOut: invalid fabric_path third"},
    {"neff-154", DEF, "[\"qAdd.i0\"]", "[\"qAdd.i0\", \"qAdd.i0\"]",
     "queue instance qAdd.i0 declared twice"},
    {"neff-155", DEF, "\"semaphore\": 3", "\"semaphore\": 256",
     "dma_queue qIn: invalid semaphore 256"},
    {"neff-155", DEF, "\"semaphore\": 3", "\"semaphore\": -1",
     "dma_queue qIn: invalid semaphore -1"},
    {"neff-155", DEF, "\"semaphore_set\": [4, 5]", "\"semaphore_set\": [4, 300]",
     "dma_queue qAdd: invalid semaphore 300"},
    /* variables */
    {"neff-156", DEF, "\"type\": \"tmp-buf\"", "\"type\": \"tmp\"", "var tmp: invalid type tmp"},
    {"neff-157", DEF, "\"var_id\": 8", "\"var_id\": 7", "var tab: duplicate var_id 7"},
    {"neff-157", DEF, "\"var_id\": 8", "\"var_id\": -8", "var tab: duplicate var_id -8"},
    {"neff-147", DEF, ", \"var_id\": 8", "", "sg00/def.json: var.tab.var_id is missing"},
    {"neff-158", DEF, "\"var_id\": 6, \"size\": 512", "\"var_id\": 6, \"size\": -512",
     "var tmp: invalid size"},
    {"neff-158", DEF, "\"var_id\": 6, \"size\": 512", "\"var_id\": 6", "var tmp: invalid size"},
    {"neff-158", DEF, "\"var_id\": 7, \"size\": 8", "\"var_id\": 7, \"size\": 7",
     "var pa: invalid size"},
    {"neff-158", DEF, "\"var_id\": 8, \"size\": 16", "\"var_id\": 8, \"size\": 15",
     "var tab: invalid size"},
    {"neff-159", DEF, "\"alignment\": 64", "\"alignment\": 48",
     "var c: alignment 48 is not a power of two"},
    {"neff-159", DEF, "\"alignment\": 64", "\"alignment\": -64",
     "var c: alignment -64 is not a power of two"},
    {"neff-160", DEF, "\"var_id\": 6,", "\"var_id\": 6, \"file_name\": \"w.npy\",",
     "var tmp: file_name is not valid for type tmp-buf"},
    {"neff-160", DEF, "\"var_id\": 6,", "\"var_id\": 6, \"backing_variable_off\": 0,",
     "var tmp: backing_variable_off is not valid for type tmp-buf"},
    {"neff-160", DEF, "\"var_id\": 6,", "\"var_id\": 6, \"referenced_var_id\": 0,",
     "var tmp: referenced_var_id is not valid for type tmp-buf"},
    {"neff-160", DEF, "\"var_id\": 6,", "\"var_id\": 6, \"list\": [],",
     "var tmp: list is not valid for type tmp-buf"},
    {"neff-161", DEF, "\"w.npy\"", "\"v.npy\"", "var w: file v.npy not found"},
    {"neff-161", DEF, ", \"file_name\": \"w.npy\"", "", "var w: file (none) not found"},
    {"neff-162", DEF, "\"var_id\": 5, \"size\": 256", "\"var_id\": 5, \"size\": 255",
     "var w: file w.npy has 256 bytes, size is 255"},
    {NULL, DEF, "\"file_name\": \"w.npy\"", "\"file_name\": \"w.npy\", \"file_off\": 129",
     "var w: file w.npy has 384 bytes, file_off is 129 and size 256"},
    {NULL, DEF, "\"file_name\": \"w.npy\"",
     "\"file_name\": \"w.npy\", \"file_off\": 9223372036854775807",
     "var w: file w.npy has 384 bytes, file_off is 9223372036854775807 and size 256"},
    {"neff-164", DEF, "\"backing_variable_off\": 0, ", "", "var t0: invalid backing_variable_off"},
    {"neff-164", DEF, "\"backing_variable_off\": 0", "\"backing_variable_off\": -1",
     "var t0: invalid backing_variable_off"},
    {"neff-164", DEF, "\"backing_variable_off\": 0",
     "\"backing_variable_off\": 9223372036854775807", "var t0: invalid backing_variable_off"},
    {"neff-165", DEF, "\"referenced_var_id\": 1", "\"referenced_var_id\": 99",
     "var pa: unknown var_id 99"},
    {"neff-165", DEF, "\"list\": [1, 2]", "\"list\": [1, 77]", "var tab: unknown var_id 77"},
    {"neff-166", DEF, "\"referenced_var_id\": 1", "\"referenced_var_id\": 7",
     "var pa: invalid reference"},
    /* groups */
    {"neff-169", SP, "\"id\": 0, \"queue\": \"qIn\", ", "\"id\": 0, ",
     "sg00/SP.json: dma[0] has no queue"},
    {"neff-170", SP, "\"id\": 0, \"queue\": \"qIn\"", "\"id\": 0, \"queue\": \"qX\"",
     "sg00/SP.json: dma[0]: unknown queue qX"},
    {"neff-170", SP, "\"instance_name\": \"qAdd.i0\"", "\"instance_name\": \"qAdd.i1\"",
     "sg00/SP.json: dma[1]: unknown queue qAdd.i1"},
    {"neff-171", SP, "\"id\": 0, \"queue\"", "\"queue\"", "sg00/SP.json: dma[0]: invalid id"},
    {"neff-171", SP, "\"id\": 0, \"queue\"", "\"id\": -1, \"queue\"",
     "sg00/SP.json: dma[0]: invalid id"},
    {"neff-171", SP, "\"id\": 0, \"queue\"", "\"id\": 4294967296, \"queue\"",
     "sg00/SP.json: dma[0]: invalid id"},
    {"neff-171", SP, "\"id\": 3, \"queue\"", "\"id\": 0, \"queue\"",
     "sg00/SP.json: dma[3]: invalid id"},
    {"neff-173", SP, "\"event\": 1", "\"event\": 256", "sg00/SP.json: dma[1]: invalid event 256"},
    {"neff-173", SP, "\"semaphore\": 4", "\"semaphore\": -4",
     "sg00/SP.json: dma[1]: invalid semaphore -4"},
    {"neff-174", SP, "\"event\": 1", "\"event\": 1, \"remote_semaphores\": [9]",
     "sg00/SP.json: dma[1]: remote_semaphores needs LNC size 2"},
    /* descriptors */
    {"neff-176", SP, "\"op\": \"add\"", "\"op\": \"sub\"",
     "sg00/SP.json: dma[1].desc[0]: invalid op sub"},
    {"neff-177", SP,
     "\"from\": \"a\", \"from_off\": 0, \"from_steps\": [1], \"from_sizes\": [256], "
     "\"to\": \"t0\"",
     "\"from\": \"a\", \"from_off\": 0, \"from_steps\": [1], \"from_sizes\": [256], \"to\": \"t9\"",
     "sg00/SP.json: dma[0].desc[0]: unknown variable t9"},
    {"neff-177", SP, "{\"from\": \"b\"", "{\"from\": \"bb\"",
     "sg00/SP.json: dma[1].desc[0].from_arr[1]: unknown variable bb"},
    {"neff-178", SP, "\"op\": \"add\", \"from_arr\": [", "\"op\": \"add\", \"#from_arr\": [",
     "sg00/SP.json: dma[1].desc[0]: from or from_arr is needed"},
    {"neff-180", SP, "\"from_steps\": [1], \"from_sizes\": [256], \"to\": \"t0\"",
     "\"from_steps\": [], \"from_sizes\": [], \"to\": \"t0\"",
     "sg00/SP.json: dma[0].desc[0]: steps and sizes must have the same length, 1 to 4"},
    {"neff-180", SP, "\"from_steps\": [1], \"from_sizes\": [256], \"to\": \"t0\"",
     "\"from_steps\": [1, 1, 1, 1, 1], \"from_sizes\": [256, 1, 1, 1, 1], \"to\": \"t0\"",
     "sg00/SP.json: dma[0].desc[0]: steps and sizes must have the same length, 1 to 4"},
    {"neff-180", SP, "\"from_steps\": [1], \"from_sizes\": [256], \"to\": \"t0\"",
     "\"from_steps\": [1], \"from_sizes\": [256, 1], \"to\": \"t0\"",
     "sg00/SP.json: dma[0].desc[0]: steps and sizes must have the same length, 1 to 4"},
    {"neff-181", SP, "\"from_steps\": [1], \"from_sizes\": [256], \"to\": \"t0\"",
     "\"from_steps\": [1], \"from_sizes\": [-1], \"to\": \"t0\"",
     "sg00/SP.json: dma[0].desc[0]: invalid access pattern"},
    {"neff-181", SP,
     "\"to\": \"t0\", \"to_off\": 0, \"to_steps\": [1], \"to_sizes\": [256]}]}, "
     "{\"id\": 1",
     "\"to\": \"t0\", \"to_off\": -1, \"to_steps\": [1], \"to_sizes\": [256]}]}, {\"id\": 1",
     "sg00/SP.json: dma[0].desc[0]: invalid access pattern"},
    {"neff-182", SP,
     "\"from\": \"a\", \"from_off\": 0, \"from_steps\": [1], \"from_sizes\": [256], "
     "\"to\": \"t0\"",
     "\"from\": \"a\", \"from_off\": 1, \"from_steps\": [1], \"from_sizes\": [256], \"to\": \"t0\"",
     "sg00/SP.json: dma[0].desc[0]: access [1,257) outside a of 256 bytes"},
    {"neff-182", SP, "\"from_steps\": [1], \"from_sizes\": [256], \"to\": \"t0\"",
     "\"from_steps\": [-1], \"from_sizes\": [256], \"to\": \"t0\"",
     "sg00/SP.json: dma[0].desc[0]: access [-255,1) outside a of 256 bytes"},
    {"neff-182", SP, "\"from_steps\": [1], \"from_sizes\": [256], \"to\": \"t0\"",
     "\"from_steps\": [1, 9223372036854775807], \"from_sizes\": [2, 9223372036854775807], "
     "\"to\": \"t0\"",
     "sg00/SP.json: dma[0].desc[0]: access [0,9223372036854775807) outside a of 256 bytes"},
    {"neff-182", SP, "\"from_off\": 0, \"from_steps\": [1], \"from_sizes\": [256], \"to\": \"t0\"",
     "\"from_off\": 9223372036854775807, \"from_steps\": [-9223372036854775808, 1, 1, 1], "
     "\"from_sizes\": [9223372036854775807, 9223372036854775807, 2, 1], \"to\": \"t0\"",
     "sg00/SP.json: dma[0].desc[0]: access [-9223372036854775808,9223372036854775807) outside a of "
     "256 bytes"},
    {"neff-181", SP, "\"from_steps\": [1], \"from_sizes\": [256], \"to\": \"t0\"",
     "\"from_steps\": [1, 0, 0], \"from_sizes\": [256, 4611686018427387904, 4], \"to\": \"t0\"",
     "sg00/SP.json: dma[0].desc[0]: invalid access pattern"},
    {"neff-183", SP, "\"from_steps\": [1], \"from_sizes\": [256], \"to\": \"t0\"",
     "\"from_steps\": [1], \"from_sizes\": [255], \"to\": \"t0\"",
     "sg00/SP.json: dma[0].desc[0]: 255 elements to 256"},
    {"neff-184", SP, "\"to_sizes\": [128], \"to_dtype\": \"bfloat16\"",
     "\"to_sizes\": [127], \"to_dtype\": \"bfloat16\"",
     "sg00/SP.json: dma[3].desc[3]: innermost size not a multiple of bfloat16"},
    {"neff-185", SP, "\"to_dtype\": \"bfloat16\"", "\"to_dtype\": \"float12\"",
     "sg00/SP.json: dma[3].desc[3]: invalid dtype float12"},
    {"neff-186", SP, "\"op\": \"cast\"", "\"op\": \"cast\", \"scale\": 2",
     "sg00/SP.json: dma[3].desc[3]: scale is not valid for op cast"},
    {"neff-186", SP, "\"op\": \"cast\"", "\"op\": \"cast\", \"scale_dtype\": \"float32\"",
     "sg00/SP.json: dma[3].desc[3]: scale_dtype is not valid for op cast"},
    {"neff-186", SP, "\"op\": \"cast\"", "\"op\": \"cast\", \"constant_dtype\": \"int32\"",
     "sg00/SP.json: dma[3].desc[3]: constant_dtype is not valid for op cast"},
    {"neff-186", SP, "\"op\": \"cast\"", "\"op\": \"cast\", \"transpose_shape\": [1, 1, 1, 1]",
     "sg00/SP.json: dma[3].desc[3]: transpose_shape is not valid for op cast"},
    {"neff-186", SP, "\"op\": \"cast\"", "\"op\": \"cast\", \"transpose_element_size\": 4",
     "sg00/SP.json: dma[3].desc[3]: transpose_element_size is not valid for op cast"},
    {"neff-187", SP, "\"scale_dtype\": \"float32\"", "\"scale_dtype\": \"bfloat16\"",
     "sg00/SP.json: dma[3].desc[0]: invalid scale_dtype bfloat16"},
    {"neff-187", SP, "\"op\": \"max\", \"constant_dtype\": \"float32\"",
     "\"op\": \"max\", \"constant_dtype\": \"uint8\"",
     "sg00/SP.json: dma[3].desc[1]: invalid constant_dtype uint8"},
    {NULL, SP, "\"op\": \"max\", \"constant_dtype\": \"float32\", \"constant\": 0.0",
     "\"op\": \"max\", \"constant_dtype\": \"uint32\", \"constant\": -1",
     "sg00/SP.json: dma[3].desc[1]: invalid constant -1"},
    {NULL, SP, "\"scale\": 0.5", "\"scale\": 1e300",
     "sg00/SP.json: dma[3].desc[0]: invalid scale 1e+300"},
    {NULL, SP, "\"scale\": 0.5", "\"scale\": [0.5]",
     "sg00/SP.json: dma[3].desc[0].scale must be one number for each source"},
    {"neff-188", SP, "\"constant\": 0.0, ", "",
     "sg00/SP.json: dma[3].desc[1]: constant is missing"},
    {"neff-189", SP, "[8, 8, 1, 1]", "[8, 8, 1]",
     "sg00/SP.json: dma[3].desc[4]: invalid transpose_shape"},
    {"neff-189", SP, "[8, 8, 1, 1]", "[8, 7, 1, 1]",
     "sg00/SP.json: dma[3].desc[4]: invalid transpose_shape"},
    {"neff-189", SP, "[8, 8, 1, 1]", "[4294967295, 4294967295, 4294967295, 4294967295]",
     "sg00/SP.json: dma[3].desc[4]: invalid transpose_shape"},
    {NULL, SP, "\"transpose_element_size\": 4", "\"transpose_element_size\": 3",
     "sg00/SP.json: dma[3].desc[4]: invalid transpose_element_size 3"},
    {NULL, SP, "\"num_tiling_dimensions\": 2", "\"num_tiling_dimensions\": 5",
     "sg00/SP.json: dma[3].desc[4].num_tiling_dimensions must be 0 to 4"},
    {"neff-147", SP, "\"from_off\": 0, \"from_steps\": [1], \"from_sizes\": [256], \"to\": \"t0\"",
     "\"from_steps\": [1], \"from_sizes\": [256], \"to\": \"t0\"",
     "sg00/SP.json: dma[0].desc[0].from_off is missing"},
    {"neff-146", SP, "\"from_steps\": [1], \"from_sizes\": [256], \"to\": \"t0\"",
     "\"from_steps\": [1.5], \"from_sizes\": [256], \"to\": \"t0\"",
     "sg00/SP.json: dma[0].desc[0].from_steps[0] must be an integer"},
    /* extras */
    {"neff-192", "sg00/DVE.json", "{\"dma\": []}",
     "{\"dve_tables\": [{\"control_table\": \"ctl.bin\", \"datapath_table\": \"dp.bin\", "
     "\"opcode_table\": \"op.bin\"}]}",
     "sg00/ctl.bin not found in NEFF"},
    {"neff-146", "sg00/Activation.json", "{\"dma\": []}",
     "{\"activation_function_sets\": [\"x\", \"x\"]}",
     "sg00/Activation.json: activation_function_sets must be an array of different names"},
};

/* Loads m; the error goes to err. */
static NRT_STATUS load(struct maker *m, const struct neff_options *opt, struct err *err)
{
    struct neff *neff = NULL;
    NRT_STATUS st;
    uint8_t *file;
    size_t size;

    memset(err, 0, sizeof(*err));
    file = maker_write(m, &size);
    st = neff_create(file, size, opt, &neff, err);
    assert_int_equal(st == NRT_SUCCESS, neff != NULL);
    assert_int_equal(st, err->status);
    neff_destroy(neff);
    free(file);
    return st;
}

static void expect(struct maker *m, const struct neff_options *opt, NRT_STATUS status,
                   const char *text)
{
    struct err err;
    NRT_STATUS st = load(m, opt, &err);

    if (st != status || strcmp(err.text, text) != 0)
        print_error("wanted %d \"%s\"\ngot    %d \"%s\"\n", status, text, st, err.text);
    assert_string_equal(err.text, text);
    assert_int_equal(st, status);
}

static void rule_edits_give_their_message(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(edit_rules) / sizeof(edit_rules[0]); i++) {
        const struct edit_rule *r = &edit_rules[i];
        struct maker m;

        for (unsigned gzip = 0; gzip < 2; gzip++) {
            maker_example(&m);
            m.gzip = gzip != 0;
            maker_edit(&m, r->member, r->from, r->to);
            expect(&m, NULL, NRT_INVALID, r->text);
            maker_fini(&m);
        }
        if (r->id != NULL)
            PROVES(r->id);
    }
}

static void header_rules_give_their_message(void **state)
{
    struct neff_options check = {.validate_hash = true}, lenient = {.lenient = true};
    struct maker m;
    struct err err;
    uint8_t *file;
    size_t size;
    struct neff *neff = NULL;
    char text[128];

    (void)state;
    maker_example(&m);
    file = maker_write(&m, &size);

    for (size_t n = 0; n < NEFF_HEADER_SIZE; n += 341) {
        memset(&err, 0, sizeof(err));
        assert_int_equal(neff_create(file, n, NULL, &neff, &err), NRT_INVALID);
        snprintf(text, sizeof(text), "Invalid NEFF: %zu bytes is smaller than the header", n);
        assert_string_equal(err.text, text);
    }
    PROVES("neff-125");

    maker_set_u64(&m, 8, 1023);
    expect(&m, NULL, NRT_INVALID, "Invalid NEFF header size 1023");
    file[8] = (uint8_t)size;
    file[9] = (uint8_t)(size >> 8);
    file[10] = (uint8_t)(size >> 16);
    memset(&err, 0, sizeof(err));
    assert_int_equal(neff_create(file, size, NULL, &neff, &err), NRT_INVALID);
    snprintf(text, sizeof(text), "Invalid NEFF header size %zu", size);
    assert_string_equal(err.text, text);
    maker_set_u64(&m, 8, UINT64_MAX);
    expect(&m, NULL, NRT_INVALID, "Invalid NEFF header size 18446744073709551615");
    PROVES("neff-126");
    maker_set_u64(&m, 8, 1024);

    m.keep_data_size = true;
    maker_set_u64(&m, 16, size - 1025);
    snprintf(text, sizeof(text), "Invalid NEFF data size %zu, file has %zu", size - 1025,
             size - 1024);
    expect(&m, NULL, NRT_INVALID, text);
    assert_int_equal(load(&m, &lenient, &err), NRT_SUCCESS); /* trailing byte ignored */
    PROVES("neff-022");
    maker_set_u64(&m, 16, size);
    snprintf(text, sizeof(text), "Invalid NEFF data size %zu, file has %zu", size, size - 1024);
    expect(&m, NULL, NRT_INVALID, text);
    assert_int_equal(load(&m, &lenient, &err), NRT_SUCCESS); /* header plus payload */
    PROVES("neff-020");
    PROVES("neff-021");
    maker_set_u64(&m, 16, UINT64_MAX);
    snprintf(text, sizeof(text), "Invalid NEFF data size 18446744073709551615, file has %zu",
             size - 1024);
    expect(&m, NULL, NRT_INVALID, text);
    expect(&m, &lenient, NRT_INVALID, text);
    PROVES("neff-127");
    m.keep_data_size = false;

    maker_set_u64(&m, 0, 3);
    expect(&m, &check, NRT_UNSUPPORTED_NEFF_VERSION, "Unsupported NEFF package version 3");
    assert_int_equal(load(&m, NULL, &err), NRT_SUCCESS);
    PROVES("neff-128");
    maker_set_u64(&m, 0, 2);

    maker_set_u64(&m, 24, 3);
    maker_set_u64(&m, 32, 1);
    expect(&m, NULL, NRT_UNSUPPORTED_NEFF_VERSION,
           "NEFF version mismatch supported: 2.0 received: 3.1");
    PROVES("neff-129");
    PROVES("neff-199");
    maker_set_u64(&m, 24, 0);
    maker_set_u64(&m, 32, 3);
    expect(&m, NULL, NRT_UNSUPPORTED_NEFF_VERSION,
           "NEFF version mismatch supported: 2.0 received: 0.3");
    for (unsigned v = 0; v < 3; v++) {
        maker_set_u64(&m, 24, v);
        maker_set_u64(&m, 32, v == 0 ? 4 : 0);
        assert_int_equal(load(&m, NULL, &err), NRT_SUCCESS);
    }
    PROVES("neff-027");

    maker_set_u64(&m, 544, 0x100000);
    expect(&m, NULL, NRT_UNSUPPORTED_NEFF_VERSION,
           "NEFF version 2.0 uses unsupported features: [0x100000]. Neuron Runtime NEFF supported "
           "features map: [0x1ff]. Please update the aws-neuronx-runtime-lib package");
    PROVES("neff-130");
    PROVES("neff-200");
    maker_set_u64(&m, 24, 1);
    assert_int_equal(load(&m, NULL, &err), NRT_SUCCESS); /* ignored below 2.0 */
    maker_set_u64(&m, 24, 2);
    maker_set_u64(&m, 544, 0x1ff);
    assert_int_equal(load(&m, NULL, &err), NRT_SUCCESS);
    assert_string_equal(neff_feature_name(0), "bin-weights");
    assert_string_equal(neff_feature_name(3), "coalesced-cc");
    assert_null(neff_feature_name(6));
    PROVES("neff-028");
    maker_set_u64(&m, 544, 0);

    maker_set_u32(&m, 552, 3);
    expect(&m, NULL, NRT_INVALID, "Invalid LNC size 3 in NEFF");
    PROVES("neff-135");
    maker_fini(&m);
    free(file);
}

/* The pad belongs to whoever wrote the file: with the check on it is read only where a seal is. */
static void the_pad_of_other_writers_is_theirs(void **state)
{
    struct neff_options check = {.validate_hash = true};
    const struct {
        size_t at, count;
        uint8_t value;
        NRT_STATUS status;
    } cases[] = {
        {556, 1, 1, NRT_SUCCESS},   {556, 432, 0xff, NRT_SUCCESS}, {556, 468, 'h', NRT_SUCCESS},
        {988, 1, 'h', NRT_SUCCESS}, {992, 32, 0x5a, NRT_SUCCESS},  {1023, 1, 0x80, NRT_SUCCESS},
        {988, 0, 0, NRT_INVALID}, /* the magic without its digest */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct neff *neff = NULL;
        struct err err = {0};
        struct maker m;
        uint8_t *file;
        size_t size;

        maker_example(&m);
        memset(m.header + cases[i].at, cases[i].value, cases[i].count);
        if (cases[i].count == 0)
            memcpy(m.header + cases[i].at, "hdrS", 4);
        file = maker_write(&m, &size);
        assert_int_equal(neff_create(file, size, &check, &neff, &err), cases[i].status);
        if (cases[i].status != NRT_SUCCESS)
            assert_string_equal(err.text, "NEFF header is damaged: its seal does not fit");
        else
            neff_destroy(neff);
        maker_fini(&m);
        free(file);
    }
}

static void hash_is_checked_only_on_request(void **state)
{
    struct neff_options check = {.validate_hash = true};

    (void)state;
    for (unsigned version = 1; version <= 2; version++) {
        struct maker m;
        struct err err;
        struct neff *neff;
        uint8_t *file;
        size_t size;

        maker_example(&m);
        maker_set_u64(&m, 0, version);
        file = maker_write(&m, &size);
        for (size_t at = 1024; at < size; at += 997) { /* any payload byte */
            memset(&err, 0, sizeof(err));
            assert_int_equal(neff_create(file, size, &check, &neff, &err), NRT_SUCCESS);
            neff_destroy(neff);
            file[at] ^= 0x10;
            assert_int_equal(neff_create(file, size, &check, &neff, &err), NRT_INVALID);
            assert_int_equal(strncmp(err.text, "NEFF hash mismatch: header ", 27), 0);
            assert_int_equal(strlen(err.text), 27 + 7 + 2 * (version == 1 ? 64 : 32));
            file[at] ^= 0x10;
        }
        PROVES(version == 1 ? "neff-024" : "neff-025");
        file[size - 1] ^= 1; /* the tar's end marker: nothing but the hash sees it */
        memset(&err, 0, sizeof(err));
        assert_int_equal(neff_create(file, size, NULL, &neff, &err), NRT_SUCCESS);
        neff_destroy(neff);
        assert_int_equal(neff_create(file, size, &check, &neff, &err), NRT_INVALID);
        PROVES("neff-026");
        PROVES("neff-131");
        maker_fini(&m);
        free(file);
    }
}

static void texts_without_nul_are_cut(void **state)
{
    struct maker m;
    struct neff *neff;
    struct err err = {0};
    uint8_t *file;
    size_t size;

    (void)state;
    maker_small(&m);
    memset(m.header + 40, 'b', 128);
    memset(m.header + 220, 'n', 256);
    memcpy(m.header + 220, "\xff\x1b[1m\xc3\xa9\x7f\xc3", 9); /* an e with an accent is text */
    file = maker_write(&m, &size);
    assert_int_equal(neff_create(file, size, NULL, &neff, &err), NRT_SUCCESS);
    assert_int_equal(strlen(neff->name), 256);
    assert_memory_equal(neff->name, "??[1m\xc3\xa9??n", 10);
    assert_memory_equal(neff->header.name, m.header + 220, 256);
    assert_int_equal(strlen(neff->build_version), 128);
    PROVES("neff-132");
    neff_destroy(neff);
    free(file);
    maker_fini(&m);
}

static void unsafe_members_are_refused(void **state)
{
    static const char *const names[] = {
        "/etc/passwd", "../up",        "a/../../b",  "a//b",        "a/./b",
        "..",          "a/..",         "new\nline",  "sg00/SP.bin", "./sg00/SP.bin",
        "bad\xff",     "over\xc0\xaf", "cut\xe2\x82"};
    struct maker m;
    struct err err;
    char text[128];

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        maker_small(&m);
        maker_text(&m, "extra", "x");
        free(maker_find(&m, "extra")->name);
        m.members[m.count - 1].name = strdup(names[i]);
        snprintf(text, sizeof(text), "Invalid NEFF member name %s",
                 i == 7   ? "new?line"
                 : i == 9 ? "sg00/SP.bin"
                 : i > 9  ? "(not UTF-8)"
                          : names[i]);
        expect(&m, NULL, NRT_INVALID, text);
        m.gzip = true;
        expect(&m, NULL, NRT_INVALID, text);
        maker_fini(&m);
    }
    for (const char *type = "123467"; *type != '\0'; type++) { /* links, devices, pipes */
        maker_small(&m);
        maker_put(&m, "extra", "", 0);
        maker_find(&m, "extra")->type = *type;
        if (*type == '7') /* contiguous file: an ordinary one */
            assert_int_equal(load(&m, NULL, &err), NRT_SUCCESS);
        else
            expect(&m, NULL, NRT_INVALID, "Invalid NEFF member name extra");
        maker_fini(&m);
    }
    maker_small(&m); /* a leading "./" and directories are fine */
    free(maker_find(&m, "sg00/SP.bin")->name);
    m.members[m.count - 1].name = strdup("./sg00/SP.bin");
    maker_put(&m, "sg00/", "", 0);
    maker_find(&m, "sg00/")->type = '5';
    maker_text(&m,
               "gr\xc3\xbc\xc3\x9f"
               "e/\xe2\x82\xac \xf0\x9f\x98\x80",
               "not ASCII, but a name");
    assert_int_equal(load(&m, NULL, &err), NRT_SUCCESS);
    maker_fini(&m);
    PROVES("neff-134");
    PROVES("neff-023");
}

static void missing_files_are_named(void **state)
{
    struct maker m;
    struct err err;

    (void)state;
    maker_example(&m);
    maker_remove(&m, "kelf-0.json");
    expect(&m, NULL, NRT_INVALID, "kelf-0.json not found in NEFF");
    PROVES("neff-139");
    maker_text(&m, "kelf-a.json",
               "{\"graphs\": [{\"definition\": \"sg00/def.json\", \"name\": \"sg00\"}]}");
    assert_int_equal(load(&m, NULL, &err), NRT_SUCCESS);
    PROVES("neff-030");
    maker_text(&m, DEF, "{\"var\": {}}");
    expect(&m, NULL, NRT_INVALID, "sg00/def.json: no engine");
    PROVES("neff-149");
    maker_fini(&m);

    maker_example(&m);
    maker_text(&m, SP, "{\"dma\": [{\"id\": 0, \"queue\": \"qIn\"}]}");
    expect(&m, NULL, NRT_INVALID, "sg00/SP.json: dma[0]: no descriptors");
    maker_text(&m, SP, "{\"dma\": [{\"id\": 0, \"queue\": \"qIn\", \"desc\": []}]}");
    expect(&m, NULL, NRT_INVALID, "sg00/SP.json: dma[0]: no descriptors");
    PROVES("neff-175");
    maker_fini(&m);
}

static void source_count_is_limited(void **state)
{
    static const char one[] = "{\"from\": \"a\", \"from_off\": 0, \"from_steps\": [1], "
                              "\"from_sizes\": [256]}";
    struct maker m;
    struct err err;
    char text[4096];

    (void)state;
    for (unsigned n = 16; n <= 17; n++) {
        size_t len = (size_t)snprintf(text, sizeof(text), "%s",
                                      "{\"dma\": [{\"id\": 0, \"queue\": \"qIn\", \"desc\": "
                                      "[{\"op\": \"add\", \"to\": \"t0\", \"to_off\": 0, "
                                      "\"to_steps\": [1], \"to_sizes\": [256], \"from_arr\": [");

        for (unsigned i = 0; i < n; i++)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i > 0 ? ", " : "", one);
        snprintf(text + len, sizeof(text) - len, "]}]}]}");
        maker_example(&m);
        maker_text(&m, SP, text);
        if (n == 16)
            assert_int_equal(load(&m, NULL, &err), NRT_SUCCESS);
        else
            expect(&m, NULL, NRT_INVALID, "sg00/SP.json: dma[0].desc[0]: 17 sources, at most 16");
        maker_fini(&m);
    }
    PROVES("neff-179");
    PROVES("neff-091");
}

static void json_limits_hold(void **state)
{
    struct neff_options opt = {.max_json = 78};
    struct maker m;
    struct err err;
    char deep[200];

    (void)state;
    maker_example(&m);
    expect(&m, &opt, NRT_INVALID, "File kelf-0.json size (79) exceeds json parser maximum (78)");
    maker_fini(&m);

    maker_small(&m);
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    maker_put(&m, "info.json", deep, 200);
    expect(&m, NULL, NRT_INVALID, "info.json:1:33: nested too deeply");
    maker_text(&m, "info.json", "{\"#comment\": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]");
    expect(&m, NULL, NRT_INVALID, "info.json:1:45: nested too deeply");
    maker_text(&m, "info.json", "");
    expect(&m, NULL, NRT_INVALID, "info.json:1:1: parse error: premature EOF");
    maker_text(&m, "info.json", " 99999999999999999999"); /* only the end tells that it ends */
    expect(&m, NULL, NRT_INVALID, "info.json:1:2: integer does not fit in 64 bits");
    maker_text(&m, "info.json", "{} {}");
    expect(&m, NULL, NRT_INVALID, "info.json:1:5: parse error: trailing garbage");
    maker_text(&m, "info.json", "{\"x\": \"\xff\"}");
    expect(&m, NULL, NRT_INVALID, "info.json:1:9: lexical error: invalid bytes in UTF8 string.");
    maker_text(&m, "info.json",
               "{\"#a\": {\"b\": [1, {\"c\": 99999999999999999999}]}, \"#a\": 1, "
               "\"unknown\": {\"x\": [1.5e3]}, \"arch\": \"trn9\"}");
    assert_int_equal(load(&m, NULL, &err), NRT_SUCCESS);
    PROVES("neff-036");
    PROVES("neff-037");
    maker_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_edits_give_their_message),
        cmocka_unit_test(header_rules_give_their_message),
        cmocka_unit_test(the_pad_of_other_writers_is_theirs),
        cmocka_unit_test(hash_is_checked_only_on_request),
        cmocka_unit_test(texts_without_nul_are_cut),
        cmocka_unit_test(unsafe_members_are_refused),
        cmocka_unit_test(missing_files_are_named),
        cmocka_unit_test(source_count_is_limited),
        cmocka_unit_test(json_limits_hold),
    };

    return cmocka_run_group_tests_name("neff-rules", tests, NULL, NULL);
}
