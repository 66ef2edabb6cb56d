/* SPDX-License-Identifier: Apache-2.0 */
/* The tables against what the documentation prints (behaviour.md 3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proves.h"
#include "topo/topo.h"

static void profiles_of_the_page(void **state)
{
    static const struct {
        const char *name;
        unsigned devices, cores, arch, hbm_gib, stacks, lnc, logical;
    } rows[] = {
        {"inf2.xlarge", 1, 2, 2, 32, 2, 1, 2},
        {"inf2.8xlarge", 1, 2, 2, 32, 2, 1, 2},
        {"inf2.24xlarge", 6, 2, 2, 32, 2, 1, 12},
        {"inf2.48xlarge", 12, 2, 2, 32, 2, 1, 24},
        {"trn1.2xlarge", 1, 2, 2, 32, 2, 1, 2},
        {"trn1.32xlarge", 16, 2, 2, 32, 2, 1, 32},
        {"trn1n.32xlarge", 16, 2, 2, 32, 2, 1, 32},
        {"trn2.48xlarge", 16, 8, 3, 96, 4, 2, 64},
        {"trn2u.48xlarge", 16, 8, 3, 96, 4, 2, 64},
        {"trn3-gen1-ultraserver", 16, 8, 4, 144, 4, 2, 64},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct topo_instance *t = topo_instance_find(rows[i].name);

        assert_non_null(t);
        assert_int_equal(t->device_count, rows[i].devices);
        assert_int_equal(t->cores_per_device, rows[i].cores);
        assert_int_equal(t->arch, rows[i].arch);
        assert_int_equal(t->hbms_per_device, rows[i].stacks);
        assert_true(t->hbm_bytes * t->hbms_per_device == (uint64_t)rows[i].hbm_gib << 30);
        assert_int_equal(t->lnc_default, rows[i].lnc);
        assert_int_equal(topo_vnc_count(t, rows[i].lnc), rows[i].logical);
    }
    PROVES("hbm-024");
    assert_int_equal(topo_vnc_count(topo_instance_find("trn2.48xlarge"), 1), 128);
    assert_null(topo_instance_find("trn1.3xlarge"));
    assert_null(topo_instance_find(NULL));
    (void)state;
}

static void lnc_rules(void **state)
{
    for (unsigned i = 0; topo_instance_at(i); i++) {
        const struct topo_instance *t = topo_instance_at(i);

        assert_false(topo_lnc_ok(t, 0));
        assert_true(topo_lnc_ok(t, 1));
        assert_int_equal(topo_lnc_ok(t, 2), t->arch != TOPO_V2);
        assert_false(topo_lnc_ok(t, 3));
        assert_true(topo_core_count(t) <= TOPO_MAX_CORES);
        assert_true(topo_hbm_count(t) <= TOPO_MAX_HBMS);
        assert_true(t->device_count <= TOPO_MAX_DEVICES);
        for (unsigned c = 0; c < topo_core_count(t); c++) {
            assert_true(topo_core_hbm(t, c) < topo_hbm_count(t));
            assert_int_equal(topo_hbm_device(t, topo_core_hbm(t, c)), topo_core_device(t, c));
        }
    }
    const struct topo_instance *t = topo_instance_find("trn2.48xlarge");
    assert_int_equal(topo_core_hbm(t, 0), topo_core_hbm(t, 1)); /* both cores of vnc 0 at LNC 2 */
    assert_int_not_equal(topo_core_hbm(t, 1), topo_core_hbm(t, 2));
    PROVES("mem-047");
    assert_string_equal(topo_core_version(t, 1), "v3");
    assert_string_equal(topo_core_version(t, 2), "v3d");
    assert_string_equal(topo_core_version(topo_instance_find("inf2.xlarge"), 1), "v2");
    (void)state;
}

/* In the torus of 4x4: rows and columns wrap; the routing id labels are a hypercube. */
static void torus_links_and_routing_ids(void **state)
{
    static const char *const names[] = {"trn1.32xlarge", "trn2.48xlarge"};

    for (int k = 0; k < 2; k++) {
        const struct topo_instance *t = topo_instance_find(names[k]);
        unsigned seen = 0;

        for (unsigned d = 0; d < 16; d++) {
            const struct topo_device *dev = &t->devices[d];
            unsigned r = d / 4, c = d % 4;

            assert_int_equal(dev->connected_count, 4);
            assert_int_equal(dev->connected[0], (r + 3) % 4 * 4 + c);
            assert_int_equal(dev->connected[1], r * 4 + (c + 3) % 4);
            assert_int_equal(dev->connected[2], (r + 1) % 4 * 4 + c);
            assert_int_equal(dev->connected[3], r * 4 + (c + 1) % 4);
            seen |= 1u << dev->routing_id;
            for (int n = 0; n < 4; n++) {
                unsigned diff = dev->routing_id ^ t->devices[dev->connected[n]].routing_id;

                assert_int_equal(__builtin_popcount(diff), 1);
            }
            assert_non_null(dev->pci_bdf);
            assert_non_null(dev->cpu_affinity);
            assert_true(dev->numa_node >= 0);
        }
        assert_int_equal(seen, 0xffff);
    }
    const struct topo_instance *inf = topo_instance_find("inf2.48xlarge");
    for (unsigned d = 0; d < 12; d++) {
        assert_int_equal(inf->devices[d].connected[0], (d + 11) % 12);
        assert_int_equal(inf->devices[d].connected[1], (d + 1) % 12);
    }
    assert_int_equal(topo_instance_find("trn1.2xlarge")->devices[0].connected_count, 0);
    (void)state;
}

static void identity_strings(void **state)
{
    const struct topo_instance *t = topo_instance_find("inf2.xlarge");

    assert_string_equal(t->device_arch, "NDv3");
    assert_string_equal(t->core_arch, "NCv2");
    assert_string_equal(t->family, "Inf2");
    assert_string_equal(t->device_name, "Inferentia2");
    t = topo_instance_find("trn2.48xlarge");
    assert_string_equal(t->device_arch, "NDv3");
    assert_string_equal(t->core_arch, "NCv3");
    assert_string_equal(topo_instance_find("trn1.32xlarge")->device_arch, "NDv2");
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profiles_of_the_page),
        cmocka_unit_test(lnc_rules),
        cmocka_unit_test(torus_links_and_routing_ids),
        cmocka_unit_test(identity_strings),
    };

    return cmocka_run_group_tests_name("topo", tests, NULL, NULL);
}
