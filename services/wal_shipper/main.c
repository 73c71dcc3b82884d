/* tidal_wal_shipper: reads the region's logs, ships them to the other regions. */
#include "services/wal_shipper/wal_shipper_shell.h"

int main(int argc, char **argv)
{
    return env_process_main(argc, argv, wal_shipper_service());
}
