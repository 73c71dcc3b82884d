/* The bodies of session records, all of fixed size but for agent and meta. For record.c, and for
 * the leader, which gives a session signal its number. */
#ifndef TIDAL_COMMON_WAL_RECORD_SESSION_H
#define TIDAL_COMMON_WAL_RECORD_SESSION_H

#include "common/wal/record.h"

static inline bool record_is_of_session(record_type_t type)
{
    return type == RECORD_SESSION_START || type == RECORD_SESSION_SIGNAL ||
           type == RECORD_SESSION_CLOSE;
}

/* Decodes the body of a session record into the member of its type; every value is checked.
 * errs ERR_CORRUPT */
err_t record_session_decode(slice_t body, record_t *record, errbuf_t *errbuf);

/* Appends the body; CHECKs what the decoder would refuse. */
void record_session_append(buffer_t *payload, const record_t *record);

/* Gives the encoded SESSION_SIGNAL record at `bytes` its number.
 * in session_seq 1..SESSION_SIGNAL_COUNT_MAX */
void record_session_put_seq(uint8_t *bytes, uint32_t session_seq);

/* Whether a record of a session is in the payload. Looks at headers alone: one for the usual
 * payload of one record. in payload  decoded before, or cut anywhere (then false) */
bool record_has_session(slice_t payload);

/* The session that a session record is about. */
const session_id_t *record_session_id(const record_t *record);

#endif
