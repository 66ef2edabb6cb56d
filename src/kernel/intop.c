/* SPDX-License-Identifier: Apache-2.0 */
/* Integer and bit operators on the patterns of cells (neuroncore.md 2.2, 3.1). */
#include "kernel/kernel_int.h"

#include <string.h>

uint64_t k_int_op(unsigned op, uint64_t x, uint64_t y, unsigned size, bool sgn)
{
    unsigned width = size * 8;
    uint64_t flip = sgn ? 1ull << (width - 1) : 0; /* order of signed = order of flipped */

    switch (op) {
    case ISA_ALU_BYPASS:
        return x;
    case ISA_ALU_INVERT:
        return ~x;
    case ISA_ALU_BIT_AND:
        return x & y;
    case ISA_ALU_BIT_OR:
        return x | y;
    case ISA_ALU_BIT_XOR:
        return x ^ y;
    case ISA_ALU_SHL:
        return y >= width ? 0 : x << y;
    case ISA_ALU_SHR:
        return y >= width ? 0 : x >> y;
    case ISA_ALU_ADD:
        return x + y;
    case ISA_ALU_SUBTRACT:
        return x - y;
    case ISA_ALU_MULTIPLY:
        return x * y;
    case ISA_ALU_MAX:
        return (x ^ flip) > (y ^ flip) ? x : y;
    case ISA_ALU_MIN:
        return (x ^ flip) < (y ^ flip) ? x : y;
    case ISA_ALU_EQ:
        return x == y;
    case ISA_ALU_NE:
        return x != y;
    case ISA_ALU_GE:
        return (x ^ flip) >= (y ^ flip);
    case ISA_ALU_GT:
        return (x ^ flip) > (y ^ flip);
    case ISA_ALU_LE:
        return (x ^ flip) <= (y ^ flip);
    case ISA_ALU_LT:
        return (x ^ flip) < (y ^ flip);
    case ISA_ALU_LOGICAL_AND:
        return x != 0 && y != 0;
    case ISA_ALU_LOGICAL_OR:
        return x != 0 || y != 0;
    case ISA_ALU_LOGICAL_XOR:
        return (x != 0) != (y != 0);
    case ISA_ALU_LOGICAL_NOT:
        return x == 0;
    default:
        return x;
    }
}

uint64_t k_cell(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, p, size); /* little-endian */
    return v;
}
