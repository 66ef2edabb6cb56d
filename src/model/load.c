/* SPDX-License-Identifier: Apache-2.0 */
/* Loading and unloading: the order and the messages of behaviour.md section 6. */
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

#include "base/settings.h"
#include "model/model_int.h"
#include "time/timeline.h"

#define NS_PER_S        UINT64_C(1000000000)
#define TIMEOUT_DEFAULT 30
#define MAX_JSON        268435456

/* A check that is not known cannot be made: a program that asked for it must not seem clean. */
static NRT_STATUS checks_env(unsigned *ret, struct err *err)
{
    static const char between[] = ", \t";
    const char *p = settings_str("OPENNRT_CHECK", "");
    size_t n;

    *ret = 0;
    for (p += strspn(p, between); *p; p += n, p += strspn(p, between)) {
        n = strcspn(p, between);
        if (n == 4 && strncasecmp(p, "race", n) == 0)
            *ret |= CORE_CHECK_RACE;
        else if (n == 6 && strncasecmp(p, "uninit", n) == 0)
            *ret |= CORE_CHECK_UNINIT;
        else
            return err_set(err, NRT_INVALID, "OPENNRT_CHECK: \"%.*s\" is neither race nor uninit",
                           (int)(n < 64 ? n : 64), p);
    }
    return NRT_SUCCESS;
}

static enum kernel_math math_env(const struct diag_sink *sink)
{
    const char *word = settings_str("OPENNRT_MATH", "fast");

    if (strcasecmp(word, "exact") == 0)
        return KERNEL_MATH_EXACT;
    if (strcasecmp(word, "fast") != 0)
        diag_warn(sink, "OPENNRT_MATH: \"%s\" is neither exact nor fast, using fast", word);
    return KERNEL_MATH_FAST;
}

static void env_read(struct model_host *h, struct load_env *e)
{
    const struct diag_sink *sink = &h->sink;

    e->timeout_s = settings_int("NEURON_RT_EXEC_TIMEOUT", TIMEOUT_DEFAULT, 0, INT_MAX, sink);
    e->timeout_ns = (uint64_t)e->timeout_s * NS_PER_S;
    e->validate_hash = settings_bool("NEURON_RT_VALIDATE_HASH", false, sink);
    e->allow_legacy = settings_bool("NEURON_RT_ALLOW_LEGACY_NEFF", false, sink);
    e->stochastic_rounding = settings_bool("NEURON_RT_STOCHASTIC_ROUNDING_EN", false, sink);
    e->sr_seed =
        (uint32_t)settings_int("NEURON_RT_STOCHASTIC_ROUNDING_SEED", 0, INT64_MIN, INT64_MAX, sink);
    e->lenient = settings_bool("OPENNRT_NEFF_LENIENT", false, sink);
    e->cpu_nodes = settings_bool("OPENNRT_CPU_NODES", true, sink);
    e->max_json = (uint64_t)settings_int("OPENNRT_MAX_JSON", MAX_JSON, 0, INT64_MAX, sink);
    e->math = math_env(sink);
    e->device_time = settings_bool("OPENNRT_DEVICE_TIME", false, sink);
    e->dma_packet = (uint64_t)settings_limited("NEURON_RT_DBG_DMA_PACKETIZATION_SIZE", 0, 0);
    for (unsigned i = 0; i < TOPO_MAX_STREAMS; i++) {
        int64_t bytes = settings_limited("NEURON_RT_DBG_CC_DMA_PACKET_SIZE", i, COLL_DMA_PACKET);

        e->coll_packet_ps[i] = time_dma_ps(h->gen, TIME_DMA_COPY, (uint64_t)bytes);
    }
}

static NRT_STATUS timeline_path(struct model *m, struct err *err)
{
    const char *path = settings_str("OPENNRT_TIMELINE", "");

    if (!*path)
        return NRT_SUCCESS;
    m->env.timeline = arena_strdup(&m->arena, path);
    return m->env.timeline ? NRT_SUCCESS : err_set(err, NRT_RESOURCE, "no host memory for a model");
}

/* ---- choice of cores ---- */

