/* SPDX-License-Identifier: Apache-2.0 */
/* Shadow memory of OPENNRT_CHECK: the last write of every byte and who has read it since, and the
 * text of what is found. */
#include "core/check_int.h"

static struct region *region_of(struct core_check *k, const uint8_t *p)
{
    for (size_t i = 0; i < k->nregions; i++) {
        struct region *r = &k->regions[i];

        if (p >= r->base && p < r->base + r->size)
            return r;
    }
    return NULL;
}

/* Whether the host filled the byte before the execution: inputs, constants, address cells, and what
 * an earlier execution may have left in the NEFF's own memory. */
static bool host_wrote(const struct core_exec *x, const struct core_check *k,
                       const struct region *r, const uint8_t *p)
{
    if (r->mem != ISA_HBM)
        return false;
    for (unsigned c = 0; c < x->count; c++) {
        const struct core_program *pr = x->run->program[c];

        for (uint32_t v = 0; v < pr->sg->var_count; v++) {
            const uint8_t *h = x->run->binding[c]->var[v].host;
            enum neff_var_type t = pr->sg->vars[v].type;

            if (pr->var_used[v] && p >= h && p < h + pr->sg->vars[v].size &&
                (k->runs > 1 || (t != NEFF_VAR_TMP_BUF && t != NEFF_VAR_VIRTUAL)))
                return true;
        }
    }
    return false;
}

static void put_where(const struct core_exec *x, const struct access *a, struct strbuf *b)
{
    const struct core_program *p = x->run->program[a->core];
    const struct neff_engine_code *ec = &p->sg->engines[a->engine];
    const struct isa_op_info *info = isa_op_info(p->code[a->engine].opcodes[a->record]);

    if (x->count > 1)
        strbuf_printf(b, "core %u ", a->core);
    strbuf_printf(b, "%s%s record %u %s", a->dma ? "transfer of " : "", isa_engine_name(a->engine),
                  a->record, info != NULL ? info->name : "?");
    if (a->record < ec->debug_count && ec->debug[a->record].file != NULL)
        strbuf_printf(b, " (%s:%u)", ec->debug[a->record].file, ec->debug[a->record].line);
}

/* The byte in words of the program. */
static void put_byte(const struct core_exec *x, const struct region *r, const uint8_t *p,
                     struct strbuf *b)
{
    if (r->mem != ISA_HBM) {
        strbuf_printf(b, "%s partition %llu byte %llu", r->mem == ISA_SBUF ? "SBUF" : "PSUM",
                      (unsigned long long)((uint64_t)(p - r->base) / r->stride),
                      (unsigned long long)((uint64_t)(p - r->base) % r->stride));
        return;
    }
    for (unsigned c = 0; c < x->count; c++) {
        const struct core_program *pr = x->run->program[c];

        for (uint32_t v = 0; v < pr->sg->var_count; v++) {
            const uint8_t *h = x->run->binding[c]->var[v].host;

            if (pr->var_used[v] && p >= h && p < h + pr->sg->vars[v].size) {
                strbuf_printf(b, "%s byte %llu", pr->sg->vars[v].name, (unsigned long long)(p - h));
                return;
            }
        }
    }
}

static void report(const struct core_exec *x, struct core_check *k, const struct region *r,
                   const uint8_t *p, const struct access *first, bool first_writes,
                   const struct access *second, bool second_writes)
{
    struct strbuf b = {0};

    if (k->first.status != NRT_SUCCESS)
        return;
    if (first == NULL) {
        strbuf_put(&b, "uninitialised read: ");
        put_where(x, second, &b);
        strbuf_put(&b, " reads ");
        put_byte(x, r, p, &b);
        strbuf_put(&b, ", which nothing wrote");
    } else {
        strbuf_put(&b, "race: ");
        put_where(x, first, &b);
        strbuf_put(&b, first_writes ? " writes and " : " reads and ");
        put_where(x, second, &b);
        strbuf_put(&b, second_writes ? " writes " : " reads ");
        put_byte(x, r, p, &b);
        strbuf_put(&b, ", and nothing orders them");
    }
    err_set(&k->first, NRT_EXEC_COMPLETED_WITH_ERR, "%s", b.s != NULL ? b.s : "");
    strbuf_fini(&b);
}

