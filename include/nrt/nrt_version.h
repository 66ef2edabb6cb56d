/* SPDX-License-Identifier: Apache-2.0 */
/* Version of the runtime library; docs/spec/api.md section 3. */
#ifndef NRT_NRT_VERSION_H
#define NRT_NRT_VERSION_H

#include <stddef.h>
#include <stdint.h>

#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RT_VERSION_DETAIL_LEN 128
#define GIT_HASH_LEN          64

typedef struct nrt_version {
    uint64_t rt_major; /* 2, so that callers that ask for the runtime's generation are content */
    uint64_t rt_minor;
    uint64_t rt_patch;
    uint64_t rt_maintenance;
    char rt_detail[RT_VERSION_DETAIL_LEN]; /* says that this is OpenNRT on a software device */
    char git_hash[GIT_HASH_LEN];
} nrt_version_t;

/* Write the first min(size, sizeof(*ver)) bytes of the version to *ver; bytes of the caller's
 * buffer beyond the library's struct stay as they are. Texts are NUL-terminated within what is
 * written. Callable in any state, from any thread. NRT_INVALID: ver is NULL or size is 0. */
NRT_STATUS nrt_get_version(nrt_version_t *ver, size_t size);

#ifdef __cplusplus
}
#endif
#endif
