/* SPDX-License-Identifier: Apache-2.0 */
/* GET / is a page of all profiles, /profiles.json the same for programs, /profile/<name> the report
 * of one and /profile/<name>/<file> what else is kept of it. Requests are read by libmicrohttpd. */
#include "viewer/serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/json_out.h"
#include "common/options.h"
#include "viewer/report.h"
#include "viewer/store.h"

#ifdef HAVE_MICROHTTPD
#include <microhttpd.h>

#define CLIENTS_MAX 64u
#define SILENT_S    120u /* a client that says nothing for so long is sent away */

/* A connection, which is for one request. Nobody keeps others out by silence: who takes the last
 * place sends away whoever has been there longest without having asked for anything; if all others
 * have, the first of them to be served makes room. Used by the server's thread. */
struct client {
    int fd; /* -1: none; the library closes it */
    uint64_t number;
    bool busy; /* a request is under way */
    bool sent_away;
};

struct server {
    const char *data;
    struct client clients[CLIENTS_MAX];
    uint64_t next;
};

typedef enum MHD_Result answer_t;

/* ---- answers ---- */

static answer_t send_and_free(struct MHD_Connection *c, unsigned status, struct MHD_Response *r,
                              const char *type)
{
    answer_t ok;

    if (!r)
        return MHD_NO; /* no memory: the connection is closed */
    ok = MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES &&
                 MHD_add_response_header(r, "X-Content-Type-Options", "nosniff") == MHD_YES &&
                 MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache") == MHD_YES &&
                 MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES &&
                 MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") == MHD_YES
             ? MHD_queue_response(c, status, r)
             : MHD_NO;
    MHD_destroy_response(r);
    return ok;
}

static answer_t text_send(struct MHD_Connection *c, unsigned status, const struct strbuf *text,
                          const char *type)
{
    if (text->failed)
        return MHD_NO;
    return send_and_free(c, status,
                         MHD_create_response_from_buffer(text->len, text->s, MHD_RESPMEM_MUST_COPY),
                         type);
}

static answer_t word_send(struct MHD_Connection *c, unsigned status, const char *word)
{
    struct strbuf text = {0};
    answer_t ok;

    strbuf_printf(&text, "%s\n", word);
    ok = text_send(c, status, &text, "text/plain; charset=utf-8");
    strbuf_fini(&text);
    return ok;
}

/* ---- lists ---- */

static void url_put(struct strbuf *out, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s; s++)
        if ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
            *s == '-' || *s == '_' || *s == '.')
            strbuf_putn(out, (const char *)s, 1);
        else
            strbuf_printf(out, "%%%02X", *s);
}

static void page_put(const struct viewer_store_list *l, struct strbuf *out)
{
    strbuf_put(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'\">\n"
                    "<title>Profiles</title></head>\n<body><h1>Profiles</h1>\n");
    strbuf_put(out, l->count ? "<ul>\n" : "<p>No profile is kept here.</p>\n");
    for (size_t i = 0; i < l->count; i++) {
        struct strbuf plain = {0};

        viewer_text_plain(&plain, l->names[i]);
        strbuf_put(out, "<li><a href=\"/profile/");
        url_put(out, l->names[i]);
        strbuf_put(out, "\">");
        viewer_html_put(out, plain.s ? plain.s : "");
        strbuf_put(out, "</a></li>\n");
        strbuf_fini(&plain);
    }
    strbuf_put(out, l->count ? "</ul>\n</body></html>\n" : "</body></html>\n");
}

static void json_put(const struct viewer_store_list *l, struct strbuf *out)
{
    struct json_out j = {.indent = 1};

    json_out_open(&j, NULL, '[');
    for (size_t i = 0; i < l->count; i++)
        json_out_text(&j, NULL, l->names[i]);
    json_out_close(&j, ']');
    strbuf_put(&j.out, "\n");
    *out = j.out;
}

