/* tidal_keeper keeps one process running, or tells a keeper what to do. */
#include "services/keeper/keeper_arguments.h"

#include <stddef.h>

int main(int count, char **words)
{
    char *none[] = {NULL};
    keeper_arguments_t arguments;
    int status = keeper_arguments_parse(count > 0 ? words + 1 : none, &arguments);
    if (status != 0) {
        return status;
    }
    return arguments.is_order ? keeper_client_run(&arguments.order)
                              : keeper_shell_run(&arguments.options);
}
