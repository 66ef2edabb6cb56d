/* SPDX-License-Identifier: Apache-2.0 */
/* A logical core of one or two physical cores on plain memory, with subgraphs made by hand. */
#ifndef TEST_CORE_FIXTURE_H
#define TEST_CORE_FIXTURE_H

#include "base/mem.h"
#include "core/core.h"

#define FX_VARS   16
#define FX_QUEUES 8

struct fx_engine {
    struct isa_record *rec;
    uint32_t count, cap;
    struct neff_dma_group *groups;
    uint32_t ngroups, cap_groups;
};

struct fx_core {
    struct core *core;
    struct core_program *program;
    struct core_binding *binding;
    struct neff_subgraph sg;
    struct neff_var vars[FX_VARS];
    char var_names[FX_VARS][16];
    void *mem[FX_VARS]; /* var i's bytes; NULL for state-buffer */
    struct neff_queue queues[FX_QUEUES];
    struct fx_engine e[ISA_ENGINES];
};

struct fx {
    unsigned count;
    enum isa_gen gen;
    struct core_options opt;
    struct fx_core c[2];
    uint64_t budget;     /* fx_run in parts of it; 0: core_run */
    struct core_run run; /* cancel, now_ns, now_arg: of the next fx_run; the rest is set */
    struct core_report report;
    struct time_event *ev;
    struct time_events events;
    struct arena arena; /* descriptors */
    char text[4096];    /* of the last report */
};

/* Variable 0 of every core is the state-buffer "SB", queue 0 is "q0" with 16 queues, type data. */
void fx_init(struct fx *f, unsigned count, enum isa_gen gen);
void fx_fini(struct fx *f);
/* Throw away programs and records, keep cores and memory. */
void fx_clear(struct fx *f);
/* Variables by index = var_id; memory zeroed, with guard bytes behind it. */
unsigned fx_var(struct fx *f, unsigned core, enum neff_var_type type, uint64_t size);
unsigned fx_queue(struct fx *f, unsigned core, enum neff_queue_type type, unsigned num, int owner);

struct isa_record *fx_rec(struct fx *f, unsigned core, unsigned engine, unsigned opcode);
void fx_wait(struct isa_record *r, unsigned kind, unsigned index, int32_t value);
void fx_wait_reg(struct isa_record *r, unsigned kind, unsigned index, unsigned reg);
void fx_update(struct isa_record *r, unsigned kind, unsigned index, int32_t value, unsigned flags);
/* Common records. rb < 64: register, else imm. */
struct isa_record *fx_move(struct fx *f, unsigned core, unsigned engine, unsigned rd, int32_t imm);
struct isa_record *fx_alu(struct fx *f, unsigned core, unsigned engine, unsigned op, unsigned rd,
                          unsigned ra, unsigned rb, int32_t imm);
struct isa_record *fx_branch(struct fx *f, unsigned core, unsigned engine, unsigned cond,
                             unsigned ra, unsigned rb, int32_t imm, uint32_t target);
struct isa_record *fx_trigger(struct fx *f, unsigned core, unsigned engine, int32_t id);
void fx_end(struct fx *f, unsigned core, unsigned engine);
struct isa_tensor fx_tile(unsigned mem, enum dtype t, unsigned part, unsigned nparts,
                          uint32_t offset, unsigned n);

/* Descriptors: arrays of the arena. */
struct neff_access fx_access(unsigned var, uint64_t off, unsigned ndim, const int64_t *steps,
                             const uint64_t *sizes, enum dtype t);
struct neff_access fx_flat(unsigned var, uint64_t off, uint64_t bytes);
struct neff_desc *fx_desc(struct fx *f, unsigned op, struct neff_access to,
                          const struct neff_access *from, unsigned nfrom);
struct neff_dma_group *fx_group(struct fx *f, unsigned core, unsigned engine, uint32_t id,
                                unsigned queue, const struct neff_desc *d, unsigned ndesc);

/* Create programs and bindings; run. prepare asserts success, prepare_status does not. */
NRT_STATUS fx_prepare_status(struct fx *f, struct err *err);
void fx_prepare(struct fx *f);
NRT_STATUS fx_run(struct fx *f, uint64_t timeout_ns); /* fills report, text on failure */
/* The parts of fx_run, for tests that call core_progress themselves. */
NRT_STATUS fx_start(struct fx *f, uint64_t timeout_ns);
NRT_STATUS fx_finish(struct fx *f);
void fx_record_events(struct fx *f, size_t cap);

/* Bytes of SBUF and PSUM. */
uint8_t *fx_sbuf(struct fx *f, unsigned core, unsigned part, uint32_t off);
uint8_t *fx_psum(struct fx *f, unsigned core, unsigned part, uint32_t off);

/* Random numbers. */
struct fx_rng {
    uint64_t s;
};
uint32_t fx_rand(struct fx_rng *r);
static inline uint32_t fx_below(struct fx_rng *r, uint32_t n)
{
    return fx_rand(r) % n;
}
uint64_t fx_seed(void); /* seed.h */

#endif
