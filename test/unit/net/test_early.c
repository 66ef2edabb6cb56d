/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that come before their receive (src/net/early.c), over a network that does only what the
 * test says (fabric_fake.h): the same happens each time. docs/modules/net.md. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/base.h"
#include "base/fault.h"
#include "fabric_fake.h"
#include "net/link.h"
#include "net/link_int.h"
#include "runner.h"

#define WORLD   4u
#define CHANNEL 3u

static struct net_link *l;

static void peer_at(uint32_t rank, uint8_t endpoint)
{
    uint8_t address[NET_ADDRESS_MAX] = {0};
    struct err err = {0};

    address[0] = endpoint;
    assert_int_equal(net_link_peer(l, rank, address, 20, &err), NRT_SUCCESS);
}

static int setup(void **state)
{
    struct net_link_config cfg = {.rank = 0, .world = WORLD, .by_hand = true};
    struct err err = {0};

    fake_reset();
    assert_int_equal(net_link_open(&cfg, &l, &err), NRT_SUCCESS);
    for (uint32_t i = 1; i < WORLD; i++)
        peer_at(i, 1);
    net_link_expect(l, true); /* somebody waits: messages are taken */
    (void)state;
    return 0;
}

static int teardown(void **state)
{
    net_link_close(l);
    (void)state;
    return 0;
}

/* In which no try begins, however long ago the last one was. */
static void turn(void)
{
    l->early.quiet_ns = 0;
    (void)net_link_progress(l, 16);
}

/* The next try, after a silence that was long enough. */
static struct fake_recv *try_post(uint32_t peer)
{
    unsigned before = fake.posted_count;

    l->early.quiet_ns = 1;
    l->early.peer = peer - 1;
    l->early.empty = 0;
    (void)net_link_progress(l, 16);
    assert_true(l->early.trying);
    assert_int_equal(l->early.takes->peer, peer);
    assert_int_equal(fake.posted_count, before + 1);
    return &fake.posted[before];
}

/* A message of the peer is half here, and the link has noticed. */
static void half_take(uint32_t peer)
{
    try_post(peer)->half = true;
    turn();
    turn();
    assert_false(l->early.trying);
    assert_true(link_early_half(l, peer));
}

static enum net_posted receive_from(uint32_t peer, uint32_t *into, struct net_request **ret,
                                    struct err *err)
{
    struct net_wire w = net_link_wire(l);
    struct net_entry e = {.data = into, .size = sizeof(*into), .peer = peer};

    return w.post(w.arg, false, CHANNEL, &e, e.size, ret, err);
}

static struct net_request *received_from(uint32_t peer, uint32_t *into)
{
    struct net_request *r = NULL;
    struct err err = {0};

    assert_int_equal(receive_from(peer, into, &r, &err), NET_POSTED);
    return r;
}

static NRT_STATUS over(struct net_request *r, bool *ret_done, struct err *err)
{
    struct net_wire w = net_link_wire(l);
    uint32_t size;

    return w.test(w.arg, r, ret_done, &size, err);
}

static bool done(struct net_request *r)
{
    struct err err = {0};
    bool ret = false;

    if (over(r, &ret, &err) != NRT_SUCCESS)
        fail_msg("a receive has failed: %s", err.text);
    return ret;
}

static bool comes(uint32_t from, uint32_t number)
{
    return fake_deliver(link_tag(from, CHANNEL, 0), &number, sizeof(number));
}

/* ---- tries and receives ---- */

static void who_waits_for_a_half_taken_peer_leaves_the_tries_of_others_alone(void **state)
{
    uint32_t got = 0;
    struct net_request *r = NULL;
    struct err err = {0};
    unsigned cancels;

    half_take(1);
    (void)try_post(2);
    cancels = fake.cancels;
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(receive_from(1, &got, &r, &err), NET_AGAIN);
    assert_int_equal(fake.cancels, cancels);
    assert_true(l->early.trying);
    assert_true(comes(2, 22)); /* the try takes it */
    turn();
    r = received_from(2, &got);
    assert_true(done(r));
    assert_int_equal(got, 22);
    assert_true(comes(1, 11)); /* and the first one is whole */
    turn();
    r = received_from(1, &got);
    assert_true(done(r));
    assert_int_equal(got, 11);
    (void)state;
}

static void a_receive_ends_the_try_that_would_get_its_message(void **state)
{
    const uint32_t from[] = {2, NET_NO_RANK};
    uint32_t got = 0;

    for (unsigned i = 0; i < 2; i++) {
        struct net_request *r, *other;

        (void)try_post(2);
        other = received_from(3, &got); /* another peer's is no reason */
        assert_true(l->early.trying);
        r = received_from(from[i], &got);
        assert_false(l->early.trying);
        assert_null(l->early.takes);
        assert_true(comes(2, 5 + i));
        turn();
        assert_true(done(r));
        assert_int_equal(got, 5 + i);
        assert_true(comes(3, 0));
        turn();
        assert_true(done(other));
    }
    (void)state;
}

