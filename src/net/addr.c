/* SPDX-License-Identifier: Apache-2.0 */
/* The address of the root: <ipv4>:<port>, [<ipv6>]:<port> or <name>:<port>. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/broken.h"
#include "net/net_int.h"

static NRT_STATUS malformed(const char *text, const char *why, struct err *err)
{
    return err_set(err, NRT_INVALID,
                   "Invalid NCCL_COMM_ID [%.100s], please use format: <ipv4>:<port> or "
                   "[<ipv6>]:<port> (%s)",
                   text, why);
}

static bool parse_port(const char *s)
{
    size_t n = strspn(s, "0123456789");

    return n > 0 && n <= 5 && s[n] == '\0' && atoi(s) > 0 && atoi(s) < 65536;
}

static NRT_STATUS look_up(const char *text, const char *host, const char *port, bool number,
                          int family, struct addr *ret, struct err *err)
{
    struct addrinfo hints = {.ai_family = family,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICSERV | (number ? AI_NUMERICHOST : 0)};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, port, &hints, &list);

    if (rc != 0 || list == NULL || list->ai_addrlen > sizeof(ret->sa)) {
        char why[160];

        snprintf(why, sizeof(why), "%.63s: %s", host,
                 rc != 0 ? gai_strerror(rc) : "no address of a usable kind");
        if (list != NULL)
            freeaddrinfo(list);
        return malformed(text, why, err);
    }
    memset(ret, 0, sizeof(*ret));
    memcpy(&ret->sa, list->ai_addr, list->ai_addrlen);
    ret->len = list->ai_addrlen;
    freeaddrinfo(list);
    return NRT_SUCCESS;
}

/* The address proper, with IPv4 in IPv6 unwrapped. */
static size_t host_bytes(const struct addr *a, uint8_t out[16])
{
    if (a->sa.ss_family == AF_INET) {
        memcpy(out, &((const struct sockaddr_in *)&a->sa)->sin_addr, 4);
        return 4;
    }
    if (a->sa.ss_family == AF_INET6) {
        const struct in6_addr *six = &((const struct sockaddr_in6 *)&a->sa)->sin6_addr;

        if (IN6_IS_ADDR_V4MAPPED(six)) {
            memcpy(out, six->s6_addr + 12, 4);
            return 4;
        }
        memcpy(out, six->s6_addr, 16);
        return 16;
    }
    return 0;
}

/* Why nobody can be reached there; NULL: somebody may be. Rank 0 could listen at all of a host's
 * addresses, or at a group's, and would wait for ranks that never find it. */
static const char *no_host(const struct addr *a)
{
    static const uint8_t none[16];
    uint8_t b[16];
    size_t n = host_bytes(a, b);
    bool six = n == 16;

    if (memcmp(b, none, n) == 0)
        return "all addresses of a host are none that others can reach";
    if (six ? b[0] == 0xff : b[0] >> 4 == 14 || (b[0] & b[1] & b[2] & b[3]) == 0xff)
        return "an address of a group is not one of a host";
    if (six && b[0] == 0xfe && b[1] >> 6 == 2 &&
        ((const struct sockaddr_in6 *)&a->sa)->sin6_scope_id == 0)
        return "a link-local address needs its interface: [fe80::1%eth0]";
    return NULL;
}

NRT_STATUS addr_parse(const char *text, struct addr *ret, struct err *err)
{
    char host[NET_HOST_MAX + 1];
    struct in_addr four;
    const char *colon, *begin = text, *why;
    bool six = text[0] == '[';
    NRT_STATUS st;
    size_t n;

    if (BROKEN(INTER))
        return err_set(err, NRT_INVALID, "broken on purpose");
    if (six) {
        const char *end = strchr(text, ']');

        begin = text + 1;
        if (end == NULL || end[1] != ':')
            return malformed(text, "no \"]:\"", err);
        colon = end + 1;
        n = (size_t)(end - begin);
    } else {
        colon = strrchr(text, ':');
        if (colon == NULL)
            return malformed(text, "no port", err);
        n = (size_t)(colon - begin);
        if (memchr(begin, ':', n) != NULL)
            return malformed(text, "an IPv6 address goes between [ and ]", err);
    }
    if (n == 0)
        return malformed(text, "no address before the port", err);
    if (n > NET_HOST_MAX - 1)
        return malformed(text, "a host name has at most 63 characters", err);
    if (!parse_port(colon + 1))
        return malformed(text, "the port is not a number from 1 to 65535", err);
    snprintf(host, sizeof(host), "%.*s", (int)n, begin);
    st = look_up(text, host, colon + 1, six || inet_pton(AF_INET, host, &four) == 1,
                 six ? AF_INET6 : AF_UNSPEC, ret, err);
    if (st != NRT_SUCCESS)
        return st;
    why = no_host(ret);
    return why != NULL ? malformed(text, why, err) : NRT_SUCCESS;
}

void addr_text(const struct addr *a, char buf[ADDR_TEXT_MAX])
{
    char host[ADDR_TEXT_MAX - 10], port[8];

    if (getnameinfo((const struct sockaddr *)&a->sa, a->len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(buf, ADDR_TEXT_MAX, "local");
    else
        snprintf(buf, ADDR_TEXT_MAX, a->sa.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static in_port_t *port_at(struct addr *a)
{
    return a->sa.ss_family == AF_INET6 ? &((struct sockaddr_in6 *)&a->sa)->sin6_port
                                       : &((struct sockaddr_in *)&a->sa)->sin_port;
}

uint16_t addr_port(const struct addr *a)
{
    struct addr copy = *a;

    return ntohs(*port_at(&copy));
}

void addr_port_set(struct addr *a, uint16_t port)
{
    *port_at(a) = htons(port);
}

void addr_unwrap(struct addr *a)
{
    uint16_t port = addr_port(a);
    struct sockaddr_in four = {.sin_family = AF_INET};
    uint8_t host[16];

    if (a->sa.ss_family != AF_INET6 || host_bytes(a, host) != 4)
        return;
    memcpy(&four.sin_addr, host, 4);
    memcpy(&a->sa, &four, sizeof(four));
    a->len = sizeof(four);
    addr_port_set(a, port);
}

bool addr_same_host(const struct addr *a, const struct addr *b)
{
    static const uint8_t loopback6[16] = {[15] = 1};
    uint8_t x[16], y[16];
    size_t nx = host_bytes(a, x), ny = host_bytes(b, y);

    if (nx == 0 || ny == 0)
        return true; /* a socket pair */
    if (nx == 4 && x[0] == 127)
        return true;
    if (nx == 16 && memcmp(x, loopback6, 16) == 0)
        return true;
    return nx == ny && memcmp(x, y, nx) == 0;
}
