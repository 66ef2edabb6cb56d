/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/net_int.h"
#include "net_support.h"
#include "proves.h"
#include "runner.h"

static void good_addresses(void **state)
{
    static const char *const good[] = {"127.0.0.1:1", "10.1.2.3:65535", "[::1]:4711",
                                       "[2001:db8::7]:80"};

    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct addr a;
        char text[ADDR_TEXT_MAX];

        assert_int_equal(addr_parse(good[i], &a, NULL), NRT_SUCCESS);
        addr_text(&a, text);
        assert_string_equal(text, good[i]);
    }
}

static void bad_addresses_are_named_and_explained(void **state)
{
    static const char *const bad[] = {"",        "127.0.0.1",     "127.0.0.1:", "127.0.0.1:0",
                                      ":80",     "1.2.3.4:65536", "1.2.3.4:x",  "::1:80",
                                      "[::1]",   "[::1]80",       "[]:80",      "[1.2.3.4]:80",
                                      "[::1:80", "1.2.3.4:-1",    "1.2.3.4: 5", "[zz]:1"};

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct addr a;
        struct err err = {0};
        char want[128];

        assert_int_equal(addr_parse(bad[i], &a, &err), NRT_INVALID);
        /* the documented words */
        snprintf(want, sizeof(want),
                 "Invalid NCCL_COMM_ID [%s], please use format: <ipv4>:<port> or [<ipv6>]:<port>",
                 bad[i]);
        assert_int_equal(strncmp(err.text, want, strlen(want)), 0);
    }
    PROVES("inter-002"); /* the forms that are accepted: good_addresses */
}

/* Rank 0 could bind some of them, and would then wait for ranks that never find it. */
static void addresses_of_no_host_are_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {{"0.0.0.0:80", "all addresses"},
               {"[::]:80", "all addresses"},
               {"[::ffff:0.0.0.0]:80", "all addresses"},
               {"0:80", "all addresses"},
               {"224.0.0.1:80", "a group"},
               {"239.255.255.255:80", "a group"},
               {"255.255.255.255:80", "a group"},
               {"[ff02::1]:80", "a group"},
               {"[fe80::1]:80", "needs its interface"},
               {"[febf::1]:80", "needs its interface"}};
    static const char *const good[] = {"0.0.0.1:80",     "223.255.255.255:80",  "240.0.0.1:80",
                                       "[::2]:80",       "[fe7f::1]:80",        "[fec0::1]:80",
                                       "[fe80::1%1]:80", "[::ffff:10.0.0.1]:80"};
    struct addr a;

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = {0};

        assert_int_equal(addr_parse(bad[i].text, &a, &err), NRT_INVALID);
        assert_non_null(strstr(err.text, bad[i].text));
        assert_non_null(strstr(err.text, bad[i].why));
    }
    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(addr_parse(good[i], &a, NULL), NRT_SUCCESS);
}

static void long_host_names_are_refused(void **state)
{
    char text[80];
    struct addr a;
    struct err err = {0};

    snprintf(text, sizeof(text), "%064d:80", 0);
    assert_int_equal(addr_parse(text, &a, &err), NRT_INVALID);
    assert_non_null(strstr(err.text, "at most 63"));
}

static struct addr addr_of(const char *text)
{
    struct addr a;

    assert_int_equal(addr_parse(text, &a, NULL), NRT_SUCCESS);
    return a;
}

static void one_host_or_two(void **state)
{
    struct addr loop = addr_of("127.0.0.1:1"), other_loop = addr_of("127.0.0.2:2");
    struct addr ten = addr_of("10.0.0.1:1"), ten_again = addr_of("10.0.0.1:2");
    struct addr eleven = addr_of("10.0.0.2:1"), six = addr_of("[::1]:1");
    struct addr mapped = addr_of("[::ffff:10.0.0.1]:9");

    assert_true(addr_same_host(&loop, &other_loop));
    assert_true(addr_same_host(&ten, &ten_again));
    assert_false(addr_same_host(&ten, &eleven));
    assert_true(addr_same_host(&six, &six));
    assert_true(addr_same_host(&mapped, &ten));
    assert_false(addr_same_host(&mapped, &eleven));
}

static void a_given_key(void **state)
{
    struct net_job_config cfg = {.key = "secret"}, same = cfg, other = {.key = "secret "};
    struct key a, b, c;
    struct err err = {0};

    assert_int_equal(key_load(&cfg, &a, NULL), NRT_SUCCESS);
    assert_int_equal(key_load(&same, &b, NULL), NRT_SUCCESS);
    assert_int_equal(key_load(&other, &c, NULL), NRT_SUCCESS);
    assert_int_equal(a.source, MSG_KEY_GIVEN);
    assert_memory_equal(a.id, b.id, MSG_KEY_ID);
    assert_memory_not_equal(a.id, c.id, MSG_KEY_ID);
    cfg.key = "";
    assert_int_equal(key_load(&cfg, &a, &err), NRT_INVALID);
    assert_non_null(strstr(err.text, "OPENNRT_JOB_KEY is empty"));
}

