/* SPDX-License-Identifier: Apache-2.0 */
/* libfabric: loaded on first need, so that a program on one node never pays for its providers.
 * Nothing outside this file knows a provider's name or habits. */
#include "net/fabric_int.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_tagged.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/dl.h"
#include "base/fd.h"
#include "base/settings.h"

/* The functions of the library that are not behind an object's table. */
struct fabric_lib {
    void *handle;
    int (*getinfo)(uint32_t version, const char *node, const char *service, uint64_t flags,
                   const struct fi_info *hints, struct fi_info **info);
    void (*freeinfo)(struct fi_info *info);
    struct fi_info *(*dupinfo)(const struct fi_info *info);
    int (*fabric)(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context);
    uint32_t (*version)(void);
    const char *(*strerror)(int errnum);
};

struct fabric {
    struct fabric_lib lib;
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_av *av;
    struct fid_cq *cq;
    struct fid_ep *ep;
    uint64_t next_key;
    uint32_t memories; /* registered */
    bool retired;
};

struct fabric_memory {
    struct fabric *f;
    struct fid_mr *mr;
};

_Static_assert(sizeof(struct fi_context2) <= FABRIC_CONTEXT, "room for the provider's context");

/* Of the providers that fit, the best first. efa is the real network; tcp has native reliable
 * datagrams from libfabric 1.18 on, before that under the name net; ofi_rxm builds them over tcp.
 */
static const char *const provider_order[] = {"efa", "tcp", "net", "tcp;ofi_rxm"};
#define PROVIDERS (sizeof(provider_order) / sizeof(provider_order[0]))

#define FABRIC_API FI_VERSION(1, 14) /* what is asked for, and answered to */

/* --- the library -------------------------------------------------------------------------------
 */

static NRT_STATUS lib_load(struct fabric_lib *lib, struct err *err)
{
    lib->handle = dlopen("libfabric.so.1", RTLD_NOW | RTLD_LOCAL);
    if (lib->handle == NULL)
        return err_set(err, NRT_FAILURE,
                       "Unable to run multi-instance workload.  Ofi plugin is not installed or EFA "
                       "is not enabled: NCCL init error: Error opening libfabric.so.1, cannot use "
                       "collective operations! Please set LD_LIBRARY_PATH to library location. "
                       "Error: %s; between nodes they need libfabric (package libfabric1)",
                       dlerror());
    if (!dl_symbol(lib->handle, "fi_getinfo", &lib->getinfo) ||
        !dl_symbol(lib->handle, "fi_freeinfo", &lib->freeinfo) ||
        !dl_symbol(lib->handle, "fi_dupinfo", &lib->dupinfo) ||
        !dl_symbol(lib->handle, "fi_fabric", &lib->fabric) ||
        !dl_symbol(lib->handle, "fi_version", &lib->version) ||
        !dl_symbol(lib->handle, "fi_strerror", &lib->strerror))
        return err_set(err, NRT_FAILURE, "libfabric.so.1 lacks a function: %s", dlerror());
    if (FI_VERSION_LT(lib->version(), FI_VERSION(FI_MAJOR_VERSION, FI_MINOR_VERSION)))
        return err_set(
            err, NRT_FAILURE,
            "libfabric is version %u.%u, this library was built with %u.%u: install that "
            "one or a later one",
            FI_MAJOR(lib->version()), FI_MINOR(lib->version()), FI_MAJOR_VERSION, FI_MINOR_VERSION);
    return NRT_SUCCESS;
}

/* --- the choice of a provider ------------------------------------------------------------------
 */

/* Of this provider, whatever it offers. */
static struct fi_info *hints_any(const struct fabric_lib *lib, const char *name)
{
    struct fi_info *h = lib->dupinfo(NULL); /* an empty one */

    if (h == NULL)
        return NULL;
    h->fabric_attr->prov_name = strdup(name); /* freed by fi_freeinfo */
    h->mode = FI_CONTEXT | FI_CONTEXT2;
    return h;
}

static struct fi_info *hints_for(const struct fabric_lib *lib, const char *name)
{
    struct fi_info *h = hints_any(lib, name);

    if (h == NULL)
        return NULL;
    h->ep_attr->type = FI_EP_RDM;
    h->caps = FI_TAGGED | FI_SEND | FI_RECV;
    h->tx_attr->msg_order = FI_ORDER_SAS;
    h->rx_attr->msg_order = FI_ORDER_SAS;
    h->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
    h->domain_attr->threading = FI_THREAD_DOMAIN; /* the link's lock */
    h->domain_attr->av_type = FI_AV_TABLE;
    return h;
}

