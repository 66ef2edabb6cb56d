/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric_fake.h"

#include <errno.h>
#include <string.h>

#define ADDRESS_SIZE 16u

struct fake_fabric fake;

void fake_reset(void)
{
    memset(&fake, 0, sizeof(fake));
}

static void over(struct fake_recv *r, const struct fabric_completion *c)
{
    unsigned i = (unsigned)(r - fake.posted);

    fake.done[fake.done_count] = *c;
    fake.done[fake.done_count++].context = r->context;
    memmove(r, r + 1, (--fake.posted_count - i) * sizeof(*r));
}

struct fake_recv *fake_match(uint64_t tag)
{
    for (unsigned i = 0; i < fake.posted_count; i++)
        if (((fake.posted[i].tag ^ tag) & ~fake.posted[i].ignore) == 0)
            return &fake.posted[i];
    return NULL;
}

bool fake_deliver(uint64_t tag, const void *bytes, size_t size)
{
    struct fake_recv *r = fake_match(tag);
    struct fabric_completion c = {.size = size, .tag = tag};

    if (!r)
        return false;
    c.truncated = size > r->size;
    memcpy(r->p, bytes, c.truncated ? r->size : size);
    over(r, &c);
    return true;
}

/* ---- what a link calls ---- */

NRT_STATUS fabric_open(const struct addr *local, const char *only, char *why_not, size_t why_size,
                       struct fabric **ret, struct err *err)
{
    (void)local, (void)only, (void)err;
    memset(why_not, 0, why_size);
    *ret = (struct fabric *)&fake;
    return NRT_SUCCESS;
}

void fabric_close(struct fabric *f)
{
    (void)f;
}

void fabric_stop(struct fabric *f)
{
    (void)f;
    fake_reset();
}

void fabric_retire(struct fabric *f)
{
    (void)f;
}

const char *fabric_provider(const struct fabric *f)
{
    (void)f;
    return "fake";
}

NRT_STATUS fabric_address(struct fabric *f, uint8_t buf[256], size_t *ret_size, struct err *err)
{
    (void)f, (void)err;
    memset(buf, 0, ADDRESS_SIZE);
    *ret_size = ADDRESS_SIZE;
    return NRT_SUCCESS;
}

NRT_STATUS fabric_peer(struct fabric *f, const void *address, size_t size, uint64_t *ret,
                       struct err *err)
{
    (void)f, (void)address, (void)size, (void)err;
    *ret = 0;
    return NRT_SUCCESS;
}

NRT_STATUS fabric_register(struct fabric *f, void *p, size_t size, struct fabric_memory **ret,
                           struct err *err)
{
    (void)f, (void)p, (void)size, (void)err;
    *ret = NULL;
    return NRT_SUCCESS;
}

void fabric_unregister(struct fabric_memory *m)
{
    (void)m;
}

enum fabric_result fabric_send(struct fabric *f, uint64_t peer, uint64_t tag, const void *p,
                               size_t size, const struct fabric_memory *m, void *context,
                               int *ret_error)
{
    (void)f, (void)peer, (void)tag, (void)p, (void)size, (void)m, (void)context, (void)ret_error;
    return FABRIC_DONE;
}

enum fabric_result fabric_tell(struct fabric *f, uint64_t peer, uint64_t tag, void *context,
                               int *ret_error)
{
    (void)f, (void)peer, (void)tag, (void)context, (void)ret_error;
    return FABRIC_DONE;
}

bool fabric_refused(struct fabric *f, uint64_t peer)
{
    (void)f, (void)peer;
    return false;
}

enum fabric_result fabric_recv(struct fabric *f, uint64_t tag, uint64_t ignore, void *p,
                               size_t size, const struct fabric_memory *m, void *context,
                               int *ret_error)
{
    (void)f, (void)m;
    *ret_error = EIO;
    if (fake.recv == FABRIC_OK)
        fake.posted[fake.posted_count++] = (struct fake_recv){
            .context = context, .tag = tag, .ignore = ignore, .p = p, .size = size};
    return fake.recv;
}

void fabric_cancel(struct fabric *f, void *context)
{
    const struct fabric_completion c = {.error = ECANCELED};

    (void)f;
    fake.cancels++;
    for (unsigned i = 0; i < fake.posted_count; i++)
        if (fake.posted[i].context == context && !fake.posted[i].half) {
            over(&fake.posted[i], &c);
            return;
        }
}

int fabric_poll(struct fabric *f, struct fabric_completion *out)
{
    unsigned n = fake.done_count < FABRIC_BATCH ? fake.done_count : FABRIC_BATCH;

    (void)f;
    memcpy(out, fake.done, n * sizeof(*out));
    fake.done_count -= n;
    memmove(fake.done, fake.done + n, fake.done_count * sizeof(*out));
    return (int)n;
}
