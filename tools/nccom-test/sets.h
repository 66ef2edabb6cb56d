/* SPDX-License-Identifier: Apache-2.0 */
/* nccom-test: its JSON inputs (docs/spec/collectives.md 16.3, 16.4): replica groups, pairs of a
 * permute, counts of the variable-size operations, streams. Bytes of a user's file are checked
 * here, once. Pure: the caller reads the files. */
#ifndef NCCOM_SETS_H
#define NCCOM_SETS_H

#include "options.h"
#include "topo/group.h"

#define CC_RANKS_MAX   65536u
#define CC_LISTS_MAX   16u /* a NEFF has at most 16 groups */
#define CC_ENTRIES_MAX 65536u

/* Groups of one operation: groups * size ranks, group after group. */
struct cc_grouping {
    uint32_t groups, size;
    uint32_t *ranks;
};

/* One grouping for each operation of a NEFF, used in turn; all groups have the same size. */
struct cc_groups {
    unsigned count;
    struct cc_grouping list[CC_LISTS_MAX];
};

/* Pairs of one permute for each operation of a NEFF, used in turn. */
struct cc_pairing {
    uint32_t count;
    uint32_t (*pair)[2]; /* source, target */
};
struct cc_pairs {
    unsigned count;
    struct cc_pairing list[CC_LISTS_MAX];
};

/* Counts and displacements in elements; an entry for each rank, or one for all. */
struct cc_counts_entry {
    uint32_t sends, receives; /* lengths; receives 0: not given */
    uint32_t *send_count, *send_displ, *recv_count, *recv_displ;
};
struct cc_metadata {
    uint32_t count;
    struct cc_counts_entry *entry;
};

/* All of these: name is the file's, for messages; ranks: of the job. On failure nothing is kept.
 * NRT_INVALID with a text, NRT_RESOURCE. What is read must be freed with its fini. */
NRT_STATUS cc_groups_read(struct cc_groups *g, const char *name, const void *text, size_t size,
                          uint32_t ranks, struct err *err);
/* Groups of `size` ranks: group i holds i, i + G, i + 2G, ... of G = ranks / size. */
NRT_STATUS cc_groups_make(struct cc_groups *g, uint32_t ranks, uint32_t size, struct err *err);
void cc_groups_fini(struct cc_groups *g);
NRT_STATUS cc_pairs_read(struct cc_pairs *p, const char *name, const void *text, size_t size,
                         uint32_t ranks, struct err *err);
/* In each group of each list, every rank to the next one of the group's cycle, over links and
 * between nodes at one local index (collectives.md 2.2). Where the group has no such cycle
 * neighbours in its list swap, which is allowed anywhere. */
NRT_STATUS cc_pairs_make(struct cc_pairs *p, const struct cc_groups *g,
                         const struct topo_world *world, struct err *err);
void cc_pairs_fini(struct cc_pairs *p);
NRT_STATUS cc_metadata_read(struct cc_metadata *m, const char *name, const void *text, size_t size,
                            struct err *err);
void cc_metadata_fini(struct cc_metadata *m);
/* streams[0 .. *ret_count): each a copy of `all` with its own options. */
NRT_STATUS cc_streams_read(struct cc_stream streams[CC_STREAMS_MAX], unsigned *ret_count,
                           const struct cc_stream *all, const char *name, const void *text,
                           size_t size, struct err *err);

#endif
