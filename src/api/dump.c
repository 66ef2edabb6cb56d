/* SPDX-License-Identifier: Apache-2.0 */
/* Core dumps of executions that fail. */
#include "api/dump_int.h"

void api_dump_failed(void *arg, const struct model_failure *f)
{
    struct exec_dump *x = arg;

    if (!api_infodump_wanted(f->status) || x->taken || !dump_enabled(&api_.dump))
        return;
    x->taken = true;
    x->dump =
        (struct dump){.cfg = &api_.dump, .status = f->status, .call = x->func, .text = f->text};
    dump_begin(&x->dump, f->core[0].index);
    for (unsigned c = 0; c < f->count; c++)
        dump_core(&x->dump, f->core[c].index, f, c);
}

void api_dump_finish(struct exec_dump *x)
{
    if (!x->taken)
        return;
    /* A rank that has died may be why: what it was at belongs beside, and nobody else may come. */
    (void)device_reclaim(api_.in);
    dump_log(&x->dump);
    dump_tool(&x->dump);
    dump_end(&x->dump);
}
