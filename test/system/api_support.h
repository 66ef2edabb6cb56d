/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the whole library: an instance of the test's own, and the log in a file. */
#ifndef TEST_SYSTEM_API_SUPPORT_H
#define TEST_SYSTEM_API_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "nrt/nrt.h"
#include "nrt/nrt_experimental.h"
#include "nrt/nrt_version.h"

/* Sets OPENNRT_INSTANCE to a name of this process, type and LNC (0: default), and sends the log to
 * a file. Before nrt_init. */
void api_env(const char *type, unsigned lnc);
/* Removes what api_env made; after nrt_close. */
void api_env_end(void);

/* Records in the log since the last api_log_clear: all text, and lines with ERROR and this text. */
const char *api_log(void);
unsigned api_log_errors(void);
bool api_log_has(const char *text);
void api_log_clear(void);

/* Full: no file can grow beyond the returned size, which leaves the log 1 KiB. Else as before.
 * Clears the log's mark. */
size_t api_disk_full(bool full);
/* The same, as the teardown of a test that may fail in between. */
int api_disk_free(void **state);

/* The call returned status and wrote exactly one line at ERROR that names the function. */
#define assert_fails(call, status, func)                            \
    do {                                                            \
        api_log_clear();                                            \
        assert_int_equal(call, status);                             \
        if (api_log_errors() != 1 || !api_log_has("NRT:" func " ")) \
            fail_msg("%s: log is\n%s", #call, api_log());           \
        api_log_clear();                                            \
    } while (0)
#define assert_ok(call) assert_int_equal(call, NRT_SUCCESS)

#endif
