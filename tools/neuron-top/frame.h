/* SPDX-License-Identifier: Apache-2.0 */
/* What neuron-top shows, as lines: from two samples and what the user chose. The terminal draws
 * them; without one they are printed. */
#ifndef TOOLS_NEURON_TOP_FRAME_H
#define TOOLS_NEURON_TOP_FRAME_H

#include "base/strbuf.h"
#include "common/sample.h"

enum line_look { LOOK_PLAIN, LOOK_TITLE, LOOK_HEAD, LOOK_CURSOR };

struct line {
    char *text; /* UTF-8 */
    enum line_look look;
};

struct frame {
    struct line *lines;
    size_t count, cap;
    size_t tree; /* rows of the tree, which the cursor walks over */
    bool failed;
};

/* What the user chose. Keys change it; frame_keep keeps it within what there is. */
struct choice {
    bool flops;
    bool expanded; /* by x: rows that are not listed below are open or closed */
    struct tree_flip {
        uint32_t slot, id;
    } flip[64]; /* rows that are the other way round */
    size_t flips;
    size_t cursor;
    unsigned tab;  /* 0: all, then one per process */
    uint32_t slot; /* of the tab's process, DEVICE_NONE */
};

/* Makes room for the processes of s: a tab whose process has ended becomes "all". */
void choice_keep(struct choice *c, const struct sample *s);
/* The row under the cursor is opened or closed. */
void choice_flip(struct choice *c, const struct sample *s);

void frame_make(struct frame *f, const struct view *v, const struct sample *prev,
                const struct sample *cur, struct choice *c);
void frame_fini(struct frame *f);

/* Tab i: "all", then tags; NULL past the end. */
const char *frame_tab(const struct sample *s, unsigned i);

#endif
