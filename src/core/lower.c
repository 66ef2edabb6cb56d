/* SPDX-License-Identifier: Apache-2.0 */
/* The records of one engine: checked by the isa room, then lowered to what the loop walks. Linear
 * in records. */
#include "base/watched.h"
#include "core/core_int.h"

#include <stdio.h>
#include <string.h>

/* Records offered to kernel_lower at once. */
#define RUN_MAX 1024u

/* Groups with this id: first position in t and how many. */
static uint32_t find_trigger(const struct core_trig *t, uint32_t n, int64_t id, uint32_t *ret_count)
{
    uint32_t lo = 0, hi = n, end;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if ((int64_t)t[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (end = lo; end < n && (int64_t)t[end].id == id; end++)
        ;
    *ret_count = end - lo;
    return lo;
}

struct lowering {
    unsigned engine;
    const struct isa_record *rec;
    uint32_t count;
    const uint32_t *run_end; /* one past the last record that a kernel op may cover from here */
    const struct core_trig *trig;
    uint32_t ntrig;
};

static NRT_STATUS lower_sync(struct core_program *p, const struct isa_record *first,
                             const struct isa_record *last, struct core_op *op, struct err *err)
{
    if (!mem_grow((void **)&p->waits, &p->cap_waits, p->nwaits + 4, sizeof(p->waits[0])) ||
        !mem_grow((void **)&p->updates, &p->cap_updates, p->nupdates + 4, sizeof(p->updates[0])))
        return program_no_memory(err);
    if (first->nwaits > 4 || last->nupdates > 4)
        return err_set(err, NRT_INVALID, "invalid waits or updates");
    op->waits = (uint32_t)p->nwaits;
    op->updates = (uint32_t)p->nupdates;
    for (unsigned i = 0; i < first->nwaits; i++) {
        const struct isa_wait *w = &first->wait[i];

        p->waits[p->nwaits++] = (struct core_cond){w->kind, w->index, w->reg, 0, w->value};
        op->nwaits++;
        if (w->kind == ISA_WAIT_SEM_GE || w->kind == ISA_WAIT_SEM_EQ)
            program_use_sem(p, w->index); /* its waiters are cleared with it */
    }
    for (unsigned pass = 0; pass < 2; pass++) { /* those at read first */
        for (unsigned i = 0; i < last->nupdates; i++) {
            const struct isa_update *u = &last->update[i];
            bool at_read = (u->flags & ISA_UPD_AT_READ) != 0;

            if (at_read != (pass == 0))
                continue;
            p->updates[p->nupdates++] = (struct core_upd){u->kind, u->index, u->reg,
                                                          (u->flags & ISA_UPD_PEER) != 0, u->value};
            if (at_read)
                op->nread++;
            else
                op->ncomplete++;
            if (u->flags & ISA_UPD_PEER)
                p->uses_peer = true;
            if (u->kind != ISA_UPD_EVENT_SET && u->kind != ISA_UPD_EVENT_CLEAR)
                program_use_sem(p, u->index);
        }
    }
    return NRT_SUCCESS;
}

static NRT_STATUS lower_compute(struct core_program *p, const struct lowering *l, uint32_t i,
                                struct core_op *op, struct err *err)
{
    uint32_t max = l->run_end[i] - i;
    struct kernel_op *k;
    NRT_STATUS st;

    if (!mem_grow((void **)&p->kops, &p->cap_kops, p->nkops + 1, sizeof(p->kops[0])))
        return program_no_memory(err);
    k = &p->kops[p->nkops];
    memset(k, 0, sizeof(*k));
    st = kernel_lower(&l->rec[i], max < RUN_MAX ? max : RUN_MAX, &p->core->kc, p->opt.math,
                      &p->arena, k, err);
    if (st != NRT_SUCCESS)
        return st;
    if (k->fn == NULL || k->consumed < 1 || k->consumed > max)
        return err_set(err, NRT_FAILURE, "kernel covers %u of %u records", k->consumed, max);
    op->kind = OP_KERNEL;
    op->target = (uint32_t)p->nkops++;
    op->next = i + k->consumed;
    return NRT_SUCCESS;
}

static NRT_STATUS lower_seq(struct core_program *p, const struct lowering *l,
                            const struct isa_record *r, struct core_op *op, struct err *err)
{
    const struct isa_seq *s = &r->body.s;
    uint32_t first, n;

    op->sub = s->op;
    op->rd = s->rd;
    op->ra = s->ra;
    op->rb = s->rb;
    op->imm = s->imm;
    switch (r->opcode) {
    case ISA_OP_REG_MOVE:
        op->kind = OP_MOVE;
        break;
    case ISA_OP_REG_ALU:
        op->kind = OP_ALU;
        break;
    case ISA_OP_REG_LOAD:
        op->kind = OP_LOAD;
        return place_lower(p, s, &op->target, err);
    case ISA_OP_REG_STORE:
        op->kind = OP_STORE;
        return place_lower(p, s, &op->target, err);
    case ISA_OP_BRANCH:
        op->kind = OP_BRANCH;
        op->target = s->target;
        if (s->target >= l->count)
            return err_set(err, NRT_INVALID, "branch target %u outside the program", s->target);
        break;
    case ISA_OP_DMA_TRIGGER:
        op->kind = OP_TRIGGER;
        first = find_trigger(l->trig, l->ntrig, s->imm, &n);
        if (n == 0)
            return err_set(err, NRT_INVALID, "no dma group with id %d", s->imm);
        op->target = l->trig[first].group;
        op->imm = (int32_t)n;
        break;
    case ISA_OP_CORE_BARRIER:
        op->kind = OP_BARRIER;
        if (s->first >= ISA_SEMAPHORES || p->opt.lnc < 2)
            return err_set(err, NRT_INVALID, "core_barrier needs LNC size 2 and a semaphore");
        op->target = s->first;
        program_use_sem(p, s->first);
        p->uses_peer = true;
        break;
    case ISA_OP_SEM_RANGE_CLEAR:
        op->kind = OP_RANGE_CLEAR;
        if (s->first + s->count > ISA_SEMAPHORES)
            return err_set(err, NRT_INVALID, "semaphore range out of range");
        op->target = s->first;
        op->imm = s->count;
        break;
    case ISA_OP_TRIGGER_COLLECTIVE:
        if (p->opt.outside != NULL)
            return outside_lower(p, s, op, err);
        /* fall through */
    default:
        return err_set(err, NRT_INVALID, "Unsupported hardware operator code %u found in neff.",
                       r->opcode);
    }
    if ((op->rd >= ISA_REGS && (op->kind == OP_MOVE || op->kind == OP_ALU)) ||
        (op->ra >= ISA_REGS && (op->kind == OP_ALU || op->kind == OP_BRANCH)) ||
        (op->rb >= ISA_REGS && op->rb != ISA_NO_REG))
        return err_set(err, NRT_INVALID, "invalid register");
    return NRT_SUCCESS;
}

static NRT_STATUS lower_record(struct core_program *p, const struct lowering *l, uint32_t i,
                               struct core_op *op, struct err *err)
{
    const struct isa_record *r = &l->rec[i];
    const struct isa_op_info *info = isa_op_info(r->opcode);
    NRT_STATUS st = NRT_SUCCESS;

    *op = (struct core_op){.next = i + 1};
    if (info == NULL || r->opcode == ISA_OP_SENDRECV)
        return err_set(err, NRT_INVALID, "Unsupported hardware operator code %u found in neff.",
                       r->opcode);
    switch (info->format) {
    case ISA_FMT_NONE:
        op->kind = r->opcode == ISA_OP_END ? OP_END : OP_NOP; /* DRAIN: nothing is in flight */
        break;
    case ISA_FMT_COMPUTE:
        st = lower_compute(p, l, i, op, err);
        if (r->opcode == ISA_OP_PRINT) {
            op->kind = OP_PRINT;
            watched_count(p->prints, true);
            p->prints = true;
        }
        break;
    case ISA_FMT_SEQ:
        st = lower_seq(p, l, r, op, err);
        break;
    case ISA_FMT_DYN:
        op->kind = OP_DYN;
        st = dyn_lower(p, l->engine, r, &op->target, err);
        break;
    }
    if (st != NRT_SUCCESS)
        return st;
    return lower_sync(p, r, &l->rec[op->next - 1], op, err);
}

/* run_end[i]: matmuls after i that nothing can observe one by one (design decision 7). */
static void find_runs(const struct isa_record *rec, const uint16_t *opcodes, uint32_t n,
                      uint32_t *run_end, const uint8_t *is_target)
{
    for (uint32_t i = n; i-- > 0;) {
        bool joins = i + 1 < n && opcodes[i] == ISA_OP_NC_MATMUL &&
                     opcodes[i + 1] == ISA_OP_NC_MATMUL && rec[i].nupdates == 0 &&
                     rec[i + 1].nwaits == 0 && !is_target[i + 1];

        run_end[i] = joins ? run_end[i + 1] : i + 1;
    }
}

/* Opcodes and branch targets, and room for all kernel ops at once, which growing would copy.
 * Records are far larger than any cache, so each pass over them counts. */
static bool look_over(struct core_program *p, const struct lowering *l, uint16_t *opcodes,
                      uint8_t *is_target)
{
    size_t n = 0;

    for (uint32_t i = 0; i < l->count; i++) {
        const struct isa_record *r = &l->rec[i];
        const struct isa_op_info *info = isa_op_info(r->opcode);

        opcodes[i] = r->opcode;
        n += info != NULL && info->format == ISA_FMT_COMPUTE;
        if (r->opcode == ISA_OP_BRANCH && r->body.s.target < l->count)
            is_target[r->body.s.target] = 1;
    }
    return mem_grow((void **)&p->kops, &p->cap_kops, p->nkops + n, sizeof(p->kops[0]));
}

/* Of record i, while it is in the cache. */
static void lower_cost(const struct core_program *p, const struct lowering *l,
                       struct core_code *code, uint32_t i)
{
    code->cost[i] = time_cost_record(&l->rec[i], p->core->kc.gen);
    code->dependent[i] = i > 0 && code->cost[i].dependent_ps != 0 &&
                         time_record_dependent(&l->rec[i - 1], &l->rec[i]);
    code->ops[i].cost_ps = code->cost[i].ps + (code->dependent[i] ? code->cost[i].dependent_ps : 0);
}

static NRT_STATUS lower_records(struct core_program *p, struct lowering *l, struct err *err)
{
    struct core_code *code = &p->code[l->engine];
    uint8_t *is_target = mem_zalloc(l->count + 1);
    uint32_t *run_end = mem_calloc(l->count + 1, sizeof(run_end[0]));
    NRT_STATUS st = NRT_SUCCESS;

    if (is_target == NULL || run_end == NULL) {
        st = program_no_memory(err);
        goto out;
    }
    if (!look_over(p, l, code->opcodes, is_target)) {
        st = program_no_memory(err);
        goto out;
    }
    find_runs(l->rec, code->opcodes, l->count, run_end, is_target);
    l->run_end = run_end;
    for (uint32_t i = 0; i < l->count && st == NRT_SUCCESS;) {
        struct err e = {0};

        st = lower_record(p, l, i, &code->ops[i], &e);
        if (st != NRT_SUCCESS) {
            err_set(err, st, "%s record %u: %s", isa_engine_name(l->engine), i, e.text);
            break;
        }
        for (uint32_t k = i + 1; k < code->ops[i].next; k++)
            code->ops[k] = (struct core_op){.kind = OP_COVERED, .next = k + 1};
        for (uint32_t k = i; k < code->ops[i].next; k++)
            lower_cost(p, l, code, k);
        i = code->ops[i].next;
    }
    if (st == NRT_SUCCESS && code->ops[l->count - 1].kind != OP_END &&
        !(code->ops[l->count - 1].kind == OP_BRANCH &&
          code->ops[l->count - 1].sub == ISA_BR_ALWAYS))
        st = err_set(err, NRT_INVALID, "%s: the last record can fall through",
                     isa_engine_name(l->engine));
out:
    mem_free(is_target);
    mem_free(run_end);
    return st;
}

/* Covered matmuls cost what they would alone: their time belongs to the op that covers them. */
static void cost_runs(struct core_code *code)
{
    for (uint32_t i = 0; i < code->count; i = code->ops[i].next) {
        uint64_t sum = code->ops[i].cost_ps;

        for (uint32_t k = i + 1; k < code->ops[i].next; k++)
            sum += code->ops[k].cost_ps;
        code->ops[i].cost_ps = sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
    }
}

/* The check of the isa room, with the member and the source line in front of what it says. */
static NRT_STATUS check_code(struct core_program *p, unsigned engine, struct isa_check_env *env,
                             struct err *err)
{
    const struct neff_engine_code *ec = &p->sg->engines[engine];
    struct err local = {0};
    const struct neff_debug_record *d = NULL;
    unsigned long i;
    NRT_STATUS st = isa_check_program(ec->instr, ec->instr_bytes, (enum isa_engine)engine, env,
                                      p->opt.sink, &local);

    if (st == NRT_SUCCESS)
        return st;
    if (strncmp(local.text, "Unsupported hardware", 20) == 0) /* as published */
        return err_set(err, st, "%s", local.text);
    if (sscanf(local.text, "record %lu", &i) == 1 && i < ec->debug_count && ec->debug[i].file)
        d = &ec->debug[i];
    if (d != NULL)
        return err_set(err, st, "%s: %.80s:%u: %.300s", ec->instr_member, d->file, d->line,
                       local.text);
    return err_set(err, st, "%s: %.380s", ec->instr_member, local.text);
}

NRT_STATUS program_engine(struct core_program *p, unsigned engine, struct isa_check_env *env,
                          struct err *err)
{
    const struct neff_engine_code *ec = &p->sg->engines[engine];
    struct core_code *code = &p->code[engine];
    struct core_trig *trig = mem_calloc(ec->group_count + 1, sizeof(trig[0]));
    int64_t *ids = mem_calloc(ec->group_count + 1, sizeof(ids[0]));
    struct lowering l = {.engine = engine, .trig = trig, .ntrig = ec->group_count};
    struct isa_record *copy = NULL;
    NRT_STATUS st;

    if (trig == NULL || ids == NULL) {
        st = program_no_memory(err);
        goto out;
    }
    for (uint32_t i = 0; i < ec->group_count; i++)
        ids[i] = ec->groups[i].id;
    env->dma_ids = ids;
    env->n_dma_ids = ec->group_count;
    st = check_code(p, engine, env, err);
    if (st == NRT_SUCCESS)
        st = program_groups(p, engine, trig, err);
    if (st != NRT_SUCCESS)
        goto out;
    if (ec->instr_bytes == 0 || ec->instr_bytes / sizeof(*copy) > INT32_MAX) {
        st = err_set(err, NRT_INVALID, "%s: invalid size of the program", isa_engine_name(engine));
        goto out;
    }
    l.count = (uint32_t)(ec->instr_bytes / sizeof(*copy));
    l.rec = (const struct isa_record *)(const void *)ec->instr;
    if ((uintptr_t)ec->instr % _Alignof(struct isa_record) != 0 || p->opt.checks != 0) {
        copy = mem_calloc(l.count, sizeof(*copy));
        if (copy == NULL) {
            st = program_no_memory(err);
            goto out;
        }
        memcpy(copy, ec->instr, l.count * sizeof(*copy));
        l.rec = copy;
    }
    code->count = l.count;
    code->ops = mem_calloc(l.count, sizeof(code->ops[0]));
    code->opcodes = mem_calloc(l.count, sizeof(code->opcodes[0]));
    code->cost = mem_calloc(l.count, sizeof(code->cost[0]));
    code->dependent = mem_calloc(l.count, sizeof(code->dependent[0]));
    if (code->ops == NULL || code->opcodes == NULL || code->cost == NULL ||
        code->dependent == NULL) {
        st = program_no_memory(err);
        goto out;
    }
    st = lower_records(p, &l, err);
    if (st != NRT_SUCCESS)
        goto out;
    cost_runs(code);
    p->records += l.count;
    if (p->opt.checks != 0) {
        code->records = copy;
        copy = NULL;
    }
out:
    mem_free(copy);
    mem_free(trig);
    mem_free(ids);
    return st;
}