/* Whether access id happened before everything the strand does now. */
static bool ordered(const struct core_check *k, uint32_t id, unsigned strand)
{
    const struct access *a;

    if (id < k->first_of_run)
        return true; /* none, the host, or an earlier execution */
    a = &k->acc[id - FIRST_ID];
    return a->clock <= k->strand[strand].at[a->strand];
}

static const uint32_t *readers_of(const struct core_check *k, const uint32_t *read, uint32_t *ret_n)
{
    const uint32_t *set = &k->readers[*read & ~READERS];

    if ((*read & READERS) == 0) {
        *ret_n = *read != 0;
        return read;
    }
    *ret_n = set[0];
    return set + 1;
}

/* Access id and those of `read` that are not before it. */
static uint32_t readers_make(struct core_check *k, uint32_t read, uint32_t id, unsigned strand)
{
    size_t at = k->nreaders;
    const uint32_t *old;
    uint32_t n, *set;

    (void)readers_of(k, &read, &n);
    if (at + 2 + n > READERS ||
        !mem_grow((void **)&k->readers, &k->cap_readers, at + 2 + n, sizeof(k->readers[0]))) {
        k->no_memory = true;
        return id;
    }
    old = readers_of(k, &read, &n);
    set = &k->readers[at];
    set[0] = 1;
    set[1] = id;
    for (uint32_t i = 0; i < n; i++)
        if (!ordered(k, old[i], strand))
            set[++set[0]] = old[i];
    if (set[0] == 1)
        return id;
    k->nreaders += 1 + set[0];
    return (uint32_t)at | READERS;
}

/* The same for neighbours, which were mostly read by the same. */
static uint32_t readers_with(struct core_check *k, uint32_t read, uint32_t id, unsigned strand)
{
    size_t m = read % (sizeof(k->made) / sizeof(k->made[0]));

    if (read == 0)
        return id;
    if (k->made[m].id != id || k->made[m].from != read) {
        k->made[m].to = readers_make(k, read, id, strand);
        k->made[m].id = id;
        k->made[m].from = read;
    }
    return k->made[m].to;
}

void check_touch(const struct core_exec *x, struct core_check *k, uint32_t id, const uint8_t *p,
                 uint64_t n, bool write)
{
    struct region *r = region_of(k, p);
    const struct access *me = &k->acc[id - FIRST_ID];
    bool race = (k->what & CORE_CHECK_RACE) != 0;

    if (r == NULL)
        return;
    for (uint64_t i = 0; i < n; i++) {
        struct cell *c = &r->cells[p - r->base + (int64_t)i];
        const uint32_t *reader;
        uint32_t readers;

        if (race && c->write != id && !ordered(k, c->write, me->strand)) {
            k->races++;
            report(x, k, r, p + i, &k->acc[c->write - FIRST_ID], true, me, write);
        }
        reader = readers_of(k, &c->read, &readers);
        if (!write) {
            if (c->write == 0 && (k->what & CORE_CHECK_UNINIT) != 0) {
                if (!host_wrote(x, k, r, p + i)) {
                    k->uninit++;
                    report(x, k, r, p + i, NULL, false, me, false);
                }
                c->write = BEFORE; /* once per byte */
            }
            if (readers == 0 || reader[0] != id)
                c->read = readers_with(k, c->read, id, me->strand);
            continue;
        }
        for (uint32_t s = 0; race && s < readers; s++)
            if (reader[s] != id && !ordered(k, reader[s], me->strand)) {
                k->races++;
                report(x, k, r, p + i, &k->acc[reader[s] - FIRST_ID], false, me, true);
            }
        c->write = id;
        c->read = 0;
    }
}

uint32_t check_access_new(struct core_check *k, unsigned strand, unsigned core, unsigned engine,
                          uint32_t record, bool dma)
{
    if (k->nacc >= READERS - FIRST_ID ||
        !mem_grow((void **)&k->acc, &k->cap_acc, k->nacc + 1, sizeof(k->acc[0]))) {
        k->no_memory = true;
        return 0;
    }
    k->acc[k->nacc] = (struct access){.clock = k->strand[strand].at[strand],
                                      .record = record,
                                      .strand = (uint16_t)strand,
                                      .core = (uint8_t)core,
                                      .engine = (uint8_t)engine,
                                      .dma = dma};
    return (uint32_t)k->nacc++ + FIRST_ID;
}
