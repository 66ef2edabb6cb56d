/* SPDX-License-Identifier: Apache-2.0 */
/* The requests are those of the InfluxDB 2 API: buckets, orgs, delete, write. */
#include "viewer/influx.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#ifdef HAVE_CURL
#include <curl/curl.h>

#define ANSWER_MAX (1u << 20) /* more of an answer nobody reads */
#define CONNECT_S  30L
#define SILENT_S   120L /* a server that moves nothing for so long is given up */

struct influx {
    struct influx_config config;
    CURL *curl;
    struct curl_slist *headers, *json_headers;
    struct strbuf answer;
    NRT_STATUS status; /* of the writes */
    struct err err;
};

/* ---- requests ---- */

static size_t answer_take(char *bytes, size_t size, size_t count, void *arg)
{
    struct influx *x = arg;
    size_t n = size * count, room = ANSWER_MAX - x->answer.len;

    strbuf_putn(&x->answer, bytes, n < room ? n : room);
    return x->answer.failed ? 0 : n;
}

/* "&key=value", escaped. */
static void query_put(struct influx *x, struct strbuf *url, const char *key, const char *value)
{
    char *text;

    if (url->failed)
        return;
    text = curl_easy_escape(x->curl, value, 0);
    url->failed = url->failed || !text;
    strbuf_printf(url, "%s%s=%s", strchr(url->s, '?') ? "&" : "?", key, text ? text : "");
    curl_free(text);
}

static void url_begin(const struct influx *x, struct strbuf *url, const char *path)
{
    size_t n = strlen(x->config.endpoint);

    while (n > 0 && x->config.endpoint[n - 1] == '/')
        n--;
    strbuf_putn(url, x->config.endpoint, n);
    strbuf_put(url, path);
}

/* body: NULL for a GET. The server's status, or 0 with err. The url is given up. */
static long request(struct influx *x, struct strbuf *url, const void *body, size_t size, bool json,
                    struct err *err)
{
    CURLcode code = CURLE_OUT_OF_MEMORY;
    long status = 0;

    x->answer.len = 0;
    if (!url->failed) {
        curl_easy_setopt(x->curl, CURLOPT_URL, url->s);
        curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, json ? x->json_headers : x->headers);
        if (body) {
            curl_easy_setopt(x->curl, CURLOPT_POST, 1L);
            curl_easy_setopt(x->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
            curl_easy_setopt(x->curl, CURLOPT_POSTFIELDS, body);
        } else {
            curl_easy_setopt(x->curl, CURLOPT_HTTPGET, 1L);
        }
        code = curl_easy_perform(x->curl);
    }
    if (code == CURLE_OK)
        curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
    else
        err_set(err, NRT_FAILURE, "%s: %s", x->config.endpoint, curl_easy_strerror(code));
    strbuf_fini(url);
    return status;
}

/* The server said no. */
static NRT_STATUS refused(const struct influx *x, const char *what, long status, struct err *err)
{
    struct strbuf text = {0};
    NRT_STATUS st;

    if (status == 0) /* err is set */
        return NRT_FAILURE;
    if (x->answer.len > 0)
        influx_message_put(x->answer.s, x->answer.len, &text);
    st = err_set(err, NRT_FAILURE, "%s: %s: status %ld%.200s", x->config.endpoint, what, status,
                 text.s ? text.s : "");
    strbuf_fini(&text);
    return st;
}

/* ---- the bucket ---- */

static NRT_STATUS bucket_make(struct influx *x, struct err *err)
{
    struct strbuf url = {0}, body = {0};
    char org[INFLUX_ID_SIZE];
    NRT_STATUS st;
    long status;

    url_begin(x, &url, "/api/v2/orgs");
    query_put(x, &url, "org", x->config.org);
    status = request(x, &url, NULL, 0, false, err);
    if (status != 200 || !influx_id_find(x->answer.s, x->answer.len, "orgs", x->config.org, org))
        return refused(x, "the organization is not known", status, err);
    strbuf_printf(&body, "{\"orgID\": \"%s\", \"name\": ", org);
    strbuf_put_json(&body, x->config.bucket);
    strbuf_put(&body, ", \"retentionRules\": []}");
    url_begin(x, &url, "/api/v2/buckets");
    status = body.failed ? 0 : request(x, &url, body.s, body.len, true, err);
    st = status == 201 ? NRT_SUCCESS : refused(x, "the bucket could not be made", status, err);
    strbuf_fini(&body);
    return st;
}

