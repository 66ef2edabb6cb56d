/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the NEFF of the digits classifier with the builder of libneff: tensors, constants, queues
 * and DMA descriptors are declared here, the engines' programs are the text of digits.nasm.
 *
 *     digits_build DIRECTORY OUTPUT.neff      (of digits.nasm and weights/)
 *
 * Input images: float32 [128, 64], 0 to 1. Outputs probs: float32 [128, 10]; labels: uint32 [128].
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "neff/asm.h"
#include "neff/build.h"

#define BATCH    128
#define PIXELS   64
#define HIDDEN   128
#define CLASSES  10
#define F32      4
#define NEXT_ROW 262144 /* from one SBUF partition to the next */

/* Byte offsets in every SBUF partition. The program gets them as parameters. */
enum {
    AT_XT = 0,
    AT_W1 = AT_XT + BATCH * F32,
    AT_W2 = AT_W1 + HIDDEN * F32,
    AT_W3 = AT_W2 + HIDDEN * F32,
    AT_B1 = AT_W3 + 64,
    AT_B2 = AT_B1 + F32,
    AT_B3 = AT_B2 + F32,
    AT_PROBS = 4096,
    AT_INDEX = AT_PROBS + 64
};

/* Semaphores of the transfers, as in digits.nasm. */
enum { SEM_IMAGES = 1, SEM_LAYER1, SEM_LAYER2, SEM_LAYER3, SEM_STORED };

struct network {
    int sbuf, images, probs, labels;
    int w[3], b[3];
    int queue_in, queue_weights, queue_out;
};

static char *file_read(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    long size;

    if (f && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0) {
        rewind(f);
        text = malloc((size_t)size + 1);
        if (text && fread(text, 1, (size_t)size, f) == (size_t)size) {
            text[size] = '\0';
            *ret_size = (size_t)size;
        } else {
            free(text);
            text = NULL;
        }
    }
    if (f)
        fclose(f);
    if (!text)
        fprintf(stderr, "digits_build: cannot read %s\n", path);
    return text;
}

/* The engines' programs; declares nothing else. */
static struct neff_build *programs_assemble(const char *dir)
{
    static const struct {
        const char *name;
        int value;
    } offsets[] = {{"XT", AT_XT}, {"W1", AT_W1},       {"W2", AT_W2},
                   {"W3", AT_W3}, {"B1", AT_B1},       {"B2", AT_B2},
                   {"B3", AT_B3}, {"PROBS", AT_PROBS}, {"INDEX", AT_INDEX}};
    enum { COUNT = sizeof(offsets) / sizeof(offsets[0]) };
    struct neff_asm_define defines[COUNT];
    struct neff_asm_options options = {
        .file = "digits.nasm", .arch = "trn1", .defines = defines, .define_count = COUNT};
    struct neff_error error = {0};
    struct neff_build *b = NULL;
    char path[4096], values[COUNT][16];
    size_t size = 0;
    char *text;

    for (size_t i = 0; i < COUNT; i++) {
        snprintf(values[i], sizeof(values[i]), "%d", offsets[i].value);
        defines[i] = (struct neff_asm_define){offsets[i].name, values[i]};
    }
    snprintf(path, sizeof(path), "%s/digits.nasm", dir);
    text = file_read(path, &size);
    if (!text)
        return NULL;
    if (neff_asm_text(text, size, &options, &b, NULL, &error) != NRT_SUCCESS)
        fprintf(stderr, "digits_build: %s\n", error.text);
    free(text);
    return b;
}

static void variables_declare(struct neff_build *b, const char *dir, struct network *n)
{
    char path[4096];

    n->sbuf = neff_build_state_buffer(b, 0, "SB");
    n->images = neff_build_input(b, 0, "images", "float32", 2, (uint64_t[]){BATCH, PIXELS});
    n->probs = neff_build_output(b, 0, "probs", "float32", 2, (uint64_t[]){BATCH, CLASSES});
    n->labels = neff_build_output(b, 0, "labels", "uint32", 1, (uint64_t[]){BATCH});
    for (int i = 0; i < 3; i++) {
        char name[8];

        snprintf(name, sizeof(name), "w%d", i + 1);
        snprintf(path, sizeof(path), "%s/weights/%s.npy", dir, name);
        n->w[i] = neff_build_constant_file(b, 0, name, path);
        snprintf(name, sizeof(name), "b%d", i + 1);
        snprintf(path, sizeof(path), "%s/weights/%s.npy", dir, name);
        n->b[i] = neff_build_constant_file(b, 0, name, path);
    }
    n->queue_in = neff_build_queue(
        b, 0,
        &(struct neff_build_queue){.name = "qIn", .type = "in", .num_queues = 16, .owner = "sp"});
    n->queue_weights =
        neff_build_queue(b, 0,
                         &(struct neff_build_queue){
                             .name = "qWeights", .type = "data", .num_queues = 16, .owner = "sp"});
    n->queue_out = neff_build_queue(
        b, 0,
        &(struct neff_build_queue){.name = "qOut", .type = "out", .num_queues = 16, .owner = "sp"});
}

