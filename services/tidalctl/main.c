/* tidalctl: the command line of a tidalmesh. `tidalctl help` lists what it does. */
#include "services/tidalctl/command.h"

int main(int argc, char **argv)
{
    return command_run(argc, argv);
}
