/* SPDX-License-Identifier: Apache-2.0 */
#include "base/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proves.h"

static int warnings;
static char last_warning[512];

static void warn(void *arg, const char *text)
{
    warnings++;
    snprintf(last_warning, sizeof(last_warning), "%s", text);
}

static const struct diag_sink sink = {.warn = warn};

static int reset(void **state)
{
    unsigned n;
    const struct settings_row *rows = settings_rows(&n);

    for (unsigned i = 0; i < n; i++)
        unsetenv(rows[i].name);
    warnings = 0;
    return 0;
}

static void integers_are_decimal_with_blanks(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t v;
    } t[] = {{"0", true, 0},
             {"30", true, 30},
             {"  7 ", true, 7},
             {"-5", true, -5},
             {"007", true, 7},
             {"9223372036854775807", true, INT64_MAX},
             {"-9223372036854775808", true, INT64_MIN},
             {"9223372036854775808", false, 0},
             {"", false, 0},
             {" ", false, 0},
             {"0x10", false, 0},
             {"1.5", false, 0},
             {"3s", false, 0},
             {"1 2", false, 0},
             {"--1", false, 0},
             {"+1", false, 0}};

    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        int64_t v = 42;

        assert_int_equal(settings_parse_int(t[i].text, &v), t[i].ok);
        assert_int_equal(v, t[i].ok ? t[i].v : 42);
    }
}

static void booleans_are_the_documented_words(void **state)
{
    static const char *const yes[] = {"1", "true", "TRUE", "True", "on"};
    static const char *const no[] = {"0", "false", "FALSE", "False", "off", ""};
    static const char *const bad[] = {"yes", "no", "2", "ON", "tRUE", " 1"};
    bool v;

    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        assert_true(settings_parse_bool(yes[i], &v) && v);
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        assert_true(settings_parse_bool(no[i], &v) && !v);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(settings_parse_bool(bad[i], &v));
}

static void bad_values_warn_and_give_the_default(void **state)
{
    assert_int_equal(settings_int("NEURON_RT_EXEC_TIMEOUT", 30, 0, INT32_MAX, &sink), 30);
    setenv("NEURON_RT_EXEC_TIMEOUT", " 12 ", 1);
    assert_int_equal(settings_int("NEURON_RT_EXEC_TIMEOUT", 30, 0, INT32_MAX, &sink), 12);
    assert_int_equal(warnings, 0);
    setenv("NEURON_RT_EXEC_TIMEOUT", "soon", 1);
    assert_int_equal(settings_int("NEURON_RT_EXEC_TIMEOUT", 30, 0, INT32_MAX, &sink), 30);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(last_warning, "NEURON_RT_EXEC_TIMEOUT"));
    setenv("NEURON_RT_EXEC_TIMEOUT", "-1", 1);
    assert_int_equal(settings_int("NEURON_RT_EXEC_TIMEOUT", 30, 0, INT32_MAX, &sink), 30);
    assert_int_equal(warnings, 2);
    setenv("NEURON_RT_VALIDATE_HASH", "maybe", 1);
    assert_true(settings_bool("NEURON_RT_VALIDATE_HASH", true, &sink));
    assert_int_equal(warnings, 3);
    setenv("NEURON_RT_VALIDATE_HASH", "off", 1);
    assert_false(settings_bool("NEURON_RT_VALIDATE_HASH", true, &sink));
    setenv("NEURON_RT_VALIDATE_HASH", "", 1);
    assert_false(settings_bool("NEURON_RT_VALIDATE_HASH", true, &sink));
    assert_int_equal(warnings, 3);
    assert_string_equal(settings_str("OPENNRT_INSTANCE", "default"), "default");
    setenv("OPENNRT_INSTANCE", "", 1);
    assert_string_equal(settings_str("OPENNRT_INSTANCE", "default"), "");
    setenv("NEURON_RT_NUMERICAL_ERRORS_VERBOSITY", "CRITICAL", 1);
    assert_true(settings_is_word("NEURON_RT_NUMERICAL_ERRORS_VERBOSITY", "critical"));
    assert_false(settings_is_word("OPENNRT_MATH", "exact"));
}

