/* SPDX-License-Identifier: Apache-2.0 */
/* Every schedule that sched_create accepts is proved: operation x algorithm x variant x in place x
 * number of ranks x sizes. The program is given a family of algorithms and a range of ranks:
 *     test_sched_proof FAMILY FIRST LAST [every [PART PARTS]]
 * It draws sizes, element sizes, channels, slots and slices for each combination; with `every`, and
 * from 9 ranks on only then, it takes all sizes instead of one; of these combinations every
 * PARTS-th, from PART on. What must be accepted is listed here, so that a generator which refuses
 * everything is no success.
 *
 * OPENNRT_PROOFS names a file that remembers runs with `every`: a run adds a line when all of it
 * was proved, and one that the file has for this very program and seed is not repeated. So the
 * hours that all combinations take may be stopped at any time, and go on later. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proof.h"

/* With the family "large": some operations on 128, 256 and 1,024 ranks.
 *     test_sched_proof large RANKS RANKS
 */

/* ---- what is asked for ---- */

enum family { RINGS, MESHES, RDHS, HIERS, OTHERS, FAMILIES };
static const char *const family_names[FAMILIES] = {"ring", "mesh", "rdh", "hier", "other"};

static enum family family_of(enum sched_alg alg)
{
    switch (alg) {
    case SCHED_RING:
    case SCHED_KANGARING:
    case SCHED_FLAT_RING:
        return RINGS;
    case SCHED_MESH:
    case SCHED_MESH_ONE:
        return MESHES;
    case SCHED_RDH:
        return RDHS;
    case SCHED_HIER:
        return HIERS;
    default:
        return OTHERS;
    }
}

/* The documented operations of each algorithm; every line must be proved at least once by a run
 * over its family from 1 to 8 ranks a node. */
static const struct must {
    enum sched_op op;
    enum sched_alg alg;
} musts[] = {
    {SCHED_ALL_GATHER, SCHED_RING},
    {SCHED_REDUCE_SCATTER, SCHED_RING},
    {SCHED_ALL_REDUCE, SCHED_RING},
    {SCHED_ALL_GATHER, SCHED_KANGARING},
    {SCHED_REDUCE_SCATTER, SCHED_KANGARING},
    {SCHED_ALL_REDUCE, SCHED_KANGARING},
    {SCHED_ALL_GATHER, SCHED_FLAT_RING},
    {SCHED_REDUCE_SCATTER, SCHED_FLAT_RING},
    {SCHED_ALL_REDUCE, SCHED_FLAT_RING},
    {SCHED_ALL_GATHER, SCHED_MESH},
    {SCHED_REDUCE_SCATTER, SCHED_MESH},
    {SCHED_ALL_REDUCE, SCHED_MESH},
    {SCHED_ALL_TO_ALL, SCHED_MESH},
    {SCHED_ALL_GATHER_V, SCHED_MESH},
    {SCHED_ALL_TO_ALL_V, SCHED_MESH},
    {SCHED_REDUCE_SCATTER_V, SCHED_MESH},
    {SCHED_BARRIER, SCHED_MESH},
    {SCHED_ALL_REDUCE, SCHED_MESH_ONE},
    {SCHED_ALL_GATHER, SCHED_RDH},
    {SCHED_REDUCE_SCATTER, SCHED_RDH},
    {SCHED_ALL_REDUCE, SCHED_RDH},
    {SCHED_ALL_GATHER, SCHED_HIER},
    {SCHED_REDUCE_SCATTER, SCHED_HIER},
    {SCHED_ALL_REDUCE, SCHED_HIER},
    {SCHED_ALL_TO_ALL, SCHED_MESH_TWO},
    {SCHED_PERMUTE, SCHED_PAIRS},
    {SCHED_SENDRECV, SCHED_PAIRS},
};
#define MUSTS (sizeof(musts) / sizeof(musts[0]))

static struct {
    enum family family;
    uint32_t first, last;
    bool every;
    unsigned part, parts, combination;
    struct proof_random random;
    unsigned long proved, unsupported;
    bool met[MUSTS];
} run;

/* ---- what earlier runs proved ---- */

/* FNV-1a of this program's bytes: another generator, checker or compiler is another program. */
static uint64_t program_digest(void)
{
    FILE *f = fopen("/proc/self/exe", "rb");
    uint64_t digest = 0xcbf29ce484222325u;
    int c;

    assert_non_null(f);
    while ((c = fgetc(f)) != EOF)
        digest = (digest ^ (uint64_t)c) * 0x100000001b3u;
    fclose(f);
    return digest;
}

/* The line of this run, up to what it found. */
static void ledger_key(char *text, size_t size, uint64_t seed)
{
    snprintf(text, size, "%s, %u to %u ranks, part %u of %u, seed %llu, program %016llx: ",
             family_names[run.family], run.first, run.last, run.part, run.parts,
             (unsigned long long)seed, (unsigned long long)program_digest());
}

