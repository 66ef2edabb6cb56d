/* SPDX-License-Identifier: Apache-2.0 */
#include "diag/debug_stream.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/broken.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/npy.h"
#include "base/settings.h"
#include "model/model.h"

#define CAPACITY   65536
#define PATH_BYTES 1024
#define FILE_NAME  "/tensor.npy"
#define STDOUT_MAX 131072

struct event {
    struct event *next;
    ndebug_stream_payload_debug_tensor_read_t *payload;
    uint64_t bytes;
};

/* How often a prefix was printed on a core: the number of its next folder. */
struct printed {
    char *prefix;
    uint64_t count;
};

struct stream {
    pthread_mutex_t lock;
    int fd; /* -1: no client */
    struct event *first, **end;
    uint64_t count, dropped;
    struct printed *printed;
    size_t printed_count, printed_cap;
    char *text; /* stdout_size bytes; NULL: none yet */
    uint32_t text_len;
    bool text_lost;
};

struct debug_streams {
    struct log *log;
    uint32_t vnc_count;
    uint64_t capacity;
    char *dir;            /* NULL: none */
    uint32_t stdout_size; /* 0: off */
    struct stream *streams;
};

/* ---- life ---- */

static uint32_t stdout_size(const struct diag_sink *sink)
{
    int64_t v = settings_int("NEURON_RT_GPSIMD_STDOUT_QUEUE_SIZE_BYTES", 0, 0, STDOUT_MAX, sink);

    if ((v & (v - 1)) == 0)
        return (uint32_t)v;
    diag_warn(sink, "NEURON_RT_GPSIMD_STDOUT_QUEUE_SIZE_BYTES: %lld is no power of two: off",
              (long long)v);
    return 0;
}

NRT_STATUS debug_streams_create(uint32_t vnc_count, struct log *log, const struct diag_sink *sink,
                                struct debug_streams **ret, struct err *err)
{
    struct debug_streams *d = mem_zalloc(sizeof(*d));
    const char *dir = settings_str("NEURON_RT_DEBUG_OUTPUT_DIR", "");

    if (d) {
        d->streams = mem_calloc(vnc_count, sizeof(*d->streams));
        d->dir = dir[0] ? mem_strdup(dir) : NULL;
    }
    if (!d || !d->streams || (dir[0] && !d->dir)) {
        if (d) {
            mem_free(d->streams);
            mem_free(d->dir);
        }
        mem_free(d);
        return err_set(err, NRT_RESOURCE, "no host memory for debug streams");
    }
    d->log = log;
    d->vnc_count = vnc_count;
    d->capacity =
        (uint64_t)settings_int("NEURON_RT_DEBUG_STREAM_BUFFER_SIZE", CAPACITY, 0, INT64_MAX, sink);
    d->stdout_size = stdout_size(sink);
    for (uint32_t i = 0; i < vnc_count; i++) {
        pthread_mutex_init(&d->streams[i].lock, NULL);
        d->streams[i].fd = -1;
        d->streams[i].end = &d->streams[i].first;
    }
    *ret = d;
    return NRT_SUCCESS;
}

