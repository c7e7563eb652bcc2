/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/cli.h"
#include "cluster/become.h"
#include "server/setup.h"

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "agent") == 0)
        return setup_and_run(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], BECOME) == 0)
        return child_become(argc, argv);
    return cli_main(argc, argv, setup_validate);
}
