/* tidal_segment_receiver: keeps this region's copies of the others' logs. */
#include "services/segment_receiver/segment_receiver_shell.h"

int main(int argc, char **argv)
{
    return env_process_main(argc, argv, segment_receiver_service());
}