static bool ledger_has(const char *path, const char *key)
{
    FILE *f = fopen(path, "r");
    char line[256];
    bool found = false;

    while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
        found = strncmp(line, key, strlen(key)) == 0 && strchr(line, '\n') != NULL;
    if (f != NULL)
        fclose(f);
    return found;
}

/* In one write, since runs share the file. */
static void ledger_add(const char *path, const char *key)
{
    char line[256];
    int n = snprintf(line, sizeof(line), "%s%lu proved, %lu not supported, %.1f s\n", key,
                     run.proved, run.unsupported, (double)clock() / CLOCKS_PER_SEC);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0 || write(fd, line, (size_t)n) != n)
        perror(path);
    if (fd >= 0)
        close(fd);
}

/* ---- combinations ---- */

static void case_prove(const struct sched_request *req, unsigned size)
{
    struct proof_case c;
    struct err err = {0};
    char text[400];

    proof_case_init(&c, req, size, &run.random);
    switch (proof_run(&c, NULL, &err)) {
    case PROOF_WRONG:
        proof_case_text(&c, text, sizeof(text));
        fail_msg("%s: %s", text, err.text);
        break;
    case PROOF_UNSUPPORTED:
        run.unsupported++;
        break;
    case PROOF_PROVED:
        run.proved++;
        for (size_t i = 0; i < MUSTS; i++)
            if (musts[i].op == req->op && musts[i].alg == req->alg)
                run.met[i] = true;
    }
    proof_case_fini(&c);
}

static void case_vary(struct sched_request req, unsigned size)
{
    proof_request_vary(&req, &run.random);
    case_prove(&req, size);
}

static void combination_prove(const struct sched_request *req)
{
    uint32_t n = req->group->n;

    if (run.combination++ % run.parts != run.part)
        return;
    if (run.every) {
        for (unsigned size = 0; size < PROOF_SIZES; size++)
            case_vary(*req, size);
    } else if (n <= 8 || req->alg == SCHED_FLAT_RING ||
               proof_draw(&run.random, req->alg == SCHED_HIER ? 24 : 6) == 0) {
        case_vary(*req, proof_draw(&run.random, PROOF_SIZES));
    }
}

static void variants_prove(struct sched_request req)
{
    for (int v = 0; v < SCHED_VARIANT_COUNT; v++)
        for (int in_place = 0; in_place < 2; in_place++) {
            req.variant = (enum sched_variant)v;
            req.in_place = in_place;
            combination_prove(&req);
        }
}

static void group_prove(const struct topo_group *g)
{
    for (int op = 0; op < SCHED_OP_COUNT; op++)
        for (int alg = 0; alg < SCHED_ALG_COUNT; alg++) {
            struct sched_request req = {
                .op = (enum sched_op)op, .alg = (enum sched_alg)alg, .group = g};

            if (family_of(req.alg) != run.family)
                continue;
            if (req.alg != SCHED_HIER) {
                variants_prove(req);
                continue;
            }
            for (int intra = SCHED_RING; intra <= SCHED_RDH; intra++)
                for (int inter = SCHED_RING; inter <= SCHED_RDH; inter++) {
                    req.intra = (enum sched_alg)intra;
                    req.inter = (enum sched_alg)inter;
                    variants_prove(req);
                }
        }
}

static void world_prove(const struct proof_world *w)
{
    struct proof_group g;

    proof_group_init(&g, w, &run.random);
    group_prove(&g.group);
    proof_group_fini(&g);
}

/* One node of every kind, with the first n logical cores, in order and not. */
static void one_node(void **state)
{
    static const struct proof_world kinds[] = {
        {"trn2.48xlarge", 2, 1, 1, 64, false},    {"trn2.48xlarge", 1, 1, 1, 128, false},
        {"trn2u.48xlarge", 2, 1, 1, 64, true},    {"trn1.32xlarge", 1, 1, 1, 32, false},
        {"inf2.48xlarge", 1, 1, 1, 24, false},    {"inf2.24xlarge", 1, 1, 1, 12, false},
        {"trn2-ultraserver", 2, 4, 1, 64, false}, {"trn3-gen1-ultraserver", 2, 1, 1, 64, false},
    };

    for (uint32_t n = run.first; n <= run.last; n++)
        for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
            struct proof_world w = kinds[k];

            if (n > w.per_node || (k && !run.every && n > 8 && proof_draw(&run.random, 3)))
                continue;
            w.per_node = n;
            if (w.servers > 1 && n % w.servers)
                continue;
            w.per_node /= w.servers;
            world_prove(&w);
        }
    (void)state;
}

/* Several nodes; x * y ranks in all. */
static void several_nodes(void **state)
{
    for (uint32_t n = run.first; n <= run.last; n++)
        for (uint32_t x = 2; x <= 8 && x <= n; x++) {
            struct proof_world w = {
                n % 2 ? "trn1.32xlarge" : "trn2.48xlarge", n % 2 ? 1 : 2, 1, x, n / x, n % 5 == 0};

            if (n % x == 0 && w.per_node <= (n % 2 ? 32u : 64u))
                world_prove(&w);
        }
    for (uint32_t n = run.first; n <= run.last; n++) { /* one rank a node */
        struct proof_world w = {"trn2.48xlarge", 2, 1, n, 1, false};

        if (n > 8)
            world_prove(&w);
    }
    if (run.first <= 2 && run.family == RINGS) { /* whole nodes with several interfaces */
        struct proof_world w = {"trn1.32xlarge", 1, 1, 2, 32, false};

        world_prove(&w);
    }
    (void)state;
}

