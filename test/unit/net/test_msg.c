/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the bootstrap. The bytes of some are written by hand here, from the description in
 * docs/net.md, so that the format itself is what is tested and not only that both halves agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/base.h"
#include "net/net_int.h"

static const uint8_t nonce[MSG_NONCE] = "nonce of thirty-two bytes ......";
static const uint8_t key_id[MSG_KEY_ID] = "key-name";
static const uint8_t four_ranks[16] = {1, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 0, 1, 0, 0};

/* An exact copy on the heap, so that a read past the end is seen by the address sanitizer. */
static NRT_STATUS parse_copy(const uint8_t *p, size_t n, struct err *err)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);
    struct msg m;
    NRT_STATUS st;

    assert_non_null(copy);
    memcpy(copy, p, n);
    st = msg_parse(copy, n, &m, err);
    free(copy);
    return st;
}

static void bytes_of_a_waiting_message(void **state)
{
    static const uint8_t want[] = {'O', 'N', 'R', 'B', 6, 0, 2, 0,
                                   21,  0,   0,   0, /* head: type 6, protocol 2, 21 bytes */
                                   7,   0,   0,   0, /* group */
                                   2,   1,   0,   0, /* operation 258 */
                                   40,  0,   0,   0, /* 40 are missing */
                                   2,                /* two are named */
                                   1,   0,   0,   0,   5, 0, 0, 0};
    struct msg m = {
        .type = MSG_WAITING,
        .u.waiting = {
            .group = 7, .seq = 258, .missing = 40, .n = 2, .ranks = {.p = four_ranks, .n = 8}}};
    struct frame *f = msg_build(&m, NULL, NULL);
    struct msg back;

    assert_non_null(f);
    assert_int_equal(f->len, sizeof(want));
    assert_memory_equal(f->bytes, want, sizeof(want));
    frame_drop(f);
    assert_int_equal(msg_parse(want, sizeof(want), &back, NULL), NRT_SUCCESS);
    assert_int_equal(back.type, MSG_WAITING);
    assert_int_equal(back.u.waiting.seq, 258);
    assert_int_equal(msg_u32_at(&back.u.waiting.ranks, 1), 5);
}

static bool sign_sum(void *arg, const uint8_t *body, size_t size, uint8_t mac[MSG_MAC])
{
    memset(mac, 0, MSG_MAC);
    for (size_t i = 0; i < size; i++)
        mac[i % MSG_MAC] ^= body[i];
    *(size_t *)arg = size;
    return true;
}

static bool sign_not(void *arg, const uint8_t *body, size_t size, uint8_t mac[MSG_MAC])
{
    return false;
}

static struct msg a_join(void)
{
    return (struct msg){.type = MSG_JOIN,
                        .u.join = {.rank = 3,
                                   .world = 8,
                                   .pid = 4711,
                                   .nonce = nonce,
                                   .version = msg_text_of("0.1.0"),
                                   .host = msg_text_of("alpha"),
                                   .node = msg_text_of("node-1"),
                                   .instance = msg_text_of("default"),
                                   .blob = {.p = (const uint8_t *)"blob", .n = 4}}};
}

/* From the description in docs/sendrecv.md. */
static void bytes_of_a_have_message(void **state)
{
    static const uint8_t want[] = {'O', 'N', 'R', 'B', 14, 0, 2, 0, 25, 0, 0, 0, /* head */
                                   2,   1,   0,   0,   0,  0, 0, 0,              /* index 258 */
                                   0,   0,   0,   0,   5,  0, 0, 0,              /* 20 GiB */
                                   1,                                /* at a device address */
                                   0,   0,   16,  0,   0,  1, 0, 0}; /* HBM 1, 1 MiB */
    struct msg back;
    struct frame *f;

    assert_int_equal(msg_parse(want, sizeof(want), &back, NULL), NRT_SUCCESS);
    assert_int_equal(back.type, MSG_HAVE);
    assert_int_equal(back.u.transfer.index, 258);
    assert_int_equal(back.u.transfer.size, (uint64_t)20 << 30);
    assert_int_equal(back.u.transfer.how, MSG_HOW_DEVICE);
    assert_int_equal(back.u.transfer.addr, ((uint64_t)1 << 40) + (1 << 20));
    f = msg_build(&back, NULL, NULL);
    assert_non_null(f);
    assert_int_equal(f->len, sizeof(want));
    assert_memory_equal(f->bytes, want, sizeof(want));
    frame_drop(f);
}

