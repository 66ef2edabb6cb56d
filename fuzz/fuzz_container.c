/* SPDX-License-Identifier: Apache-2.0 */
/* A whole NEFF: header, gzip, tar, and what a damaged archive makes of the files in it. What loads
 * must load the same after it was written again as a plain tar and as an optimized one. */
#include "neff/write.h"
#include "neff_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rewrite(const uint8_t *data, size_t size)
{
    struct neff_options opt = {.max_unpacked = 1 << 24, .max_json = 1 << 20};
    struct neff_options again = {.validate_hash = true};
    struct neff_memory plain = {0}, small = {0};
    struct neff_out out = {neff_memory_write, &plain}, out2 = {neff_memory_write, &small};
    struct neff *a = NULL, *b = NULL, *c = NULL;
    struct err err = {.status = NRT_SUCCESS};

    if (neff_create(data, size, &opt, &a, &err) != NRT_SUCCESS)
        return;
    if (neff_write_plain(a, &out, &err) != NRT_SUCCESS ||
        neff_create(plain.bytes, plain.size, &again, &b, &err) != NRT_SUCCESS)
        abort();
    if (b->member_count != a->member_count || b->graph_count != a->graph_count)
        abort();
    /* two definitions in one folder are refused, and a member that is called weights.dat */
    if (neff_write_optimized(b, true, &out2, &err) == NRT_SUCCESS &&
        neff_create(small.bytes, small.size, &again, &c, &err) == NRT_SUCCESS) {
        for (uint32_t g = 0; g < c->graph_count; g++) {
            if (c->graphs[g].constant_bytes != b->graphs[g].constant_bytes)
                abort();
        }
    }
    neff_destroy(a);
    neff_destroy(b);
    neff_destroy(c);
    free(plain.bytes);
    free(small.bytes);
}

/* With the hash checked, and one byte of every member read on its own. */
static void read_members(const uint8_t *data, size_t size)
{
    struct neff_options opt = {.validate_hash = true, .index_only = true, .max_unpacked = 1 << 24};
    struct neff *neff = NULL;
    struct err err = {.status = NRT_SUCCESS};
    uint8_t byte;

    if (neff_create(data, size, &opt, &neff, &err) != NRT_SUCCESS)
        return;
    for (uint32_t i = 0; i < neff->member_count && i < 20; i++) {
        if (neff->members[i].size > 0 &&
            neff_member_read(neff, i, neff->members[i].size - 1, &byte, 1, &err) != NRT_SUCCESS)
            abort();
    }
    neff_destroy(neff);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_read(data, size);
    read_members(data, size);
    rewrite(data, size);
    return 0;
}
