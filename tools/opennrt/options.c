/* SPDX-License-Identifier: Apache-2.0 */
/* The options of a command whose options are flags and texts: getopt over a table of where each
 * goes. Commands that look at an option as it comes have their own loop. */
#include "opennrt.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define OPTIONS_MAX 8
#define NO_LETTER   256 /* and up: no character that getopt could return */

static const struct cmd_option *option_of(const struct cmd_option *list, unsigned n, int c)
{
    for (unsigned i = 0; i < n; i++)
        if (c == (list[i].letter ? list[i].letter : NO_LETTER + (int)i))
            return &list[i];
    return NULL;
}

static int failed(void (*help)(FILE *to))
{
    help(stderr);
    return EXIT_USAGE;
}

bool cmd_options(int argc, char **argv, const struct cmd_option *list, unsigned n, int words,
                 void (*help)(FILE *to), int *ret_rc)
{
    struct option longs[OPTIONS_MAX + 2] = {{0}};
    char letters[2 * OPTIONS_MAX + 2], *l = letters;
    int c;

    if (n > OPTIONS_MAX)
        abort();
    for (unsigned i = 0; i < n; i++) {
        longs[i].name = list[i].name;
        longs[i].has_arg = list[i].value ? required_argument : no_argument;
        longs[i].val = list[i].letter ? list[i].letter : NO_LETTER + (int)i;
        if (list[i].letter)
            *l++ = list[i].letter;
        if (list[i].letter && list[i].value)
            *l++ = ':';
    }
    longs[n] = (struct option){"help", no_argument, NULL, 'h'};
    *l++ = 'h';
    *l = 0;
    while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        const struct cmd_option *o = option_of(list, n, c);

        if (c == 'h') {
            help(stdout);
            *ret_rc = EXIT_OK;
            return false;
        }
        if (!o) {
            *ret_rc = failed(help);
            return false;
        }
        if (o->value)
            *o->value = optarg;
        else
            *o->flag = true;
    }
    if (argc - optind > words) {
        *ret_rc = failed(help);
        return false;
    }
    return true;
}