/* First run of count cores without models, else the run with the fewest models; counts them as
 * used. Under the host lock. */
static uint32_t choose_first(struct model_host *h, uint32_t count)
{
    uint32_t best = 0;
    uint64_t best_models = UINT64_MAX;

    for (uint32_t first = 0; first + count <= h->count; first++) {
        uint64_t models = 0;

        for (uint32_t i = 0; i < count; i++)
            models += h->cores[first + i].models;
        if (models < best_models) {
            best = first;
            best_models = models;
        }
    }
    return best;
}

static void give_cores(struct model_host *h, uint32_t first, uint32_t count)
{
    pthread_mutex_lock(&h->lock);
    for (uint32_t i = 0; i < count; i++)
        h->cores[first + i].models--;
    pthread_mutex_unlock(&h->lock);
}

static NRT_STATUS not_enough(struct model_host *h, const char *kelf, uint32_t vnc, struct err *err)
{
    struct log *lg = h->cfg.log;

    err_set(err, NRT_LOAD_NOT_ENOUGH_NC, "Could not find VNC id %u", vnc);
    LOGE(lg, LOG_TDRV, "db_vtpb_get_mla_and_tpb", "Could not find VNC id %u", vnc);
    LOGE(lg, LOG_NMGR, "dlr_kelf_stage", "Failed to create shared io");
    LOGE(lg, LOG_NMGR, "stage_kelf_models", "Failed to stage graph: %s to NeuronCore", kelf);
    return NRT_LOAD_NOT_ENOUGH_NC;
}

/* ---- staging ---- */

/* Code that is not ours is refused by what the file says of it, before a byte of it is looked at.
 */
static NRT_STATUS check_encoding(const struct neff_subgraph *sg, struct err *err)
{
    static const char can_do[] = "the file can still be inspected, accounted and repacked "
                                 "(neuron-packager info, optimize, unpack)";

    if (sg->isa_name == NULL)
        return err_set(err, NRT_INVALID,
                       "%s: the engine programs are in a compiler's own encoding, which is not "
                       "published and cannot run here; %s",
                       sg->definition, can_do);
    if (strcmp(sg->isa_name, ISA_NAME) != 0 || sg->isa_version != ISA_VERSION)
        return err_set(err, NRT_INVALID,
                       "%s: the engine programs are in encoding \"%s\" version %lld, this runtime "
                       "runs \"%s\" version %d; %s",
                       sg->definition, sg->isa_name, (long long)sg->isa_version, ISA_NAME,
                       ISA_VERSION, can_do);
    return NRT_SUCCESS;
}

bool model_has_collectives(const struct model *m)
{
    for (uint32_t c = 0; c < m->neff->graph_count; c++)
        if (m->neff->graphs[c].coll_count > 0)
            return true;
    return false;
}

static uint32_t vnc_of(const struct model *m, const struct instance *in)
{
    return in->lc->vnc - m->h->cfg.first_vnc;
}

static const struct core_outside *outside_of(const struct model *m, const struct instance *in)
{
    return m->h->cfg.world && model_has_collectives(m)
               ? coll_world_outside(m->h->cfg.world, vnc_of(m, in))
               : NULL;
}

static NRT_STATUS program_build(struct model *m, struct instance *in, uint32_t c, struct err *err)
{
    struct core_options opt = {.lnc = m->h->lnc,
                               .math = m->env.math,
                               .stochastic_rounding = m->env.stochastic_rounding,
                               .sr_seed = m->env.sr_seed,
                               .check_nan = m->h->cfg.check_nan,
                               .dma_packet = m->env.dma_packet,
                               .checks = m->env.checks,
                               .outside = outside_of(m, in),
                               .sink = &m->h->sink};
    struct stage *st = &in->stage[c];
    NRT_STATUS status = check_encoding(st->sg, err);

    if (status != NRT_SUCCESS)
        return status;
    return core_program_create(st->phys->core, st->sg, &opt, &st->prog, err);
}