static NRT_STATUS bucket_clear(struct influx *x, struct err *err)
{
    static const char all[] =
        "{\"start\": \"1677-09-21T00:12:44Z\", \"stop\": \"2262-04-11T23:47:16Z\"}";
    struct strbuf url = {0};
    long status;

    url_begin(x, &url, "/api/v2/delete");
    query_put(x, &url, "org", x->config.org);
    query_put(x, &url, "bucket", x->config.bucket);
    status = request(x, &url, all, sizeof(all) - 1, true, err);
    return status == 204 ? NRT_SUCCESS : refused(x, "the bucket could not be cleared", status, err);
}

static NRT_STATUS bucket_open(struct influx *x, struct err *err)
{
    struct strbuf url = {0};
    char id[INFLUX_ID_SIZE];
    long status;

    url_begin(x, &url, "/api/v2/buckets");
    query_put(x, &url, "org", x->config.org);
    query_put(x, &url, "name", x->config.bucket);
    status = request(x, &url, NULL, 0, false, err);
    if (status != 200 && status != 404)
        return refused(x, "buckets cannot be listed", status, err);
    if (status == 404 ||
        !influx_id_find(x->answer.s, x->answer.len, "buckets", x->config.bucket, id))
        return bucket_make(x, err);
    if (!x->config.force)
        return err_set(err, NRT_INVALID,
                       "%s: there is a bucket \"%.100s\" already; --force replaces what it holds",
                       x->config.endpoint, x->config.bucket);
    return bucket_clear(x, err);
}

/* ---- public ---- */

static bool headers_make(struct influx *x)
{
    struct strbuf token = {0};
    bool ok;

    x->json_headers = curl_slist_append(NULL, "Content-Type: application/json");
    x->headers = curl_slist_append(NULL, "Content-Type: text/plain; charset=utf-8");
    ok = x->headers && x->json_headers;
    if (ok && x->config.token) {
        strbuf_printf(&token, "Authorization: Token %s", x->config.token);
        ok = !token.failed && curl_slist_append(x->headers, token.s) &&
             curl_slist_append(x->json_headers, token.s);
    }
    strbuf_fini(&token);
    return ok;
}

static void influx_free(struct influx *x)
{
    curl_slist_free_all(x->headers);
    curl_slist_free_all(x->json_headers);
    if (x->curl)
        curl_easy_cleanup(x->curl);
    strbuf_fini(&x->answer);
    mem_free(x);
}

NRT_STATUS influx_open(const struct influx_config *config, struct influx **ret, struct err *err)
{
    struct influx *x = mem_zalloc(sizeof(*x));
    NRT_STATUS st;

    if (x && curl_global_init(CURL_GLOBAL_DEFAULT) == 0) {
        x->config = *config;
        x->curl = curl_easy_init();
    }
    if (!x || !x->curl || !headers_make(x)) {
        if (x)
            influx_free(x);
        return err_set(err, NRT_RESOURCE, "no memory for a connection");
    }
    curl_easy_setopt(x->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(x->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(x->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    curl_easy_setopt(x->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(x->curl, CURLOPT_LOW_SPEED_TIME, SILENT_S);
    curl_easy_setopt(x->curl, CURLOPT_WRITEFUNCTION, answer_take);
    curl_easy_setopt(x->curl, CURLOPT_WRITEDATA, x);
    st = bucket_open(x, err);
    if (st != NRT_SUCCESS)
        influx_free(x);
    else
        *ret = x;
    return st;
}

bool influx_write(void *arg, const void *bytes, size_t size)
{
    struct influx *x = arg;
    struct strbuf url = {0};
    long status;

    url_begin(x, &url, "/api/v2/write");
    query_put(x, &url, "org", x->config.org);
    query_put(x, &url, "bucket", x->config.bucket);
    query_put(x, &url, "precision", "ns");
    status = request(x, &url, bytes, size, false, &x->err);
    if (status != 204)
        x->status = refused(x, "the profile could not be written", status, &x->err);
    return status == 204;
}

NRT_STATUS influx_close(struct influx *x, struct err *err)
{
    NRT_STATUS st = x->status;

    if (st != NRT_SUCCESS)
        *err = x->err;
    influx_free(x);
    return st;
}

#else

NRT_STATUS influx_open(const struct influx_config *config, struct influx **ret, struct err *err)
{
    (void)config;
    (void)ret;
    return err_set(err, NRT_FAILURE, "built without libcurl: there is no way to a database");
}

bool influx_write(void *arg, const void *bytes, size_t size)
{
    (void)arg;
    (void)bytes;
    (void)size;
    return false;
}

NRT_STATUS influx_close(struct influx *x, struct err *err)
{
    (void)x;
    return err_set(err, NRT_FAILURE, "built without libcurl");
}
#endif
