/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON files beside def.json. The first byte chooses which file the rest is. */
#include "neff_tar.h"
#include "neff_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char definition[] =
    "{\"sp\": \"SP.json\", \"sp_instr\": \"SP.bin\", \"act\": \"Activation.json\", \"act_instr\": "
    "\"SP.bin\", \"dve\": \"DVE.json\", \"dve_instr\": \"SP.bin\", \"collectives\": \"cc.json\", "
    "\"dma_queue\": {\"qIn\": {\"type\": \"in\", \"num_queues\": 2, \"semaphore\": 3}, \"qAdd\": "
    "{\"type\": \"data\", \"queue_instances\": [\"qAdd.i0\"]}, \"qOut\": {\"type\": \"out\"}}, "
    "\"var\": {\"SB\": {\"type\": \"state-buffer\", \"var_id\": 0}, \"a\": {\"type\": \"input\", "
    "\"var_id\": 1, \"size\": 256}, \"b\": {\"type\": \"input\", \"var_id\": 2, \"size\": 256}, "
    "\"c\": {\"type\": \"output\", \"var_id\": 3, \"size\": 256}, \"t0\": {\"type\": \"virtual\", "
    "\"var_id\": 4, \"size\": 256, \"backing_variable_off\": 0}, \"w\": {\"type\": \"file\", "
    "\"var_id\": 5, \"file_name\": \"SP.bin\"}, \"tmp\": {\"type\": \"tmp-buf\", \"var_id\": 6, "
    "\"size\": 512}}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_member members[] = {
        FUZZ_TEXT("sg00/SP.json", "{}"),
        FUZZ_TEXT("sg00/Activation.json", "{}"),
        FUZZ_TEXT("sg00/DVE.json", "{}"),
        FUZZ_TEXT("sg00/cc.json", "[]"),
        FUZZ_TEXT("neff.json", "{}"),
        FUZZ_TEXT("info.json", "{}"),
        FUZZ_TEXT("debug_info/sg00-sp.json", "[]"),
        FUZZ_TEXT("kelf-0.json",
                  "{\"graphs\": [{\"definition\": \"sg00/def.json\", \"name\": \"sg00\"}]}"),
        FUZZ_TEXT("sg00/def.json", definition),
        FUZZ_TEXT("sg00/SP.bin", "x"),
        FUZZ_TEXT("sg01/def.json", definition),
        FUZZ_TEXT("sg01/SP.json", "{}"),
        FUZZ_TEXT("sg01/Activation.json", "{}"),
        FUZZ_TEXT("sg01/DVE.json", "{}"),
        FUZZ_TEXT("sg01/cc.json", "[]"),
        FUZZ_TEXT("sg01/SP.bin", "x"),
    };
    uint8_t *file;
    size_t n;

    if (size == 0)
        return 0;
    members[data[0] % 8].data = data + 1;
    members[data[0] % 8].size = size - 1;
    file = fuzz_neff(members, sizeof(members) / sizeof(members[0]), 0, &n);
    fuzz_read(file, n);
    free(file);
    return 0;
}