static NRT_STATUS instance_stage(struct model *m, struct instance *in, struct err *err)
{
    NRT_STATUS status = NRT_SUCCESS;

    pthread_mutex_lock(&in->lc->stage);
    /* The program first: it says what is wrong with the code before memory is taken. */
    for (uint32_t c = 0; c < m->neff->graph_count && status == NRT_SUCCESS; c++) {
        in->stage_count = c + 1;
        in->stage[c].phys = &in->lc->phys[c];
        in->stage[c].sg = &m->neff->graphs[c];
        status = m->h->cfg.account_only ? NRT_SUCCESS : program_build(m, in, c, err);
        if (status == NRT_SUCCESS)
            status = stage_place(m, in, c, err);
    }
    pthread_mutex_unlock(&in->lc->stage);
    return status;
}

static struct coll_table_config table_config(const struct model *m, const struct instance *in)
{
    struct coll_table_config cfg = {.vnc = vnc_of(m, in),
                                    .neff = m->neff,
                                    .rank = m->rank,
                                    .count = m->world,
                                    .device_time = m->env.device_time || m->env.timeline != NULL ||
                                                   atomic_load(&m->h->watch) != NULL,
                                    .moves = m->env.timeline != NULL};

    memcpy(cfg.packet_ps, m->env.coll_packet_ps, sizeof(cfg.packet_ps));
    return cfg;
}

/* With the other ranks, when everything that this one needs for itself is there. */
static NRT_STATUS instance_meet(struct model *m, struct instance *in, struct err *err)
{
    struct coll_table_config cfg = table_config(m, in);
    NRT_STATUS status;

    if (!outside_of(m, in))
        return NRT_SUCCESS;
    m->met = true;
    status = coll_world_ready(m->h->cfg.world, cfg.vnc, m->rank, m->world, NULL, err);
    in->ready = !status;
    return status ? status : coll_table_create(m->h->cfg.world, &cfg, &in->colls, err);
}

/* The load is over here; the other ranks hear how, and tell. */
static NRT_STATUS instances_confirm(struct model *m, struct err *err)
{
    for (uint32_t i = 0; i < m->instance_count; i++) {
        struct instance *in = &m->inst[i];
        struct coll_table_config cfg = table_config(m, in);

        if (in->ready)
            (void)coll_table_confirm(m->h->cfg.world, &cfg, in->colls, err);
    }
    return err->status;
}

/* A load that was left the choice, or names a core that is not there, speaks by the one that it
 * would have got, which it has meanwhile. */
void model_refuse(struct model_host *h, const struct model_where *where, const char *why)
{
    bool named = where->vnc >= 0 && (uint32_t)where->vnc < h->count;
    struct err ignored = {0};
    struct late late = {0};
    uint32_t vnc;

    if (!h->cfg.world || where->world <= 1)
        return;
    pthread_mutex_lock(&h->lock);
    vnc = named ? (uint32_t)where->vnc : choose_first(h, 1);
    h->cores[vnc].models++;
    pthread_mutex_unlock(&h->lock);
    if (late_may(h, where, vnc, &late))
        late_refuse(h, &late, why);
    else
        (void)coll_world_ready(h->cfg.world, vnc, where->rank, where->world, why, &ignored);
    give_cores(h, vnc, 1);
}

/* The other ranks of the model, which may be waiting, fail with this one; unless they have met it,
 * or it is known that they do not meet. */
static void tell_others(struct model *m, bool known, struct model_where where, int32_t vnc,
                        const struct err *why)
{
    where.vnc = vnc;
    if (!m->met && !(known && !model_has_collectives(m)))
        model_refuse(m->h, &where, why->text);
}

static void instance_remove(struct model *m, struct instance *in)
{
    while (in->frames) {
        struct frame *f = in->frames;

        in->frames = f->next;
        frame_destroy(m, f);
    }
    coll_table_destroy(in->colls);
    timeline_destroy(in->timeline);
    time_keeper_drop(&in->times);
    pthread_mutex_lock(&in->lc->stage);
    for (uint32_t c = 0; c < in->stage_count; c++)
        stage_remove(m, in, c);
    pthread_mutex_unlock(&in->lc->stage);
    pthread_mutex_destroy(&in->frames_lock);
}

