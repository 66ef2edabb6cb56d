/* SPDX-License-Identifier: Apache-2.0 */
#include "base/dumpdir.h"

#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "base/plain.h"

#define DAY_S 86400

/* The civil date of a day counted from 1970-01-01, by years that begin in March. */
static void civil(uint64_t day, uint64_t *year, unsigned *month, unsigned *mday)
{
    uint64_t z = day + 719468, era = z / 146097, doe = z % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), m = (5 * doy + 2) / 153;

    *mday = (unsigned)(doy - (153 * m + 2) / 5 + 1);
    *month = (unsigned)(m < 10 ? m + 3 : m - 9);
    *year = yoe + era * 400 + (*month <= 2);
}

void dumpdir_date(uint64_t epoch, char buf[DUMPDIR_DATE])
{
    uint64_t year;
    unsigned month, mday;
    struct plain p;

    /* Past the year 9999 the text would not have its form; no clock says so. */
    civil(epoch / DAY_S < 2932896 ? epoch / DAY_S : 2932896, &year, &month, &mday);
    plain_init(&p, buf, DUMPDIR_DATE);
    plain_u64(&p, year, 4);
    plain_put(&p, "-");
    plain_u64(&p, month, 2);
    plain_put(&p, "-");
    plain_u64(&p, mday, 2);
    plain_put(&p, "-");
    plain_u64(&p, epoch % DAY_S / 3600, 2);
    plain_put(&p, "-");
    plain_u64(&p, epoch % 3600 / 60, 2);
}

/* What stands for %<letter>; false: nothing does. */
static bool letter_put(struct plain *p, char letter, const struct dumpdir_names *n)
{
    char date[DUMPDIR_DATE];

    switch (letter) {
    case 'd':
        dumpdir_date(n->epoch, date);
        plain_put(p, date);
        return true;
    case 'c':
        plain_hex(p, n->cluster, 16);
        return true;
    case 'p':
        plain_i64(p, n->pid);
        return true;
    case 't':
        plain_i64(p, n->tid);
        return true;
    case 'l':
        plain_u64(p, n->log_id, 0);
        return true;
    case 'i':
        plain_put(p, n->instance);
        return true;
    default:
        return false;
    }
}

bool dumpdir_expand(const char *pattern, const struct dumpdir_names *names, char *buf, size_t size)
{
    struct plain p;

    plain_init(&p, buf, size);
    for (; *pattern; pattern++) {
        if (*pattern == '%' && letter_put(&p, pattern[1], names))
            pattern++;
        else
            plain_putn(&p, pattern, 1);
    }
    return !p.cut;
}

int dumpdir_open(const char *dir)
{
    if (!dir[0]) {
        errno = ENOENT;
        return -1;
    }
    if (!fd_folders_make(dir))
        return -1;
    return fd_keep(open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}
