/* tidal_partition_proxy: what stands between the places of a mesh, and can part them. */
#include "services/partition_proxy/proxy_shell.h"

int main(int argc, char **argv)
{
    return env_process_main(argc, argv, proxy_service());
}