/* The lock is held, or nobody else is there. */
static void disconnect(struct stream *s)
{
    while (s->first) {
        struct event *e = s->first;

        s->first = e->next;
        mem_free(e->payload);
        mem_free(e);
    }
    s->end = &s->first;
    s->count = s->dropped = 0;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

void debug_streams_destroy(struct debug_streams *d)
{
    if (!d)
        return;
    for (uint32_t i = 0; i < d->vnc_count; i++) {
        struct stream *s = &d->streams[i];

        disconnect(s);
        for (size_t k = 0; k < s->printed_count; k++)
            mem_free(s->printed[k].prefix);
        mem_free(s->printed);
        mem_free(s->text);
        pthread_mutex_destroy(&s->lock);
    }
    mem_free(d->streams);
    mem_free(d->dir);
    mem_free(d);
}

/* ---- the client ---- */

NRT_STATUS debug_stream_connect(struct debug_streams *d, uint32_t vnc, int *ret_fd, struct err *err)
{
    struct stream *s = &d->streams[vnc];
    NRT_STATUS status = NRT_SUCCESS;

    pthread_mutex_lock(&s->lock);
    if (s->fd >= 0) {
        status = err_set(err, NRT_INVALID, "core %u has a client already", vnc);
    } else {
        s->fd = fault_hit(FAULT_FILE)
                    ? -1
                    : fd_keep(eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC));
        if (s->fd < 0)
            status = err_set(err, NRT_RESOURCE, "no descriptor for a stream: %s", strerror(errno));
    }
    if (status == NRT_SUCCESS)
        *ret_fd = s->fd;
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* Locked; NULL: none has this descriptor. */
static struct stream *stream_of(struct debug_streams *d, int fd)
{
    for (uint32_t i = 0; fd >= 0 && i < d->vnc_count; i++) {
        struct stream *s = &d->streams[i];

        pthread_mutex_lock(&s->lock);
        if (s->fd == fd)
            return s;
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

bool debug_stream_close(struct debug_streams *d, int fd)
{
    struct stream *s = stream_of(d, fd);

    if (!s)
        return false;
    disconnect(s);
    pthread_mutex_unlock(&s->lock);
    return true;
}

NRT_STATUS debug_stream_read(struct debug_streams *d, int fd, ndebug_stream_event_header_t *header,
                             void **payload, struct err *err)
{
    struct stream *s = stream_of(d, fd);
    struct event *e;
    uint64_t one;

    if (!s)
        return err_set(err, NRT_INVALID, "%d is not the descriptor of a debug stream", fd);
    e = s->first;
    if (e) {
        s->first = e->next;
        if (!s->first)
            s->end = &s->first;
        s->count--;
        if (read(s->fd, &one, sizeof(one)) < 0) /* it counts the events: one less */
            LOGW(d->log, LOG_NRT, "nrt_debug_client_read_one_event", "the stream's descriptor: %s",
                 strerror(errno));
    }
    pthread_mutex_unlock(&s->lock);
    if (!e)
        return NRT_QUEUE_EMPTY;
    *header = (ndebug_stream_event_header_t){.data_size = e->bytes,
                                             .type = NDEBUG_STREAM_EVENT_TYPE_DEBUG_TENSOR_READ};
    *payload = e->payload;
    mem_free(e);
    return NRT_SUCCESS;
}

/* ---- what is printed ---- */

static struct event *event_new(const struct model_print *p)
{
    struct event *e = mem_zalloc(sizeof(*e));
    ndebug_stream_payload_debug_tensor_read_t *t;

    if (!e)
        return NULL;
    e->bytes = sizeof(*t) + p->bytes;
    t = e->payload = mem_zalloc(e->bytes);
    if (!t) {
        mem_free(e);
        return NULL;
    }
    snprintf(t->prefix, sizeof(t->prefix), "%s", p->prefix);
    t->logical_nc_id = p->vnc;
    snprintf(t->tensor_dtype, sizeof(t->tensor_dtype), "%s", dtype_name(p->dtype));
    for (unsigned i = 0; i < p->ndim; i++)
        t->tensor_shape[i] = p->shape[i];
    t->tensor_data_size = p->bytes;
    memcpy(t->tensor_data, p->data, p->bytes);
    return e;
}

/* The stream is locked and has a client. */
static void stream_put(struct debug_streams *d, struct stream *s, const struct model_print *p)
{
    static const uint64_t one = 1;
    bool room = s->count < d->capacity;
    struct event *e = room ? event_new(p) : NULL;

    if (!e) {
        if (s->dropped++ == 0)
            LOGW(d->log, LOG_NRT, "debug_stream", "core %u: %s, events are dropped from here on",
                 p->vnc, room ? "no host memory for an event" : "the stream is full");
        return;
    }
    *s->end = e;
    s->end = &e->next;
    s->count++;
    if (write(s->fd, &one, sizeof(one)) < 0)
        LOGW(d->log, LOG_NRT, "debug_stream", "the stream's descriptor: %s", strerror(errno));
}

/* The number of this print of the prefix; false: no memory. The stream is locked. */
static bool iteration_of(struct stream *s, const char *prefix, uint64_t *ret)
{
    size_t i = 0;
    char *copy;

    while (i < s->printed_count && strcmp(s->printed[i].prefix, prefix) != 0)
        i++;
    if (i == s->printed_count) {
        copy = mem_strdup(prefix);
        if (!copy || !mem_grow((void **)&s->printed, &s->printed_cap, i + 1, sizeof(*s->printed))) {
            mem_free(copy);
            return false;
        }
        s->printed[s->printed_count++] = (struct printed){copy, 0};
    }
    *ret = s->printed[i].count++;
    return true;
}

/* A name that stays in its folder. */
static void name_of(const char *prefix, char *buf, size_t size)
{
    snprintf(buf, size, "%s", prefix[0] ? prefix : "_");
    for (char *c = buf; *c; c++)
        if (*c == '/' || (c == buf && *c == '.'))
            *c = '_';
}

/* Makes the folder of a print, and the path of its file. False: errno. */
static bool place_make(const struct debug_streams *d, const char *name, uint32_t vnc,
                       uint64_t iteration, char path[PATH_BYTES])
{
    int dir = snprintf(path, PATH_BYTES, "%s/%s/core_%u/%llu", d->dir, name, vnc,
                       (unsigned long long)iteration);
    bool made;

    if (dir < 0 || (size_t)dir + sizeof(FILE_NAME) > PATH_BYTES) {
        errno = ENAMETOOLONG;
        return false;
    }
    made = fd_folders_make(path);
    memcpy(path + dir, FILE_NAME, sizeof(FILE_NAME));
    return made;
}

static void file_put(struct debug_streams *d, struct stream *s, const struct model_print *p)
{
    char path[PATH_BYTES], name[256];
    struct strbuf out = {0};
    uint64_t iteration;

    name_of(p->prefix, name, sizeof(name));
    if (!iteration_of(s, name, &iteration) ||
        !npy_write_header(&out, p->dtype, p->ndim, p->shape)) {
        LOGE(d->log, LOG_NRT, "debug_stream", "a print of \"%s\" (%s) has no file", p->prefix,
             dtype_name(p->dtype));
        strbuf_fini(&out);
        return;
    }
    strbuf_putn(&out, p->data, p->bytes);
    if (out.failed)
        LOGE(d->log, LOG_NRT, "debug_stream", "no host memory for the file of a print of \"%s\"",
             p->prefix);
    else if (!place_make(d, name, p->vnc, iteration, path) ||
             !fd_file_write(path, out.s, out.len, false))
        LOGE(d->log, LOG_NRT, "debug_stream", "%s: %s", path, strerror(errno));
    strbuf_fini(&out);
}

/* Bytes that are text wait for the end of the execution; what has no room is lost. */
static void text_put(struct debug_streams *d, struct stream *s, const struct model_print *p)
{
    size_t n = strnlen(p->data, p->bytes), room = d->stdout_size - s->text_len;

    if (!s->text)
        s->text = mem_alloc(d->stdout_size);
    if (!s->text) {
        if (!s->text_lost)
            LOGE(d->log, LOG_NRT, "debug_stream", "no host memory for text that a program prints");
        s->text_lost = true; /* said once */
        return;
    }
    if (n > room)
        n = room;
    memcpy(s->text + s->text_len, p->data, n);
    s->text_len += (uint32_t)n;
}

void debug_stream_print(void *streams, const struct model_print *p)
{
    struct debug_streams *d = streams;
    struct stream *s = &d->streams[p->vnc];

    if (BROKEN(DUMP))
        return;
    pthread_mutex_lock(&s->lock);
    if (s->fd >= 0)
        stream_put(d, s, p);
    if (d->dir)
        file_put(d, s, p);
    if (d->stdout_size > 0 && p->dtype == DT_UINT8)
        text_put(d, s, p);
    pthread_mutex_unlock(&s->lock);
}

void debug_stream_ended(void *streams, uint32_t vnc)
{
    struct debug_streams *d = streams;
    struct stream *s = &d->streams[vnc];

    pthread_mutex_lock(&s->lock);
    if (s->text_len > 0)
        LOGI(d->log, LOG_TDRV, "pool_stdio_queue_consume_all_entries", "%.*s", (int)s->text_len,
             s->text);
    s->text_len = 0;
    pthread_mutex_unlock(&s->lock);
}
