/* SPDX-License-Identifier: Apache-2.0 */
/* Our side: programs in the text form, loaded and executed through libnrt. */
#ifndef BENCH_OURS_H
#define BENCH_OURS_H

#include <stdbool.h>
#include <stddef.h>

#include "nrt/nrt.h"

#define OURS_TENSORS 8

/* A loaded model with a tensor for every input and output, in the order of the model. */
struct ours {
    nrt_model_t *model;
    nrt_tensor_set_t *in, *out;
    nrt_tensor_t *tensor[OURS_TENSORS];
    size_t size[OURS_TENSORS];
    bool is_input[OURS_TENSORS];
    unsigned count;
    struct nrta_error_tracker *tracker; /* NULL: ours_queue_open was not called */
};

/* Ends the program with a message when anything fails. text: docs/isa.md. */
void *ours_assemble(const char *text, bool plain_tar, size_t *ret_size); /* neff_build_free */
struct ours *ours_open(const char *text);
struct ours *ours_open_neff(const void *neff, size_t size);
void ours_close(struct ours *o);
void ours_run(void *o); /* one nrt_execute */
/* The same by the compute unit of the core, ours_queue_open once before: OURS_QUEUED executions are
 * scheduled, then awaited. ours_schedule_us: microseconds that scheduling one takes the caller
 * while the unit is at work, over `rounds` such queues. */
#define OURS_QUEUED 64
void ours_queue_open(struct ours *o);
void ours_queue_close(struct ours *o);
void ours_queue_run(void *o);
double ours_schedule_us(struct ours *o, unsigned rounds);
/* k-th input (output) of the model. */
void ours_fill(struct ours *o, unsigned k, const void *data, size_t size);
void ours_result(struct ours *o, unsigned k, void *data, size_t size);
/* nrt_init with that many host threads; closes an earlier session. */
void ours_session(unsigned threads);
void ours_must(NRT_STATUS status, const char *what);

/* Programs. The texts are static. */
extern const char ours_nothing[], ours_softmax[], ours_layernorm[], ours_layernorm_kept[],
    ours_add[], ours_add_sbuf[];
/* An activation function of f32[128, 4096]. Free the text. */
char *ours_activation_text(const char *function);
#define OURS_ADDS 64 /* additions in one execution of ours_add_sbuf */
/* C[2048,2048] = at^T b, inputs at and b [k, m] and [k, n]; dtype "f32" or "bf16". Free the text.
 */
char *ours_matmul_text(const char *dtype);

#endif
