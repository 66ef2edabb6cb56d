/* SPDX-License-Identifier: Apache-2.0 */
/* The scratchpad: the worked examples of behaviour.md 14 and what must hold for any load. */
#include "audit.h"
#include "device/scratchpad.h"
#include "seed.h"

#define MIB (UINT64_C(1) << 20)

/* Offsets and sizes in MB, as the page writes them. */
static const struct scratch_var x_vars[] = {{0, 512 * MIB}, {512 * MIB, 768 * MIB}};
static const struct scratch_var y_vars[] = {
    {0, 200 * MIB}, {200 * MIB, 400 * MIB}, {600 * MIB, 100 * MIB}};
static const struct scratch_var a_vars[] = {{0, 512 * MIB}, {512 * MIB, 1024 * MIB}};
static const struct scratch_var b_vars[] = {{0, 100 * MIB}, {100 * MIB, 1536 * MIB}};

static struct scratchpad *make(struct device_instance *in, uint64_t page_mb)
{
    struct scratch_config c = {.contiguous = page_mb == 0, .page_bytes = page_mb * MIB};
    struct scratchpad *sp = NULL;

    assert_int_equal(scratchpad_create(in, 0, c, &sp, NULL), NRT_SUCCESS);
    return sp;
}

static struct scratch_lease *load(struct scratchpad *sp, uint32_t neff, const struct scratch_var *v,
                                  size_t n, uint64_t *addrs)
{
    struct scratch_lease *l = NULL;
    uint64_t own[8];

    assert_int_equal(scratchpad_load(sp, neff, v, n, addrs ? addrs : own, &l, NULL), NRT_SUCCESS);
    return l;
}

static void expect(struct device_instance *in, struct scratchpad *sp, uint64_t shared_mb,
                   uint64_t private_mb)
{
    struct device_usage u;

    assert_true(scratchpad_shared_bytes(sp) == shared_mb * MIB);
    assert_true(scratchpad_private_bytes(sp) == private_mb * MIB);
    assert_int_equal(device_usage_core(in, 0, &u), NRT_SUCCESS);
    assert_true(u.bytes[DEVICE_CAT_SHARED_SCRATCH] == shared_mb * MIB);
    assert_true(u.bytes[DEVICE_CAT_SCRATCH] == private_mb * MIB);
}

static void need_is_the_maximum(void **state)
{
    struct scratch_var bad = {UINT64_MAX, 1};
    uint64_t need = 0;

    assert_true(scratch_need(x_vars, 2, &need));
    assert_true(need == 1280 * MIB);
    assert_true(scratch_need(y_vars, 3, &need));
    assert_true(need == 700 * MIB);
    assert_true(scratch_need(NULL, 0, &need));
    assert_true(need == 0);
    assert_false(scratch_need(&bad, 1, &need));
    PROVES("mem-027");
    (void)state;
}

static void fit_rule_of_the_worked_example(void **state)
{
    const uint64_t p = 512 * MIB;

    assert_true(scratch_fits(&x_vars[0], p));
    assert_false(scratch_fits(&x_vars[1], p));
    assert_true(scratch_fits(&y_vars[0], p));
    assert_false(scratch_fits(&y_vars[1], p));
    assert_true(scratch_fits(&y_vars[2], p));
    PROVES("mem-036");
    assert_true(scratch_page_advice(x_vars, 2) == 1536 * MIB);
    assert_true(scratch_page_advice(y_vars, 1) == 512 * MIB);
    assert_true(scratch_page_advice(&(struct scratch_var){0, 3585 * MIB}, 1) == 0);
    (void)state;
}

