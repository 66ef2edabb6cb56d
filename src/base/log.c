/* SPDX-License-Identifier: Apache-2.0 */
/* The log. A record is formatted once and handed to each target of its component whose level admits
 * it. Everything is fixed at open, so writers share no lock: each target takes one write per record
 * (files append, syslog takes datagrams). */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/broken.h"
#include "base/fd.h"
#include "base/log_int.h"
#include "base/mem.h"
#include "base/strbuf.h"

#define PREFIX_MAX  160
#define STACK_TEXT  1024
#define FUNC_COLUMN 40
#define TAIL_TEXT   4096 /* of a record that is kept; the rest is cut off */

/* One component's levels per target; LOG_QUIET is a target that takes nothing. */
struct log_route {
    enum log_level console, syslog, file;
    enum log_level top; /* the most verbose of the three */
    int file_fd;        /* -1: none */
};

struct log {
    struct log_route route[LOG_COMP_COUNT];
    int syslog_fd; /* connected datagram socket; -1: there is no syslog */
    void (*tap)(void *arg, enum log_level level, const char *line);
    void *tap_arg;
    /* The last records at ERROR and WARN: tail[n % LOG_TAIL] is record n. */
    pthread_mutex_t tail_lock;
    char *tail[LOG_TAIL];
    uint64_t tail_count;
};

static const char *const comp_name[LOG_COMP_COUNT] = {"NRT", "TDRV", "NMGR", "HAL"};

static const char *level_name(enum log_level level)
{
    static const char *const name[] = {"ERROR", "WARN", "INFO", "DEBUG", "TRACE"};

    return level >= LOG_ERROR && level <= LOG_TRACE ? name[level] : "?";
}

static bool level_parse(const char *text, enum log_level *ret)
{
    static const struct {
        const char *word;
        enum log_level level;
    } words[] = {{"QUIET", LOG_QUIET},  {"ERROR", LOG_ERROR}, {"WARN", LOG_WARN},
                 {"WARNING", LOG_WARN}, {"INFO", LOG_INFO},   {"DEBUG", LOG_DEBUG},
                 {"TRACE", LOG_TRACE}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i].word) == 0) {
            *ret = words[i].level;
            return true;
        }
    }
    return false;
}

