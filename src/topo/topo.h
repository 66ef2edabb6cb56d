/* SPDX-License-Identifier: Apache-2.0 */
/* What Neuron instances look like: constant tables made at build from data/instances.json. Pure. */
#ifndef TOPO_TOPO_H
#define TOPO_TOPO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/broken.h"

enum topo_arch { TOPO_V2 = 2, TOPO_V3 = 3, TOPO_V4 = 4 }; /* NeuronCore-v2, -v3, -v4 */

/* How the devices of one server hang together. SWITCH: every device reaches every other. */
enum topo_shape { TOPO_ALONE, TOPO_LINE, TOPO_RING, TOPO_TORUS, TOPO_SWITCH };

#define TOPO_MAX_DEVICES 16 /* of one instance (a server; an UltraServer is several instances) */
#define TOPO_MAX_LINKS   16
#define TOPO_MAX_CORES   128 /* physical cores of one instance */
#define TOPO_MAX_HBMS    64

/* One Neuron device. Published values only: text is NULL and numa_node is -1 where there are none.
 * For trn1.2xlarge, single devices and trn3 routing_id is the device index (ours). */
struct topo_device {
    uint8_t connected_count;
    uint8_t connected[TOPO_MAX_LINKS]; /* neighbours, in published order */
    uint8_t routing_id;
    int8_t numa_node;
    const char *pci_bdf;      /* with domain: "0000:cc:00.0" */
    const char *cpu_affinity; /* "48-95,144-191" */
};

struct topo_instance {
    const char *name;        /* "trn1.2xlarge" */
    const char *family;      /* "Trn1", "Inf2", "Trn2", "Trn3" (the driver's instance_type) */
    const char *size;        /* "2xlarge"; "ultraserver" for the servers of one */
    const char *device_arch; /* driver's device arch_type: "NDv2" */
    const char *core_arch;   /* driver's core arch_type: "NCv2" */
    const char *device_name; /* "Trainium1", "Inferentia2", "Trainium2", "Trainium3" */
    const char *link_kind;   /* "2D torus 4x4, ...", "ring of 12", "none", ... */
    enum topo_arch arch;
    enum topo_shape shape;
    uint8_t lnc_default, lnc_max;
    uint8_t device_count;     /* of one server */
    uint8_t cores_per_device; /* physical */
    uint8_t hbms_per_device;
    uint8_t servers;             /* 1, or the servers of the UltraServer */
    uint16_t vcpus;              /* of one server; 0: not published */
    uint32_t host_memory_gib;    /* of one server; 0: not published */
    uint64_t hbm_bytes;          /* of one HBM */
    uint32_t semaphores, events; /* per physical core */
    uint8_t cc_cores;            /* per physical core: the sequencers of collectives */
    uint16_t net_gbps;           /* network of one server; 0: none, or not published */
    uint8_t nic_count;           /* EFA interfaces of one server; 0: none, or not published */
    uint8_t nic_device[TOPO_MAX_DEVICES]; /* the device that interface c hangs off */
    const struct topo_device *devices;
};

/* Lookup by name; NULL if there is no such type. topo_instance_at gives NULL past the end. */
const struct topo_instance *topo_instance_find(const char *name);
const struct topo_instance *topo_instance_at(unsigned i);

/* LNC sizes are 1 and 2, and 2 only where lnc_max says so. */
bool topo_lnc_ok(const struct topo_instance *t, unsigned lnc);

static inline unsigned topo_core_count(const struct topo_instance *t) /* physical */
{
    return (unsigned)t->device_count * t->cores_per_device;
}

static inline unsigned topo_vnc_count(const struct topo_instance *t, unsigned lnc) /* logical */
{
    return topo_core_count(t) / (lnc ? lnc : 1);
}

static inline unsigned topo_hbm_count(const struct topo_instance *t)
{
    return (unsigned)t->device_count * t->hbms_per_device;
}

/* Device of a physical core; HBM (index over the instance) of a physical core. v2: one HBM per
 * core; v3, v4: two neighbouring cores share one. */
static inline unsigned topo_core_device(const struct topo_instance *t, unsigned core)
{
    return core / t->cores_per_device;
}

static inline unsigned topo_core_hbm(const struct topo_instance *t, unsigned core)
{
    unsigned per_hbm = t->cores_per_device / t->hbms_per_device;

    return core / (per_hbm && !BROKEN(MEM) ? per_hbm : 1);
}

static inline unsigned topo_hbm_device(const struct topo_instance *t, unsigned hbm)
{
    return hbm / t->hbms_per_device;
}

/* Core version as neuron-top and neuron-monitor print it: "v2", "v3" (LNC 1), "v3d" (LNC 2), "v4",
 * "v4d".
 */
const char *topo_core_version(const struct topo_instance *t, unsigned lnc);

#endif
