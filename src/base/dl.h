/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of libraries that are loaded on first need. */
#ifndef BASE_DL_H
#define BASE_DL_H

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

/* *ret, a pointer to a function pointer, becomes the function; false: there is none (dlerror). */
static inline bool dl_symbol(void *handle, const char *name, void *ret)
{
    void *p = dlsym(handle, name);

    memcpy(ret, &p, sizeof(p));
    return p != NULL;
}

#endif
