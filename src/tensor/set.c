/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/tensor.h"

NRT_STATUS tensor_set_create(struct tensor_set **ret, struct err *err)
{
    struct tensor_set *s = mem_zalloc(sizeof(*s));

    if (!s)
        return err_set(err, NRT_RESOURCE, "no host memory for a tensor set");
    *ret = s;
    return NRT_SUCCESS;
}

void tensor_set_destroy(struct tensor_set *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++)
        mem_free((void *)s->names[i]);
    mem_free(s->names);
    mem_free(s->handles);
    str_map_fini(&s->index);
    mem_free(s);
}

NRT_STATUS tensor_set_put(struct tensor_set *s, const char *name, uint64_t handle, struct err *err)
{
    uint64_t at;
    bool existed;
    char *copy;

    if (str_map_get(&s->index, name, &at)) {
        if (s->handles[at] != handle) {
            s->handles[at] = handle;
            s->version++;
        }
        return NRT_SUCCESS;
    }

    copy = mem_strdup(name);
    if (!copy || !mem_grow((void **)&s->handles, &s->cap, s->count + 1, sizeof(*s->handles)) ||
        !mem_grow((void **)&s->names, &s->names_cap, s->count + 1, sizeof(*s->names)) ||
        !str_map_put(&s->index, name, s->count, &existed)) {
        mem_free(copy);
        return err_set(err, NRT_RESOURCE, "no host memory to add \"%s\" to a tensor set", name);
    }
    s->names[s->count] = copy;
    s->handles[s->count++] = handle;
    s->version++;
    return NRT_SUCCESS;
}

bool tensor_set_get(const struct tensor_set *s, const char *name, uint64_t *ret_handle)
{
    uint64_t at;

    if (!str_map_get(&s->index, name, &at))
        return false;
    *ret_handle = s->handles[at];
    return true;
}