/* Chosen operations on groups of 128 (one node at LNC 1) to 1,024 ranks (16 nodes). */
static void large_groups(void **state)
{
    static const struct {
        enum sched_op op;
        enum sched_alg alg, intra, inter;
        uint32_t most; /* ranks */
    } chosen[] = {
        {SCHED_ALL_GATHER, SCHED_HIER, SCHED_MESH, SCHED_RDH, 1024},
        {SCHED_REDUCE_SCATTER, SCHED_HIER, SCHED_RING, SCHED_RDH, 1024},
        {SCHED_ALL_REDUCE, SCHED_HIER, SCHED_KANGARING, SCHED_RING, 1024},
        {SCHED_ALL_REDUCE, SCHED_RDH, 0, 0, 128},
        {SCHED_REDUCE_SCATTER, SCHED_MESH, 0, 0, 128},
        {SCHED_ALL_REDUCE, SCHED_RING, 0, 0, 256},
        {SCHED_ALL_GATHER, SCHED_RING, 0, 0, 1024},
        {SCHED_BARRIER, SCHED_MESH, 0, 0, 256},
    };
    struct proof_world one = {"trn2.48xlarge", 1, 1, 1, 128, false};
    struct proof_world several = {"trn2.48xlarge", 2, 1, run.first / 64, 64, false};
    struct proof_world singles = {"trn2.48xlarge", 2, 1, run.first, 1, false};
    unsigned long before;

    for (size_t i = 0; i < sizeof(chosen) / sizeof(chosen[0]); i++) {
        struct proof_group g;
        struct sched_request req = {.op = chosen[i].op,
                                    .alg = chosen[i].alg,
                                    .intra = chosen[i].intra,
                                    .inter = chosen[i].inter,
                                    .elem_size = 4,
                                    .channels = 1};

        if (run.first > chosen[i].most)
            continue;
        proof_group_init(&g,
                         req.alg == SCHED_HIER ? &several
                         : run.first == 128    ? &one
                                               : &singles,
                         &run.random);
        req.group = &g.group;
        before = run.proved;
        case_prove(&req, 5);
        if (run.proved == before)
            fail_msg("%s %s on %u ranks was not accepted", sched_op_name(req.op),
                     sched_alg_name(req.alg), g.group.n);
        proof_group_fini(&g);
    }
    print_message("%lu proved\n", run.proved);
    (void)state;
}

static void nothing_was_refused(void **state)
{
    print_message("%lu proved, %lu not supported\n", run.proved, run.unsupported);
    for (size_t i = 0; run.first == 1 && run.last >= 8 && run.parts == 1 && i < MUSTS; i++)
        if (family_of(musts[i].alg) == run.family && !run.met[i])
            fail_msg("%s %s was never accepted", sched_op_name(musts[i].op),
                     sched_alg_name(musts[i].alg));
    (void)state;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_node),
        cmocka_unit_test(several_nodes),
        cmocka_unit_test(nothing_was_refused),
    };
    const struct CMUnitTest large[] = {cmocka_unit_test(large_groups)};
    const char *ledger = getenv("OPENNRT_PROOFS");
    char name[64], key[192];
    int failed;

    if (argc > 3 && strcmp(argv[1], "large") == 0) {
        run.first = run.last = (uint32_t)atoi(argv[2]);
        run.random = proof_seed();
        return cmocka_run_group_tests_name("sched-proof-large", large, NULL, NULL);
    }
    while (run.family < FAMILIES && (argc < 4 || strcmp(argv[1], family_names[run.family]) != 0))
        run.family++;
    if (run.family == FAMILIES) {
        fprintf(stderr,
                "usage: %s ring|mesh|rdh|hier|other|large FIRST LAST [every [PART PARTS]]\n",
                argv[0]);
        return 2;
    }
    run.first = (uint32_t)atoi(argv[2]);
    run.last = (uint32_t)atoi(argv[3]);
    run.every = argc > 4;
    run.part = argc > 6 ? (unsigned)atoi(argv[5]) : 0;
    run.parts = argc > 6 && atoi(argv[6]) > 0 ? (unsigned)atoi(argv[6]) : 1;
    run.random = proof_seed();
    snprintf(name, sizeof(name), "sched-proof-%s", argv[1]);
    ledger_key(key, sizeof(key), run.random.state);
    if (!run.every)
        ledger = NULL;
    if (ledger != NULL && ledger_has(ledger, key)) {
        printf("proved already, says %s\n", ledger);
        return 0;
    }
    failed = cmocka_run_group_tests_name(name, tests, NULL, NULL);
    if (ledger != NULL && failed == 0)
        ledger_add(ledger, key);
    return failed;
}