static void a_join_signs_all_but_the_proof(void **state)
{
    struct msg m = a_join(), back;
    size_t signed_size;
    uint8_t mac[MSG_MAC];
    struct frame *f = msg_build(&m, sign_sum, &signed_size);

    assert_non_null(f);
    assert_int_equal(f->len, MSG_HEAD + signed_size + MSG_MAC);
    assert_int_equal(msg_parse(f->bytes, f->len, &back, NULL), NRT_SUCCESS);
    assert_int_equal(back.u.join.rank, 3);
    assert_int_equal(back.u.join.world, 8);
    assert_int_equal(back.u.join.pid, 4711);
    assert_memory_equal(back.u.join.host.s, "alpha", 5);
    assert_int_equal(back.u.join.blob.n, 4);
    assert_memory_equal(back.u.join.blob.p, "blob", 4);
    assert_memory_equal(back.u.join.nonce, nonce, MSG_NONCE);
    assert_ptr_equal(back.u.join.signed_part.p, f->bytes + MSG_HEAD);
    sign_sum(&signed_size, back.u.join.signed_part.p, back.u.join.signed_part.n, mac);
    assert_memory_equal(back.u.join.mac, mac, MSG_MAC);
    frame_drop(f);
    assert_null(msg_build(&m, sign_not, NULL));
}

static struct msg a_call(void)
{
    return (struct msg){
        .type = MSG_CALL,
        .u.call = {
            .from = 1,
            .to = 2,
            .port = 45645,
            .nonce = nonce,
            .home = {.pid = 4711, .serial = 0x0123456789abcdef, .host = msg_text_of("alpha")}}};
}

/* One of each kind. */
static unsigned samples(struct frame *out[22])
{
    struct msg_bytes parts[2] = {{(const uint8_t *)"ab", 2}, {NULL, 0}};
    struct net_rank ranks[2] = {{.host = "a", .node = "n", .instance = "i", .pid = 1},
                                {.host = "b", .node = "n", .instance = "i", .pid = 2}};
    struct msg_roster head = {.world = 2, .cluster_id = 0x0123456789abcdef, .epoch = 7, .keyed = 1};
    struct msg m[] = {
        {.type = MSG_CHALLENGE,
         .u.challenge = {.source = MSG_KEY_GIVEN,
                         .key_id = key_id,
                         .nonce = nonce,
                         .version = msg_text_of("0.1.0")}},
        a_join(),
        {.type = MSG_REJECT, .u.reject = {.status = 2, .text = msg_text_of("no")}},
        {.type = MSG_WELCOME, .u.welcome = {.keyed = 1}},
        {.type = MSG_WAITING,
         .u.waiting = {.missing = 4, .n = 4, .ranks = {.p = four_ranks, .n = 16}}},
        {.type = MSG_OP,
         .u.op = {.group = 1,
                  .kind = NET_OP_GATHER,
                  .leaves = 1,
                  .limit_ms = 30000,
                  .call = msg_text_of("nrt_barrier"),
                  .n = 4,
                  .ranks = {.p = four_ranks, .n = 16},
                  .part = {.p = (const uint8_t *)"part", .n = 4}}},
        {.type = MSG_FAIL,
         .u.fail = {.whole_job = 1, .status = 1, .culprit = 5, .text = msg_text_of("gone")}},
        {.type = MSG_BYE},
        a_call(),
        {.type = MSG_PAIRED, .u.paired = {.pid = 5, .host = msg_text_of("b")}},
        {.type = MSG_WANT, .u.transfer = {.index = 3, .size = (uint64_t)5 << 30}},
        {.type = MSG_HAVE,
         .u.transfer = {.index = 3, .size = 64, .how = MSG_HOW_DEVICE, .addr = 1 << 20}},
        {.type = MSG_GOT, .u.transfer = {.index = 3}},
        {.type = MSG_KEPT, .u.transfer = {.index = 3}},
        {.type = MSG_FABRIC,
         .u.fabric = {.provider = msg_text_of("tcp;ofi_rxm"), .address = {.p = nonce, .n = 16}}},
        {.type = MSG_SHARE,
         .u.share = {.addr = (uint64_t)5 << 40, .generation = (uint64_t)7 << 32, .extent = 9}},
        {.type = MSG_LOOK},
        {.type = MSG_ENDED, .u.transfer = {.index = 3, .size = (uint64_t)5 << 30}}};
    unsigned n = 0;

    ranks[0].blob = "xyz";
    ranks[0].blob_size = 3;
    for (; n < sizeof(m) / sizeof(m[0]); n++)
        out[n] = msg_build(&m[n], NULL, NULL);
    out[n++] = msg_build_roster(&head, ranks);
    out[n++] = msg_build_result(1, 2, 2, parts);
    return n;
}

