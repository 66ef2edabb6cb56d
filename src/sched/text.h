/* SPDX-License-Identifier: Apache-2.0 */
/* The text form of schedules: one step a line, for people, and read back without loss.
 *
 *     schedule ranks 2 channels 1
 *     rank 0 channel 0 node 0 slot 256 temp 0 line 0
 *        0  wait out_ready 1 from 1            ; 0 hello
 *        1  copy 128 in[0] -> out[0], out[0]@1 ; 1 ag hop
 *        2  copy 8 x 4 in[0]+2*64 -> slot*8    ; 1
 *        3  signal recv to 1
 *
 * A place is buffer[tensor]+offset*stride@rank: [tensor] with in, out and line (there it is the
 * writing rank) only, +offset unless 0, *stride where a step repeats, @rank unless it
 * is the rank of the stream. Counts and offsets are elements. The number before a step and the name
 * after the number of its phase are for people; reading skips them. An empty line and what follows
 * "#" mean nothing. Pure. */
#ifndef SCHED_TEXT_H
#define SCHED_TEXT_H

#include "base/strbuf.h"
#include "sched/check.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SCHED_TEXT_RANKS_MAX 65536u /* ranks times channels of one text */

/* One step of `rank`, without number, phase and newline. */
void sched_text_step_print(const struct sched_step *st, uint32_t rank, struct strbuf *b);
/* The reverse, for one line of size bytes. NRT_INVALID: err says what is wrong, *ret is undefined.
 */
NRT_STATUS sched_text_step_parse(const char *line, size_t size, uint32_t rank,
                                 struct sched_step *ret, struct err *err);

/* Whether two steps are the same, in all that the text shows. */
bool sched_step_equal(const struct sched_step *a, const struct sched_step *b);

struct sched_text_stream {
    uint32_t rank, channel, node;
    uint64_t slot, temp, line; /* as sched_buffer_elems */
    struct sched_step *step;
    size_t count, cap;
};

/* A text that was read. */
struct sched_text {
    uint32_t ranks, channels;
    struct sched_text_stream *stream; /* [rank * channels + channel]; empty where none is given */
};

/* Any bytes. NRT_INVALID: err names the line. NRT_RESOURCE: memory. */
NRT_STATUS sched_text_parse(const char *text, size_t size, struct sched_text **ret,
                            struct err *err);
void sched_text_destroy(struct sched_text *t); /* NULL is fine */

/* The first line; the line that begins a stream (its steps are not used); a line of a step, with
 * its index and the name of its phase (may be NULL). */
void sched_text_head_print(uint32_t ranks, uint32_t channels, struct strbuf *b);
void sched_text_stream_print(const struct sched_text_stream *s, struct strbuf *b);
void sched_text_line_print(const struct sched_step *st, uint32_t rank, uint64_t index,
                           const char *phase, struct strbuf *b);
void sched_text_print(const struct sched_text *t, struct strbuf *b); /* the whole */

/* A text as the checker's source: at[] is where each stream stands. Both belong to the caller. */
struct sched_text_reader {
    const struct sched_text *text;
    size_t *at; /* [ranks * channels] */
};
void sched_text_source(struct sched_text_reader *reader, struct sched_check_source *ret);

#ifdef __cplusplus
}
#endif
#endif
