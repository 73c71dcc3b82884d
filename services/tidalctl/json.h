/* JSON for people and scripts, msgpack on the wire: the two in one another.
 *
 * Byte strings have no form in JSON: they are written as a string "hex:0a1b..", and a string that
 * is written so becomes bytes again. Whole numbers stay whole numbers of 64 bits. NaN and infinity
 * do not exist in either. */
#ifndef TIDAL_SERVICES_TIDALCTL_JSON_H
#define TIDAL_SERVICES_TIDALCTL_JSON_H

#include "common/wire/pack.h"

/* Appends one value as JSON, on one line. in value  checked by pack_check */
void json_write(slice_t value, buffer_t *out);
/* The same for the value at the cursor, which moves behind it. Texts at the top stand without
 * quotation marks when `bare`. */
void json_write_next(pack_reader_t *reader, bool bare, buffer_t *out);

/* Appends one JSON text as msgpack.
 * errs ERR_INVALID not JSON, or nested deeper than MSGPACK_DEPTH_MAX: says where; out is as it was
 */
err_t json_parse(slice_t text, buffer_t *out, errbuf_t *errbuf);

#endif
