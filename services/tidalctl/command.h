/* The commands, by the file that holds them. */
#ifndef TIDAL_SERVICES_TIDALCTL_COMMAND_H
#define TIDAL_SERVICES_TIDALCTL_COMMAND_H

#include "services/tidalctl/ctl.h"

typedef struct {
    const ctl_command_t *commands;
    uint32_t count;
} ctl_command_list_t;

ctl_command_list_t command_mesh_list(void);   /* health, ping, metrics, topology, lag, digest */
ctl_command_list_t command_status_list(void); /* status */
ctl_command_list_t command_tenant_list(void); /* tenant, promote */
ctl_command_list_t command_links_list(void);  /* links, link, heal */
ctl_command_list_t command_data_list(void); /* what clients do: signal, hide, score, retrieve .. */
ctl_command_list_t command_call_list(void); /* call */
ctl_command_list_t command_load_list(void); /* load */
ctl_command_list_t command_wal_list(void);  /* wal */
ctl_command_list_t command_verify_list(void); /* verify */

/* Parses the words of the program and runs the command. Returns the exit status. */
int command_run(int word_count, char **words);

#endif
