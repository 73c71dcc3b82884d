/* Fields of a client request as words and options of a command: tables, and what writes them. */
#ifndef TIDAL_SERVICES_TIDALCTL_DATA_FIELDS_H
#define TIDAL_SERVICES_TIDALCTL_DATA_FIELDS_H

#include "common/wire/pack.h"
#include "services/tidalctl/arguments.h"

typedef enum {
    DATA_TEXT,
    DATA_U64,
    DATA_F64,
    DATA_TIME,      /* arguments_parse_time */
    DATA_BOOL,      /* an option without a value */
    DATA_BYTES,     /* hex, with or without hex: before it */
    DATA_HLC,       /* "wall,logical,node" */
    DATA_U64_LIST,  /* separated by commas */
    DATA_TEXT_LIST, /* separated by commas; an option that is given several times adds to it */
    DATA_TERM_LIST, /* "signal:decay:weight", "signal:count:window:weight"; several times */
    DATA_ATTRIBUTES /* the words that are left, each "name=value" */
} data_kind_t;

typedef struct {
    const char *word; /* of an option its name; of a word what the help calls it */
    const char *key;  /* in the request; "filter.creator" goes into the map `filter` */
    data_kind_t kind;
    const char *help; /* of an option */
} data_field_t;

/* Appends the value. errs ERR_INVALID the text names the field's word, what was expected and found
 */
err_t data_field_write(const data_field_t *field,
                       const char *text,
                       pack_writer_t *writer,
                       errbuf_t *errbuf);
/* The same for all that was given of an option that may be repeated. */
err_t data_field_write_list(const data_field_t *field,
                            const arguments_list_t *texts,
                            pack_writer_t *writer,
                            errbuf_t *errbuf);
/* in count >= 0. A later attribute of one name takes the place of an earlier one. */
err_t data_field_write_attributes(
    const data_field_t *field, int count, char **words, pack_writer_t *writer, errbuf_t *errbuf);

#endif
