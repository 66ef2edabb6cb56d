/* SPDX-License-Identifier: Apache-2.0 */
/* From sets of handles to memory: what an execution of a model works on. */
#ifndef API_EXEC_INT_H
#define API_EXEC_INT_H

#include "api/api_int.h"

/* What looking up a pair of sets for a model gave: fixed once made, counted by reference, shared by
 * executions of the model with these sets. Its tensors are pinned while one of them is under way.
 */
struct bound {
    _Atomic uint32_t refs;
    uint32_t in_count, out_count;
    uint64_t serial;            /* model_call.serial */
    struct model_arg *args;     /* inputs, then outputs */
    uint64_t *tensors;          /* their tokens */
    struct handle_slot **slots; /* where these tokens are, or were */
    uint32_t *attached;         /* their tensor.attached */
};

struct binding;

/* What bound_get would find without making anything, for a model with one replica; its tensors are
 * pinned. NULL: ask bound_get. The sets need not be pinned: the binding was made of what they hold.
 * It is not counted: the binding that keeps it stays taken, so that no other execution can use it,
 * until bound_end; or until bound_keep, from which on it is as if from bound_get. */
struct bound *bound_find(struct api_model *am, uint64_t in_token, uint64_t out_token,
                         struct binding **ret_taken);
void bound_end(struct bound *b, struct binding *taken);
void bound_keep(struct bound *b, struct binding *taken);
/* Find or make it, of sets that are pinned; it is counted, its tensors are pinned, and
 * *ret_instance is the replica to run on. A failure is logged for func and counted. */
NRT_STATUS bound_get(const char *func, struct api_model *am, uint64_t in_token, uint64_t out_token,
                     const struct tensor_set *in, const struct tensor_set *out, struct bound **ret,
                     uint32_t *ret_instance);
/* Unpin its tensors and give back what is counted. */
void bound_give(struct bound *b);

static inline struct tensor *bound_tensor(const struct bound *b, uint32_t i)
{
    return b->slots[i]->obj;
}

/* How an execution is left to the compute unit. */
struct exec_later {
    int queue;
    struct nrta_error_tracker *tracker;
    uint64_t *seq;
    bool implicit; /* the callback is told, and none of the above is there */
};
/* nrt_execute_repeat, or leave it when later is not NULL. The arguments but the handles have been
 * checked. */
NRT_STATUS api_execute(const char *func, nrt_model_t *model, const nrt_tensor_set_t *input_set,
                       nrt_tensor_set_t *output_set, int repeat, const struct exec_later *later);
/* Takes over the pin of the model and b on success. */
NRT_STATUS async_exec_leave(const struct exec_later *l, const char *func, struct handle_slot *model,
                            struct bound *b, uint32_t instance, int repeat);

/* Run it, repeat times; counts completions, reports a failure in the name of func. */
NRT_STATUS bound_run(const char *func, struct api_model *am, struct bound *b, uint32_t instance,
                     int repeat);

#endif
