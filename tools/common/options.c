/* SPDX-License-Identifier: Apache-2.0 */
#include "common/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 32
#define LONG_ONLY   1000 /* values of options without a letter: this and the index */
#define CODE_HELP   900
#define CODE_VER    901

static bool takes_argument(const struct tool_option *o)
{
    return !o->flag && !o->choice;
}

static void option_line(FILE *to, char letter, const char *name, const char *arg, const char *help)
{
    char text[64];

    snprintf(text, sizeof(text), "--%s%s%s", name, arg ? " " : "", arg ? arg : "");
    if (letter)
        fprintf(to, "  -%c, %-24s %s\n", letter, text, help);
    else
        fprintf(to, "      %-24s %s\n", text, help);
}

static bool letter_used(const struct tool *t, char letter)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->options[i].letter == letter)
            return true;
    return false;
}

static void help(const struct tool *t, FILE *to)
{
    fprintf(to, "usage: %s %s\n\n%s\n", t->name, t->arguments, t->about);
    for (size_t i = 0; i < t->count; i++)
        option_line(to, t->options[i].letter, t->options[i].name, t->options[i].arg,
                    t->options[i].help);
    option_line(to, letter_used(t, 'h') ? 0 : 'h', "help", NULL, "this text");
    option_line(to, 0, "version", NULL, "version of this tool");
}

int tool_end(const char *name, int code)
{
    bool lost;

    errno = 0;
    lost = fflush(stdout) != 0 || ferror(stdout);
    if (!lost || code != TOOL_OK)
        return code;
    fprintf(stderr, "%s: standard output: %s\n", name, errno ? strerror(errno) : "lost");
    return TOOL_FAILED;
}

int tool_usage(const struct tool *t, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "%s: ", t->name);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n");
    help(t, stderr);
    return TOOL_USAGE;
}

static bool number(const char *text, unsigned min, unsigned max, unsigned *ret)
{
    char *end;
    unsigned long v;

    errno = 0;
    v = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || v < min || v > max)
        return false;
    *ret = (unsigned)v;
    return true;
}

static bool take(const struct tool *t, const struct tool_option *o, const char *arg, int *ret_code)
{
    if (o->flag)
        *o->flag = true;
    else if (o->choice)
        *o->choice = o->value;
    else if (o->text)
        *o->text = arg;
    else if (o->list) {
        if (o->list->count == o->list->max) {
            *ret_code = tool_usage(t, "--%s is given more than %zu times", o->name, o->list->max);
            return false;
        }
        o->list->items[o->list->count++] = arg;
    } else if (!number(arg, o->min, o->max, o->number)) {
        *ret_code = tool_usage(t, "--%s takes a number from %u to %u, not \"%s\"", o->name, o->min,
                               o->max, arg);
        return false;
    }
    return true;
}

/* What getopt wants, from the table. */
static void tables(const struct tool *t, struct option *longs, char *shorts)
{
    size_t n = 0;

    if (!t->mixed)
        *shorts++ = '+'; /* an operand may begin a command line of its own */
    for (size_t i = 0; i < t->count; i++) {
        const struct tool_option *o = &t->options[i];

        longs[n++] = (struct option){o->name, takes_argument(o) ? required_argument : no_argument,
                                     NULL, LONG_ONLY + (int)i};
        if (o->letter)
            *shorts++ = o->letter;
        if (o->letter && takes_argument(o))
            *shorts++ = ':';
    }
    longs[n++] = (struct option){"help", no_argument, NULL, CODE_HELP};
    longs[n++] = (struct option){"version", no_argument, NULL, CODE_VER};
    longs[n] = (struct option){0};
    if (!letter_used(t, 'h'))
        *shorts++ = 'h';
    *shorts = '\0';
}

static const struct tool_option *by_letter(const struct tool *t, int c)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->options[i].letter == c)
            return &t->options[i];
    return NULL;
}

bool tool_parse(const struct tool *t, int argc, char **argv, int *ret_first, int *ret_code)
{
    struct option longs[OPTIONS_MAX + 3];
    char shorts[2 * OPTIONS_MAX + 3];
    const struct tool_option *o;
    int c;

    if (t->count > OPTIONS_MAX) {
        *ret_code = tool_usage(t, "too many options");
        return false;
    }
    tables(t, longs, shorts);
    while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        o = c >= LONG_ONLY ? &t->options[c - LONG_ONLY] : by_letter(t, c);
        if (c == CODE_VER) {
            printf("%s %s (OpenNRT, software device)\n", t->name, OPENNRT_VERSION);
            *ret_code = tool_end(t->name, TOOL_OK);
            return false;
        }
        if (c == CODE_HELP || (c == 'h' && !o)) {
            help(t, stdout);
            *ret_code = tool_end(t->name, TOOL_OK);
            return false;
        }
        if (!o) { /* getopt has told what is wrong */
            help(t, stderr);
            *ret_code = TOOL_USAGE;
            return false;
        }
        if (!take(t, o, optarg, ret_code))
            return false;
    }
    *ret_first = optind;
    return true;
}
