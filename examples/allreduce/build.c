/* SPDX-License-Identifier: Apache-2.0 */
/* Builds a NEFF whose only work is one all_reduce: y = x of rank 0 + ... + x of rank RANKS-1, COUNT
 * floats. The same file is loaded by every rank.
 *
 *     allreduce_build RANKS COUNT OUTPUT.neff
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "neff/asm.h"
#include "neff/build.h"

/* The engine starts entry 0 of the collectives table and goes on; it could compute here. The
 * runtime raises the semaphore when the sum is in y. */
static const char program[] = ".name allreduce\n"
                              "sem done\n"
                              "sp:\n"
                              "    trigger_collective 0, done\n"
                              "    wait done >= 1: end\n";

static void collective_declare(struct neff_build *b, unsigned ranks, uint64_t count)
{
    uint64_t shape[] = {count};
    int x = neff_build_input(b, 0, "x", "float32", 1, shape);
    int y = neff_build_output(b, 0, "y", "float32", 1, shape);
    struct neff_build_coll_range in = {x, 0, count * sizeof(float)};
    struct neff_build_coll_range out = {y, 0, count * sizeof(float)};
    uint32_t *list = calloc(ranks, sizeof(*list));
    struct neff_build_coll_group group = {list, ranks};
    struct neff_build_coll all_reduce = {.op = "all_reduce",
                                         .reduce = "add",
                                         .dtype = "float32",
                                         .groups = &group,
                                         .group_count = 1,
                                         .in = &in,
                                         .in_count = 1,
                                         .out = &out,
                                         .out_count = 1};

    if (!list)
        exit(1);
    for (unsigned r = 0; r < ranks; r++)
        list[r] = r;
    neff_build_collective(b, 0, &all_reduce);
    free(list);
}

int main(int argc, char **argv)
{
    struct neff_asm_options options = {.file = "allreduce"};
    struct neff_error error = {0};
    struct neff_build *b;
    unsigned long ranks = argc == 4 ? strtoul(argv[1], NULL, 0) : 0;
    unsigned long long count = argc == 4 ? strtoull(argv[2], NULL, 0) : 0;
    int rc = 0;

    if (ranks == 0 || ranks > 1024 || count == 0) {
        fprintf(stderr, "usage: %s RANKS COUNT OUTPUT.neff\n", argv[0]);
        return 2;
    }
    if (neff_asm_text(program, strlen(program), &options, &b, NULL, &error) != NRT_SUCCESS) {
        fprintf(stderr, "allreduce_build: %s\n", error.text);
        return 1;
    }
    collective_declare(b, (unsigned)ranks, count);
    if (neff_build_write_file(b, NULL, argv[3]) != NRT_SUCCESS) {
        fprintf(stderr, "allreduce_build: %s\n", neff_build_error(b));
        rc = 1;
    }
    neff_build_destroy(b);
    return rc;
}
