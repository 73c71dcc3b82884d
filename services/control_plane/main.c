/* tidal_control_plane: keeper of the routing table, and of the view of the mesh. */
#include "services/control_plane/control_plane_shell.h"

int main(int argc, char **argv)
{
    return env_process_main(argc, argv, control_plane_service());
}