static answer_t list_send(const struct server *s, struct MHD_Connection *c,
                          void (*put)(const struct viewer_store_list *l, struct strbuf *out),
                          const char *type)
{
    struct viewer_store_list l;
    struct strbuf text = {0};
    answer_t ok;

    if (viewer_store_list(s->data, &l)) {
        put(&l, &text);
        ok = text_send(c, MHD_HTTP_OK, &text, type);
    } else {
        ok = word_send(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "the profiles cannot be listed");
    }
    strbuf_fini(&text);
    viewer_store_list_fini(&l);
    return ok;
}

/* ---- files ---- */

static const char *type_of(const char *file)
{
    static const char *const types[][2] = {{".html", "text/html; charset=utf-8"},
                                           {".json", "application/json"},
                                           {".txt", "text/plain; charset=utf-8"}};
    const char *end = strrchr(file, '.');

    for (size_t i = 0; end && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(end, types[i][0]) == 0)
            return types[i][1];
    return "application/octet-stream";
}

/* A regular file of a profile's folder, not what a link there leads to; -1: there is none. */
static int file_open(const struct server *s, const char *name, const char *file, uint64_t *ret_size)
{
    struct strbuf path = {0};
    int folder, fd = -1;
    struct stat st;

    viewer_store_path(s->data, name, &path);
    folder = path.failed ? -1 : open(path.s, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    strbuf_fini(&path);
    if (folder >= 0) {
        fd = openat(folder, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        (void)close(folder);
    }
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        (void)close(fd);
        return -1;
    }
    if (fd >= 0)
        *ret_size = (uint64_t)st.st_size;
    return fd;
}

/* what: "<name>" or "<name>/<file>". */
static answer_t file_send(const struct server *s, struct MHD_Connection *c, const char *what)
{
    const char *slash = strchr(what, '/'), *file = slash ? slash + 1 : "report.html";
    struct strbuf name = {0};
    struct MHD_Response *r;
    uint64_t size = 0;
    int fd = -1;

    strbuf_putn(&name, what, slash ? (size_t)(slash - what) : strlen(what));
    if (!name.failed && name.s && viewer_store_name_good(name.s) && viewer_store_name_good(file))
        fd = file_open(s, name.s, file, &size);
    strbuf_fini(&name);
    if (fd < 0)
        return word_send(c, MHD_HTTP_NOT_FOUND, "there is no such profile or file");
    r = MHD_create_response_from_fd64(size, fd);
    if (!r)
        (void)close(fd);
    return send_and_free(c, MHD_HTTP_OK, r, type_of(file));
}

/* ---- connections ---- */

/* Not the newest, who has had no time to ask. */
static void silent_send_away(struct server *s)
{
    struct client *oldest = NULL;

    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *c = &s->clients[i];

        if (c->fd < 0 || c->sent_away)
            return; /* there is room, or there will be */
        if (!c->busy && c->number + 1 != s->next && (!oldest || c->number < oldest->number))
            oldest = c;
    }
    if (!oldest)
        return;
    oldest->sent_away = true;
    (void)shutdown(oldest->fd, SHUT_RDWR); /* the library sees the end of it, and closes */
}

static void connection_notice(void *arg, struct MHD_Connection *c, void **context,
                              enum MHD_ConnectionNotificationCode code)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct server *s = arg;
    struct client *mine = *context;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (mine)
            mine->fd = -1;
        return;
    }
    *context = NULL;
    for (unsigned i = 0; i < CLIENTS_MAX && info && !*context; i++)
        if (s->clients[i].fd < 0) {
            s->clients[i] = (struct client){.fd = info->connect_fd, .number = s->next++};
            *context = &s->clients[i];
        }
    silent_send_away(s);
}

static void busy_set(struct MHD_Connection *c, bool busy)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct client *mine = info ? info->socket_context : NULL;

    if (mine)
        mine->busy = busy;
}

