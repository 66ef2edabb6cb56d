/* SPDX-License-Identifier: Apache-2.0 */
/* What a rank tells other nodes goes to each of them by itself: one message of its own is under way
 * to each, and a node that takes nothing keeps none from the others (src/coll/tell.c, which is part
 * of this program). The network is a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "coll/tell.c" /* NOLINT: its parts are what is tested */

#define NODES 3u
#define SIZE  16u

struct net_request {
    int unused;
};

/* To one node. */
struct way {
    bool full, stands; /* takes no message; delivers none */
    bool under_way;
    unsigned posted, arrived;
    uint8_t last; /* first byte of the last message posted */
};

static struct way ways[NODES];
static struct net_request requests[NODES];

static enum net_posted fake_post(void *arg, bool send, uint32_t channel, const struct net_entry *e,
                                 uint32_t size, struct net_request **ret, struct err *err)
{
    struct way *w = &ways[e->peer];

    assert_true(send);
    assert_int_equal(size, SIZE);
    assert_false(w->under_way); /* one at a time */
    if (w->full)
        return NET_AGAIN;
    w->under_way = true;
    w->posted++;
    w->last = *(const uint8_t *)e->data;
    *ret = &requests[e->peer];
    return NET_POSTED;
}

static NRT_STATUS fake_test(void *arg, struct net_request *r, bool *ret_done, uint32_t *ret_size,
                            struct err *err)
{
    struct way *w = &ways[r - requests];

    assert_true(w->under_way);
    *ret_done = !w->stands;
    if (*ret_done) {
        w->under_way = false;
        w->arrived++;
    }
    return NRT_SUCCESS;
}

/* A communicator of one rank on each node, of which this is the first; no more of it than is
 * needed to send. */
struct stage {
    struct topo_group group;
    uint32_t rank[NODES], at[NODES];
    struct coll_net net;
    struct coll_tell tell;
    struct coll_comm comm;
};

static void stage_init(struct stage *s)
{
    memset(s, 0, sizeof(*s));
    memset(ways, 0, sizeof(ways));
    for (uint32_t i = 0; i < NODES; i++)
        s->rank[i] = s->at[i] = i;
    s->group.n = s->group.nodes = NODES;
    s->group.per_node = 1;
    s->group.rank = s->rank;
    s->group.at = s->at;
    s->tell.nodes = NODES;
    s->tell.size = SIZE;
    s->tell.wire = (struct net_wire){.post = fake_post, .test = fake_test};
    s->net.tell = &s->tell;
    s->comm.cfg.group = &s->group;
    s->comm.net = &s->net;
    assert_int_equal(out_make(&s->tell, &s->tell.state), NRT_SUCCESS);
    s->tell.state.size = SIZE;
}

/* A new message to all, and a look at what is under way. */
static void say(struct stage *s, uint8_t what)
{
    s->tell.state.msg[0] = what;
    s->tell.state.reached = 0;
    out_add_all(&s->tell, &s->tell.state);
    out_progress(&s->comm, &s->tell.state);
}

static void a_node_that_takes_nothing_keeps_none_from_the_others(void **state)
{
    for (unsigned how = 0; how < 2; how++) { /* no room at all; what was taken stands */
        struct tell_out *o;
        struct stage s;

        stage_init(&s);
        o = &s.tell.state;
        ways[1].full = how == 0;
        ways[1].stands = how == 1;
        for (uint8_t k = 1; k <= 3; k++) {
            say(&s, k);
            assert_int_equal(ways[2].arrived, k);
            assert_int_equal(ways[2].last, k);
            assert_int_equal(o->reached, 1);
            assert_int_equal(o->left, 1);
        }
        assert_int_equal(ways[1].posted, how);
        ways[1].full = ways[1].stands = false;
        out_progress(&s.comm, o); /* the first one goes on its way */
        assert_int_equal(ways[1].arrived, 1);
        assert_int_equal(ways[1].last, 1);
        assert_int_equal(o->left, 0);
        say(&s, 4);
        assert_int_equal(ways[1].last, 4);
        assert_int_equal(ways[2].last, 4);
        assert_int_equal(ways[0].posted, 0); /* this rank's own node */
        assert_int_equal(o->left, 0);
        out_free(o);
    }
    (void)state;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_that_takes_nothing_keeps_none_from_the_others),
    };

    return cmocka_run_group_tests_name("coll-tell", tests, NULL, NULL);
}
