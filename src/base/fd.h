/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of a library inside somebody else's program, which may have closed its standard ones
 * and may run under a limit of the file size or with a log nobody reads. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Moves fd above the standard three, so that what the program or the log writes to standard error
 * never lands in a file of ours; close-on-exec. Takes fd over: it returns the descriptor to use, or
 * -1 with errno set, fd then closed. A negative fd is returned as it is, errno untouched. POSIX
 * record locks on the file go with the closed number: take them afterwards. Any thread. */
int fd_keep(int fd);

/* Whether a file may be `end` bytes long under RLIMIT_FSIZE; false with errno EFBIG: growing it so
 * far would not fail, it would send SIGXFSZ. */
bool fd_size_ok(uint64_t end);
/* What to add to a message about errno e: how to raise that limit, or "". */
const char *fd_size_hint(int e);

/* Writes all of it. False with errno: some bytes may have been written. A reader that is gone and a
 * file size limit are an error here, not the signals SIGPIPE and SIGXFSZ. Any thread. */
bool fd_write_all(int fd, const void *data, size_t size);

/* Make a folder and those on the way, as `mkdir -p` does; one that is there is fine. False with
 * errno. */
bool fd_folders_make(const char *path);

/* Write all of it to a file that was opened empty, and close it. False with errno: where the bytes
 * could not be written the file is empty again, so that a full disk gets its room back; where only
 * the close failed, nobody knows what of them is there. */
bool fd_file_end(int fd, const void *data, size_t size);

/* Make the file with these bytes. fresh: it must not be there yet (EEXIST), else it is replaced.
 * False with errno: a fresh one is gone again, another one may be there, as fd_file_end leaves it.
 */
bool fd_file_write(const char *path, const void *data, size_t size, bool fresh);

#endif