/* ---- receives from anybody ---- */

/* One that is cancelled for a message that it has not seen, and that another one has got meanwhile:
 * a provider without room for it now is no failure. */
static struct net_request *cancelled_in_vain(uint32_t *into)
{
    uint32_t other = 0;
    struct net_request *r, *first;

    half_take(1);
    r = received_from(NET_NO_RANK, into);
    assert_true(comes(1, 11)); /* its cancel is asked for when this is looked at */
    pthread_mutex_lock(&l->lock);
    (void)link_progress_locked(l, 1);
    pthread_mutex_unlock(&l->lock);
    assert_true(r->again);
    first = received_from(1, &other);
    assert_true(done(first));
    assert_int_equal(other, 11);
    return r;
}

static void a_receive_that_finds_no_room_to_be_posted_again_waits_for_it(void **state)
{
    uint32_t got = 0, other = 0;
    struct net_request *r = cancelled_in_vain(&got), *posted = received_from(3, &other);

    fake.recv = FABRIC_AGAIN;
    for (unsigned i = 0; i < 4; i++) {
        turn();
        assert_false(done(r));
    }
    fake.recv = FABRIC_OK;
    turn();
    assert_int_equal(fake.posted_count, 2); /* it, and what was there all the time */
    assert_true(comes(2, 22));
    turn();
    assert_true(done(r));
    assert_int_equal(got, 22);
    assert_true(comes(3, 33));
    turn();
    assert_true(done(posted));
    (void)state;
}

/* It is not posted: what comes for it is taken as early. */
static void what_is_taken_while_a_receive_waits_for_room_is_its(void **state)
{
    uint32_t got = 0;
    struct net_request *r = cancelled_in_vain(&got);

    fake.recv = FABRIC_AGAIN;
    turn();
    fake.recv = FABRIC_OK;
    pthread_mutex_lock(&l->lock);
    link_early_keep(l, (const uint8_t *)"abcd",
                    &(struct fabric_completion){.tag = link_tag(3, CHANNEL, 0), .size = 4});
    pthread_mutex_unlock(&l->lock);
    turn();
    assert_true(done(r));
    assert_memory_equal(&got, "abcd", 4);
    assert_null(l->early.first);
    (void)state;
}

static void a_receive_that_cannot_be_posted_again_fails_with_the_reason(void **state)
{
    uint32_t got = 0;
    struct net_request *r = cancelled_in_vain(&got);
    struct err err = {0};
    bool is = false;

    fake.recv = FABRIC_FAILED;
    turn();
    assert_int_equal(over(r, &is, &err), NRT_NETWORK_PROXY_FAILURE);
    assert_non_null(strstr(err.text, strerror(EIO)));
    (void)state;
}

static void one_that_is_dropped_while_it_waits_for_room_is_gone(void **state)
{
    uint32_t got = 0;
    struct net_request *r = cancelled_in_vain(&got);
    struct net_wire w = net_link_wire(l);

    fake.recv = FABRIC_AGAIN;
    turn();
    w.drop(w.arg, r);
    fake.recv = FABRIC_OK;
    turn();
    assert_null(fake_match(link_tag(2, CHANNEL, 0)));
    (void)state;
}

/* It has got the next message of the same peer before it was cancelled for the one that was half
 * here: they are read in the order in which they were sent. */
static void a_younger_message_does_not_overtake_the_one_that_was_half_here(void **state)
{
    uint32_t got = 0, next = 0;
    struct net_request *r;

    half_take(1);
    r = received_from(NET_NO_RANK, &got);
    assert_true(comes(1, 11)); /* the rest of the half, */
    assert_true(comes(1, 12)); /* the next one, */
    turn();                    /* and both are looked at in one turn */
    assert_true(done(r));
    assert_int_equal(got, 11);
    r = received_from(1, &next);
    assert_true(done(r));
    assert_int_equal(next, 12);
    (void)state;
}

/* ---- a peer that has another endpoint ---- */

static void a_try_is_ended_for_a_receive_also_when_its_peer_has_moved(void **state)
{
    uint32_t got = 0;
    struct net_request *r;

    (void)try_post(2);
    peer_at(2, 7);
    r = received_from(2, &got);
    assert_null(l->early.takes);
    assert_true(comes(2, 22));
    turn();
    assert_true(done(r));
    assert_int_equal(got, 22);
    (void)state;
}

