/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a database server: any bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "viewer/influx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const arrays[] = {"orgs", "buckets"};
    void *bytes = malloc(size + 1);
    struct strbuf text = {0};
    char id[INFLUX_ID_SIZE];

    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
        if (influx_id_find(bytes, size, arrays[i], "our org", id) &&
            (strlen(id) == 0 || strspn(id, "0123456789abcdefABCDEF") != strlen(id)))
            abort(); /* it would go into a request */
    influx_message_put(bytes, size, &text);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.s[i] < 0x20 || text.s[i] == 0x7f)
            abort();
    strbuf_fini(&text);
    free(bytes);
    return 0;
}