static void request_over(void *arg, struct MHD_Connection *c, void **state,
                         enum MHD_RequestTerminationCode code)
{
    (void)arg;
    (void)state;
    (void)code;
    busy_set(c, false);
}

/* ---- requests ---- */

/* Whether the request was made to a name of this host alone. */
static bool is_local(struct MHD_Connection *c)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    const char *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);

    for (size_t i = 0; host && i < sizeof(names) / sizeof(names[0]); i++) {
        size_t n = strlen(names[i]);

        if (strncasecmp(host, names[i], n) == 0 && (host[n] == ':' || !host[n]))
            return true;
    }
    return false;
}

static answer_t request_take(void *arg, struct MHD_Connection *c, const char *url,
                             const char *method, const char *version, const char *body,
                             size_t *body_size, void **state)
{
    static const char profile[] = "/profile/";
    const struct server *s = arg;

    (void)version;
    (void)body;
    (void)state;
    busy_set(c, true);
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return word_send(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
    *body_size = 0;
    if (!is_local(c))
        return word_send(c, MHD_HTTP_FORBIDDEN, "only localhost is served");
    if (strcmp(url, "/") == 0)
        return list_send(s, c, page_put, "text/html; charset=utf-8");
    if (strcmp(url, "/profiles.json") == 0)
        return list_send(s, c, json_put, "application/json");
    if (strncmp(url, profile, sizeof(profile) - 1) == 0)
        return file_send(s, c, url + sizeof(profile) - 1);
    return word_send(c, MHD_HTTP_NOT_FOUND, "there is nothing here");
}

/* ---- the server ---- */

/* A socket that listens at the loopback address; *port: the one it got. -1 with errno. */
static int socket_listen(unsigned *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t size = sizeof(a);
    const int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &size) != 0) {
        int e = errno;

        (void)close(fd);
        errno = e;
        return -1;
    }
    *port = ntohs(a.sin_port);
    return fd;
}

static void announce(unsigned port, const char *name)
{
    struct strbuf text = {0};

    if (name)
        url_put(&text, name);
    if (name)
        printf("View profile at http://localhost:%u/profile/%s\n", port, text.s ? text.s : "");
    else
        printf("View a list of profiles at http://localhost:%u/\n", port);
    printf("ctrl-c to exit\n");
    (void)fflush(stdout);
    strbuf_fini(&text);
}

int viewer_serve(const char *tool, const char *data, unsigned port, const char *name)
{
    struct server s = {.data = data};
    struct MHD_Daemon *d;
    sigset_t set;
    int fd, got;

    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        s.clients[i].fd = -1;
    (void)signal(SIGPIPE, SIG_IGN); /* a client that goes away while a file is sent */
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL); /* the server's thread, too, has it from here */
    fd = socket_listen(&port);
    if (fd < 0) {
        fprintf(stderr, "%s: port %u: %s\n", tool, port, strerror(errno));
        return TOOL_FAILED;
    }
    d = MHD_start_daemon(MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL,
                         request_take, &s, MHD_OPTION_LISTEN_SOCKET, fd,
                         MHD_OPTION_CONNECTION_LIMIT, CLIENTS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                         SILENT_S, MHD_OPTION_NOTIFY_CONNECTION, connection_notice, &s,
                         MHD_OPTION_NOTIFY_COMPLETED, request_over, &s, MHD_OPTION_END);
    if (!d) {
        (void)close(fd);
        fprintf(stderr, "%s: port %u: the server could not be started\n", tool, port);
        return TOOL_FAILED;
    }
    announce(port, name);
    while (sigwait(&set, &got) != 0)
        ;
    MHD_stop_daemon(d);
    return TOOL_OK;
}

#else

int viewer_serve(const char *tool, const char *data, unsigned port, const char *name)
{
    (void)data;
    (void)port;
    (void)name;
    fprintf(stderr, "%s: built without libmicrohttpd; --output-format and --ingest-only work\n",
            tool);
    return TOOL_FAILED;
}
#endif