/* The rest of it never comes: the new endpoint's messages are not waited for behind it. */
static void the_half_of_an_endpoint_that_has_gone_keeps_nobody(void **state)
{
    uint32_t got = 0;

    for (unsigned known = 0; known < 2; known++) { /* that it is half way, when the peer moves */
        struct fake_recv *half;
        struct net_request *r;

        if (known)
            half_take(2);
        else
            try_post(2)->half = true;
        half = &fake.posted[known]; /* that of the first round is still there */
        peer_at(2, (uint8_t)(8 + known));
        turn();
        turn();
        half->ignore = 0; /* it has its message, and matches no other */
        half->tag = UINT64_MAX;
        assert_false(link_early_half(l, 2));
        r = received_from(2, &got);
        assert_true(comes(2, 30 + known));
        turn();
        assert_true(done(r));
        assert_int_equal(got, 30 + known);
    }
    (void)state;
}

/* ---- memory ---- */

static void hold(uint32_t number)
{
    struct err err = {0};

    assert_int_equal(net_link_group_hold(l, number, &err), NRT_SUCCESS);
}

static uint32_t channel_of(uint32_t communicator)
{
    return communicator * NET_LINK_GROUP_CHANNELS + CHANNEL;
}

/* A message of no bytes. */
static enum net_posted post(bool send, uint32_t communicator, uint32_t peer,
                            struct net_request **ret, struct err *err)
{
    static uint8_t nothing[1];
    struct net_entry e = {.data = nothing, .peer = peer};
    struct net_wire w = net_link_wire(l);

    return w.post(w.arg, send, channel_of(communicator), &e, 0, ret, err);
}

static struct net_request *posted(uint32_t communicator, uint32_t peer)
{
    struct net_request *r = NULL;
    struct err err = {0};

    assert_int_equal(post(false, communicator, peer, &r, &err), NET_POSTED);
    return r;
}

static void dropped(struct net_request *r)
{
    struct net_wire w = net_link_wire(l);

    w.drop(w.arg, r);
}

static void refused(bool send, uint32_t communicator, uint32_t peer, NRT_STATUS st,
                    const char *text)
{
    struct net_request *r = NULL;
    struct err err = {0};

    assert_int_equal(post(send, communicator, peer, &r, &err), NET_FAILED);
    assert_int_equal(err.status, st);
    assert_string_equal(err.text, text);
}

static void failed(struct net_request *r, NRT_STATUS st, const char *text)
{
    struct err err = {0};
    bool is = false;

    assert_int_equal(over(r, &is, &err), st);
    assert_true(is);
    assert_string_equal(err.text, text);
}

/* A message of the peer comes that nobody waits for yet, and there is no memory for it. */
static void message_lost(uint32_t communicator, uint32_t peer)
{
    turn(); /* what was cancelled is over */
    (void)try_post(peer);
    assert_true(fake_deliver(link_tag(peer, channel_of(communicator) + 1, 0), "text", 4));
    fault_arm(FAULT_ALLOC, 1);
    turn();
    fault_disarm();
}

#define LACKS(who) "rank 0 has no memory for a message of rank " who " that came before its receive"

/* What this rank has no memory for is nobody else's fault: what its communicator receives fails,
 * and says so. Its sender can be told, and other communicators lack nothing. */
static void no_memory_for_an_early_message_breaks_its_communicator_here(void **state)
{
    struct net_request *of[3], *elsewhere[2], *r = NULL;
    struct err err = {0};

    hold(0);
    hold(1);
    of[0] = posted(0, 2);
    of[1] = posted(0, 3); /* it belongs to the same operations */
    of[2] = posted(0, NET_NO_RANK);
    elsewhere[0] = posted(1, 2);
    elsewhere[1] = posted(1, NET_NO_RANK);
    message_lost(0, 2);
    failed(of[0], NRT_RESOURCE, "receiving from rank 2: " LACKS("2"));
    failed(of[1], NRT_RESOURCE, "receiving from rank 3: " LACKS("2"));
    failed(of[2], NRT_RESOURCE, LACKS("2"));
    refused(false, 0, 2, NRT_RESOURCE, LACKS("2"));
    refused(false, 0, NET_NO_RANK, NRT_RESOURCE, LACKS("2"));
    assert_int_equal(post(true, 0, 2, &r, &err), NET_POSTED);
    assert_true(done(r));
    assert_true(fake_deliver(link_tag(2, channel_of(1), 0), "", 0));
    assert_true(fake_deliver(link_tag(2, channel_of(1), 0), "", 0));
    turn();
    for (unsigned i = 0; i < 2; i++)
        assert_true(done(elsewhere[i]));
    (void)state;
}