static int group_add(struct neff_build *b, uint32_t id, int queue, uint32_t semaphore)
{
    return neff_build_group(
        b, 0, NEFF_SP,
        &(struct neff_build_group){
            .id = id, .queue = queue, .has_semaphore = true, .semaphore = semaphore});
}

static void desc_add(struct neff_build *b, int group, struct neff_build_side from,
                     struct neff_build_side to)
{
    neff_build_desc(b, 0, NEFF_SP, group,
                    &(struct neff_build_desc){.from = &from, .from_count = 1, .to = to});
}

/* A tile of rows x bytes in SBUF. */
static struct neff_build_side tile(const struct network *n, uint64_t at, uint64_t rows,
                                   uint64_t bytes)
{
    return (struct neff_build_side){
        .var = n->sbuf, .off = at, .ndim = 2, .steps = {1, NEXT_ROW}, .sizes = {bytes, rows}};
}

/* A matrix in HBM, row after row; row_bytes lie between the starts of two rows. */
static struct neff_build_side matrix(int var, uint64_t rows, uint64_t bytes, int64_t row_bytes)
{
    return (struct neff_build_side){
        .var = var, .ndim = 2, .steps = {1, row_bytes}, .sizes = {bytes, rows}};
}

static void transfers_declare(struct neff_build *b, const struct network *n)
{
    struct neff_build_side pixels = {.var = n->images,
                                     .ndim = 3, /* one pixel, of every image, then the next pixel */
                                     .steps = {1, PIXELS * F32, F32},
                                     .sizes = {F32, BATCH, PIXELS}};
    int g;

    g = group_add(b, 0, n->queue_in, SEM_IMAGES);
    desc_add(b, g, pixels,
             (struct neff_build_side){.var = n->sbuf,
                                      .off = AT_XT,
                                      .ndim = 3,
                                      .steps = {1, F32, NEXT_ROW},
                                      .sizes = {F32, BATCH, PIXELS}});

    g = group_add(b, 1, n->queue_weights, SEM_LAYER1);
    desc_add(b, g, matrix(n->w[0], PIXELS, HIDDEN * F32, HIDDEN * F32),
             tile(n, AT_W1, PIXELS, HIDDEN * F32));
    desc_add(b, g, matrix(n->b[0], HIDDEN, F32, F32), tile(n, AT_B1, HIDDEN, F32));

    g = group_add(b, 2, n->queue_weights, SEM_LAYER2);
    desc_add(b, g, matrix(n->w[1], HIDDEN, HIDDEN * F32, HIDDEN * F32),
             tile(n, AT_W2, HIDDEN, HIDDEN * F32));
    desc_add(b, g, matrix(n->b[1], HIDDEN, F32, F32), tile(n, AT_B2, HIDDEN, F32));

    g = group_add(b, 3, n->queue_weights, SEM_LAYER3);
    desc_add(b, g, matrix(n->w[2], HIDDEN, CLASSES * F32, CLASSES * F32),
             tile(n, AT_W3, HIDDEN, CLASSES * F32));
    desc_add(b, g, matrix(n->b[2], 1, CLASSES * F32, CLASSES * F32),
             tile(n, AT_B3, 1, CLASSES * F32));

    g = group_add(b, 4, n->queue_out, SEM_STORED);
    desc_add(b, g, tile(n, AT_PROBS, BATCH, CLASSES * F32),
             matrix(n->probs, BATCH, CLASSES * F32, CLASSES * F32));
    desc_add(b, g, tile(n, AT_INDEX, BATCH, F32), matrix(n->labels, BATCH, F32, F32));
}

int main(int argc, char **argv)
{
    struct neff_build_options options = {.arch = "trn1"};
    struct network network;
    struct neff_build *b;
    NRT_STATUS status;

    if (argc != 3) {
        fprintf(stderr, "usage: %s DIRECTORY OUTPUT.neff\n", argv[0]);
        return 2;
    }
    b = programs_assemble(argv[1]);
    if (!b)
        return 1;
    variables_declare(b, argv[1], &network);
    neff_build_act_set(b, 0, "exp_and_others");
    transfers_declare(b, &network);
    status = neff_build_write_file(b, &options, argv[2]);
    if (status != NRT_SUCCESS)
        fprintf(stderr, "digits_build: %s\n", neff_build_error(b));
    neff_build_destroy(b);
    return status == NRT_SUCCESS ? 0 : 1;
}
