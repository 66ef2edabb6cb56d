/* SPDX-License-Identifier: Apache-2.0 */
/* A link that nobody talks to: which provider it has taken and why not an earlier one, and what it
 * does with messages that come before their receive. docs/modules/net.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/base.h"
#include "log_tap.h"
#include "net/link.h"
#include "net/link_int.h"
#include "run/run.h"
#include "runner.h"

#define HELD_MAX (UINT64_C(256) << 20)
#define FEW      1000u

/* In this order they are tried. */
static const char *const order[] = {"efa", "tcp", "net", "tcp;ofi_rxm"};

static struct net_link *link_make(const char *provider, struct log *lg)
{
    struct net_link_config cfg = {.rank = 0, .world = 2, .provider = provider, .log = lg};
    struct net_link *l = NULL;
    struct err err = {0};

    return net_link_open(&cfg, &l, &err) == NRT_SUCCESS ? l : NULL;
}

/* The only record about the provider. */
static const char *provider_line(const struct log_tap *t)
{
    const char *found = NULL;

    for (size_t i = 0; i < t->count; i++)
        if (t->lines[i].level == LOG_INFO && strstr(t->lines[i].text, "uses libfabric provider ")) {
            assert_null(found);
            found = strstr(t->lines[i].text, "uses libfabric provider ");
        }
    assert_non_null(found);
    return found;
}

static void each_provider_passed_over_is_named_once_with_its_reason(void **state)
{
    struct log *lg = log_open_env();
    struct log_tap tap;
    struct net_link *l;
    const char *line;
    char taken[32], reason[64];

    log_tap_init(&tap);
    log_tap_attach(&tap, lg);
    l = link_make(NULL, lg);
    if (!l)
        skip();
    line = provider_line(&tap);
    snprintf(taken, sizeof(taken), "%s", net_link_provider(l));
    snprintf(reason, sizeof(reason), "uses libfabric provider %s", taken);
    assert_ptr_equal(strstr(line, reason), line);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]) && strcmp(order[i], taken) != 0; i++) {
        const char *at;

        snprintf(reason, sizeof(reason), "%s %s: ", i == 0 ? "; not" : ";", order[i]);
        at = strstr(line, reason);
        if (!at || at[strlen(reason)] == '\0' || at[strlen(reason)] == ';')
            fail_msg("%s: no reason why not %s", line, order[i]);
        assert_null(strstr(at + 1, reason));
    }
    net_link_close(l);
    log_tap_clear(&tap);
    l = link_make(taken, lg); /* asked for by name: none was passed over */
    assert_non_null(l);
    assert_null(strstr(provider_line(&tap), "; not"));
    net_link_close(l);
    log_tap_fini(&tap);
    log_close(lg);
    (void)state;
}

/* Turns until a time has gone by in which messages would be taken; whether one was tried. */
static bool tries(struct net_link *l)
{
    uint64_t end = run_now_ns() + UINT64_C(50000000);
    bool tried = false;

    while (run_now_ns() < end && !tried) {
        (void)net_link_progress(l, 16);
        pthread_mutex_lock(&l->lock);
        tried = l->early.takes != NULL;
        pthread_mutex_unlock(&l->lock);
    }
    return tried;
}

static void empty_messages_count_towards_the_bound(void **state)
{
    struct net_link *l = link_make(NULL, NULL);
    uint8_t address[NET_ADDRESS_MAX];
    struct err err = {0};
    size_t size, each;

    if (!l)
        skip();
    size = net_link_address(l, address); /* a peer of which something may come */
    assert_int_equal(net_link_peer(l, 1, address, size, &err), NRT_SUCCESS);
    pthread_mutex_lock(&l->lock);
    for (uint32_t i = 0; i < FEW; i++) {
        const struct fabric_completion c = {.tag = link_tag(1, NET_LINK_GROUP_CHANNELS, 0)};

        link_early_keep(l, NULL, &c);
    }
    each = l->early.bytes / FEW;
    assert_true(each >= sizeof(struct early_message)); /* what is noted with each */
    l->early.bytes += HELD_MAX - FEW * each - 1;
    l->early.expected = 1;
    pthread_mutex_unlock(&l->lock);
    while (!tries(l)) /* there is room for one */
        continue;
    pthread_mutex_lock(&l->lock);
    link_early_end(l, NET_NO_RANK);
    link_early_keep(l, NULL, &(struct fabric_completion){.tag = link_tag(1, 0, 0)});
    pthread_mutex_unlock(&l->lock);
    assert_false(tries(l));
    pthread_mutex_lock(&l->lock);
    l->early.bytes -= HELD_MAX - FEW * each - 1;
    link_early_drop(l, 0);
    assert_int_equal(l->early.bytes, FEW * each);
    link_early_drop(l, 1);
    assert_int_equal(l->early.bytes, 0);
    l->early.expected = 0;
    pthread_mutex_unlock(&l->lock);
    net_link_close(l);
    (void)state;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_provider_passed_over_is_named_once_with_its_reason),
        cmocka_unit_test(empty_messages_count_towards_the_bound),
    };

    return cmocka_run_group_tests_name("net-one_link", tests, NULL, NULL);
}
