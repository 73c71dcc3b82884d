/* Options and words of one command: a table of what it takes, read with getopt_long, and the help
 * text that follows from the same table.
 *
 * Options and words may stand in any order; `--` ends the options. A negative number that stands as
 * a word is written behind `--`. */
#ifndef TIDAL_SERVICES_TIDALCTL_ARGUMENTS_H
#define TIDAL_SERVICES_TIDALCTL_ARGUMENTS_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
    ARGUMENTS_OPTION_COUNT_MAX = 48, /* of one command, those of every command among them */
    ARGUMENTS_LIST_COUNT_MAX = 64    /* of one option that may be repeated */
};

typedef enum {
    ARGUMENT_FLAG, /* bool, set to true */
    ARGUMENT_TEXT, /* const char *, as it stands */
    ARGUMENT_U64,  /* uint64_t within min..max */
    ARGUMENT_F64,  /* double, finite */
    ARGUMENT_TIME, /* int64_t, ns since 1970; arguments_parse_time */
    ARGUMENT_LIST  /* arguments_list_t, one more text */
} argument_kind_t;

typedef struct {
    uint32_t count;
    const char *texts[ARGUMENTS_LIST_COUNT_MAX];
} arguments_list_t;

typedef struct {
    const char *name; /* without the two dashes */
    argument_kind_t kind;
    void *ret_value;       /* of the kind's type; written when the option stands there */
    const char *parameter; /* for the help: "N", "FILE"; NULL for a flag */
    const char *help;
    uint64_t min; /* of ARGUMENT_U64 */
    uint64_t max;
} argument_t;

typedef struct {
    int word_count;
    char **words; /* words[0] is the name of the command; reordered: what is no option comes last */
    bool stop_at_word; /* read until the first word alone */
    int first;         /* out: index of the first word that is no option, word_count without one */
} arguments_line_t;

/* Reads the options of a line.
 * errs ERR_INVALID what was expected and found; the text ends with what to do */
err_t arguments_parse(const argument_t *options,
                      uint32_t option_count,
                      arguments_line_t *line,
                      errbuf_t *errbuf);

/* One line per option. */
void arguments_print_help(const argument_t *options, uint32_t option_count, FILE *out);

/* Nanoseconds since 1970: "now", a number of ns, a number with s, ms, us or ns behind it, or a UTC
 * time as 2026-08-22T12:01:09Z. errs ERR_INVALID */
err_t arguments_parse_time(const char *text, int64_t *ret_ns);
/* A finite number. errs ERR_INVALID */
err_t arguments_parse_f64(const char *text, double *ret_value);

#endif