static void worked_example_in_pages(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct scratchpad *sp = make(in, 512);
    uint64_t xa[2], ya[3], ya2[3];

    struct scratch_lease *y = load(sp, 1002, y_vars, 3, ya);
    expect(in, sp, 1024, 400);
    struct scratch_lease *x = load(sp, 1001, x_vars, 2, xa);
    expect(in, sp, 1536, 1168);
    PROVES("mem-037");
    assert_true(xa[0] == ya[0]); /* one core's shared memory */
    scratchpad_unload(sp, x);
    expect(in, sp, 1024, 400);
    PROVES("mem-028");
    struct scratch_lease *again = load(sp, 1003, y_vars, 3, ya2);
    assert_true(ya2[0] == ya[0] && ya2[2] == ya[2]); /* nothing moved */
    assert_true(ya2[1] != ya[1]);
    PROVES("mem-029");
    scratchpad_unload(sp, again);
    scratchpad_unload(sp, y);
    expect(in, sp, 0, 0);
    scratchpad_destroy(sp);

    sp = make(in, 2048);
    x = load(sp, 1001, x_vars, 2, NULL);
    y = load(sp, 1002, y_vars, 3, NULL);
    expect(in, sp, 2048, 0);
    scratchpad_destroy(sp); /* with both loaded */
    PROVES("mem-038");
    audit(in);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void worked_example_contiguous(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct scratchpad *sp = make(in, 0);
    uint64_t xa[2], ya[3];

    struct scratch_lease *y = load(sp, 1002, y_vars, 3, ya);
    expect(in, sp, 704, 0);
    struct scratch_lease *x = load(sp, 1001, x_vars, 2, xa);
    expect(in, sp, 1280, 0); /* 20 x 64 */
    assert_true(xa[0] == ya[0] && xa[1] == xa[0] + 512 * MIB);
    scratchpad_unload(sp, x);
    expect(in, sp, 704, 0);
    PROVES("mem-030");
    scratchpad_unload(sp, y);
    expect(in, sp, 0, 0);
    scratchpad_destroy(sp);
    audit(in);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void official_vector(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct scratchpad *sp = make(in, 512);

    load(sp, 1, a_vars, 2, NULL);
    load(sp, 2, b_vars, 2, NULL);
    expect(in, sp, 2048, 2560);
    scratchpad_destroy(sp);
    sp = make(in, 2048);
    load(sp, 1, a_vars, 2, NULL);
    load(sp, 2, b_vars, 2, NULL);
    expect(in, sp, 2048, 0);
    PROVES("mem-039");
    scratchpad_destroy(sp);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void misfits_warn_with_a_page_size(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");

    setenv("NEURON_RT_LOG_LEVEL", "WARN", 1);
    log_close(f->log);
    f->cfg.log = f->log = log_open_env();
    unsetenv("NEURON_RT_LOG_LEVEL");
    log_tap_attach(&f->tap, f->log);
    struct device_instance *in = fixture_open(f);
    struct scratchpad *sp = make(in, 512);
    load(sp, 1001, x_vars, 2, NULL);
    assert_int_equal(log_tap_find(&f->tap, "recommended NEURON_SCRATCHPAD_PAGE_SIZE 1536"), 1);
    PROVES("mem-040");
    load(sp, 1002, y_vars, 1, NULL);
    assert_int_equal(log_tap_find(&f->tap, "recommended"), 1); /* nothing to say about this one */
    scratchpad_destroy(sp);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void contiguous_growth_fails_on_taken_addresses(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct scratchpad *sp = make(in, 0);
    struct scratch_lease *l = NULL;
    struct err err = {0};
    struct device_extent wall;
    uint64_t addrs[3];

    load(sp, 1, y_vars, 1, addrs); /* 200 MB: 256 */
    expect(in, sp, 256, 0);
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 4096);
    a.flags = DEVICE_ALLOC_AT;
    a.at = DEVICE_ADDR_OFF(addrs[0]) + 256 * MIB;
    assert_int_equal(device_alloc(in, &a, &wall, NULL), NRT_SUCCESS);
    assert_int_equal(scratchpad_load(sp, 2, y_vars, 3, addrs, &l, &err), NRT_RESOURCE);
    assert_non_null(strstr(err.text, "NEURON_RT_CONTIGUOUS_SCRATCHPAD to 0"));
    assert_int_equal(log_tap_find(&f->tap, "Displaying Current Memory Utilization"), 1);
    expect(in, sp, 256, 0); /* unchanged */
    PROVES("mem-032");
    assert_int_equal(device_free(in, &wall, NULL), NRT_SUCCESS);
    assert_int_equal(scratchpad_load(sp, 2, y_vars, 3, addrs, &l, NULL), NRT_SUCCESS);
    scratchpad_destroy(sp);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void impossible_needs_fail_cleanly(void **state)
{
    static const uint64_t modes[] = {0, 512};
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    const struct scratch_var huge[] = {{0, 100 * MIB}, {UINT64_C(1) << 50, 64}};
    const struct scratch_var wraps[] = {{UINT64_MAX - 10, 64}};
    const struct scratch_var big_misfit[] = {{0, 17408 * MIB}};
    struct scratch_lease *l;
    uint64_t addrs[2];

    for (int i = 0; i < 2; i++) {
        struct scratchpad *sp = make(in, modes[i]);

        assert_int_equal(scratchpad_load(sp, 1, huge, 2, addrs, &l, NULL), NRT_RESOURCE);
        assert_int_equal(scratchpad_load(sp, 1, wraps, 1, addrs, &l, NULL), NRT_INVALID);
        assert_int_equal(scratchpad_load(sp, 1, big_misfit, 1, addrs, &l, NULL), NRT_RESOURCE);
        expect(in, sp, 0, 0);
        scratchpad_destroy(sp);
    }
    audit(in);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static struct scratch_config config(const char *type, unsigned lnc)
{
    return scratch_config_env(topo_instance_find(type), lnc, NULL);
}

static void warn_count(void *arg, const char *text)
{
    (void)text;
    ++*(int *)arg;
}

static void configuration_by_platform_and_variables(void **state)
{
    int warned = 0;
    struct diag_sink sink = {.warn = warn_count, .arg = &warned};
    const struct topo_instance *t = topo_instance_find("trn1.2xlarge");

    assert_true(config("trn1.2xlarge", 1).contiguous);
    assert_true(config("inf2.48xlarge", 1).contiguous);
    assert_true(config("trn2.48xlarge", 2).contiguous);
    assert_true(config("trn3-gen1-ultraserver", 2).contiguous);
    assert_false(config("trn2.48xlarge", 1).contiguous);
    setenv("NEURON_RT_CONTIGUOUS_SCRATCHPAD", "1", 1);
    assert_false(config("trn2.48xlarge", 1).contiguous); /* never */
    setenv("NEURON_RT_CONTIGUOUS_SCRATCHPAD", "0", 1);
    assert_false(config("trn1.2xlarge", 1).contiguous);
    unsetenv("NEURON_RT_CONTIGUOUS_SCRATCHPAD");
    PROVES("mem-031");
    assert_true(config("trn1.2xlarge", 1).page_bytes == 512 * MIB);
    PROVES("mem-034");
    for (int mb = 0; mb <= 4608; mb += 256) {
        char text[16];
        bool legal = mb >= 512 && mb <= 3584 && mb % 512 == 0;

        snprintf(text, sizeof(text), "%d", mb);
        setenv("NEURON_SCRATCHPAD_PAGE_SIZE", text, 1);
        warned = 0;
        assert_true(scratch_config_env(t, 1, &sink).page_bytes ==
                    (legal ? (uint64_t)mb : 512) * MIB);
        assert_int_equal(warned, !legal);
    }
    PROVES("mem-035");
    setenv("NEURON_RT_ONE_TMPBUF_PAGE_SIZE_MB", "1024", 1);
    setenv("NEURON_SCRATCHPAD_PAGE_SIZE", "2048", 1);
    assert_true(config("trn1.2xlarge", 1).page_bytes == 2048 * MIB);
    unsetenv("NEURON_SCRATCHPAD_PAGE_SIZE");
    assert_true(config("trn1.2xlarge", 1).page_bytes == 1024 * MIB);
    unsetenv("NEURON_RT_ONE_TMPBUF_PAGE_SIZE_MB");
    PROVES("mem-051");
    (void)state;
}

/* Contiguous mode gives the same result whatever the page size says. */
static void page_size_does_not_matter_in_contiguous_mode(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);

    for (uint64_t mb = 512; mb <= 3584; mb += 1024) {
        struct scratch_config c = {.contiguous = true, .page_bytes = mb * MIB};
        struct scratchpad *sp;

        assert_int_equal(scratchpad_create(in, 0, c, &sp, NULL), NRT_SUCCESS);
        load(sp, 1, x_vars, 2, NULL);
        expect(in, sp, 1280, 0);
        scratchpad_destroy(sp);
    }
    PROVES("mem-033");
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

/* Random NEFFs come and go: figures as the rules say, addresses stay, variables lie inside memory
 * of their own kind, private ones do not overlap. */
struct loaded {
    struct scratch_lease *lease;
    struct scratch_var v[4];
    uint64_t addrs[4];
};

static void expect_figures(struct scratchpad *sp, const struct loaded *l, size_t n, uint64_t page)
{
    uint64_t need = 0, priv = 0, unit = page ? page : 64 * MIB;

    for (size_t i = 0; i < n; i++) {
        for (int k = 0; l[i].lease && k < 4; k++) {
            uint64_t end = l[i].v[k].off + l[i].v[k].size;

            need = end > need ? end : need;
            if (page && l[i].v[k].off % page + l[i].v[k].size > page)
                priv += (l[i].v[k].size + 63) / 64 * 64;
        }
    }
    assert_true(scratchpad_shared_bytes(sp) == (need + unit - 1) / unit * unit);
    assert_true(scratchpad_private_bytes(sp) == priv);
}

static void random_loads_follow_the_rules(void **state)
{
    static const uint64_t modes[] = {0, 512, 1024};
    struct fixture *f = fixture_new("trn2.3xlarge");
    struct device_instance *in = fixture_open(f);
    unsigned seed = (unsigned)seed_take_new();

    f->cfg.log = NULL;
    for (int m = 0; m < 3; m++) {
        struct scratchpad *sp = make(in, modes[m]);
        struct loaded l[6] = {{0}};

        for (int step = 0; step < 300; step++) {
            struct loaded *e = &l[rand_r(&seed) % 6];

            if (e->lease) {
                scratchpad_unload(sp, e->lease);
                e->lease = NULL;
            } else {
                for (int k = 0; k < 4; k++) {
                    e->v[k].off = (uint64_t)(rand_r(&seed) % 1200) * MIB;
                    e->v[k].size = 1 + (uint64_t)rand_r(&seed) % (600 * MIB);
                }
                e->lease = load(sp, 1, e->v, 4, e->addrs);
            }
            expect_figures(sp, l, 6, modes[m] * MIB);
            for (int i = 0; i < 6; i++) {
                for (int k = 0; modes[m] == 0 && l[i].lease && k < 4; k++)
                    assert_true(l[i].addrs[k] - l[i].v[k].off == e->addrs[0] - e->v[0].off ||
                                !e->lease);
            }
        }
        scratchpad_destroy(sp);
        audit(in);
    }
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(need_is_the_maximum),
        cmocka_unit_test(fit_rule_of_the_worked_example),
        cmocka_unit_test(worked_example_in_pages),
        cmocka_unit_test(worked_example_contiguous),
        cmocka_unit_test(official_vector),
        cmocka_unit_test(misfits_warn_with_a_page_size),
        cmocka_unit_test(contiguous_growth_fails_on_taken_addresses),
        cmocka_unit_test(impossible_needs_fail_cleanly),
        cmocka_unit_test(configuration_by_platform_and_variables),
        cmocka_unit_test(page_size_does_not_matter_in_contiguous_mode),
        cmocka_unit_test(random_loads_follow_the_rules),
    };

    runner_watchdog(120);
    return cmocka_run_group_tests_name("device-scratchpad", tests, NULL, NULL);
}