static NRT_STATUS stage_all(struct model *m, uint32_t first, uint32_t count, struct err *err)
{
    NRT_STATUS status;

    m->inst = mem_calloc(count, sizeof(*m->inst));
    if (!m->inst)
        return err_set(err, NRT_RESOURCE, "no host memory for %u instances", count);
    for (; m->instance_count < count; m->instance_count++) {
        struct instance *in = &m->inst[m->instance_count];

        in->lc = &m->h->cores[first + m->instance_count];
        pthread_mutex_init(&in->frames_lock, NULL);
        status = instance_stage(m, in, err);
        if (status == NRT_SUCCESS && !m->late.model)
            status = instance_meet(m, in, err);
        if (status != NRT_SUCCESS) {
            m->instance_count++;
            return status;
        }
    }
    status = m->h->cfg.account_only ? NRT_SUCCESS : stages_fill(m, err);
    if (status != NRT_SUCCESS)
        return status;
    for (uint32_t i = 0; i < count; i++) {
        status = frame_create(m, &m->inst[i], &m->inst[i].frames, err);
        if (status != NRT_SUCCESS)
            return status;
    }
    return NRT_SUCCESS;
}

static void model_destroy(struct model *m)
{
    for (uint32_t i = m->instance_count; i-- > 0;)
        instance_remove(m, &m->inst[i]);
    mem_free(m->inst);
    graph_fini(m);
    neff_destroy(m->neff);
    arena_fini(&m->arena);
    mem_free(m);
}

static void log_loaded(struct model *m)
{
    for (uint32_t i = 0; i < m->instance_count; i++)
        for (uint32_t c = 0; c < m->inst[i].stage_count; c++) {
            uint32_t core = m->inst[i].stage[c].phys->index;

            device_counter_add(m->h->cfg.in, core, DEVICE_CTR_MODEL_LOAD_COUNT, 1);
            device_log_neff_mem(m->h->cfg.in, core, m->id, m->neff->name);
        }
}

static NRT_STATUS neff_open(struct model *m, const void *bytes, size_t size, struct err *err)
{
    struct model_host *h = m->h;
    struct neff_options opt = {.lenient = m->env.lenient,
                               .validate_hash = m->env.validate_hash,
                               .max_json = m->env.max_json,
                               .sink = &h->sink};
    struct neff_facts facts = {.lnc = h->lnc,
                               .owned_cores = h->count,
                               .arch = NULL,
                               .allow_legacy = m->env.allow_legacy,
                               .weights_shared = h->share_weights,
                               .sbuf_partition_bytes = isa_sbuf_bytes(h->gen),
                               .world_size = h->cfg.account_only ? 0 : m->world};
    char arch[8] = "";
    NRT_STATUS status;

    status = neff_create(bytes, size, &opt, &m->neff, err);
    if (status != NRT_SUCCESS)
        return status;
    for (size_t i = 0; i < sizeof(arch) - 1 && h->topo->family[i]; i++)
        arch[i] = (char)(h->topo->family[i] | 0x20); /* "Trn1" -> "trn1", digits stay */
    facts.arch = arch;
    return neff_check(m->neff, &facts, &h->sink, err);
}

/* The two published records (behaviour.md 6). */
static bool log_unknown_code(struct log *lg, const struct err *err)
{
    static const char func[] = "translate_one_pseudo_instr_v2";

    if (strncmp(err->text, "Unsupported hardware operator code", 34) != 0)
        return false;
    LOGE(lg, LOG_TDRV, func, "%s", err->text);
    LOGE(lg, LOG_TDRV, func,
         "Please make sure to upgrade to latest aws-neuronx-runtime-lib and "
         "aws-neuronx-collective; for detailed installation instructions visit Neuron "
         "documentation.");
    return true;
}

/* Chooses cores, counting the model on them; ids grow by one per load that gets this far. */
static NRT_STATUS take_cores(struct model *m, int32_t vnc, uint32_t count, uint32_t *ret_first,
                             struct err *err)
{
    struct model_host *h = m->h;
    NRT_STATUS status = NRT_SUCCESS;

