/* SPDX-License-Identifier: Apache-2.0 */
/* System profiles: any bytes as each of their files; what is accepted is shown in every form. The
 * first byte says which file the rest is. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "viewer/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool count(void *arg, const void *bytes, size_t size)
{
    *(size_t *)arg += size + *(const uint8_t *)bytes;
    return true;
}

static void show(const struct viewer_system *s)
{
    const struct viewer_choice all = {0};
    const struct viewer_choice some = {.cores = "0, 1",
                                       .types = "nrt_execute,model_load",
                                       .primary = "lnc_idx",
                                       .secondary = "thread_id,process_id"};
    size_t sum = 0;
    const struct viewer_sink sink = {count, &sum};
    struct err err = {0};

    if (viewer_system_json(s, 1, &all, &sink, &err) != NRT_SUCCESS ||
        viewer_system_json(s, 1, &some, &sink, &err) != NRT_SUCCESS ||
        viewer_report(NULL, 0, s, 1, &sink, &err) != NRT_SUCCESS)
        abort();
    if (viewer_system_trace(s, 1, &all, &sink, &err) != NRT_SUCCESS && !err.text[0])
        abort();
    if (viewer_system_trace(s, 1, &some, &sink, &err) != NRT_SUCCESS && !err.text[0])
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"trace_info", "ntrace", "cpu_util", "host_mem"};
    struct viewer_system s = {0};
    struct err err = {0};

    if (size == 0)
        return 0;
    if (viewer_system_read(&s, names[data[0] % 4], data + 1, size - 1, &err) == NRT_SUCCESS)
        show(&s);
    else if (!err.text[0])
        abort();
    viewer_system_fini(&s);
    return 0;
}
