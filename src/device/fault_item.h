/* SPDX-License-Identifier: Apache-2.0 */
/* One item of OPENNRT_FAULT: docs/faults.md. Reading it is pure; faults.c puts it in force. */
#ifndef DEVICE_FAULT_ITEM_H
#define DEVICE_FAULT_ITEM_H

#include "base/err.h"
#include "base/fault.h"
#include "device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FAULT_MODEL_MAX  64
#define FAULT_NUMBER_MAX UINT32_MAX

struct fault_item {
    enum device_fault_kind kind;
    enum fault_point point;      /* DEVICE_FAULT_POINT */
    enum device_hw_error hw;     /* DEVICE_FAULT_HW */
    uint32_t core;               /* physical; DEVICE_NONE: any */
    uint32_t after;              /* matching executions, operations or hits that go by first */
    uint32_t count;              /* how many then fail; 0: all */
    uint32_t detail;             /* of the kind; its default where the item has none */
    struct fault_chance odds;    /* that one of them does */
    char model[FAULT_MODEL_MAX]; /* name; "": any */
    int engine;                  /* number as in isa_engine_name; -1: no instruction */
    uint32_t record;             /* of the engine, as dumps count */
};

/* text[0 .. size) is one item, without blanks around it. NRT_INVALID: err says what is wrong, and
 * *ret is not to be used. */
NRT_STATUS fault_item_parse(const char *text, size_t size, struct fault_item *ret, struct err *err);

#ifdef __cplusplus
}
#endif

#endif