/* Against libcrypto's one-shot function over the concatenation. */
static void the_proof_is_hmac_sha256(void **state)
{
    struct net_job_config cfg = {.key = "secret"};
    const struct key_part parts[] = {{"abc", 3}, {"", 0}, {"defg", 4}};
    uint8_t got[MSG_MAC], want[MSG_MAC], other[MSG_MAC];
    unsigned len = 0;
    struct key k;

    assert_int_equal(key_load(&cfg, &k, NULL), NRT_SUCCESS);
    assert_true(key_mac(&k, "label", parts, 3, got));
    assert_non_null(HMAC(EVP_sha256(), k.bytes, sizeof(k.bytes),
                         (const unsigned char *)"label\0abcdefg", 13, want, &len));
    assert_int_equal(len, MSG_MAC);
    assert_memory_equal(got, want, MSG_MAC);
    assert_true(key_mac_equal(got, want));
    assert_true(key_mac(&k, "other", parts, 3, other));
    assert_false(key_mac_equal(got, other));
}

static void the_key_file_is_made_once_and_kept_private(void **state)
{
    struct folder f;
    struct net_job_config cfg = {0};
    struct key a, b;
    struct err err = {0};
    struct stat st;
    char path[128];

    folder_make(&f);
    cfg.key_dirs[1] = f.path;
    assert_int_equal(key_load(&cfg, &a, NULL), NRT_SUCCESS);
    assert_int_equal(key_load(&cfg, &b, NULL), NRT_SUCCESS);
    assert_int_equal(a.source, MSG_KEY_FILE);
    assert_memory_equal(a.bytes, b.bytes, sizeof(a.bytes));
    snprintf(path, sizeof(path), "%s/.opennrt-job.key", f.path);
    assert_string_equal(a.from, path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_nlink, 1);
    /* one that others can read is no secret */
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(key_load(&cfg, &b, &err), NRT_INVALID);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(chmod(path, 0600), 0);
    /* one that somebody has cut */
    assert_int_equal(truncate(path, 20), 0);
    memset(&err, 0, sizeof(err));
    assert_int_equal(key_load(&cfg, &b, &err), NRT_INVALID);
    assert_non_null(strstr(err.text, "does not hold a key"));
    /* one that points elsewhere */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    memset(&err, 0, sizeof(err));
    assert_int_equal(key_load(&cfg, &b, &err), NRT_INVALID);
    assert_non_null(strstr(err.text, "symbolic link"));
    folder_remove(&f);
}

static void without_a_folder_the_variable_is_named(void **state)
{
    struct net_job_config cfg = {.key_dirs = {"/nonexistent/a", "relative", NULL}};
    struct key k;
    struct err err = {0};

    assert_int_equal(key_load(&cfg, &k, &err), NRT_FAILURE);
    assert_non_null(strstr(err.text, "OPENNRT_JOB_KEY"));
}

struct racer {
    const char *dir;
    struct key key;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    struct net_job_config cfg = {.key_dirs = {r->dir}};

    return (void *)(intptr_t)key_load(&cfg, &r->key, NULL);
}

static void ranks_that_start_together_make_one_key(void **state)
{
    enum { N = 8 };
    struct racer r[N];
    pthread_t t[N];
    struct folder f;

    for (int round = 0; round < 20; round++) {
        folder_make(&f);
        for (int i = 0; i < N; i++) {
            r[i].dir = f.path;
            assert_int_equal(pthread_create(&t[i], NULL, race, &r[i]), 0);
        }
        for (int i = 0; i < N; i++) {
            void *st;

            pthread_join(t[i], &st);
            assert_int_equal((intptr_t)st, NRT_SUCCESS);
            assert_memory_equal(r[i].key.bytes, r[0].key.bytes, sizeof(r[0].key.bytes));
        }
        folder_remove(&f);
    }
}

/* ---- an end while ranks connect ---- */

/* Runs after what libcrypto may have registered: a thread in a handshake would still draw its
 * random numbers now. */
static void leaver_at_exit(void)
{
    uint8_t nonce[MSG_NONCE];

    _exit(key_random(nonce, sizeof(nonce)) ? 7 : 8);
}

/* The key is the first here to use libcrypto. */
static int helper_leaver(int argc, char **argv)
{
    struct net_job_config cfg = {.key = "a secret of the job"};
    struct key k;

    (void)argv;
    if (argc != 1 || atexit(leaver_at_exit) != 0 || key_load(&cfg, &k, NULL) != NRT_SUCCESS)
        return 1;
    exit(0);
}

static void exit_leaves_libcrypto_to_threads_that_live(void **state)
{
    struct runner_proc p;

    assert_true(runner_start(&p, "leaver", NULL, NULL));
    assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), 7);
    (void)state;
}

static const struct runner_helper helpers[] = {{"leaver", helper_leaver}, {NULL, NULL}};

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_addresses),
        cmocka_unit_test(bad_addresses_are_named_and_explained),
        cmocka_unit_test(addresses_of_no_host_are_refused),
        cmocka_unit_test(long_host_names_are_refused),
        cmocka_unit_test(one_host_or_two),
        cmocka_unit_test(a_given_key),
        cmocka_unit_test(the_proof_is_hmac_sha256),
        cmocka_unit_test(the_key_file_is_made_once_and_kept_private),
        cmocka_unit_test(without_a_folder_the_variable_is_named),
        cmocka_unit_test(ranks_that_start_together_make_one_key),
        cmocka_unit_test(exit_leaves_libcrypto_to_threads_that_live),
    };
    int rc = runner_dispatch(argc, argv, helpers);

    if (rc >= 0)
        return rc;

    return cmocka_run_group_tests(tests, NULL, NULL);
}
