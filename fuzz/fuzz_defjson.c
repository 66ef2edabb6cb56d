/* SPDX-License-Identifier: Apache-2.0 */
/* def.json of a subgraph, with engine files that name its queues and variables. */
#include "neff_tar.h"
#include "neff_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char npy[] =
    "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"
    "                                                           \n12345678";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct fuzz_member members[] = {
        FUZZ_TEXT("kelf-0.json",
                  "{\"graphs\": [{\"definition\": \"sg00/def.json\", \"name\": \"sg00\"}]}"),
        {"sg00/def.json", data, size},
        FUZZ_TEXT("sg00/SP.json",
                  "{\"dma\": [{\"id\": 0, \"queue\": \"qIn\", \"desc\": [{\"from\": \"a\", "
                  "\"from_off\": 0, \"from_steps\": [1], \"from_sizes\": [4], \"to\": \"t0\", "
                  "\"to_off\": 0, \"to_steps\": [1], \"to_sizes\": [4]}]}]}"),
        FUZZ_TEXT("sg00/PE.json", "{}"),
        FUZZ_TEXT("sg00/Activation.json", "{}"),
        FUZZ_TEXT("sg00/DVE.json", "{}"),
        FUZZ_TEXT("sg00/Pool.json", "{}"),
        FUZZ_TEXT("sg00/SP.bin", "x"),
        FUZZ_TEXT("sg00/PE.bin", "x"),
        FUZZ_TEXT("sg00/Activation.bin", "x"),
        FUZZ_TEXT("sg00/DVE.bin", "x"),
        FUZZ_TEXT("sg00/Pool.bin", "x"),
        FUZZ_TEXT("sg00/w.npy", npy),
        FUZZ_TEXT("sg00/w.raw", "raw"),
        FUZZ_TEXT("sg00/cc.json", "[{\"op\": \"barrier\", \"groups\": [[0]]}]"),
    };
    size_t n;
    uint8_t *file = fuzz_neff(members, sizeof(members) / sizeof(members[0]), 1, &n);

    fuzz_read(file, n);
    free(file);
    return 0;
}