static void each_communicator_names_the_message_that_it_lacks(void **state)
{
    for (uint32_t i = 0; i < 3; i++)
        hold(i);
    message_lost(0, 2);
    message_lost(1, 3);
    message_lost(1, 1); /* it lacks one already */
    refused(false, 0, NET_NO_RANK, NRT_RESOURCE, LACKS("2"));
    refused(false, 1, NET_NO_RANK, NRT_RESOURCE, LACKS("3"));
    for (uint32_t peer = 1; peer < WORLD; peer++)
        dropped(posted(2, peer));
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(net_link_group_serves(l, i), i == 2);
    net_link_group_drop(l, 1);
    refused(false, 0, NET_NO_RANK, NRT_RESOURCE, LACKS("2"));
    (void)state;
}

/* A peer may be quicker to greet this rank than this rank to hold the communicator. */
static void the_next_communicator_may_lack_a_message_before_it_is_held(void **state)
{
    for (unsigned other = 0; other < 2; other++) {
        uint32_t next = l->group_free;

        message_lost(next, 2);
        refused(false, next, 3, NRT_RESOURCE, LACKS("2"));
        dropped(posted(next + 1, 3));
        hold(next + other); /* another one is held in its place: of a load that was given up */
        if (other)
            dropped(posted(next + other, NET_NO_RANK));
        else
            refused(false, next, NET_NO_RANK, NRT_RESOURCE, LACKS("2"));
        hold(next + other + 1);
        dropped(posted(next + other + 1, NET_NO_RANK));
    }
    (void)state;
}

/* ---- losses ---- */

static void each_peer_is_lost_for_its_own_reason(void **state)
{
    const char *of_two = "rank 2: it has left", *of_three = "rank 3: it was killed";
    struct net_request *r[WORLD], *anybody;

    hold(0);
    hold(1);
    for (uint32_t i = 1; i < WORLD; i++)
        r[i] = posted(0, i);
    anybody = posted(0, NET_NO_RANK);
    net_link_lose(l, 2, "it has left");
    net_link_lose(l, 3, "it was killed");
    net_link_lose(l, 2, "it was slow, too"); /* it had left before */
    message_lost(1, 1);
    peer_at(3, 7); /* wherever it is */
    failed(r[2], NRT_NETWORK_PROXY_FAILURE, "receiving from rank 2: it has left");
    failed(r[3], NRT_NETWORK_PROXY_FAILURE, "receiving from rank 3: it was killed");
    for (unsigned send = 0; send < 2; send++) {
        refused(send, 0, 2, NRT_NETWORK_PROXY_FAILURE, of_two);
        refused(send, 0, 3, NRT_NETWORK_PROXY_FAILURE, of_three);
    }
    assert_false(done(r[1]));
    assert_false(done(anybody));
    refused(false, 1, 1, NRT_RESOURCE, LACKS("1"));
    net_link_lose(l, NET_NO_RANK, "the job is over"); /* it takes those that are left */
    failed(r[1], NRT_NETWORK_PROXY_FAILURE, "receiving from rank 1: the job is over");
    failed(anybody, NRT_NETWORK_PROXY_FAILURE, "the job is over");
    refused(true, 0, 1, NRT_NETWORK_PROXY_FAILURE, "rank 1: the job is over");
    refused(false, 0, NET_NO_RANK, NRT_NETWORK_PROXY_FAILURE, "the job is over");
    refused(true, 0, 2, NRT_NETWORK_PROXY_FAILURE, of_two);
    (void)state;
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(who_waits_for_a_half_taken_peer_leaves_the_tries_of_others_alone),
        TEST(a_receive_ends_the_try_that_would_get_its_message),
        TEST(a_receive_that_finds_no_room_to_be_posted_again_waits_for_it),
        TEST(what_is_taken_while_a_receive_waits_for_room_is_its),
        TEST(a_receive_that_cannot_be_posted_again_fails_with_the_reason),
        TEST(one_that_is_dropped_while_it_waits_for_room_is_gone),
        TEST(a_younger_message_does_not_overtake_the_one_that_was_half_here),
        TEST(a_try_is_ended_for_a_receive_also_when_its_peer_has_moved),
        TEST(the_half_of_an_endpoint_that_has_gone_keeps_nobody),
        TEST(no_memory_for_an_early_message_breaks_its_communicator_here),
        TEST(each_communicator_names_the_message_that_it_lacks),
        TEST(the_next_communicator_may_lack_a_message_before_it_is_held),
        TEST(each_peer_is_lost_for_its_own_reason),
    };

    return cmocka_run_group_tests_name("net-early", tests, NULL, NULL);
}
