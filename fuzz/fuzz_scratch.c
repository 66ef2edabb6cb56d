/* SPDX-License-Identifier: Apache-2.0 */
/* The memory tracker over a NEFF and a profile that need not belong together: four bytes that say
 * how long the NEFF is, the NEFF, the profile. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "neff/neff.h"
#include "viewer/scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Uses follow each other in time and stay in their execution's order; the peak is that of a step.
 */
static void look(const struct viewer_scratch *s)
{
    uint64_t peak = 0;

    for (size_t i = 0; i < s->use_count; i++) {
        const struct viewer_scratch_use *u = &s->uses[i];

        if (u->from_ps > u->to_ps || !u->var || u->core >= TIME_CORES)
            abort();
        if (u->var->type != NEFF_VAR_TMP_BUF && u->var->type != NEFF_VAR_VIRTUAL)
            abort();
    }
    for (size_t i = 0; i < s->step_count; i++) {
        const struct viewer_scratch_step *step = &s->steps[i];

        if (step->from_ps >= step->to_ps || step->core >= TIME_CORES)
            abort();
        if (i > 0 && step->core == step[-1].core && step->run == step[-1].run &&
            step->from_ps < step[-1].to_ps)
            abort(); /* two at once */
        peak = step->bytes > peak ? step->bytes : peak;
    }
    if (peak != s->peak_bytes)
        abort();
}

static void track(const struct neff *neff, const struct ntff *n)
{
    struct viewer_file file;
    struct err err = {0};

    if (viewer_file_init(&file, n, &err) != NRT_SUCCESS)
        abort();
    for (uint64_t i = 0; i < n->model_count; i++) {
        struct viewer_scratch s;
        struct viewer_model m;

        viewer_model_init(&m, &file, i, neff);
        if (viewer_scratch_make(&s, &m, &err) != NRT_SUCCESS)
            abort(); /* memory does not run out here */
        look(&s);
        viewer_scratch_fini(&s);
    }
    viewer_file_fini(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct neff_options opt = {.max_unpacked = 1 << 24, .max_json = 1 << 20};
    struct neff *neff = NULL;
    struct err err = {0};
    struct ntff n;
    void *profile;
    uint32_t first;

    if (size < sizeof(first))
        return 0;
    memcpy(&first, data, sizeof(first));
    data += sizeof(first);
    size -= sizeof(first);
    if (first > size || neff_create(data, first, &opt, &neff, &err) != NRT_SUCCESS)
        return 0;
    profile = malloc(size - first + 1); /* at a multiple of 8, and its end is the end */
    if (profile) {
        memcpy(profile, data + first, size - first);
        if (ntff_open(profile, size - first, &n, &err) == NRT_SUCCESS)
            track(neff, &n);
    }
    free(profile);
    neff_destroy(neff);
    return 0;
}
