/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, as the published tool reads its own: long names may be cut, some options take
 * several words, flags may share one. */
#include "options_int.h"

#include <stdio.h>
#include <string.h>

#include "base/broken.h"

void cc_options_init(struct cc_options *o)
{
    memset(o, 0, sizeof(*o));
    o->all.min = o->all.max = UINT64_C(32) << 20;
    o->all.dtype = DT_UINT8;
    snprintf(o->all.dtype_name, sizeof(o->all.dtype_name), "uint8");
    o->all.cc_dim = 1;
    o->all.ops_per_iter = 1;
    o->nodes = 1;
    o->iters = 20;
    o->warmup_iters = 5;
    o->collector_port = 60006;
}

/* A long name as it is, or the start of just one (as the published tool takes it); "f" is the
 * guide's other spelling of --stepfactor. NULL: none, or several. */
static const struct cc_row_option *row_long(const char *name, size_t len)
{
    const struct cc_row_option *found = NULL;
    unsigned fits = 0;

    if (len == 1 && name[0] == 'f')
        name = "stepfactor", len = strlen(name);
    for (size_t i = 0; i < cc_row_count; i++) {
        if (cc_rows[i].help == NULL || strncmp(cc_rows[i].name, name, len) != 0)
            continue;
        if (cc_rows[i].name[len] == '\0')
            return &cc_rows[i];
        found = &cc_rows[i];
        fits++;
    }
    return fits == 1 ? found : NULL;
}

static const struct cc_row_option *row_short(char letter)
{
    for (size_t i = 0; i < cc_row_count; i++)
        if (cc_rows[i].letter != 0 && cc_rows[i].letter == letter)
            return &cc_rows[i];
    return NULL;
}

struct words {
    int argc, next;
    char **argv;
    bool ended; /* by "--": what follows are no options */
};

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] != '\0' && !(word[1] >= '0' && word[1] <= '9');
}

/* The values of one option; attached: the text behind '=' or the letter, or NULL. */
static NRT_STATUS values_take(struct cc_options *o, struct words *w,
                              const struct cc_row_option *row, const char *attached,
                              struct err *err)
{
    const char *word = w->next < w->argc ? w->argv[w->next] : NULL;
    NRT_STATUS st = NRT_SUCCESS;

    if (row->takes == FLAG)
        return attached == NULL ? cc_row_set(o, row, NULL, err)
                                : err_set(err, NRT_INVALID, "--%s takes no value", row->name);
    if (row->takes == MAYBE) {
        /* the guide writes "--check allg": only its own words are its value */
        if (attached == NULL && word != NULL &&
            (strcmp(word, "random") == 0 || strcmp(word, "all_ones") == 0))
            attached = w->argv[w->next++];
        return cc_row_set(o, row, attached, err);
    }
    if (attached != NULL)
        st = cc_row_set(o, row, attached, err);
    else if (word == NULL || is_option(word))
        return err_set(err, NRT_INVALID, "--%s needs a value", row->name);
    else
        st = cc_row_set(o, row, w->argv[w->next++], err);
    while (st == NRT_SUCCESS && row->takes == MANY && w->next < w->argc &&
           !is_option(w->argv[w->next])) {
        /* an operation ends a list, unless there is one already */
        if (!o->all.has_op && cc_op_from_name(w->argv[w->next]) != CC_OP_COUNT)
            break;
        st = cc_row_set(o, row, w->argv[w->next++], err);
    }
    return st;
}

/* "-r2", "-r 2", "-Sc": flags may share a word. */
static NRT_STATUS letters_take(struct cc_options *o, struct words *w, const char *word,
                               struct err *err)
{
    for (const char *p = word + 1; *p != '\0'; p++) {
        const struct cc_row_option *row = row_short(*p);
        NRT_STATUS st;

        if (row == NULL)
            return err_set(err, NRT_INVALID, "unknown option -%c", *p);
        if (row->takes != FLAG && p[1] != '\0')
            return values_take(o, w, row, p[1] == '=' ? p + 2 : p + 1, err);
        st = values_take(o, w, row, NULL, err);
        if (st != NRT_SUCCESS)
            return st;
    }
    return NRT_SUCCESS;
}

static NRT_STATUS word_take(struct cc_options *o, struct words *w, struct err *err)
{
    const char *word = w->argv[w->next++], *eq;
    const struct cc_row_option *row;

    if (strcmp(word, "--") == 0 && !w->ended) {
        w->ended = true;
        return NRT_SUCCESS;
    }
    if (w->ended || !is_option(word)) {
        if (o->all.has_op)
            return err_set(err, NRT_INVALID, "\"%s\": there is an operation already", word);
        return cc_stream_set(&o->all, "operation", word, err);
    }
    if (word[1] != '-')
        return letters_take(o, w, word, err);
    eq = strchr(word, '=');
    row = row_long(word + 2, eq != NULL ? (size_t)(eq - word - 2) : strlen(word + 2));
    if (row == NULL)
        return err_set(err, NRT_INVALID, "unknown option %s", word);
    return values_take(o, w, row, eq != NULL ? eq + 1 : NULL, err);
}

NRT_STATUS cc_options_parse(struct cc_options *o, int argc, char **argv, struct err *err)
{
    struct words w = {.argc = argc, .next = 1, .argv = argv};
    NRT_STATUS st = NRT_SUCCESS;

    if (BROKEN(TOOL))
        return NRT_INVALID;
    while (st == NRT_SUCCESS && w.next < argc)
        st = word_take(o, &w, err);
    if (o->stat_count == 0)
        o->stats[o->stat_count++] = CC_STAT_AVG;
    if (o->debug)
        o->non_interactive = true;
    return st;
}

void cc_options_help(struct strbuf *to)
{
    strbuf_put(to, "usage: nccom-test [options] <operation>\n\n"
                   "Measures collective operations between ranks of the software Neuron device. "
                   "Operations:\n\n ");
    for (unsigned op = 0; op < CC_OP_COUNT; op++) {
        strbuf_printf(to, " %s", cc_op_name(op));
        if (strcmp(cc_op_name(op), cc_op_alias(op)) != 0)
            strbuf_printf(to, " (%s)", cc_op_alias(op));
    }
    strbuf_put(to, "\n\n");
    for (size_t i = 0; i < cc_row_count && cc_rows[i].help != NULL; i++) {
        char left[64];
        int n;

        if (cc_rows[i].letter != 0)
            n = snprintf(left, sizeof(left), "-%c, --%s", cc_rows[i].letter, cc_rows[i].name);
        else
            n = snprintf(left, sizeof(left), "    --%s", cc_rows[i].name);
        if (cc_rows[i].metavar != NULL)
            snprintf(left + n, sizeof(left) - (size_t)n, " %s", cc_rows[i].metavar);
        strbuf_printf(to, "  %-46s %s\n", left, cc_rows[i].help);
    }
    strbuf_put(to, "\nSizes take units: 2kb, 32M, 1GB; 1 MB is 1048576 bytes.\n");
}
