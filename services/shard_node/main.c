/* tidal_shard_node: one shard in one region. */
#include "services/shard_node/shard_node_shell.h"

int main(int argc, char **argv)
{
    return env_process_main(argc, argv, shard_node_service());
}
