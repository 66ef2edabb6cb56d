/* SPDX-License-Identifier: Apache-2.0 */
/* What a capture records: device profiles and the system trace. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "capture.h"
#include "nrt/nrt_profile.h"
#include "nrt/nrt_sys_trace.h"

bool cap_good(NRT_STATUS status, const char *what)
{
    if (status == NRT_SUCCESS)
        return true;
    fprintf(stderr, CAPTURE ": %s: %s (%d)\n", what, nrt_get_status_as_str(status), (int)status);
    return false;
}

bool cap_profile_begin(nrt_model_t *model, const char *path)
{
    return cap_good(nrt_profile_start(model, path), "nrt_profile_start");
}

bool cap_profile_end(const char *path)
{
    if (!cap_good(nrt_profile_stop(path), "nrt_profile_stop"))
        return false;
    printf("%s\n", path);
    return true;
}

/* All types off but those of the filters. */
static bool filters_set(const struct cap_options *o, nrt_sys_trace_config_t *config)
{
    const char **types;
    size_t count;
    bool ok = true;

    if (!cap_good(nrt_sys_trace_get_event_types(&types, &count), "nrt_sys_trace_get_event_types"))
        return false;
    for (size_t i = 0; i < count && ok; i++)
        ok = cap_good(
            nrt_sys_trace_config_set_capture_enabled_for_event_type(config, types[i], false),
            types[i]);
    nrt_sys_trace_free_event_types(types, count);
    for (size_t i = 0; i < o->filter_count && ok; i++)
        ok = cap_good(
            nrt_sys_trace_config_set_capture_enabled_for_event_type(config, o->filters[i], true),
            o->filters[i]);
    return ok;
}

bool cap_systrace_begin(const struct cap_options *o)
{
    nrt_sys_trace_config_t *config;
    bool ok;

    if (!cap_good(nrt_sys_trace_config_allocate(&config), "nrt_sys_trace_config_allocate"))
        return false;
    ok = (o->filter_count == 0 || filters_set(o, config)) &&
         cap_good(nrt_sys_trace_start(config), "nrt_sys_trace_start");
    nrt_sys_trace_config_free(config);
    return ok;
}

static bool text_write(const char *path, const char *text, size_t size)
{
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(text, 1, size, f) == size;

    if (f)
        ok = fclose(f) == 0 && ok;
    if (!ok)
        fprintf(stderr, CAPTURE ": cannot write %s: %s\n", path, strerror(errno));
    else
        printf("%s\n", path);
    return ok;
}

bool cap_systrace_write(unsigned vnc, const char *path)
{
    nrt_sys_trace_fetch_options_t *options;
    char *text;
    size_t size;
    bool ok;

    if (!cap_good(nrt_sys_trace_fetch_options_allocate(&options),
                  "nrt_sys_trace_fetch_options_allocate"))
        return false;
    nrt_sys_trace_fetch_options_set_nc_idx(options, vnc);
    ok = cap_good(nrt_sys_trace_fetch_events(&text, &size, options), "nrt_sys_trace_fetch_events");
    nrt_sys_trace_fetch_options_free(options);
    if (!ok)
        return false;
    ok = text_write(path, text, size);
    nrt_sys_trace_buffer_free(text);
    return ok;
}

void cap_systrace_end(void)
{
    nrt_sys_trace_stop();
}

bool cap_systrace_types(void)
{
    const char **types;
    size_t count;

    if (!cap_good(nrt_sys_trace_get_event_types(&types, &count), "nrt_sys_trace_get_event_types"))
        return false;
    for (size_t i = 0; i < count; i++)
        printf("%s\n", types[i]);
    nrt_sys_trace_free_event_types(types, count);
    return true;
}
