/* SPDX-License-Identifier: Apache-2.0 */
#include "diag/dump_int.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/broken.h"
#include "base/fault.h"
#include "base/fd.h"

bool dump_out_open(struct dump_out *o, int dir, const char *name)
{
    *o = (struct dump_out){.fd = -1};
    plain_init(&o->line, o->buf, sizeof(o->buf));
    if (fault_hit(FAULT_FILE) || BROKEN(DUMP))
        return false;
    o->fd = fd_keep(openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
    return o->fd >= 0;
}

void dump_out_begin(struct dump_out *o, const char *kind)
{
    plain_init(&o->line, o->buf, sizeof(o->buf));
    plain_put(&o->line, kind);
}

static void name_put(struct dump_out *o, const char *name)
{
    plain_put(&o->line, " ");
    plain_put(&o->line, name);
    plain_put(&o->line, "=");
}

void dump_out_u64(struct dump_out *o, const char *name, uint64_t v)
{
    name_put(o, name);
    plain_u64(&o->line, v, 0);
}

void dump_out_i64(struct dump_out *o, const char *name, int64_t v)
{
    name_put(o, name);
    plain_i64(&o->line, v);
}

void dump_out_text(struct dump_out *o, const char *name, const char *v)
{
    name_put(o, name);
    plain_quoted(&o->line, v);
}

void dump_out_end(struct dump_out *o)
{
    struct plain *p = &o->line;

    if (p->len == p->size - 1)
        p->len--; /* the newline in place of the last character */
    p->buf[p->len++] = '\n';
    if (o->error == 0 && (fault_hit(FAULT_FILE) || !fd_write_all(o->fd, p->buf, p->len)))
        o->error = errno;
    o->lines++;
}

void dump_out_line(void *out, const char *text)
{
    dump_out_begin(out, text);
    dump_out_end(out);
}

bool dump_out_close(struct dump_out *o)
{
    dump_out_line(o, "[end]");
    dump_out_begin(o, "end");
    dump_out_u64(o, "lines", o->lines);
    dump_out_end(o);
    if (close(o->fd) != 0 && o->error == 0)
        o->error = errno;
    errno = o->error;
    return o->error == 0;
}
