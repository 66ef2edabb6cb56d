/* SPDX-License-Identifier: Apache-2.0 */
/* The record format is compared with the documented printf form, rebuilt here from the fields. */
#include "base/log.h"

#include <fcntl.h>
#include <locale.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fault.h"
#include "base/log_int.h"
#include "log_tap.h"
#include "proves.h"

static char dir[] = "/tmp/opennrt-log-XXXXXX";
static char err_path[64], sock_path[64], file_path[64], file2_path[64];
static int err_saved = -1, sock = -1;

/* --- A fake environment, a caught stderr, a syslog of our own ------------------------------------
 */

static const char *env_names[16], *env_values[16];
static int env_count;

static const char *env_fake(const char *name)
{
    for (int i = 0; i < env_count; i++) {
        if (strcmp(env_names[i], name) == 0)
            return env_values[i];
    }
    return NULL;
}

static void env_put(const char *name, const char *value)
{
    env_names[env_count] = name;
    env_values[env_count++] = value;
}

static void console_catch(void)
{
    int fd = open(err_path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);

    err_saved = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
}

static const char *file_text(const char *path)
{
    static char text[20000];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static const char *console_text(void)
{
    dup2(err_saved, STDERR_FILENO);
    close(err_saved);
    return file_text(err_path);
}

static const char *syslog_text(void)
{
    static char text[20000];
    ssize_t n = recv(sock, text, sizeof(text) - 1, MSG_DONTWAIT);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static int setup(void **state)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(err_path, sizeof(err_path), "%s/err", dir);
    snprintf(sock_path, sizeof(sock_path), "%s/sock", dir);
    snprintf(file_path, sizeof(file_path), "%s/a.log", dir);
    snprintf(file2_path, sizeof(file2_path), "%s/none/b.log", dir);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", sock_path);
    sock = socket(AF_UNIX, SOCK_DGRAM, 0);
    return bind(sock, (struct sockaddr *)&a, sizeof(a));
}

static int teardown(void **state)
{
    close(sock);
    unlink(err_path);
    unlink(sock_path);
    unlink(file_path);
    return rmdir(dir);
}

static int reset(void **state)
{
    env_count = 0;
    unlink(file_path);
    while (syslog_text()[0] != '\0')
        ;
    return 0;
}

/* One record of every level and component; returns the letters of those that reached the text. */
static void emit_all(struct log *lg)
{
    static const char *const names[] = {"nrt", "tdrv", "nmgr", "hal"};

    for (int c = 0; c < LOG_COMP_COUNT; c++) {
        for (int l = LOG_ERROR; l <= LOG_TRACE; l++)
            log_msg(lg, (enum log_comp)c, (enum log_level)l, "f", "<%s%d>", names[c], l);
    }
}

/* How many levels of a component are in the text: 0 none, 1 ERROR, ... 5 TRACE; they must be the
 * lowest ones. */
static int levels_in(const char *text, const char *comp)
{
    int n = 0, top = 0;

    for (int l = 0; l <= LOG_TRACE; l++) {
        char want[32];

        snprintf(want, sizeof(want), "<%s%d>", comp, l);
        if (strstr(text, want) != NULL) {
            n++;
            top = l + 1;
        }
    }
    assert_int_equal(n, top);
    return n;
}

static void syslog_collect(char *text, size_t size)
{
    size_t n = 0;
    const char *one;

    text[0] = '\0';
    while ((one = syslog_text())[0] != '\0')
        n += (size_t)snprintf(text + n, size - n, "%s\n", one);
}

/* Opens with the fake environment, emits everything, returns levels per target for a component. */
static char caught_console[20000], caught_syslog[20000];

static void run_all(void)
{
    struct log *lg;

    console_catch();
    lg = log_open_with(env_fake, sock_path);
    emit_all(lg);
    log_close(lg);
    snprintf(caught_console, sizeof(caught_console), "%s", console_text());
    syslog_collect(caught_syslog, sizeof(caught_syslog));
    assert_non_null(lg);
}

/* --- Tests -------------------------------------------------------------------------------------
 */

/* The documented example, cut into its fields, must come out of the documented printf form; then
 * each record of ours is cut the same way and compared with that form. */
static void check_form(const char *line)
{
    static const char re_text[] =
        "^([0-9]{4}-[A-Z][a-z]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})\\."
        "([0-9]{6}) +([0-9]+):([0-9]+) +([A-Z]+) +([A-Z]+):([^ ]+) +(.*)$";
    regmatch_t m[9];
    char part[9][256], again[2048];
    regex_t re;

    assert_int_equal(regcomp(&re, re_text, REG_EXTENDED), 0);
    if (regexec(&re, line, 9, m, 0) != 0)
        fail_msg("no record: %s", line);
    regfree(&re);
    for (int i = 1; i < 9; i++)
        snprintf(part[i], sizeof(part[i]), "%.*s", (int)(m[i].rm_eo - m[i].rm_so),
                 line + m[i].rm_so);
    snprintf(again, sizeof(again), "%s.%06ld %5d:%-5d %5s %5s:%-40s%s", part[1], atol(part[2]),
             atoi(part[3]), atoi(part[4]), part[5], part[6], part[7], part[8]);
    assert_string_equal(line, again);
}

static void record_has_the_documented_form(void **state)
{
    static const char example[] =
        "2026-Sep-01 08:15:42.000731  7021:7024  ERROR   NRT:nrt_load                              "
        "  Unable to load model toy.neff";
    struct log_tap tap;
    struct log *lg = log_open_with(env_fake, "/nonexistent");
    char start[64], pid[32];
    time_t before, after;
    struct tm tm;

    check_form(example);
    log_tap_init(&tap);
    log_tap_attach(&tap, lg);
    console_catch();
    setlocale(LC_ALL, "");
    before = time(NULL);
    log_msg(lg, LOG_NRT, LOG_ERROR, "nrt_load", "Unable to load model %s", "toy.neff");
    after = time(NULL);
    log_msg(lg, LOG_TDRV, LOG_TRACE, "dml_log_dev_neff_mem", "x");
    log_msg(lg, LOG_HAL, LOG_WARN, "h", "a");
    assert_non_null(strstr(console_text(), "toy.neff\n"));
    assert_int_equal(tap.count, 3);
    for (size_t i = 0; i < tap.count; i++)
        check_form(tap.lines[i].text);
    snprintf(pid, sizeof(pid), " %5d:%-5d ", (int)getpid(), (int)getpid());
    assert_non_null(strstr(tap.lines[0].text, pid));
    assert_non_null(strstr(tap.lines[0].text, " ERROR   NRT:nrt_load "));
    assert_non_null(strstr(tap.lines[1].text, " TRACE  TDRV:dml_log_dev_neff_mem "));
    assert_non_null(strstr(tap.lines[2].text, "  WARN   HAL:h "));
    /* UTC: the second is the one of gmtime before or after the call. */
    strftime(start, sizeof(start), "%Y-%b-%d %H:%M:%S.", gmtime_r(&before, &tm));
    if (strncmp(tap.lines[0].text, start, strlen(start)) != 0) {
        strftime(start, sizeof(start), "%Y-%b-%d %H:%M:%S.", gmtime_r(&after, &tm));
        assert_memory_equal(tap.lines[0].text, start, strlen(start));
    }
    log_close(lg);
    log_tap_fini(&tap);
    PROVES("dump-031");
}

static void long_function_names_are_followed_by_one_blank(void **state)
{
    static const char f39[] = "a23456789b23456789c23456789d23456789e23";
    static const char f40[] = "a23456789b23456789c23456789d23456789e234";
    static const char f45[] = "a23456789b23456789c23456789d23456789e23456789";
    struct log_tap tap;
    struct log *lg = log_open_with(env_fake, "/nonexistent");
    char want[128];

    log_tap_init(&tap);
    log_tap_attach(&tap, lg);
    log_msg(lg, LOG_NRT, LOG_INFO, f39, "text");
    log_msg(lg, LOG_NRT, LOG_INFO, f40, "text");
    log_msg(lg, LOG_NRT, LOG_INFO, f45, "text");
    snprintf(want, sizeof(want), "NRT:%s text", f39);
    assert_int_equal(log_tap_find(&tap, want), 1);
    snprintf(want, sizeof(want), "NRT:%s text", f40);
    assert_int_equal(log_tap_find(&tap, want), 1);
    snprintf(want, sizeof(want), "NRT:%s text", f45);
    assert_int_equal(log_tap_find(&tap, want), 1);
    log_close(lg);
    log_tap_fini(&tap);
}

static void default_is_error_on_console_and_info_to_syslog(void **state)
{
    run_all();
    assert_int_equal(levels_in(caught_console, "nrt"), 1);
    assert_int_equal(levels_in(caught_console, "hal"), 1);
    assert_int_equal(levels_in(caught_syslog, "nrt"), 3);
    assert_int_equal(levels_in(caught_syslog, "tdrv"), 3);
    assert_non_null(strstr(caught_syslog, "<11>opennrt[")); /* user.err */
    PROVES("dump-036");
}

static void levels_of_every_word(void **state)
{
    static const struct {
        const char *word;
        int levels;
    } t[] = {{"QUIET", 0}, {"ERROR", 1}, {"WARN", 2},  {"WARNING", 2},
             {"INFO", 3},  {"debug", 4}, {"Trace", 5}, {"error", 1}};

    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        env_count = 0;
        env_put("NEURON_RT_LOG_LEVEL", t[i].word);
        run_all();
        assert_int_equal(levels_in(caught_console, "nrt"), t[i].levels);
        assert_int_equal(levels_in(caught_syslog, "nrt"), t[i].levels);
    }
    PROVES("dump-032");
    PROVES("api-212");
}

