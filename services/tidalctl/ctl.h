/* One run of tidalctl: what every command shares. A command is a function in the table of
 * command.c; it parses its own words with ctl_parse, asks processes with ctl_client.h, and prints.
 *
 *   standard output   what was asked for: text, or one JSON object with --json
 *   standard error    errors and progress
 *   exit status       0 yes · 1 no: failed, refused, not ready, different · 2 wrong usage */
#ifndef TIDAL_SERVICES_TIDALCTL_CTL_H
#define TIDAL_SERVICES_TIDALCTL_CTL_H

#include "common/topology/topology.h"
#include "services/tidalctl/arguments.h"
#include "services/tidalctl/ctl_client.h"

enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

typedef struct ctl ctl_t;

typedef struct {
    const char *name;
    const char *group;   /* heading in the list of commands */
    const char *words;   /* "PROCESS", "[--all | PROCESS]": the usage line behind the name */
    const char *summary; /* one line */
    const char *help;    /* more lines; may be NULL */
    int (*run)(ctl_t *ctl, int word_count, char **words);
} ctl_command_t;

struct ctl {
    const ctl_command_t *command;
    /* Options of every command. */
    const char *topology_path;
    const char *region; /* of the gateway to ask; NULL: the first of the topology */
    const char *tenant; /* NULL: not sent */
    bool json;
    bool help;
    uint64_t timeout_ms; /* 0: what the command thinks right */
    /* Made when first needed. */
    topology_t *topology;
    ctl_client_t *client;
};

/* The words of a command behind its name. */
typedef struct {
    int min; /* how many it takes */
    int max;
    int count; /* out, as all below */
    char **texts;
    int status; /* of the run, when ctl_parse says false */
} ctl_words_t;

/* Parses the line of a command, or with ctl->command NULL that of the program up to the command's
 * name. in words  words[0] is the name. False: the run ends with ret_words->status, for help was
 * printed, or an error. */
bool ctl_parse(ctl_t *ctl,
               const argument_t *options,
               uint32_t option_count,
               int word_count,
               char **words,
               ctl_words_t *ret_words);

/* "tidalctl health: <text>" on standard error; returns CTL_FAILED. */
int ctl_fail(const ctl_t *ctl, const errbuf_t *errbuf);
int ctl_fail_text(const ctl_t *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a wrong line; returns CTL_USAGE. */
int ctl_fail_usage(const ctl_t *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* errs those of topology_load. Borrowed from ctl. */
err_t ctl_topology(ctl_t *ctl, const topology_t **ret_topology, errbuf_t *errbuf);
/* errs those of the topology, ERR_FULL too few open files. Borrowed from ctl. */
err_t ctl_connect(ctl_t *ctl, ctl_client_t **ret_client, errbuf_t *errbuf);
/* The gateway of --region. errs ERR_NOT_FOUND no such region */
err_t ctl_gateway(ctl_t *ctl, process_address_t *ret_gateway, errbuf_t *errbuf);

void ctl_done(ctl_t *ctl);

#endif