    pthread_mutex_lock(&h->lock);
    if (count > h->count || (vnc >= 0 && (uint32_t)vnc > h->count - count)) {
        uint32_t missing = vnc < 0 || (uint32_t)vnc < h->count ? h->count : (uint32_t)vnc;

        status = not_enough(h, m->neff->kelf, missing, err);
    } else {
        *ret_first = vnc >= 0 ? (uint32_t)vnc : choose_first(h, count);
        for (uint32_t i = 0; i < count; i++)
            h->cores[*ret_first + i].models++;
        m->id = h->next_id++;
    }
    pthread_mutex_unlock(&h->lock);
    if (status == NRT_SUCCESS)
        m->trace_name = trace_name_id(h->cfg.trace, m->neff->name);
    return status;
}

/* Frames of solo models are used under the owner word only, one at a time. */
static bool is_solo(const struct model *m)
{
    return m->node_count == 1 && !m->nodes[0].n->is_cpu && m->mid_count == 0;
}

/* The core's global communicator, if it has none yet. */
static NRT_STATUS join_world(struct model *m, uint32_t first, const struct model_where *where,
                             struct err *err)
{
    uint32_t id, count;

    if (where->world == 0 || coll_world_joined(m->h->cfg.world, first, &id, &count))
        return NRT_SUCCESS;
    return coll_world_join(m->h->cfg.world, first, where->rank, where->world, err);
}

NRT_STATUS model_meet(struct model *m, struct err *err)
{
    const struct model_where where = {.rank = m->rank, .world = m->world};
    NRT_STATUS status = join_world(m, m->late.vnc, &where, err);

    if (status != NRT_SUCCESS)
        return status;
    for (uint32_t i = 0; i < m->instance_count && status == NRT_SUCCESS; i++)
        status = instance_meet(m, &m->inst[i], err);
    if (status != NRT_SUCCESS)
        (void)err_set(err, status, "%s", status_name(status));
    return instances_confirm(m, err);
}

void model_log_failed(const struct model *m, const struct err *err)
{
    LOGE(m->h->cfg.log, LOG_NMGR, "kmgr_load_nn", "%s", err->text);
    LOGE(m->h->cfg.log, LOG_NMGR, "kmgr_load_nn_post_metrics", "Failed to load NN: %s, err: %d",
         m->neff ? m->neff->name : "", (int)err->status);
}

/* The rank's own part is done. */
static NRT_STATUS meet_late(struct model *m, struct err *err)
{
    m->met = true;
    return late_come(m, err);
}

/* On the cores that it has been given. */
static NRT_STATUS load_on(struct model *m, uint32_t first, const struct model_where *where,
                          bool *ret_logged, struct err *err)
{
    NRT_STATUS status = NRT_SUCCESS;

    if (!late_may(m->h, where, first, &m->late))
        status = join_world(m, first, where, err);
    else if (model_has_collectives(m)) /* else it needs nobody */
        m->late.model = m;
    m->met = *ret_logged = status != NRT_SUCCESS; /* there is nobody to tell */
    if (status != NRT_SUCCESS)
        return status;
    status = stage_all(m, first, where->vnc_count, err);
    if (status != NRT_SUCCESS)
        (void)err_set(err, status, "%s", status_name(status)); /* where nobody had words */
    if (!m->late.model)
        status = instances_confirm(m, err);
    else if (status == NRT_SUCCESS)
        status = meet_late(m, err);
    /* The device room reports its own shortages. */
    *ret_logged =
        status == NRT_RESOURCE || status == NRT_TIMEOUT || log_unknown_code(m->h->cfg.log, err);
    return status;
}

