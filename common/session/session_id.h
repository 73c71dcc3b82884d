/* How sessions are named. An id begins with its user, so that everything about a session finds its
 * way to the user's home shard from the id alone. */
#ifndef TIDAL_COMMON_SESSION_SESSION_ID_H
#define TIDAL_COMMON_SESSION_SESSION_ID_H

#include "common/base/bytes.h"
#include "common/base/ids.h"

/* The id of the session that a request with (producer, seq) starts: a repeated request names the
 * same one, at whatever gateway. The 16 bytes behind the user are the first ones of BLAKE3 over
 * "tidalmesh session 1", tenant u64, user u64, producer size u8, producer, seq u64 (little-endian).
 * in user not 0; producer 1..PRODUCER_SIZE_MAX bytes */
session_id_t session_id_derive(tenant_id_t tenant, user_id_t user, slice_t producer, uint64_t seq);
/* The id of a session whose request has no producer. in random  128 bits that nobody else draws */
session_id_t session_id_make(user_id_t user, const uint64_t random[2]);

user_id_t session_id_user(const session_id_t *self);

#endif
