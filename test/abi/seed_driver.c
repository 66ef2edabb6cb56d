/* SPDX-License-Identifier: Apache-2.0 */
/* What test_seed.py asks of seed.h: a seed, 7 otherwise; with an argument, a new one. */
#include "seed.h"

int main(int argc, char **argv)
{
    (void)argv;
    (void)(argc > 1 ? seed_take_new() : seed_take(7));
    return 0;
}
