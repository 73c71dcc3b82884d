/* The body of a record that says: every shard holds what was written to a register of a user up to
 * a stamp. The leader of the user's home shard logs it (design section 5). For record.c, and for
 * the checkpoint of what is not held yet, which keeps such bodies. */
#ifndef TIDAL_COMMON_WAL_RECORD_HELD_H
#define TIDAL_COMMON_WAL_RECORD_HELD_H

#include "common/wal/record.h"

/* Decodes the body into as.held; every value is checked, the name borrows. errs ERR_CORRUPT ·
 * ERR_UNSUPPORTED a kind of register of a later version */
err_t record_held_decode(slice_t body, record_t *record, errbuf_t *errbuf);

/* Appends the body; CHECKs what the decoder would refuse. */
void record_held_append(buffer_t *payload, const record_t *record);

#endif