static void every_prefix_is_refused(void **state)
{
    struct frame *f[22];
    unsigned n = samples(f);

    for (unsigned i = 0; i < n; i++) {
        assert_non_null(f[i]);
        assert_int_equal(parse_copy(f[i]->bytes, f[i]->len, NULL), NRT_SUCCESS);
        for (size_t len = 0; len < f[i]->len; len++) {
            struct err err = {0};
            uint8_t *cut = malloc(f[i]->len);

            assert_int_equal(parse_copy(f[i]->bytes, len, &err), NRT_INVALID);
            assert_true(err.text[0] != '\0');
            if (len < MSG_HEAD) {
                free(cut);
                continue;
            }
            /* and with a head that says so: what is inside does not fit */
            memcpy(cut, f[i]->bytes, len);
            msg_u32_put(cut + 8, (uint32_t)(len - MSG_HEAD));
            assert_int_equal(parse_copy(cut, len, NULL), NRT_INVALID);
            free(cut);
        }
        frame_drop(f[i]);
    }
}

static void damage_is_survived(void **state)
{
    struct frame *f[22];
    unsigned n = samples(f), refused = 0, taken = 0;

    for (unsigned i = 0; i < n; i++) {
        for (size_t at = 0; at < f[i]->len; at++) {
            for (unsigned v = 0; v < 256; v++) {
                uint8_t old = f[i]->bytes[at];

                f[i]->bytes[at] = (uint8_t)v;
                if (parse_copy(f[i]->bytes, f[i]->len, NULL) == NRT_SUCCESS)
                    taken++;
                else
                    refused++;
                f[i]->bytes[at] = old;
            }
        }
        frame_drop(f[i]);
    }
    assert_true(taken > 0 && refused > 0);
}

static void sizes_are_bounded_before_the_bytes_come(void **state)
{
    uint8_t head[MSG_HEAD] = {'O', 'N', 'R', 'B', 7, 0, 2, 0, 0xff, 0xff, 0xff, 0xff};
    struct err err = {0};
    size_t total = 1;

    assert_int_equal(msg_frame_size(head, MSG_HEAD, MSG_MAX, &total, &err), NRT_INVALID);
    assert_int_equal(total, 0);
    assert_non_null(strstr(err.text, "4294967295 bytes"));
    msg_u32_put(head + 8, MSG_JOIN_MAX - MSG_HEAD);
    assert_int_equal(msg_frame_size(head, MSG_HEAD, MSG_JOIN_MAX, &total, NULL), NRT_SUCCESS);
    assert_int_equal(total, MSG_JOIN_MAX);
    msg_u32_put(head + 8, MSG_JOIN_MAX - MSG_HEAD + 1);
    assert_int_equal(msg_frame_size(head, MSG_HEAD, MSG_JOIN_MAX, &total, NULL), NRT_INVALID);
    /* not all of the head yet */
    assert_int_equal(msg_frame_size(head, MSG_HEAD - 1, MSG_JOIN_MAX, &total, NULL), NRT_SUCCESS);
    assert_int_equal(total, 0);
}