NRT_STATUS model_load(struct model_host *h, const void *bytes, size_t size,
                      const struct model_where *where, struct model **ret, struct err *err)
{
    struct model *m = mem_zalloc(sizeof(*m));
    struct log *lg = h->cfg.log;
    struct err local = {0};
    uint32_t first = 0;
    bool logged = false, known = false;
    int32_t vnc = where->vnc;
    NRT_STATUS status;

    if (!err)
        err = &local;
    if (!m) {
        LOGE(lg, LOG_NMGR, "kmgr_load_nn", "no host memory for a model");
        model_refuse(h, where, "no host memory for a model");
        return err_set(err, NRT_RESOURCE, "no host memory for a model");
    }
    m->h = h;
    m->rank = where->rank;
    m->world = where->world ? where->world : 1;
    env_read(h, &m->env);
    status = checks_env(&m->env.checks, err);
    if (status == NRT_SUCCESS)
        status = timeline_path(m, err);
    if (status == NRT_SUCCESS)
        status = neff_open(m, bytes, size, err);
    if (status == NRT_LOAD_NOT_ENOUGH_NC) {
        LOGE(lg, LOG_TDRV, "db_vtpb_get_mla_and_tpb", "%s", err->text);
        LOGE(lg, LOG_NMGR, "dlr_kelf_stage", "Failed to create shared io");
        LOGE(lg, LOG_NMGR, "stage_kelf_models", "Failed to stage graph: %s to NeuronCore",
             m->neff->kelf);
        logged = true;
    }
    if (status == NRT_SUCCESS)
        status = graph_build(m, err);
    known = status == NRT_SUCCESS;
    if (!known)
        goto out_model;

    m->solo = is_solo(m);
    status = take_cores(m, where->vnc, where->vnc_count, &first, err);
    if (status != NRT_SUCCESS) {
        logged = true;
        goto out_model;
    }
    vnc = (int32_t)first;
    status = load_on(m, first, where, &logged, err);
    if (status != NRT_SUCCESS) {
        give_cores(h, first, where->vnc_count);
        goto out_model;
    }
    log_loaded(m);
    *ret = m;
    return NRT_SUCCESS;

out_model:
    if (!logged)
        LOGE(lg, LOG_NMGR, "kmgr_load_nn", "%s", err->text);
    LOGE(lg, LOG_NMGR, "kmgr_load_nn_post_metrics", "Failed to load NN: %s, err: %d",
         m->neff ? m->neff->name : "", (int)status);
    tell_others(m, known, *where, vnc, err);
    model_destroy(m);
    return status;
}

void model_unload(struct model *m)
{
    struct model_host *h = m->h;
    uint32_t first = (uint32_t)(m->inst[0].lc - h->cores), count = m->instance_count;

    late_forget(m);
    model_destroy(m);
    give_cores(h, first, count);
}

/* ---- facts ---- */

const char *model_name(const struct model *m)
{
    return m->neff->name;
}

const uint8_t *model_hash(const struct model *m)
{
    return m->neff->header.hash;
}

uint32_t model_rank(const struct model *m)
{
    return m->rank;
}

uint32_t model_id(const struct model *m)
{
    return m->id;
}

uint32_t model_vnc(const struct model *m, uint32_t instance)
{
    return m->inst[instance].lc->vnc - m->h->cfg.first_vnc;
}

bool model_runs_alone(const struct model *m)
{
    for (uint32_t i = 0; i < m->node_count; i++)
        if (m->nodes[i].n->is_cpu)
            return false;
    return m->instance_count > 0 && atomic_load(&m->late.state) == LATE_NOT && !m->inst[0].colls;
}

NRT_STATUS model_account_copies(struct model *m, struct err *err)
{
    NRT_STATUS status = NRT_SUCCESS;

    for (uint32_t i = 0; i < m->instance_count && status == NRT_SUCCESS; i++)
        status = frame_account_copies(m, &m->inst[i], err);
    return status;
}

uint32_t model_instance_count(const struct model *m)
{
    return m->instance_count;
}

uint32_t model_input_count(const struct model *m)
{
    return m->in_count;
}

uint32_t model_output_count(const struct model *m)
{
    return m->out_count;
}

const struct model_tensor *model_input(const struct model *m, uint32_t i)
{
    return &m->in[i];
}

const struct model_tensor *model_output(const struct model *m, uint32_t i)
{
    return &m->out[i];
}

uint32_t model_hbm(const struct model *m, uint32_t instance)
{
    return m->inst[instance].lc->hbm;
}
