/* The words of `tidalctl call` as fields of a request. */
#ifndef TIDAL_SERVICES_TIDALCTL_CALL_FIELDS_H
#define TIDAL_SERVICES_TIDALCTL_CALL_FIELDS_H

#include "common/wire/pack.h"

/* in  words       "op", then "key=value" each; or one JSON object with `op`
 * out ret_op      needs NAME_LENGTH_MAX + 1 bytes
 *     ret_fields  appended: one msgpack map, `op` and `id` may be in it
 * errs ERR_INVALID */
err_t call_fields_parse(
    int word_count, char **words, char *ret_op, buffer_t *ret_fields, errbuf_t *errbuf);

/* Writes every field but `op` and `id` into the request that is open. */
void call_fields_put(pack_writer_t *writer, slice_t fields);

#endif
