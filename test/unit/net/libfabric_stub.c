/* SPDX-License-Identifier: Apache-2.0 */
/* A libfabric.so.1 whose providers are what FABRIC_STUB says, in words "name=kind" with blanks
 * between: one that is not named has nothing to offer. An endpoint of it opens and closes, and no
 * message ever comes or goes. */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_tagged.h>

#define STUB __attribute__((visibility("default")))

/* ---- offers ---- */

static bool is(const char *name, const char *kind)
{
    size_t n = strlen(name);

    for (const char *at = getenv("FABRIC_STUB"); at != NULL; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (strncmp(at, name, n) == 0 && at[n] == '=' &&
            strncmp(at + n + 1, kind, strcspn(at + n + 1, " ")) == 0)
            return true;
    }
    return false;
}

STUB struct fi_info *fi_dupinfo(const struct fi_info *from)
{
    struct fi_info *ret = calloc(1, sizeof(*ret));

    ret->tx_attr = calloc(1, sizeof(*ret->tx_attr));
    ret->rx_attr = calloc(1, sizeof(*ret->rx_attr));
    ret->ep_attr = calloc(1, sizeof(*ret->ep_attr));
    ret->domain_attr = calloc(1, sizeof(*ret->domain_attr));
    ret->fabric_attr = calloc(1, sizeof(*ret->fabric_attr));
    if (from != NULL) {
        ret->fabric_attr->prov_name = strdup(from->fabric_attr->prov_name);
        ret->ep_attr->type = from->ep_attr->type;
        ret->addr_format = from->addr_format;
    }
    return ret;
}

STUB void fi_freeinfo(struct fi_info *info)
{
    while (info != NULL) {
        struct fi_info *next = info->next;

        free(info->fabric_attr->prov_name);
        free(info->fabric_attr);
        free(info->domain_attr);
        free(info->ep_attr);
        free(info->rx_attr);
        free(info->tx_attr);
        free(info);
        info = next;
    }
}

static struct fi_info *offer(const char *name, enum fi_ep_type type, struct fi_info *next)
{
    struct fi_info *ret = fi_dupinfo(NULL);

    ret->fabric_attr->prov_name = strdup(name);
    ret->ep_attr->type = type;
    ret->next = next;
    return ret;
}

STUB int fi_getinfo(uint32_t version, const char *node, const char *service, uint64_t flags,
                    const struct fi_info *hints, struct fi_info **info)
{
    const char *name = hints->fabric_attr->prov_name;
    bool rdm = hints->ep_attr->type == FI_EP_RDM, tags = (hints->caps & FI_TAGGED) != 0;
    char layer[64];

    (void)version, (void)node, (void)service, (void)flags;
    snprintf(layer, sizeof(layer), "%s;ofi_rxm", name);
    *info = NULL;
    if (is(name, "forbidden"))
        return -FI_EPERM;
    if (is(name, "works") || is(name, "broken") || (is(name, "untagged") && !tags))
        *info = offer(name, FI_EP_RDM, NULL);
    if (is(name, "layered"))
        *info = offer(layer, FI_EP_RDM, NULL);
    if (!rdm && (is(name, "messages") || is(name, "layered") || is(name, "untagged")))
        *info = offer(name, FI_EP_MSG, *info);
    return *info != NULL ? 0 : -FI_ENODATA;
}

STUB uint32_t fi_version(void)
{
    return FI_VERSION(FI_MAJOR_VERSION, FI_MINOR_VERSION);
}

STUB const char *fi_strerror(int error)
{
    return error == FI_EPERM ? "stub forbids" : error == FI_ENOSYS ? "stub cannot" : "stub error";
}

/* ---- an endpoint, of which there is one ---- */

static int object_close(struct fid *f)
{
    (void)f;
    return 0;
}

static int object_bind(struct fid *f, struct fid *to, uint64_t flags)
{
    (void)f, (void)to, (void)flags;
    return 0;
}

static int object_control(struct fid *f, int command, void *arg)
{
    (void)f, (void)command, (void)arg;
    return 0;
}

static struct fi_ops object_ops = {.size = sizeof(object_ops),
                                   .close = object_close,
                                   .bind = object_bind,
                                   .control = object_control};

static int ep_getname(fid_t f, void *addr, size_t *size)
{
    (void)f;
    *size = 16;
    memset(addr, 0, 16);
    return 0;
}

static ssize_t ep_recv(struct fid_ep *ep, void *p, size_t size, void *desc, fi_addr_t from,
                       uint64_t tag, uint64_t ignore, void *context)
{
    (void)ep, (void)p, (void)size, (void)desc, (void)from, (void)tag, (void)ignore, (void)context;
    return -FI_EAGAIN;
}

static struct fi_ops_cm cm_ops = {.size = sizeof(cm_ops), .getname = ep_getname};
static struct fi_ops_tagged tagged_ops = {.size = sizeof(tagged_ops), .recv = ep_recv};
static struct fid_ep the_ep = {.fid = {.ops = &object_ops}, .cm = &cm_ops, .tagged = &tagged_ops};

static ssize_t cq_read(struct fid_cq *cq, void *p, size_t n)
{
    (void)cq, (void)p, (void)n;
    return -FI_EAGAIN;
}

static struct fi_ops_cq cq_ops = {.size = sizeof(cq_ops), .read = cq_read};
static struct fid_cq the_cq = {.fid = {.ops = &object_ops}, .ops = &cq_ops};
static struct fid_av the_av = {.fid = {.ops = &object_ops}};

static int av_open(struct fid_domain *d, struct fi_av_attr *attr, struct fid_av **av, void *context)
{
    (void)d, (void)attr, (void)context;
    *av = &the_av;
    return 0;
}

static int cq_open(struct fid_domain *d, struct fi_cq_attr *attr, struct fid_cq **cq, void *context)
{
    (void)d, (void)attr, (void)context;
    *cq = &the_cq;
    return 0;
}

static int endpoint(struct fid_domain *d, struct fi_info *info, struct fid_ep **ep, void *context)
{
    (void)d, (void)context;
    if (is(info->fabric_attr->prov_name, "broken"))
        return -FI_ENOSYS;
    *ep = &the_ep;
    return 0;
}

static struct fi_ops_domain domain_ops = {
    .size = sizeof(domain_ops), .av_open = av_open, .cq_open = cq_open, .endpoint = endpoint};
static struct fid_domain the_domain = {.fid = {.ops = &object_ops}, .ops = &domain_ops};

static int domain(struct fid_fabric *f, struct fi_info *info, struct fid_domain **ret,
                  void *context)
{
    (void)f, (void)info, (void)context;
    *ret = &the_domain;
    return 0;
}

static struct fi_ops_fabric fabric_ops = {.size = sizeof(fabric_ops), .domain = domain};
static struct fid_fabric the_fabric = {.fid = {.ops = &object_ops}, .ops = &fabric_ops};

STUB int fi_fabric(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context)
{
    (void)attr, (void)context;
    *fabric = &the_fabric;
    return 0;
}
