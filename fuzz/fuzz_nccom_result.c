/* SPDX-License-Identifier: Apache-2.0 */
/* What a stranger may send to the data collector of nccom-test: read in one piece and in small
 * ones, it means the same, and a result that is complete can be used. The token is "t". */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nccom-test/result.h"

#define EXECS 3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cc_job job = {.o = {.ranks = 4, .nodes = 1}, .stream_count = 2, .counts.execs = EXECS};
    struct cc_result whole, pieces;
    struct cc_hash_line where;
    NRT_STATUS a, b = NRT_SUCCESS;
    double us[EXECS];

    cc_result_init(&whole, &job, "t");
    cc_result_init(&pieces, &job, "t");
    a = cc_result_take(&whole, (const char *)data, size, NULL);
    for (size_t i = 0; i < size && b == NRT_SUCCESS; i += 3)
        b = cc_result_take(&pieces, (const char *)data + i, size - i < 3 ? size - i : 3, NULL);
    if (a != b || whole.ended != pieces.ended || whole.hash_count != pieces.hash_count)
        abort();
    if (a == NRT_SUCCESS && whole.ended && whole.ok) {
        for (unsigned s = 0; s < job.stream_count; s++)
            cc_results_merge(&whole, 1, s, us);
        (void)cc_results_equal(&whole, 1, &where);
    }
    cc_result_fini(&whole);
    cc_result_fini(&pieces);
    return 0;
}