static void bad_words_are_told_and_give_the_default(void **state)
{
    env_put("NEURON_RT_LOG_LEVEL", "LOUD");
    run_all();
    assert_int_equal(levels_in(caught_console, "nrt"), 1);
    assert_non_null(strstr(caught_console, "unknown log level \"LOUD\""));
    assert_non_null(strstr(caught_syslog, "NEURON_RT_LOG_LEVEL: unknown log level \"LOUD\""));
    env_count = 0;
    env_put("NEURON_RT_LOG_LOCATION", file2_path);
    run_all();
    assert_int_equal(levels_in(caught_console, "nrt"), 1);
    assert_non_null(strstr(caught_console, "cannot open log file"));
}

static void location_console_or_syslog_is_the_only_target(void **state)
{
    env_put("NEURON_RT_LOG_LOCATION", "CONSOLE");
    run_all();
    assert_int_equal(levels_in(caught_console, "nrt"), 1);
    assert_int_equal(levels_in(caught_syslog, "nrt"), 0);
    env_count = 0;
    env_put("NEURON_RT_LOG_LOCATION", "syslog");
    run_all();
    assert_int_equal(levels_in(caught_console, "nrt"), 0);
    assert_int_equal(levels_in(caught_syslog, "nrt"), 3);
    PROVES("dump-035");
    PROVES("api-211");
}

