/* SPDX-License-Identifier: Apache-2.0 */
/* Code that is never run, first in libnrt-moved.so: the library, 16 bytes further on. */
__asm__(".text\n.balign 16\n.skip 16");
