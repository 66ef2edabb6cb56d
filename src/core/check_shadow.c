/* SPDX-License-Identifier: Apache-2.0 */
/* Shadow memory of OPENNRT_CHECK: the last write of every byte and who has read it since, and the
 * text of what is found. */
#include "core/check_int.h"

#include <string.h>

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
    a = check_access(k, id);
    return a->clock <= k->strand[strand].at[a->strand];
}

/* What a cell says of reads, without those of earlier executions, which were before any of now. */
static uint32_t read_now(const struct core_check *k, uint32_t read)
{
    bool set = (read & READERS) != 0;

    return (read & ~READERS) < (set ? k->first_set : k->first_of_run) ? 0 : read;
}

static const uint32_t *readers_of(const struct core_check *k, const uint32_t *read, uint32_t *ret_n)
{
    const uint32_t *set;

    if ((*read & READERS) == 0) {
        *ret_n = *read != 0;
        return read;
    }
    set = &k->readers[(*read & ~READERS) - k->first_set];
    *ret_n = set[0];
    return set + 1;
}

/* Where the table has a set like this one, or the free place for it. */
static uint32_t *set_find(const struct core_check *k, const uint32_t *set)
{
    size_t h = 0;

    for (uint32_t i = 0; i <= set[0]; i++)
        h = (h ^ set[i]) * UINT64_C(0x9e3779b97f4a7c15);
    for (h ^= h >> 32;; h++) {
        uint32_t *s = &k->sets[h & (k->cap_sets - 1)];

        if (*s == 0 || memcmp(&k->readers[*s - 1], set, (set[0] + 1) * sizeof(set[0])) == 0)
            return s;
    }
}

static bool sets_grow(struct core_check *k)
{
    size_t cap = k->cap_sets == 0 ? 256 : 2 * k->cap_sets;
    uint32_t *sets = mem_calloc(cap, sizeof(sets[0]));

    if (sets == NULL)
        return false;
    mem_free(k->sets);
    k->sets = sets;
    k->cap_sets = cap;
    for (uint32_t at = 0; at < k->nreaders; at += 1 + k->readers[at])
        *set_find(k, &k->readers[at]) = at + 1;
    return true;
}

/* Access id and those of `read` that are not before it, at the end of the pool. False: no memory.
 */
static bool set_make(struct core_check *k, uint32_t read, uint32_t id, unsigned strand)
{
    size_t at = k->nreaders;
    const uint32_t *old;
    uint32_t n, *set;

    (void)readers_of(k, &read, &n);
    if (at + 2 + n > READERS - k->first_set ||
        !mem_grow((void **)&k->readers, &k->cap_readers, at + 2 + n, sizeof(k->readers[0])))
        return false;
    old = readers_of(k, &read, &n);
    set = &k->readers[at];
    set[0] = 0;
    for (uint32_t i = 0; i < n && old[i] > id; i++)
        if (!ordered(k, old[i], strand))
            set[++set[0]] = old[i];
    set[++set[0]] = id;
    for (uint32_t i = 0; i < n; i++)
        if (old[i] < id && !ordered(k, old[i], strand))
            set[++set[0]] = old[i];
    return true;
}

/* The number of that set, or its only access. */
static uint32_t readers_make(struct core_check *k, uint32_t read, uint32_t id, unsigned strand)
{
    uint32_t at = (uint32_t)k->nreaders, *place;

    if (!set_make(k, read, id, strand) || (2 * (k->nsets + 1) > k->cap_sets && !sets_grow(k))) {
        k->no_memory = true;
        return id;
    }
    if (k->readers[at] == 1)
        return id;
    place = set_find(k, &k->readers[at]);
    if (*place == 0) {
        *place = at + 1;
        k->nsets++;
        k->nreaders += 1 + k->readers[at];
    }
    return (k->first_set + *place - 1) | READERS;
}

/* The same for neighbours, which were mostly read by the same. */
static uint32_t readers_with(struct core_check *k, uint32_t read, uint32_t id, unsigned strand)
{
    uint32_t m = (read * UINT32_C(0x9e3779b1) ^ id * UINT32_C(0x85ebca6b)) >> 16 & (MADE - 1);

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
    bool race = (k->what & CORE_CHECK_RACE) != 0;
    const struct access *me;

    if (r == NULL || id == 0) /* 0: there was no memory for it */
        return;
    me = check_access(k, id);
    for (uint64_t i = 0; i < n; i++) {
        struct cell *c = &r->cells[p - r->base + (int64_t)i];
        uint32_t read = race ? read_now(k, c->read) : 0, readers;
        const uint32_t *reader = readers_of(k, &read, &readers);

        if (race && c->write != id && !ordered(k, c->write, me->strand)) {
            k->races++;
            report(x, k, r, p + i, check_access(k, c->write), true, me, write);
        }
        if (!write) {
            if (c->write == 0 && (k->what & CORE_CHECK_UNINIT) != 0) {
                if (!host_wrote(x, k, r, p + i)) {
                    k->uninit++;
                    report(x, k, r, p + i, NULL, false, me, false);
                }
                c->write = BEFORE; /* once per byte */
            }
            if (race && (readers == 0 || reader[0] != id))
                c->read = readers_with(k, read, id, me->strand);
            continue;
        }
        for (uint32_t s = 0; s < readers; s++)
            if (reader[s] != id && !ordered(k, reader[s], me->strand)) {
                k->races++;
                report(x, k, r, p + i, check_access(k, reader[s]), false, me, true);
            }
        c->write = id;
        c->read = 0;
    }
}

uint32_t check_access_new(struct core_check *k, unsigned strand, unsigned core, unsigned engine,
                          uint32_t record, bool dma)
{
    if (k->nacc >= READERS - k->first_of_run ||
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
    return k->first_of_run + (uint32_t)k->nacc++;
}
