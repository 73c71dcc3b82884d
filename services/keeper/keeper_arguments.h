/* The command line of tidal_keeper: what it means, and what is wrong with it. */
#ifndef TIDAL_SERVICES_KEEPER_KEEPER_ARGUMENTS_H
#define TIDAL_SERVICES_KEEPER_KEEPER_ARGUMENTS_H

#include "services/keeper/keeper_client.h"
#include "services/keeper/keeper_shell.h"

enum { KEEPER_EXIT_USAGE = 2 };

typedef struct {
    bool is_order; /* a verb to a keeper; else the keeper itself */
    keeper_order_t order;
    keeper_options_t options;
} keeper_arguments_t;

/* in    words  argv without the name of the program, ends with NULL; borrowed as long as the result
 * out   ret_arguments  checked and complete; written only when 0 is returned
 * Returns 0, or KEEPER_EXIT_USAGE after a line on stderr that says what was expected. */
int keeper_arguments_parse(char **words, keeper_arguments_t *ret_arguments);

#endif