/* The first offer that has exactly this name: asked for "tcp", an old library offers tcp;ofi_rxm.
 */
static struct fi_info *offer_named(struct fi_info *list, const char *name)
{
    while (list != NULL && strcmp(list->fabric_attr->prov_name, name) != 0)
        list = list->next;
    return list;
}

/* Why a provider has no offer that fits, where the library only says that there is none: whether
 * it has any at all, and any of reliable datagrams. */
static const char *lack_of(const struct fabric_lib *lib, const char *name)
{
    struct fi_info *hints = hints_any(lib, name), *list = NULL, *offer = NULL;
    const char *ret = "not offered here";

    if (hints != NULL && lib->getinfo(FABRIC_API, NULL, NULL, 0, hints, &list) == 0)
        offer = offer_named(list, name);
    if (offer != NULL)
        ret = "without reliable datagrams";
    for (; offer != NULL; offer = offer_named(offer->next, name))
        if (offer->ep_attr->type == FI_EP_RDM)
            ret = "no reliable datagrams with tags and in order on this interface";
    if (list != NULL)
        lib->freeinfo(list);
    if (hints != NULL)
        lib->freeinfo(hints);
    return ret;
}

static struct fi_info *ask(const struct fabric_lib *lib, const char *name, const struct addr *local,
                           char *why, size_t why_size)
{
    struct fi_info *hints = hints_for(lib, name), *list = NULL, *offer, *ret;
    char host[64] = "";
    int rc = -FI_ENOMEM;
    /* A real network has addresses of its own; the others are told which interface to use. */
    bool bind = strcmp(name, "efa") != 0;

    getnameinfo((const struct sockaddr *)&local->sa, local->len, host, sizeof(host), NULL, 0,
                NI_NUMERICHOST);
    if (hints != NULL)
        rc = lib->getinfo(FABRIC_API, bind ? host : NULL, bind ? "0" : NULL, bind ? FI_SOURCE : 0,
                          hints, &list);
    offer = rc == 0 ? offer_named(list, name) : NULL;
    if (rc != 0)
        snprintf(why, why_size, "%s: %s", name,
                 rc == -FI_ENODATA ? lack_of(lib, name) : lib->strerror(-rc));
    else if (offer == NULL)
        snprintf(why, why_size, "%s: only as %s", name, list->fabric_attr->prov_name);
    ret = offer != NULL ? lib->dupinfo(offer) : NULL;
    if (list != NULL)
        lib->freeinfo(list);
    if (hints != NULL)
        lib->freeinfo(hints);
    return ret;
}

/* --- the endpoint ------------------------------------------------------------------------------
 */

static int endpoint_make(struct fabric *f)
{
    struct fi_cq_attr cq = {.format = FI_CQ_FORMAT_TAGGED, .size = 4096};
    struct fi_av_attr av = {.type = FI_AV_TABLE};
    int rc = f->lib.fabric(f->info->fabric_attr, &f->fabric, NULL);

    if (rc == 0)
        rc = fi_domain(f->fabric, f->info, &f->domain, NULL);
    if (rc == 0)
        rc = fi_av_open(f->domain, &av, &f->av, NULL);
    if (rc == 0)
        rc = fi_cq_open(f->domain, &cq, &f->cq, NULL);
    if (rc == 0)
        rc = fi_endpoint(f->domain, f->info, &f->ep, NULL);
    if (rc == 0)
        rc = fi_ep_bind(f->ep, &f->av->fid, 0);
    if (rc == 0)
        rc = fi_ep_bind(f->ep, &f->cq->fid, FI_TRANSMIT | FI_RECV);
    if (rc == 0)
        rc = fi_enable(f->ep);
    return rc;
}

static void endpoint_close(struct fabric *f)
{
    struct fid *all[] = {f->ep != NULL ? &f->ep->fid : NULL, f->cq != NULL ? &f->cq->fid : NULL,
                         f->av != NULL ? &f->av->fid : NULL,
                         f->domain != NULL ? &f->domain->fid : NULL,
                         f->fabric != NULL ? &f->fabric->fid : NULL};

    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i] != NULL)
            fi_close(all[i]);
    }
    if (f->info != NULL)
        f->lib.freeinfo(f->info);
    f->ep = NULL;
    f->cq = NULL;
    f->av = NULL;
    f->domain = NULL;
    f->fabric = NULL;
    f->info = NULL;
}

static void add_why(char *why_not, size_t size, const char *why)
{
    size_t n = strlen(why_not);

    snprintf(why_not + n, size - n, n == 0 ? "%s" : "; %s", why);
}

/* Those passed over may be what the user has ruled out: the library does not tell it from absence.
 */
