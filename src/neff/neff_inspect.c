/* SPDX-License-Identifier: Apache-2.0 */
/* The public view of a parsed NEFF. */
#include "neff/inspect.h"

#include <string.h>

#include "neff/file.h"
#include "neff/neff_int.h"

struct neff_image {
    struct neff_map map; /* empty when the bytes are the caller's */
    struct neff *neff;
};

static NRT_STATUS give(struct neff_error *error, NRT_STATUS st, const struct err *err)
{
    if (st != NRT_SUCCESS && error != NULL && error->status == NRT_SUCCESS) {
        error->status = st;
        memcpy(error->text, err->text, sizeof(error->text));
    }
    return st;
}
static_assert(sizeof(((struct neff_error *)0)->text) == ERR_TEXT_MAX, "texts are copied whole");

static NRT_STATUS missing(struct neff_error *error)
{
    struct err err = {0};

    return give(error, neff_fail(&err, NRT_INVALID, "an argument is missing"), &err);
}

static NRT_STATUS image_read(struct neff_image *image, const void *bytes, size_t size,
                             unsigned flags, struct err *err)
{
    struct neff_options opt = {.lenient = (flags & NEFF_IMAGE_LENIENT) != 0,
                               .validate_hash = (flags & NEFF_IMAGE_CHECK_HASH) != 0};

    return neff_create(bytes, size, &opt, &image->neff, err);
}

NRT_STATUS neff_image_open_memory(const void *bytes, size_t size, unsigned flags,
                                  struct neff_image **ret_image, struct neff_error *error)
{
    struct neff_image *image;
    struct err err = {0};
    NRT_STATUS st;

    if (ret_image == NULL || (bytes == NULL && size > 0))
        return missing(error);
    image = mem_zalloc(sizeof(*image));
    st = image == NULL ? neff_oom(&err) : image_read(image, bytes, size, flags, &err);
    if (st == NRT_SUCCESS)
        *ret_image = image;
    else
        neff_image_close(image);
    return give(error, st, &err);
}

NRT_STATUS neff_image_open(const char *path, unsigned flags, struct neff_image **ret_image,
                           struct neff_error *error)
{
    struct neff_image *image;
    struct err err = {0};
    NRT_STATUS st;

    if (path == NULL || ret_image == NULL)
        return missing(error);
    image = mem_zalloc(sizeof(*image));
    st = image == NULL ? neff_oom(&err) : neff_file_map(path, &image->map, &err);
    if (st == NRT_SUCCESS)
        st = image_read(image, image->map.bytes, image->map.size, flags, &err);
    if (st == NRT_SUCCESS)
        *ret_image = image;
    else
        neff_image_close(image);
    return give(error, st, &err);
}

void neff_image_close(struct neff_image *image)
{
    if (image == NULL)
        return;
    neff_destroy(image->neff);
    neff_file_unmap(&image->map);
    mem_free(image);
}

const struct neff_header *neff_image_header(const struct neff_image *image)
{
    return &image->neff->header;
}

const char *neff_image_name(const struct neff_image *image)
{
    return image->neff->name;
}

bool neff_image_is_gzip(const struct neff_image *image)
{
    return image->neff->is_gzip;
}

const char *neff_image_member(const struct neff_image *image, uint32_t index, uint64_t *ret_size)
{
    if (index >= image->neff->member_count)
        return NULL;
    if (ret_size != NULL)
        *ret_size = image->neff->members[index].size;
    return image->neff->members[index].name;
}

NRT_STATUS neff_image_member_read(const struct neff_image *image, uint32_t index, uint64_t off,
                                  void *dst, size_t size, struct neff_error *error)
{
    struct err err = {0};

    return give(error, neff_member_read(image->neff, index, off, dst, size, &err), &err);
}

bool neff_image_graph(const struct neff_image *image, uint32_t graph, struct neff_image_graph *ret)
{
    const struct neff_subgraph *sg;

    if (graph >= image->neff->graph_count)
        return false;
    sg = &image->neff->graphs[graph];
    *ret = (struct neff_image_graph){.name = sg->name,
                                     .isa_name = sg->isa_name,
                                     .isa_version = sg->isa_version,
                                     .variable_count = sg->var_count,
                                     .scratchpad_bytes = sg->scratch_bytes,
                                     .constant_bytes = sg->constant_bytes};
    for (unsigned e = 0; e < NEFF_ENGINE_COUNT; e++)
        ret->code_bytes[e] = sg->engines[e].instr_bytes;
    return true;
}

bool neff_image_variable(const struct neff_image *image, uint32_t graph, uint32_t index,
                         struct neff_image_variable *ret)
{
    const struct neff *n = image->neff;
    const struct neff_var *v;

    if (graph >= n->graph_count || index >= n->graphs[graph].var_count)
        return false;
    v = &n->graphs[graph].vars[index];
    *ret = (struct neff_image_variable){
        .name = v->name,
        .type = neff_var_type_name(v->type),
        .var_id = v->var_id,
        .size = v->size,
        .file = v->file_member != NEFF_NONE ? n->members[v->file_member].name : NULL,
        .scratch_off = v->scratch_off};
    return true;
}

bool neff_image_node(const struct neff_image *image, uint32_t node, struct neff_image_node *ret)
{
    const struct neff_node *n;

    if (node >= image->neff->node_count)
        return false;
    n = &image->neff->nodes[node];
    *ret = (struct neff_image_node){.name = n->name,
                                    .is_cpu = n->is_cpu,
                                    .input_count = n->input_count,
                                    .output_count = n->output_count};
    return true;
}

bool neff_image_tensor(const struct neff_image *image, uint32_t node, uint32_t index,
                       struct neff_image_tensor *ret)
{
    const struct neff_node *n;
    const struct neff_tensor *t;

    if (node >= image->neff->node_count)
        return false;
    n = &image->neff->nodes[node];
    if (index < n->input_count)
        t = &n->inputs[index];
    else if (index - n->input_count < n->output_count)
        t = &n->outputs[index - n->input_count];
    else
        return false;
    *ret = (struct neff_image_tensor){.name = t->name,
                                      .size = t->size,
                                      .ndim = t->ndim,
                                      .shape = t->shape,
                                      .dtype = t->dtype_text,
                                      .format = t->format,
                                      .time_series = t->time_series};
    return true;
}