static void components_have_levels_of_their_own(void **state)
{
    env_put("NEURON_RT_LOG_LEVEL", "WARN");
    env_put("NEURON_RT_LOG_LEVEL_TDRV", "TRACE");
    env_put("NEURON_RT_LOG_LEVEL_KMGR", "INFO");
    env_put("NEURON_RT_LOG_LEVEL_HAL", "QUIET");
    run_all();
    assert_int_equal(levels_in(caught_console, "nrt"), 2);
    assert_int_equal(levels_in(caught_console, "tdrv"), 5);
    assert_int_equal(levels_in(caught_console, "nmgr"), 3);
    assert_int_equal(levels_in(caught_console, "hal"), 0);
    env_put("NEURON_RT_LOG_LEVEL_NMGR", "ERROR"); /* the real name wins over the alias */
    run_all();
    assert_int_equal(levels_in(caught_console, "nmgr"), 1);
    PROVES("dump-033");
    PROVES("api-213");
}

static void components_have_locations_of_their_own(void **state)
{
    struct stat st;

    env_put("NEURON_RT_LOG_LOCATION", "syslog");
    env_put("NEURON_RT_LOG_LOCATION_NRT", file_path);
    env_put("NEURON_RT_LOG_LOCATION_TDRV", "console");
    umask(022);
    run_all();
    assert_int_equal(levels_in(caught_console, "nrt"), 0);
    assert_int_equal(levels_in(caught_console, "tdrv"), 1);
    assert_int_equal(levels_in(caught_syslog, "nmgr"), 3);
    assert_int_equal(levels_in(caught_syslog, "nrt"), 0);
    assert_int_equal(levels_in(file_text(file_path), "nrt"), 1);
    assert_int_equal(levels_in(file_text(file_path), "tdrv"), 0);
    assert_int_equal(stat(file_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    run_all(); /* appends */
    assert_int_equal(stat(file_path, &st), 0);
    {
        const char *text = file_text(file_path);
        const char *first = strstr(text, "<nrt0>");

        assert_non_null(first);
        assert_non_null(strstr(first + 1, "<nrt0>"));
        assert_int_equal(strlen(text), st.st_size);
    }
    PROVES("dump-034");
    PROVES("api-214");
}

static void long_and_raw_text_arrives_whole(void **state)
{
    struct log *lg = log_open_with(env_fake, "/nonexistent");
    struct log_tap tap;
    char *big = malloc(100001);
    const char *text;

    memset(big, 'y', 100000);
    big[100000] = '\0';
    log_tap_init(&tap);
    log_tap_attach(&tap, lg);
    console_catch();
    for (int n = 900; n < 1030; n++) /* around the size of the buffer on the stack */
        log_msg(lg, LOG_NRT, LOG_INFO, "f", "%.*s", n, big);
    log_msg(lg, LOG_NRT, LOG_INFO, "f", "%s", big);
    log_msg(lg, LOG_NRT, LOG_ERROR, "f", "first\n\tsecond\n");
    log_raw(lg, LOG_NRT, LOG_ERROR, "table");
    log_raw(lg, LOG_NRT, LOG_ERROR, "");
    text = console_text();
    for (int i = 0; i < 131; i++) {
        size_t len = strlen(tap.lines[i].text);
        size_t want = i < 130 ? 900 + (size_t)i : 100000;

        assert_true(len > want);
        assert_int_equal(strspn(tap.lines[i].text + len - want, "y"), want);
        assert_int_not_equal(tap.lines[i].text[len - want - 1], 'y');
    }
    text = strstr(text, "first");
    assert_string_equal(text, "first\n\tsecond\n\ntable\n\n");
    log_close(lg);
    log_tap_fini(&tap);
    free(big);
}

static void a_null_log_and_failed_memory_do_no_harm(void **state)
{
    log_msg(NULL, LOG_NRT, LOG_ERROR, "f", "x");
    log_raw(NULL, LOG_NRT, LOG_ERROR, "x");
    log_set_tap(NULL, NULL, NULL);
    log_close(NULL);
    assert_false(log_on(NULL, LOG_NRT, LOG_ERROR));
    fault_arm(FAULT_ALLOC, 1);
    assert_null(log_open_with(env_fake, "/nonexistent"));
    fault_disarm();
}

static void log_on_tells_what_goes_somewhere(void **state)
{
    struct log *lg;

    lg = log_open_with(env_fake, "/nonexistent"); /* no syslog: INFO would go nowhere */
    assert_true(log_on(lg, LOG_NRT, LOG_ERROR));
    assert_false(log_on(lg, LOG_NRT, LOG_INFO));
    log_close(lg);
    lg = log_open_with(env_fake, sock_path);
    assert_true(log_on(lg, LOG_NRT, LOG_INFO));
    assert_false(log_on(lg, LOG_NRT, LOG_DEBUG));
    log_close(lg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(record_has_the_documented_form, reset),
        cmocka_unit_test_setup(long_function_names_are_followed_by_one_blank, reset),
        cmocka_unit_test_setup(default_is_error_on_console_and_info_to_syslog, reset),
        cmocka_unit_test_setup(levels_of_every_word, reset),
        cmocka_unit_test_setup(bad_words_are_told_and_give_the_default, reset),
        cmocka_unit_test_setup(location_console_or_syslog_is_the_only_target, reset),
        cmocka_unit_test_setup(components_have_levels_of_their_own, reset),
        cmocka_unit_test_setup(components_have_locations_of_their_own, reset),
        cmocka_unit_test_setup(long_and_raw_text_arrives_whole, reset),
        cmocka_unit_test_setup(a_null_log_and_failed_memory_do_no_harm, reset),
        cmocka_unit_test_setup(log_on_tells_what_goes_somewhere, reset),
    };

    setenv("TZ", "XXX-5:30", 1); /* local time differs from UTC */
    tzset();
    return cmocka_run_group_tests_name("log", tests, setup, teardown);
}