static void add_limit(char *why_not, size_t size)
{
    const char *only = settings_str("FI_PROVIDER", "");
    char why[160];

    snprintf(why, sizeof(why), "FI_PROVIDER is \"%s\"", only);
    if (only[0] != '\0' && why_not[0] != '\0')
        add_why(why_not, size, why);
}

static NRT_STATUS choose(struct fabric *f, const struct addr *local, const char *only,
                         char *why_not, size_t why_size, struct err *err)
{
    for (unsigned i = 0; i < PROVIDERS; i++) {
        char why[160];
        int rc;

        if (only != NULL && strcmp(only, provider_order[i]) != 0)
            continue;
        f->info = ask(&f->lib, provider_order[i], local, why, sizeof(why));
        if (f->info == NULL) {
            add_why(why_not, why_size, why);
            continue;
        }
        rc = endpoint_make(f);
        if (rc == 0) {
            add_limit(why_not, why_size);
            return NRT_SUCCESS;
        }
        snprintf(why, sizeof(why), "%s: no endpoint: %s", provider_order[i], f->lib.strerror(-rc));
        add_why(why_not, why_size, why);
        endpoint_close(f);
    }
    add_limit(why_not, why_size);
    return err_set(err, NRT_FAILURE,
                   "Unable to run multi-instance workload.  Ofi plugin is not installed or EFA is "
                   "not enabled: libfabric %u.%u has no usable provider (%s)",
                   FI_MAJOR(f->lib.version()), FI_MINOR(f->lib.version()),
                   why_not[0] != '\0' ? why_not : "none of that name is known");
}

NRT_STATUS fabric_open(const struct addr *local, const char *only, char *why_not, size_t why_size,
                       struct fabric **ret, struct err *err)
{
    struct fabric *f = mem_zalloc(sizeof(*f));
    NRT_STATUS st;

    *ret = NULL;
    why_not[0] = '\0';
    if (f == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for an endpoint");
    st = lib_load(&f->lib, err);
    if (st == NRT_SUCCESS)
        st = choose(f, local, only, why_not, why_size, err);
    if (st != NRT_SUCCESS) {
        mem_free(f); /* the library stays: its providers do not like to be unloaded */
        return st;
    }
    *ret = f;
    return NRT_SUCCESS;
}

void fabric_close(struct fabric *f)
{
    endpoint_close(f);
    mem_free(f);
}

void fabric_stop(struct fabric *f)
{
    if (f->ep != NULL)
        fi_close(&f->ep->fid);
    f->ep = NULL;
}

void fabric_retire(struct fabric *f)
{
    fabric_stop(f);
    f->retired = true;
    if (f->memories == 0)
        fabric_close(f);
}

const char *fabric_provider(const struct fabric *f)
{
    return f->info->fabric_attr->prov_name;
}

NRT_STATUS fabric_address(struct fabric *f, uint8_t buf[256], size_t *ret_size, struct err *err)
{
    size_t size = 256;
    int rc = fi_getname(&f->ep->fid, buf, &size);

    if (rc != 0)
        return err_set(err, NRT_FAILURE, "provider %s gives no address: %s", fabric_provider(f),
                       f->lib.strerror(-rc));
    *ret_size = size;
    return NRT_SUCCESS;
}

/* An address comes from a peer's blob: its length must be the one of this provider's addresses. */
NRT_STATUS fabric_peer(struct fabric *f, const void *address, size_t size, uint64_t *ret,
                       struct err *err)
{
    uint8_t own[256];
    size_t own_size = 0;
    fi_addr_t at = FI_ADDR_UNSPEC;
    NRT_STATUS st = fabric_address(f, own, &own_size, err);

    if (st != NRT_SUCCESS)
        return st;
    if (size != own_size || memcmp(own, address, sizeof(sa_family_t)) != 0)
        return err_set(err, NRT_INVALID,
                       "an address of %zu bytes where provider %s has %zu, or of another kind: all "
                       "ranks must use the same provider",
                       size, fabric_provider(f), own_size);
    if (fi_av_insert(f->av, address, 1, &at, 0, NULL) != 1)
        return err_set(err, NRT_INVALID, "provider %s does not take the address",
                       fabric_provider(f));
    *ret = at;
    return NRT_SUCCESS;
}

/* --- memory ------------------------------------------------------------------------------------
 */

NRT_STATUS fabric_register(struct fabric *f, void *p, size_t size, struct fabric_memory **ret,
                           struct err *err)
{
    struct fabric_memory *m;
    int rc;

