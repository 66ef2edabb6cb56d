/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of core dumps on files that end anywhere: at every byte what is read is what the whole
 * lines before say, and no more. The files are real ones (fuzz/corpus/dump). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "opennrt/dump_judge.h"

static char *text_of(const char *name, size_t *ret_size)
{
    char path[512], *bytes = malloc(1 << 20);
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", DUMPS, name);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(bytes);
    *ret_size = fread(bytes, 1, 1 << 20, f);
    fclose(f);
    return bytes;
}

/* Whole lines of bytes[0, size) that begin with a word. */
static unsigned lines_of(const char *bytes, size_t size, const char *word)
{
    size_t n = strlen(word);
    unsigned count = 0;

    for (const char *p = bytes, *e; (e = memchr(p, '\n', (size_t)(bytes + size - p))); p = e + 1)
        count += (size_t)(e - p) > n && memcmp(p, word, n) == 0 && p[n] == ' ';
    return count;
}

static void a_file_that_ends_anywhere_says_what_its_whole_lines_say(void **state)
{
    static const char *const names[] = {"deadlock-of-two-engines",
                                        "endless-loop",
                                        "index-outside-of-the-variable",
                                        "rank",
                                        "rank-cc",
                                        "transfer-that-is-never-triggered"};
    static struct dump_file f, again;

    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        size_t size;
        char *bytes = text_of(names[k], &size), *copy;

        for (size_t n = 0; n <= size; n++) {
            struct dump_set s = {.file = &f, .name = (char(*)[256])names[k], .n = 1};
            struct dump_verdict v;
            unsigned engines = 0;

            copy = malloc(n ? n : 1); /* its end is the end of the memory */
            assert_non_null(copy);
            memcpy(copy, bytes, n);
            dump_file_parse(copy, n, &f);
            free(copy);
            assert_int_equal(f.of != DUMP_OF_NOTHING, lines_of(bytes, n, "opennrt-core-dump") > 0);
            assert_int_equal(f.status != 0, lines_of(bytes, n, "failure") > 0);
            assert_int_equal(f.pid != 0, lines_of(bytes, n, "process") > 0);
            for (unsigned e = 0; e < ISA_ENGINES; e++)
                engines += f.engine[e].present;
            assert_int_equal(engines, lines_of(bytes, n, "engine"));
            assert_int_equal(f.raises, lines_of(bytes, n, "raise"));
            assert_int_equal(f.rings, lines_of(bytes, n, "ring"));
            assert_int_equal(f.ops, lines_of(bytes, n, "operation"));
            assert_int_equal(f.complete, lines_of(bytes, n, "end") > 0);
            dump_judge(&s, &v);
            assert_non_null(v.text.s);
            strbuf_fini(&v.text);
        }
        dump_file_parse(bytes, size, &again);
        assert_true(again.complete && again.host);
        assert_memory_equal(&f, &again, sizeof(f));
        free(bytes);
    }
    (void)state;
}

/* Numbers that do not fit, words that are none, lines of other kinds. */
static void what_is_not_understood_is_skipped(void **state)
{
    static const char text[] = "opennrt-core-dump version=99999999999999999999 of=\"core\"\n"
                               "tomorrow a=1 b=\"two words\"\n"
                               "failure status=4294967296 text=\"a status=7 b\" later=1\n"
                               "engine name=\"gpu\" record=1\n"
                               "engine name=\"pe\" record=-1\n"
                               "engine name=\"act\" record=2 waits=\"semaphore>=\" wanted=-5 id=3\n"
                               "instr engine=\"act\" record=2 bytes=00\n"
                               "raise semaphore=3 core=0 engine=\"sp\"\n";
    static struct dump_file f;

    dump_file_parse(text, sizeof(text) - 1, &f);
    assert_int_equal(f.of, DUMP_OF_CORE);
    assert_int_equal(f.version, 0);
    assert_int_equal(f.status, 0);
    assert_string_equal(f.text, "a status=7 b");
    assert_false(f.engine[ISA_PE].present);
    assert_true(f.engine[ISA_ACT].present);
    assert_int_equal(f.engine[ISA_ACT].wanted, -5);
    assert_false(f.engine[ISA_ACT].has_instr);
    assert_int_equal(f.raises, 1);
    assert_int_equal(f.raise[0].ahead, 0);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_ends_anywhere_says_what_its_whole_lines_say),
        cmocka_unit_test(what_is_not_understood_is_skipped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
