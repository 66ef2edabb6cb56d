/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a server, which may be anybody's: any bytes. */
#include <string.h>

#include "neff/json.h"
#include "viewer/influx.h"
#include "viewer/views.h"

static const char *text_of(const struct json_doc *d, const struct json_node *object,
                           const char *name)
{
    const struct json_node *n = object->type == JSON_OBJECT ? json_member(d, object, name) : NULL;

    return n && n->type == JSON_STRING ? json_text(d, n) : NULL;
}

/* An id goes into later requests: letters and digits, as the server's own are. */
static bool id_take(const char *id, char ret[INFLUX_ID_SIZE])
{
    size_t n = strspn(id, "0123456789abcdefABCDEF");

    if (n == 0 || id[n] || n >= INFLUX_ID_SIZE)
        return false;
    memcpy(ret, id, n + 1);
    return true;
}

static bool element_find(const struct json_doc *d, const char *array, const char *name,
                         char ret[INFLUX_ID_SIZE])
{
    const struct json_node *root = d->nodes;
    const struct json_node *list = root->type == JSON_OBJECT ? json_member(d, root, array) : NULL;
    const struct json_node *n;

    if (!list || list->type != JSON_ARRAY || list->u.count == 0)
        return false;
    n = json_first(list);
    for (uint64_t i = 0; i < list->u.count; i++, n = json_next(d, n)) {
        const char *found = text_of(d, n, "name"), *id = text_of(d, n, "id");

        if (found && id && strcmp(found, name) == 0)
            return id_take(id, ret);
    }
    return false;
}

bool influx_id_find(const void *answer, size_t size, const char *array, const char *name,
                    char ret[INFLUX_ID_SIZE])
{
    struct json_doc d = {0};
    struct err err = {0};
    bool found = json_parse(&d, "answer", answer, size, &err) == NRT_SUCCESS && d.count > 0 &&
                 element_find(&d, array, name, ret);

    json_doc_fini(&d);
    return found;
}

void influx_message_put(const void *answer, size_t size, struct strbuf *out)
{
    struct json_doc d = {0};
    struct err err = {0};
    const char *text = NULL;

    if (json_parse(&d, "answer", answer, size, &err) == NRT_SUCCESS && d.count > 0)
        text = text_of(&d, d.nodes, "message");
    if (text) {
        strbuf_put(out, ": ");
        viewer_text_plain(out, text);
    }
    json_doc_fini(&d);
}