static int syslog_open(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(a.sun_path))
        return -1;
    strcpy(a.sun_path, path);
    fd = fd_keep(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* What one component, or the general pair of variables, asks for. */
struct log_ask {
    const char *location; /* NULL: not set */
    bool level_set;
    enum log_level level;
};

/* Warnings wait until the log exists. */
struct log_notes {
    struct strbuf text; /* lines */
};

static void ask_read(struct log_ask *ask, const char *(*get)(const char *), const char *suffix,
                     struct log_notes *notes)
{
    char name[64];
    const char *v;

    if (BROKEN(API))
        return;
    snprintf(name, sizeof(name), "NEURON_RT_LOG_LEVEL%s%s", suffix[0] ? "_" : "", suffix);
    v = get(name);
    if (v != NULL) {
        ask->level_set = level_parse(v, &ask->level);
        if (!ask->level_set)
            strbuf_printf(&notes->text, "%s: unknown log level \"%s\", using the default\n", name,
                          v);
    }
    snprintf(name, sizeof(name), "NEURON_RT_LOG_LOCATION%s%s", suffix[0] ? "_" : "", suffix);
    v = get(name);
    if (v != NULL && v[0] != '\0')
        ask->location = v;
}

/* Component variables win over the general ones, each on its own; NMGR also answers to KMGR. */
static void ask_merge(struct log_ask *ask, const struct log_ask *fallback)
{
    if (ask->location == NULL)
        ask->location = fallback->location;
    if (!ask->level_set) {
        ask->level_set = fallback->level_set;
        ask->level = fallback->level;
    }
}

static void route_set(struct log_route *r, const struct log_ask *ask, int syslog_fd,
                      struct log_notes *notes)
{
    enum log_level near = ask->level_set ? ask->level : LOG_ERROR; /* console and files */
    enum log_level far = ask->level_set ? ask->level : LOG_INFO;   /* syslog */

    *r = (struct log_route){LOG_QUIET, LOG_QUIET, LOG_QUIET, LOG_QUIET, -1};
    if (ask->location == NULL) {
        r->console = near;
        r->syslog = far;
    } else if (strcasecmp(ask->location, "console") == 0) {
        r->console = near;
    } else if (strcasecmp(ask->location, "syslog") == 0) {
        r->syslog = far;
    } else {
        r->file_fd = fd_keep(
            open(ask->location, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644));
        if (r->file_fd >= 0) {
            r->file = near;
        } else {
            strbuf_printf(&notes->text, "cannot open log file \"%s\": %s, using the console\n",
                          ask->location, strerror(errno));
            r->console = near;
        }
    }
    if (syslog_fd < 0)
        r->syslog = LOG_QUIET;
    r->top = r->console > r->syslog ? r->console : r->syslog;
    if (r->file > r->top)
        r->top = r->file;
}

/* Of the log's own variables: errors, since who mistypes one would else not see that either. */
static void notes_flush(struct log *lg, struct log_notes *notes)
{
    char *save = NULL, *line;

    if (notes->text.s != NULL && !notes->text.failed) {
        for (line = strtok_r(notes->text.s, "\n", &save); line != NULL;
             line = strtok_r(NULL, "\n", &save))
            log_msg(lg, LOG_NRT, LOG_ERROR, "nrt_init", "%s", line);
    }
    strbuf_fini(&notes->text);
}

struct log *log_open_with(const char *(*get)(const char *name), const char *syslog_path)
{
    struct log_notes notes = {.text = {.s = NULL}};
    struct log_ask general = {.location = NULL};
    struct log *lg = mem_zalloc(sizeof(*lg));

    if (lg == NULL)
        return NULL;
    pthread_mutex_init(&lg->tail_lock, NULL);
    lg->syslog_fd = syslog_open(syslog_path);
    ask_read(&general, get, "", &notes);
    for (int c = 0; c < LOG_COMP_COUNT; c++) {
        struct log_ask ask = {.location = NULL};

        ask_read(&ask, get, comp_name[c], &notes);
        if (c == LOG_NMGR) {
            struct log_ask alias = {.location = NULL};

            ask_read(&alias, get, "KMGR", &notes);
            ask_merge(&ask, &alias);
        }
        ask_merge(&ask, &general);
        route_set(&lg->route[c], &ask, lg->syslog_fd, &notes);
    }
    notes_flush(lg, &notes);
    return lg;
}

static const char *env_get(const char *name)
{
    return getenv(name);
}

struct log *log_open_env(void)
{
    return log_open_with(env_get, LOG_SYSLOG_PATH);
}

void log_close(struct log *lg)
{
    if (lg == NULL)
        return;
    for (int c = 0; c < LOG_COMP_COUNT; c++) {
        if (lg->route[c].file_fd >= 0)
            close(lg->route[c].file_fd);
    }
    if (lg->syslog_fd >= 0)
        close(lg->syslog_fd);
    for (unsigned i = 0; i < LOG_TAIL; i++)
        free(lg->tail[i]);
    pthread_mutex_destroy(&lg->tail_lock);
    mem_free(lg);
}

bool log_on(const struct log *lg, enum log_comp comp, enum log_level level)
{
    return lg != NULL && (level <= lg->route[comp].top || lg->tap != NULL);
}

/* RFC 3164 datagram: facility user, the tag is ours, best effort. */
static void syslog_send(int fd, enum log_level level, const char *text, size_t n)
{
    static const int severity[] = {3, 4, 6, 7, 7};
    struct strbuf b = {.s = NULL};
    ssize_t ignored;

    strbuf_printf(&b, "<%d>opennrt[%d]: ", 8 + severity[level], (int)getpid());
    strbuf_putn(&b, text, n);
    if (!b.failed) {
        ignored = send(fd, b.s, b.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)ignored;
    }
    strbuf_fini(&b);
}

/* ---- the tail ---- */

static bool kept(enum log_level level)
{
    return level == LOG_ERROR || level == LOG_WARN;
}

/* text[0..n) without its newline. Not through mem_alloc, as in log_vmsg. */
static void tail_add(struct log *lg, const char *text, size_t n)
{
    char *copy = strndup(text, n < TAIL_TEXT ? n : TAIL_TEXT);
    char **place;

    if (copy == NULL)
        return;
    pthread_mutex_lock(&lg->tail_lock);
    place = &lg->tail[lg->tail_count++ % LOG_TAIL];
    free(*place);
    *place = copy;
    pthread_mutex_unlock(&lg->tail_lock);
}

bool log_tail(struct log *lg, bool wait, void (*line)(void *arg, const char *text), void *arg)
{
    uint64_t first;

    if (lg == NULL)
        return true;
    if (wait)
        pthread_mutex_lock(&lg->tail_lock);
    else if (pthread_mutex_trylock(&lg->tail_lock) != 0)
        return false;
    first = lg->tail_count > LOG_TAIL ? lg->tail_count - LOG_TAIL : 0;
    for (uint64_t n = first; n < lg->tail_count; n++)
        line(arg, lg->tail[n % LOG_TAIL]);
    pthread_mutex_unlock(&lg->tail_lock);
    return true;
}

/* ---- records ---- */

/* Whether a record has to be made at all. */
static bool wanted(const struct log *lg, enum log_comp comp, enum log_level level)
{
    return lg != NULL && level >= LOG_ERROR && level <= LOG_TRACE &&
           (kept(level) || log_on(lg, comp, level));
}

/* Hand out line[0..n), whose last character is the newline. */
static void log_deliver(struct log *lg, enum log_comp comp, enum log_level level, char *line,
                        size_t n)
{
    const struct log_route *r = &lg->route[comp];
    int saved_errno = errno;

    if (BROKEN(DUMP))
        return;
    if (kept(level))
        tail_add(lg, line, n - 1);
    /* A log that cannot be written must not stop the program. */
    if (level <= r->console)
        fd_write_all(STDERR_FILENO, line, n);
    if (level <= r->file)
        fd_write_all(r->file_fd, line, n);
    if (level <= r->syslog)
        syslog_send(lg->syslog_fd, level, line, n - 1);
    if (lg->tap != NULL) {
        line[n - 1] = '\0';
        lg->tap(lg->tap_arg, level, line);
    }
    errno = saved_errno;
}

static size_t prefix_put(char *buf, size_t size, enum log_comp comp, enum log_level level,
                         const char *func)
{
    static const char month[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct timespec ts;
    struct tm tm;
    int n;

    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    /* The month in English whatever the program's locale, so no strftime. */
    n = snprintf(buf, size, "%04d-%s-%02d %02d:%02d:%02d.%06ld %5d:%-5d %5s %5s:%-*s%s",
                 tm.tm_year + 1900, month[tm.tm_mon], tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                 ts.tv_nsec / 1000, (int)getpid(), (int)gettid(), level_name(level),
                 comp_name[comp], FUNC_COLUMN, func, strlen(func) >= FUNC_COLUMN ? " " : "");
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

void log_vmsg(struct log *lg, enum log_comp comp, enum log_level level, const char *func,
              const char *fmt, va_list ap)
{
    char stack[STACK_TEXT], *line = stack;
    size_t size = sizeof(stack), at, n;
    va_list ap2;
    int len;

    if (!wanted(lg, comp, level))
        return;
    at = prefix_put(stack, PREFIX_MAX, comp, level, func);
    va_copy(ap2, ap);
    len = vsnprintf(stack + at, size - at, fmt, ap2);
    va_end(ap2);
    if (len < 0)
        return;
    n = at + (size_t)len;
    if (n + 2 > size) {
        /* Not through mem_alloc: a record about a failed allocation must not fail too. */
        line = malloc(n + 2);
        if (line != NULL) {
            memcpy(line, stack, at);
            vsnprintf(line + at, (size_t)len + 1, fmt, ap);
        } else {
            line = stack;
            n = size - 2;
        }
    }
    line[n] = '\n';
    line[n + 1] = '\0';
    log_deliver(lg, comp, level, line, n + 1);
    if (line != stack)
        free(line);
}

void log_msg(struct log *lg, enum log_comp comp, enum log_level level, const char *func,
             const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_vmsg(lg, comp, level, func, fmt, ap);
    va_end(ap);
}

void log_raw(struct log *lg, enum log_comp comp, enum log_level level, const char *text)
{
    size_t n = strlen(text);
    char *line;

    if (!wanted(lg, comp, level))
        return;
    line = malloc(n + 2);
    if (line == NULL)
        return;
    memcpy(line, text, n);
    line[n] = '\n';
    line[n + 1] = '\0';
    log_deliver(lg, comp, level, line, n + 1);
    free(line);
}

void log_set_tap(struct log *lg, void (*tap)(void *arg, enum log_level level, const char *line),
                 void *arg)
{
    if (lg == NULL)
        return;
    lg->tap_arg = arg;
    lg->tap = tap;
}
