/* SPDX-License-Identifier: Apache-2.0 */
/* With hash checking on, a NEFF of which one byte is wrong is refused.
 *
 *     digits_flip DIGITS.neff [STEP]     every STEP-th byte (default 1)
 *
 * Ends with 1 when a damaged file loads, or the whole one does not. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "nrt/nrt.h"

int main(int argc, char **argv)
{
    unsigned long step = argc == 3 ? strtoul(argv[2], NULL, 10) : 1, tried = 0, loaded = 0;
    nrt_model_t *model = NULL;
    uint8_t *bytes = NULL;
    FILE *f;
    long size = 0;

    if (argc < 2 || argc > 3 || step == 0) {
        fprintf(stderr, "usage: %s DIGITS.neff [STEP]\n", argv[0]);
        return 2;
    }
    setenv("NEURON_RT_VALIDATE_HASH", "1", 1);
    setenv("NEURON_RT_LOG_LEVEL", "QUIET", 0); /* thousands of refusals are expected */
    f = fopen(argv[1], "rb");
    if (f && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) > 0) {
        rewind(f);
        bytes = malloc((size_t)size);
    }
    if (!bytes || fread(bytes, 1, (size_t)size, f) != (size_t)size) {
        fprintf(stderr, "digits_flip: cannot read %s\n", argv[1]);
        return 2;
    }
    fclose(f);
    if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS ||
        nrt_load(bytes, (size_t)size, -1, -1, &model) != NRT_SUCCESS) {
        fprintf(stderr, "digits_flip: the undamaged file does not load\n");
        return 1;
    }
    nrt_unload(model);
    for (long i = 0; i < size; i += (long)step, tried++) {
        /* One bit, another one from byte to byte. */
        uint8_t bit = (uint8_t)(1u << (tried * 5 % 8));

        bytes[i] ^= bit;
        if (nrt_load(bytes, (size_t)size, -1, -1, &model) == NRT_SUCCESS) {
            printf("a file with byte %ld changed was loaded\n", i);
            nrt_unload(model);
            loaded++;
        }
        bytes[i] ^= bit;
    }
    nrt_close();
    free(bytes);
    printf("hash checking: %lu of %lu files with one flipped bit refused\n", tried - loaded, tried);
    return loaded == 0 ? 0 : 1;
}
