/* Tokens: which positions of which streams a client has seen ("Tokens" in
 * services/gateway/PROTOCOL.md).
 *
 * A client carries the token of each reply into its next request, so that a read never shows less
 * than it has seen. To the client a token is opaque bytes, at most TOKEN_SIZE_MAX.
 *
 * Encoded form:
 *   u8       version: TOKEN_VERSION, or TOKEN_VERSION_STAMPED when a stamp follows
 *   varint   (stamped only) hlc_ns, never 0
 *   then groups, ascending by tenant:
 *     varint   tenant - tenant of the group before (0 before the first); never 0
 *     varint   streams in the group, 1..
 *     then each stream, in the order of stream_id_compare:
 *       u8       shard
 *       u8       region
 *       8 bytes  incarnation, little-endian, never 0
 *       varint   seq, never 0
 * A varint is that of common/base/varint.h, in its shortest form only. No byte string means the
 * same as another: the empty token is the version alone. Fifteen streams of one tenant take about
 * 180 bytes. */
#ifndef TIDAL_COMMON_WIRE_TOKEN_H
#define TIDAL_COMMON_WIRE_TOKEN_H

#include "common/base/bounds.h"
#include "common/base/bytes.h"
#include "common/base/hlc.h"
#include "common/base/ids.h"
#include "common/wire/msg.h"

enum {
    TOKEN_VERSION = 1,
    TOKEN_VERSION_STAMPED = 2,
    TOKEN_STREAM_SIZE_MIN = 11,
    /* Streams in the union of all tokens of one request. */
    TOKEN_STREAM_COUNT_MAX = TOKEN_COUNT_MAX * (TOKEN_SIZE_MAX / TOKEN_STREAM_SIZE_MIN)
};

/* A decoded token: one position per stream, in the order of stream_id_compare. All zero: empty. */
typedef struct {
    int64_t hlc_ns; /* beyond the wall time of every register write that the client has seen logged:
                       its next one is stamped after them, at whatever gateway; 0 none was seen */
    uint32_t count; /* 0..TOKEN_STREAM_COUNT_MAX */
    stream_position_t positions[TOKEN_STREAM_COUNT_MAX];
} token_t;

void token_clear(token_t *self);

/* Raises the stream's position to `seq`; adds the stream when it is new. in seq >= 1
 * errs ERR_TOO_LARGE no room for another stream; self is as it was */
err_t token_add(token_t *self, stream_id_t stream, uint64_t seq);

/* A register write with this stamp was seen. in stamp  one that was logged, wall_ns >= 0 */
void token_add_stamp(token_t *self, hlc_stamp_t stamp);

/* Takes the higher position of each stream, and the higher stamp, of both.
 * errs ERR_TOO_LARGE self is as it was */
err_t token_merge(token_t *self, const token_t *other);

/* Leaves only the streams of one (tenant, shard): what one node has to look at. */
void token_keep_shard(token_t *self, tenant_id_t tenant, shard_id_t shard);

/* Drops every stream whose position is at most that in `stable` (every placed node has it).
 * in stable  in the order of stream_id_compare */
void token_drop_stable(token_t *self, const stream_position_t *stable, uint32_t stable_count);

/* Whether `applied` has reached every position of the token. in applied  in the order of
 * stream_id_compare. cost one merge walk */
bool token_is_covered(const token_t *self,
                      const stream_position_t *applied,
                      uint32_t applied_count);

/* Appends the encoded token; an empty token becomes the version byte alone.
 * errs ERR_TOO_LARGE more than TOKEN_SIZE_MAX bytes; nothing is appended, nothing is left out */
err_t token_encode(const token_t *self, buffer_t *out);

/* Decodes and replaces. No bytes at all are an empty token.
 * errs ERR_INVALID not a token: says what was expected and found; self is then empty */
err_t token_decode(token_t *self, slice_t bytes, errbuf_t *errbuf);

#endif
