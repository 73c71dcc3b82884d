/* tidal_reconciler: compares the replicas of its region with those of the others, and reports. */
#include "services/reconciler/reconciler_shell.h"

int main(int argc, char **argv)
{
    return env_process_main(argc, argv, reconciler_service());
}
