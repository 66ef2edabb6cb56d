/* SPDX-License-Identifier: Apache-2.0 */
/* libcrypto inside of somebody else's program. */
#ifndef BASE_CRYPTO_H
#define BASE_CRYPTO_H

/* Before each use of libcrypto that may be a process's first; cheap afterwards. libcrypto would
 * take itself down in exit(), under the threads that the runtime has while nobody has closed it: a
 * network thread in the middle of a handshake then uses what is freed. Its memory ends with the
 * process instead. A program that has started libcrypto before keeps its own way. Any thread. */
void crypto_start(void);

#endif
