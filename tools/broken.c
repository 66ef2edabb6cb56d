/* SPDX-License-Identifier: Apache-2.0 */
/* The deliberate defect of -Dbreak=tool (src/base/broken.h): linked into every tool of such a
 * build, it ends the tool before it begins. Not part of any other build. */
#include <unistd.h>

__attribute__((constructor)) static void broken_on_purpose(void)
{
    _exit(70);
}
