# SPDX-License-Identifier: Apache-2.0
"""A terminal of a fixed size, with the sequences of terminfo's "ansi" entry: what a program draws becomes rows of text
with the attributes of each cell."""
import os
import pty
import re
import select
import struct
import fcntl
import termios


class Terminal:
    def __init__(self, argv, env, rows, cols):
        self.rows, self.cols = rows, cols
        self.cells = [[(' ', ())] * cols for _ in range(rows)]
        self.y = self.x = 0
        self.attrs = ()
        self.pending = ''
        self.ended = False
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', rows, cols, 0, 0))
            os.execve(argv[0], argv, dict(env, TERM='ansi', LC_ALL='C.UTF-8', LINES=str(rows), COLUMNS=str(cols)))
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, cols, 0, 0))

    def row(self, y):
        return ''.join(c for c, _ in self.cells[y]).rstrip()

    def text(self):
        return [self.row(y) for y in range(self.rows)]

    def attributes(self, word):
        """Those of the first cell of a text on the screen; none when it is not there (yet)."""
        for y in range(self.rows):
            x = self.row(y).find(word)
            if x >= 0:
                return self.cells[y][x][1]
        return ()

    def key(self, keys):
        os.write(self.fd, keys.encode())

    def until(self, good):
        """Reads what is drawn until the screen is good. What is drawn arrives in pieces: whatever is asked of the screen
        is asked in here. A screen that never is good ends with the caller's time limit."""
        while not good(self.text()):
            if not self.read():
                raise AssertionError('ended with:\n' + '\n'.join(self.text()))
        return self.text()

    def read(self):
        if not select.select([self.fd], [], [], 60)[0]:
            raise AssertionError('nothing is drawn:\n' + '\n'.join(self.text()))
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b''
        if not data:
            return False
        self.feed(data.decode('utf-8', 'replace'))
        return True

    def wait(self):
        """The exit code, after the rest of the output."""
        while self.read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def feed(self, text):
        text = self.pending + text
        at = 0
        while at < len(text):
            m = re.compile(r'\x1b(?:\[([?0-9;]*)([@-~])|[()].|[^\[()])').match(text, at)
            if m:
                if m.group(2):
                    self.control(m.group(1), m.group(2))
                at = m.end()
            elif text[at] == '\x1b':
                break  # the rest of it comes with the next read
            else:
                self.put(text[at])
                at += 1
        self.pending = text[at:]

    def put(self, c):
        if c == '\r':
            self.x = 0
        elif c == '\n':
            self.y = min(self.y + 1, self.rows - 1)
        elif c == '\b':
            self.x = max(self.x - 1, 0)
        elif c == '\t':
            self.x = min(self.x // 8 * 8 + 8, self.cols - 1)
        elif c >= ' ':
            self.cells[self.y][self.x] = (c, self.attrs)
            self.x += 1
            if self.x == self.cols:  # automatic margins, at once: "ansi" has no xenl
                self.x, self.y = 0, min(self.y + 1, self.rows - 1)

    def control(self, args, what):
        n = [int(x) if x.isdigit() else 0 for x in args.split(';')] if args else [0]
        one = max(n[0], 1)
        if what == 'H':
            self.y, self.x = one - 1, (max(n[1], 1) - 1 if len(n) > 1 else 0)
        elif what == 'A':
            self.y = max(self.y - one, 0)
        elif what == 'B':
            self.y = min(self.y + one, self.rows - 1)
        elif what == 'C':
            self.x = min(self.x + one, self.cols - 1)
        elif what == 'D':
            self.x = max(self.x - one, 0)
        elif what == 'G':
            self.x = one - 1
        elif what == 'd':
            self.y = one - 1
        elif what == 'J':
            self.blank(self.y, self.x, self.cols)
            for y in range(self.y + 1, self.rows):
                self.blank(y, 0, self.cols)
        elif what == 'K':
            self.blank(self.y, 0 if n[0] == 1 else self.x, self.x + 1 if n[0] == 1 else self.cols)
        elif what == 'X':
            self.blank(self.y, self.x, self.x + one)
        elif what == 'P':
            row = self.cells[self.y]
            del row[self.x:self.x + one]
            row += [(' ', ())] * (self.cols - len(row))
        elif what == '@':
            row = self.cells[self.y]
            row[self.x:self.x] = [(' ', ())] * one
            del row[self.cols:]
        elif what in 'LM':
            for _ in range(one):
                if what == 'L':
                    self.cells.insert(self.y, [(' ', ())] * self.cols)
                    self.cells.pop()
                else:
                    self.cells.pop(self.y)
                    self.cells.append([(' ', ())] * self.cols)
        elif what == 'b':
            c = self.cells[self.y][self.x - 1][0]
            for _ in range(one):
                self.put(c)
        elif what == 'm':
            for k in n:
                self.attrs = () if k in (0, 10) else self.attrs + (k,)

    def blank(self, y, first, end):
        for x in range(max(first, 0), min(end, self.cols)):
            self.cells[y][x] = (' ', ())
