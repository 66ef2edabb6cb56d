/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt view: profiles as tables, JSON, traces and pages. */
#include "opennrt.h"
#include "viewer/command.h"

int cmd_view(int argc, char **argv)
{
    return viewer_command("opennrt view", false, argc, argv);
}