static void other_protocols_and_strangers_are_named(void **state)
{
    uint8_t head[MSG_HEAD] = {'O', 'N', 'R', 'B', 10, 0, 1, 0, 0, 0, 0, 0};
    struct err err = {0}, http = {0};
    size_t total;

    assert_int_equal(msg_frame_size(head, MSG_HEAD, MSG_MAX, &total, &err), NRT_INVALID);
    assert_non_null(strstr(err.text, "protocol 1 there and 2 here"));
    assert_non_null(strstr(err.text, "same version"));
    assert_int_equal(
        msg_frame_size((const uint8_t *)"GET / HTTP/1.1\r\n", 16, MSG_MAX, &total, &http),
        NRT_INVALID);
    assert_non_null(strstr(http.text, "no OpenNRT speaks there"));
}

static void texts_are_printable(void **state)
{
    struct msg m = {.type = MSG_REJECT, .u.reject = {.text = msg_text_of("a\033[2Jb")}};
    struct frame *f = msg_build(&m, NULL, NULL);

    assert_int_equal(parse_copy(f->bytes, f->len, NULL), NRT_INVALID);
    frame_drop(f);
}

static void a_result_adds_up(void **state)
{
    struct msg_bytes parts[2] = {{(const uint8_t *)"abc", 3}, {(const uint8_t *)"d", 1}};
    struct frame *f = msg_build_result(1, 2, 2, parts);
    struct msg m;

    assert_int_equal(msg_parse(f->bytes, f->len, &m, NULL), NRT_SUCCESS);
    assert_int_equal(m.u.result.n, 2);
    assert_memory_equal(m.u.result.parts.p, "abcd", 4);
    f->bytes[MSG_HEAD + 12]++; /* the first size */
    assert_int_equal(msg_parse(f->bytes, f->len, &m, NULL), NRT_INVALID);
    /* sizes whose 32-bit sum would wrap round to the right one */
    msg_u32_put(f->bytes + MSG_HEAD + 12, 0xffffffffu);
    msg_u32_put(f->bytes + MSG_HEAD + 16, 5);
    assert_int_equal(msg_parse(f->bytes, f->len, &m, NULL), NRT_INVALID);
    frame_drop(f);
}

static void a_roster_is_walked(void **state)
{
    struct net_rank ranks[3] = {{.host = "a", .node = "n", .instance = "i", .pid = 1, .blob = "12"},
                                {.host = "b", .node = "n", .instance = "i", .pid = 2, .blob = ""},
                                {.host = "c", .node = "n", .instance = "i", .pid = 3, .blob = ""}};
    struct msg_roster head = {.world = 3, .cluster_id = 5, .epoch = 6};
    struct msg_member who;
    struct frame *f;
    struct msg m;
    uint32_t at = 0, n = 0;

    ranks[0].blob_size = 2;
    f = msg_build_roster(&head, ranks);
    assert_int_equal(msg_parse(f->bytes, f->len, &m, NULL), NRT_SUCCESS);
    assert_int_equal(m.u.roster.cluster_id, 5);
    assert_int_equal(m.u.roster.epoch, 6);
    while (msg_roster_next(&m.u.roster, &at, &who)) {
        assert_int_equal(who.pid, n + 1);
        assert_int_equal(who.host.s[0], 'a' + (int)n);
        assert_int_equal(who.blob.n, n == 0 ? 2 : 0);
        n++;
    }
    assert_int_equal(n, 3);
    frame_drop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_a_waiting_message),
        cmocka_unit_test(bytes_of_a_have_message),
        cmocka_unit_test(a_join_signs_all_but_the_proof),
        cmocka_unit_test(every_prefix_is_refused),
        cmocka_unit_test(damage_is_survived),
        cmocka_unit_test(sizes_are_bounded_before_the_bytes_come),
        cmocka_unit_test(other_protocols_and_strangers_are_named),
        cmocka_unit_test(texts_are_printable),
        cmocka_unit_test(a_result_adds_up),
        cmocka_unit_test(a_roster_is_walked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
