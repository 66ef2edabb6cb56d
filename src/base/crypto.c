/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crypto.h"

#include <openssl/crypto.h>

void crypto_start(void)
{
    /* What fails here fails again in the call that follows, which has a status. */
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
}