/* That they are the documented ones: test_settings_doc.py. */
static void every_variable_is_listed_once(void **state)
{
    unsigned n;
    const struct settings_row *rows = settings_rows(&n);

    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(rows[i].name, rows[k].name);
        assert_true(rows[i].help[0] != '\0');
        assert_non_null(strchr("YPR", rows[i].effect));
    }
}

static void removed_variables_warn_once_each(void **state)
{
    unsigned n, removed = 0;
    const struct settings_row *rows = settings_rows(&n);

    settings_check(&sink);
    assert_int_equal(warnings, 0);
    for (unsigned i = 0; i < n; i++) {
        if (rows[i].effect != 'R')
            continue;
        setenv(rows[i].name, "1", 1);
        warnings = 0;
        settings_check(&sink);
        assert_int_equal(warnings, 1);
        assert_non_null(strstr(last_warning, rows[i].name));
        unsetenv(rows[i].name);
        removed++;
    }
    assert_int_equal(removed, 11);
    warnings = 0;
    setenv("NEURON_RT_NOT_A_VARIABLE", "1", 1);
    settings_check(&sink);
    assert_int_equal(warnings, 0);
}

static void check_one(const char *name, const char *good, const char *bad)
{
    warnings = 0;
    setenv(name, good, 1);
    settings_check(&sink);
    assert_int_equal(warnings, 0);
    if (bad != NULL) {
        setenv(name, bad, 1);
        settings_check(&sink);
        assert_int_equal(warnings, 1);
        assert_non_null(strstr(last_warning, name));
    }
    unsetenv(name);
}

static void variables_without_effect_are_parsed(void **state)
{
    check_one("NEURON_RT_DBG_DMA_PACKETIZATION_SIZE", "8192", "8k");
    check_one("NEURON_RT_DBG_CC_DMA_PACKET_SIZE", "4096,65536", "4096,,1");
    check_one("NEURON_RT_DBG_INTRA_RDH_CHANNEL_BUFFER_SIZE", "1048576", "big");
    check_one("NEURON_RT_ULTRASERVER_MODE", "two", NULL);
    check_one("NEURON_RT_ULTRASERVER_SERVER_ID", "7f00aa", NULL);
    check_one("NEURON_RT_ULTRASERVER_NODE_ID", "1", "one");
    PROVES("inter-027");
    check_one("NEURON_RT_INSPECT_PRECACHE_ENABLE", "1", "2");
}

/* A number for each stream; one alone counts for all, and what is not there is the default. */
static void limited_values_of_a_list(void **state)
{
    static const struct {
        const char *text;
        int64_t want[4];
    } rows[] = {{NULL, {7, 7, 7, 7}},
                {"4096", {4096, 4096, 4096, 4096}},
                {"70000", {65536, 65536, 65536, 65536}},
                {"65536,4096", {65536, 4096, 7, 7}},
                {" 512 , 0,,100000", {512, 1, 7, 65536}},
                {"1,2,3,4,5", {1, 2, 3, 4}},
                {"1,99999999999999999999999999999999,x,4", {1, 7, 7, 4}}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].text != NULL)
            setenv("NEURON_RT_DBG_CC_DMA_PACKET_SIZE", rows[i].text, 1);
        for (unsigned k = 0; k < 4; k++)
            assert_int_equal(settings_limited("NEURON_RT_DBG_CC_DMA_PACKET_SIZE", k, 7),
                             rows[i].want[k]);
    }
    unsetenv("NEURON_RT_DBG_CC_DMA_PACKET_SIZE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(integers_are_decimal_with_blanks, reset),
        cmocka_unit_test_setup(booleans_are_the_documented_words, reset),
        cmocka_unit_test_setup(bad_values_warn_and_give_the_default, reset),
        cmocka_unit_test_setup(every_variable_is_listed_once, reset),
        cmocka_unit_test_setup(removed_variables_warn_once_each, reset),
        cmocka_unit_test_setup(variables_without_effect_are_parsed, reset),
        cmocka_unit_test_setup(limited_values_of_a_list, reset),
    };

    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
