/* SPDX-License-Identifier: Apache-2.0 */
/* What the log says of the provider: which, and why not each one before it. The network libraries
 * are a stub (libfabric_stub.c), whose providers a test describes, and the real one. docs/net.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/base.h"
#include "log_tap.h"
#include "net/link.h"
#include "runner.h"

/* ---- the helper: opens a link, and says what its log said ---- */

static void say_line(const struct log_tap *t)
{
    unsigned said = 0;

    for (size_t i = 0; i < t->count; i++) {
        const char *at = strstr(t->lines[i].text, "rank 0 uses libfabric provider ");

        if (t->lines[i].level == LOG_INFO && at != NULL) {
            runner_say(at);
            said++;
        }
    }
    if (said != 1)
        runner_say("not one line");
}

static int opener(int argc, char **argv)
{
    struct net_link_config cfg = {.world = 2, .by_hand = true};
    struct log_tap tap;
    struct net_link *l = NULL;
    struct err err = {0};

    (void)argc, (void)argv;
    cfg.log = log_open_env();
    log_tap_init(&tap);
    log_tap_attach(&tap, cfg.log);
    if (net_link_open(&cfg, &l, &err) == NRT_SUCCESS)
        say_line(&tap);
    else
        runner_say(err.text);
    net_link_close(l);
    log_tap_fini(&tap);
    log_close(cfg.log);
    return 0;
}

static const struct runner_helper helpers[] = {{"opener", opener}, {NULL, NULL}};

/* ---- the tests ---- */

static void line_with(const char *const *env, char *line, size_t size)
{
    struct runner_proc p;

    assert_true(runner_start(&p, "opener", NULL, env));
    assert_true(runner_line(&p, line, size, RUNNER_WAIT_MS));
    assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), 0);
}

static void every_provider_passed_over_has_its_reason(void **state)
{
    static const struct {
        const char *providers, *only, *line;
    } cases[] = {
        {"efa=works tcp=works net=works tcp;ofi_rxm=works", "", "efa"},
        {"tcp=works net=works tcp;ofi_rxm=works", "", "tcp; not efa: not offered here"},
        {"tcp=layered net=works tcp;ofi_rxm=works", "",
         "net; not efa: not offered here; tcp: only as tcp;ofi_rxm"},
        {"efa=messages tcp=untagged net=broken tcp;ofi_rxm=works", "",
         "tcp;ofi_rxm; not efa: without reliable datagrams; tcp: no reliable datagrams with tags "
         "and in order on this interface; net: no endpoint: stub cannot"},
        {"efa=forbidden tcp=layered tcp;ofi_rxm=works", "",
         "tcp;ofi_rxm; not efa: stub forbids; tcp: only as tcp;ofi_rxm; net: not offered here"},
        {"net=works", "net", /* which leaves the others out */
         "net; not efa: not offered here; tcp: not offered here; FI_PROVIDER is \"net\""},
        {"efa=works", "efa", "efa"},
    };
    char stub[128], only[64], want[512], line[1024];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *const env[] = {"LD_LIBRARY_PATH=" STUB_DIR, stub, only, NULL};

        snprintf(stub, sizeof(stub), "FABRIC_STUB=%s", cases[i].providers);
        snprintf(only, sizeof(only), "FI_PROVIDER=%s", cases[i].only);
        snprintf(want, sizeof(want), "rank 0 uses libfabric provider %s", cases[i].line);
        line_with(env, line, sizeof(line));
        assert_string_equal(line, want);
    }
    (void)state;
}

static void none_is_left_and_all_have_their_reasons(void **state)
{
    static const char *const env[] = {"LD_LIBRARY_PATH=" STUB_DIR,
                                      "FABRIC_STUB=efa=broken tcp=layered net=messages",
                                      "FI_PROVIDER=net,tcp", NULL};
    char line[1024];

    line_with(env, line, sizeof(line));
    assert_non_null(strstr(line, "has no usable provider (efa: no endpoint: stub cannot; tcp: only "
                                 "as tcp;ofi_rxm; net: without reliable datagrams; tcp;ofi_rxm: "
                                 "not offered here; FI_PROVIDER is \"net,tcp\")"));
    (void)state;
}

/* The last one of the real library is asked for by its variable: those before it are not offered.
 */
static void the_real_library_is_told_to_take_a_later_one(void **state)
{
    static const char *const env[] = {"FI_PROVIDER=net", NULL};
    char line[1024];

    line_with(env, line, sizeof(line));
    if (strncmp(line, "rank 0 uses", strlen("rank 0 uses")) != 0) {
        print_message("NOT RUN: %s\n", line);
        skip();
    }
    assert_string_equal(line, "rank 0 uses libfabric provider net; not efa: not offered here; tcp: "
                              "not offered here; FI_PROVIDER is \"net\"");
    (void)state;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_provider_passed_over_has_its_reason),
        cmocka_unit_test(none_is_left_and_all_have_their_reasons),
        cmocka_unit_test(the_real_library_is_told_to_take_a_later_one),
    };
    int rc = runner_dispatch(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    runner_watchdog(50);
    return cmocka_run_group_tests_name("net-provider", tests, NULL, NULL);
}
