/* SPDX-License-Identifier: Apache-2.0 */
/* What another process keeps from this one. A core that it has taken meanwhile: api.md 4.5,
 * NRT_EXEC_NC_BUSY; the only way there is a process that lost the lock of its slot without ending,
 * as a daemon does that closes every descriptor it finds. And the lock of the instance, when its
 * holder stands still. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "device/device_int.h"
#include "models.h"
#include "neffs.h"
#include "proves.h"
#include "runner.h"

#define FDS 1024

/* A session with a model on core 0, and sets to run it with. */
static NRT_STATUS session(nrt_model_t **ret_model, struct io *io)
{
    NRT_STATUS st = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");

    if (st != NRT_SUCCESS)
        return st;
    *ret_model = load_at(neff_copy(64, false), 0, -1);
    io_init(io);
    io_add(io, true, "a", DEV, 0, 64);
    io_add(io, false, "c", DEV, 0, 64);
    return NRT_SUCCESS;
}

static bool told(const char *what)
{
    char line[64];

    return runner_hear(line, sizeof(line)) && strcmp(line, what) == 0;
}

static int helper_careless(int argc, char **argv)
{
    nrt_tensor_t *t = NULL;
    nrt_model_t *m;
    struct io io;

    if (session(&m, &io) != NRT_SUCCESS)
        return 1;
    runner_say("owns");
    if (!told("close"))
        return 2;
    for (int fd = STDERR_FILENO + 1; fd < FDS; fd++)
        close(fd);
    if (nrt_execute(m, io.in, io.out) != NRT_SUCCESS) /* nobody has asked for the core yet */
        return 3;
    runner_say("closed");
    if (!told("run"))
        return 4;
    if (nrt_execute(m, io.in, io.out) != NRT_EXEC_NC_BUSY)
        return 5;
    if (nrt_execute_repeat(m, io.in, io.out, 3) != NRT_EXEC_NC_BUSY)
        return 6;
    /* Nothing is placed in memory that has a new owner. */
    if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "", &t) == NRT_SUCCESS)
        return 7;
    if (nrt_unload(m) != NRT_SUCCESS)
        return 8;
    nrt_close(); /* gives back nothing of the new owner's */
    return 0;
}

static void core_of_another_process_is_busy(void **state)
{
    static const char text[64] = "the new owner's";
    struct runner_proc p, q;
    char got[64] = "";
    nrt_model_t *m;
    struct io io;

    api_env("trn1.2xlarge", 0);
    assert_true(runner_start(&p, "careless", NULL, NULL));
    assert_true(runner_expect(&p, "owns", RUNNER_WAIT_MS));
    assert_int_equal(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_RESOURCE);
    api_log_clear();
    assert_true(runner_tell(&p, "close"));
    assert_true(runner_expect(&p, "closed", RUNNER_WAIT_MS));
    assert_ok(session(&m, &io));
    assert_ok(nrt_tensor_write(io.t[0], text, 0, sizeof(text)));
    assert_true(runner_tell(&p, "run"));
    assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), 0);
    PROVES("api-145");

    assert_ok(nrt_execute(m, io.in, io.out)); /* the core and the slot are still this process's */
    assert_ok(nrt_tensor_read(io.t[1], got, 0, sizeof(got)));
    assert_memory_equal(got, text, sizeof(text));
    assert_true(runner_start(&q, "careless", NULL, NULL));
    assert_int_equal(runner_wait(&q, RUNNER_WAIT_MS), 1);
    io_fini(&io);
    assert_ok(nrt_unload(m));
    nrt_close();
    api_env_end();
}

/* ---- a lock whose holder is stopped ---- */

/* Stands still in the middle of a change to the instance's table. */
static int helper_holder(int argc, char **argv)
{
    struct device_config cfg = {.name = getenv("OPENNRT_INSTANCE"), .type = "trn1.2xlarge"};
    struct device_instance *in;

    if (device_instance_open(&cfg, &in, NULL) != NRT_SUCCESS || ctl_lock(in, NULL) != NRT_SUCCESS)
        return 1;
    runner_say("holds");
    raise(SIGSTOP);
    ctl_unlock(in);
    device_instance_close(in);
    return 0;
}

static int helper_init(int argc, char **argv)
{
    char line[32];

    do {
        snprintf(line, sizeof(line), "init %d", (int)nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
        runner_say(line);
    } while (runner_hear(line, sizeof(line))); /* again */
    nrt_close();
    return 0;
}

static void init_names_a_stopped_holder_of_the_lock(void **state)
{
    struct runner_proc holder, init;
    char timeout[16], text[64];

    snprintf(timeout, sizeof(timeout), "init %d", (int)NRT_TIMEOUT);
    api_env("trn1.2xlarge", 0);
    assert_true(runner_start(&holder, "holder", NULL, NULL));
    assert_true(runner_expect(&holder, "holds", RUNNER_WAIT_MS));
    api_log_clear();
    assert_true(runner_start(&init, "init", NULL, NULL));
    /* after the ten seconds of the page */
    assert_true(runner_expect(&init, timeout, RUNNER_WAIT_MS));
    snprintf(text, sizeof(text), "held by pid %d, which may be stopped", (int)holder.pid);
    assert_true(api_log_has(text));
    assert_int_equal(api_log_errors(), 2); /* who waited, and nrt_init: it waited once */
    runner_kill(&holder, SIGCONT);         /* it goes on, and so does everybody */
    assert_int_equal(runner_wait(&holder, RUNNER_WAIT_MS), 0);
    assert_true(runner_tell(&init, "again"));
    assert_true(runner_expect(&init, "init 0", RUNNER_WAIT_MS));
    assert_int_equal(runner_wait(&init, RUNNER_WAIT_MS), 0);
    api_env_end();
}

int main(int argc, char **argv)
{
    static const struct runner_helper helpers[] = {{"careless", helper_careless},
                                                   {"holder", helper_holder},
                                                   {"init", helper_init},
                                                   {NULL, NULL}};
    const struct CMUnitTest tests[] = {cmocka_unit_test(core_of_another_process_is_busy),
                                       cmocka_unit_test(init_names_a_stopped_holder_of_the_lock)};
    int rc = runner_dispatch(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    runner_watchdog(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
