/* tidal_gateway: what clients of a region talk to. */
#include "services/gateway/gateway_shell.h"

int main(int argc, char **argv)
{
    return env_process_main(argc, argv, gateway_service());
}
