/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-top: the instance on a full screen (behaviour.md 19.2); one plain frame where the standard
 * output is no terminal. */
#include <curses.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/options.h"
#include "neuron-top/frame.h"

#define REFRESH_MS 1000
#define PLAIN_MS   200 /* between the two samples of a plain frame */
#define GREEN      1

struct screen {
    struct view view;
    struct sample *prev, *cur;
    struct choice choice;
    size_t scroll; /* lines that have left at the top */
};

static bool sample_next(struct screen *s)
{
    struct sample *next = sample_take(&s->view);

    if (!next)
        return false;
    sample_unref(s->prev);
    s->prev = s->cur ? s->cur : sample_ref(next);
    s->cur = next;
    return true;
}

/* ---- without a terminal ---- */

static bool plain(struct screen *s)
{
    struct timespec wait = {.tv_nsec = PLAIN_MS * 1000000L};
    struct frame f;
    bool ok;

    if (!sample_next(s))
        return false;
    nanosleep(&wait, NULL);
    if (!sample_next(s))
        return false;
    s->choice.expanded = true;
    s->choice.cursor = SIZE_MAX;
    frame_make(&f, &s->view, s->prev, s->cur, &s->choice);
    for (size_t i = 0; i < f.count; i++)
        puts(f.lines[i].text);
    ok = !f.failed;
    frame_fini(&f);
    return ok;
}

/* ---- with one ---- */

static attr_t look_of(enum line_look look)
{
    switch (look) {
    case LOOK_TITLE:
        return A_BOLD;
    case LOOK_HEAD:
        return A_UNDERLINE;
    case LOOK_CURSOR:
        return A_REVERSE;
    default:
        return A_NORMAL;
    }
}

/* What fits into the row; its last cell stays free, since writing there scrolls. */
static void draw_tabs(const struct screen *s, int row, int width)
{
    static const char hint[] = "   f:%/TFLOPS x:expand q:quit";
    const char *name;
    char text[64];
    int x = 0;

    for (unsigned i = 0; (name = frame_tab(s->cur, i)) != NULL; i++) {
        bool mine = i == s->choice.tab;
        int n = snprintf(text, sizeof(text), "%s%u:%.24s%s", mine ? ">" : "", i + 1, name,
                         mine ? "<" : "");

        if (x + 1 + n >= width)
            break;
        attrset(mine ? COLOR_PAIR(GREEN) | A_BOLD : A_NORMAL);
        mvaddstr(row, x + 1, text);
        attrset(A_NORMAL);
        x += 1 + n;
    }
    if (x + (int)sizeof(hint) <= width)
        mvaddstr(row, x, hint);
}

static bool draw(struct screen *s)
{
    int height, width;
    struct frame f;
    size_t room, at;
    bool ok;

    frame_make(&f, &s->view, s->prev, s->cur, &s->choice);
    getmaxyx(stdscr, height, width);
    room = height > 1 ? (size_t)height - 1 : 0;
    at = f.tree ? f.count - f.tree + s->choice.cursor : 0; /* line of the cursor */
    if (at < s->scroll || f.count <= room)
        s->scroll = f.count <= room ? 0 : at;
    if (room && at >= s->scroll + room)
        s->scroll = at - room + 1;
    erase();
    for (size_t i = 0; i < room && s->scroll + i < f.count; i++) {
        const struct line *l = &f.lines[s->scroll + i];

        attrset(look_of(l->look));
        mvaddnstr((int)i, 0, l->text, width);
        attrset(A_NORMAL);
    }
    if (height > 0)
        draw_tabs(s, height - 1, width);
    refresh();
    ok = !f.failed;
    if (f.tree && s->choice.cursor >= f.tree)
        s->choice.cursor = f.tree - 1;
    frame_fini(&f);
    return ok;
}

static void choose_tab(struct screen *s, int tab)
{
    int count = (int)s->cur->snap.process_count + 1;

    if (tab < 0 || tab >= count)
        return;
    s->choice.tab = (unsigned)tab;
    s->choice.slot = tab ? s->cur->snap.processes[tab - 1].p.slot : DEVICE_NONE;
    s->choice.cursor = 0;
}

/* False: quit. */
static bool key(struct screen *s, int k)
{
    int count = (int)s->cur->snap.process_count + 1;

    if (k >= '1' && k <= '9')
        choose_tab(s, k - '1');
    else if (k == 'a')
        choose_tab(s, ((int)s->choice.tab + count - 1) % count);
    else if (k == 'd')
        choose_tab(s, ((int)s->choice.tab + 1) % count);
    else if (k == 'f' || k == 'F')
        s->choice.flops = !s->choice.flops;
    else if (k == 'x') {
        s->choice.expanded = !s->choice.expanded;
        s->choice.flips = 0;
    } else if (k == KEY_DOWN)
        s->choice.cursor++;
    else if (k == KEY_UP && s->choice.cursor > 0)
        s->choice.cursor--;
    else if (k == KEY_LEFT || k == KEY_RIGHT || k == '\n')
        choice_flip(&s->choice, s->cur);
    return k != 'q';
}

static bool full(struct screen *s)
{
    bool ok = sample_next(s);
    int k;

    setlocale(LC_CTYPE, "");
    if (!initscr())
        return false;
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
    start_color();
    use_default_colors();
    init_pair(GREEN, COLOR_GREEN, -1);
    timeout(REFRESH_MS);
    while (ok) {
        ok = draw(s);
        k = getch();
        if (k == ERR)
            ok = ok && sample_next(s);
        else if (!key(s, k))
            break;
    }
    endwin();
    return ok;
}

int main(int argc, char **argv)
{
    static struct screen s;
    const struct tool tool = {
        .name = "neuron-top",
        .arguments = "",
        .about =
            "Shows what the cores of the instance and the processes that use them do, and the\n"
            "memory that they use. Keys: f percent or teraflops, x expands or collapses all,\n"
            "arrows move and open, 1-9 a d choose a process, q quits. Without a terminal one\n"
            "frame is printed.\n"};
    int first, code;
    bool ok;

    if (!tool_parse(&tool, argc, argv, &first, &code))
        return code;
    if (first < argc)
        return tool_usage(&tool, "unknown argument \"%s\"", argv[first]);
    if (!view_open(&s.view, tool.name))
        return TOOL_FAILED;
    s.choice.slot = DEVICE_NONE;
    ok = isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) ? full(&s) : plain(&s);
    sample_unref(s.prev);
    sample_unref(s.cur);
    view_close(&s.view);
    return tool_end(tool.name, ok ? TOOL_OK : TOOL_FAILED);
}