    *ret = NULL;
    if ((f->info->domain_attr->mr_mode & FI_MR_LOCAL) == 0)
        return NRT_SUCCESS;
    m = mem_zalloc(sizeof(*m));
    if (m == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for a registration");
    rc = fi_mr_reg(f->domain, p, size, FI_SEND | FI_RECV, 0, f->next_key++, 0, &m->mr, NULL);
    if (rc != 0) {
        mem_free(m);
        return err_set(err, NRT_RESOURCE, "provider %s registers no %zu bytes: %s",
                       fabric_provider(f), size, f->lib.strerror(-rc));
    }
    m->f = f;
    f->memories++;
    *ret = m;
    return NRT_SUCCESS;
}

void fabric_unregister(struct fabric_memory *m)
{
    struct fabric *f = m->f;

    fi_close(&m->mr->fid);
    mem_free(m);
    f->memories--;
    if (f->retired && f->memories == 0)
        fabric_close(f);
}

/* --- messages ----------------------------------------------------------------------------------
 */

static enum fabric_result result_of(ssize_t rc, int *ret_error)
{
    if (rc == 0)
        return FABRIC_OK;
    if (rc == -FI_EAGAIN)
        return FABRIC_AGAIN;
    *ret_error = (int)-rc;
    return FABRIC_FAILED;
}

enum fabric_result fabric_send(struct fabric *f, uint64_t peer, uint64_t tag, const void *p,
                               size_t size, const struct fabric_memory *m, void *context,
                               int *ret_error)
{
    enum fabric_result how;

    if (size > f->info->tx_attr->inject_size)
        return result_of(
            fi_tsend(f->ep, p, size, m != NULL ? fi_mr_desc(m->mr) : NULL, peer, tag, context),
            ret_error);
    /* Short ones are copied and need no completion. */
    how = result_of(fi_tinject(f->ep, p, size, peer, tag), ret_error);
    return how == FABRIC_OK ? FABRIC_DONE : how;
}

enum fabric_result fabric_tell(struct fabric *f, uint64_t peer, uint64_t tag, void *context,
                               int *ret_error)
{
    return result_of(fi_tsend(f->ep, NULL, 0, NULL, peer, tag, context), ret_error);
}

bool fabric_refused(struct fabric *f, uint64_t peer)
{
    uint32_t format = f->info->addr_format;
    struct sockaddr_storage to;
    socklen_t len = sizeof(int);
    size_t size = sizeof(to);
    int fd, error = 0;

    if ((format != FI_SOCKADDR && format != FI_SOCKADDR_IN && format != FI_SOCKADDR_IN6) ||
        fi_av_lookup(f->av, peer, &to, &size) != 0)
        return false;
    fd = fd_keep(socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd < 0)
        return false;
    if (connect(fd, (const struct sockaddr *)&to, (socklen_t)size) != 0) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};

        error = errno;
        if (error == EINPROGRESS && poll(&p, 1, FABRIC_PROBE_MS) > 0)
            (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    }
    close(fd);
    return error == ECONNREFUSED;
}

/* The tag says who sends, so that no provider has to be able to receive from one peer only. */
enum fabric_result fabric_recv(struct fabric *f, uint64_t tag, uint64_t ignore, void *p,
                               size_t size, const struct fabric_memory *m, void *context,
                               int *ret_error)
{
    return result_of(fi_trecv(f->ep, p, size, m != NULL ? fi_mr_desc(m->mr) : NULL, FI_ADDR_UNSPEC,
                              tag, ignore, context),
                     ret_error);
}

void fabric_cancel(struct fabric *f, void *context)
{
    fi_cancel(&f->ep->fid, context);
}

static int poll_error(struct fabric *f, struct fabric_completion *out)
{
    struct fi_cq_err_entry e = {0};

    if (fi_cq_readerr(f->cq, &e, 0) != 1)
        return 0;
    *out = (struct fabric_completion){.context = e.op_context,
                                      .size = e.len,
                                      .tag = e.tag,
                                      .error = e.err != 0 ? e.err : EIO,
                                      .truncated = e.err == FI_ETRUNC || e.olen > 0};
    return 1;
}

int fabric_poll(struct fabric *f, struct fabric_completion *out)
{
    struct fi_cq_tagged_entry e[FABRIC_BATCH];
    ssize_t n = fi_cq_read(f->cq, e, FABRIC_BATCH);

    if (n == -FI_EAGAIN)
        return 0;
    if (n == -FI_EAVAIL)
        return poll_error(f, out);
    if (n < 0)
        return (int)n;
    for (ssize_t i = 0; i < n; i++)
        out[i] = (struct fabric_completion){
            .context = e[i].op_context, .size = e[i].len, .tag = e[i].tag};
    return (int)n;
}
