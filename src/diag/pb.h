/* SPDX-License-Identifier: Apache-2.0 */
/* Protocol buffers, as far as writing them goes: fields of numbers, texts and messages, appended to
 * a strbuf. Formats: docs/spec/inspect.md. */
#ifndef DIAG_PB_H
#define DIAG_PB_H

#include <stdint.h>

#include "base/strbuf.h"

void pb_uint(struct strbuf *b, unsigned field, uint64_t v);
void pb_text(struct strbuf *b, unsigned field, const char *text);
/* m's bytes as a message; m is emptied for the next one. */
void pb_message(struct strbuf *b, unsigned field, struct strbuf *m);

#endif
