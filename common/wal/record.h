/* Records: what the payload of a batch is made of. Every mutation of the mesh is one of them
 * (design idea 1), and state is a function of the set of logged records.
 *
 * A payload is records end to end. All numbers little-endian:
 *
 *   offset size
 *   0      1    type (record_type_t)
 *   1      1    version of this type, 1
 *   2      2    flags of this type
 *   4      4    events: how many event numbers this record takes (SIGNALS: n, all others: 1)
 *   8      4    size of the body in bytes
 *   12     -    body
 *
 * SIGNALS body, columns of one length n, each narrow where its values allow (flags say how):
 *   signal    u8 x 1 (RECORD_SIGNAL_CONSTANT) or u8 x n
 *   item      u32 x n (RECORD_ITEM_32) or u64 x n
 *   user      nothing (RECORD_USER_NONE: all 0), u32 x n (RECORD_USER_32) or u64 x n
 *   weight    f64 x 1 (RECORD_WEIGHT_CONSTANT) or f64 x n
 *   ts        i64 x 1 (RECORD_TS_CONSTANT), or i64 base then u32 x n offsets in ns from the base
 *             (RECORD_TS_DELTA_32), or i64 x n;  Unix epoch, ns
 *   cohorts   (RECORD_COHORTS) which cohorts each event counts for: distinct sets of names, and the
 *             number of a set per event, see below
 *
 * The cohorts column, itself columns. Most events of a batch share a few sets, so that it costs
 * little more than a byte per event; a batch whose users are in no cohort has none.
 *   names     u16 m, 1..COHORT_NAME_COUNT_MAX
 *   sets      u16 s, 1..COHORT_SET_COUNT_MAX
 *   set       of each event: u8 x n (s up to 255) or u16 x n; 0: no cohort, else 1..s. A set's
 *             first use comes after the first use of the set before it, and each set is used
 *   set size  u8 x s: names of the set, 1..USER_ATTRIBUTE_COUNT_MAX
 *   members   of the sets, one set after the other: number of the name, 0..m-1, u8 (m up to 256) or
 *             u16 each; strictly rising within a set; each name is in a set
 *   name size u8 x m, 1..NAME_LENGTH_MAX
 *   names     UTF-8, end to end, in strictly rising order (bytes compared as unsigned, a prefix
 *             first)
 *
 * ITEM_PUT body: item u64, hlc 16 bytes (wall i64, logical u32, node u32), then fields until the
 * end: field u8 (item_field_t), size u32, bytes. creator: u64; created: i64; tags: u16 count, then
 *   each u16 size and bytes; the others: UTF-8.
 * ITEM_DELETE body: item u64, hlc.
 * USER_PUT body: user u64, hlc, u16 count, then each attribute: u16 size, name, u32 size, value.
 * RELATION body: user u64, target u64, hlc, action u8 (relation_action_t), set u8 (1 hide, 0
 * unhide).
 *
 * SESSION_START body: session 24 bytes (user u64, not 0, and 16 bytes), hlc, agent size u16, meta
 *   size u16, agent (UTF-8), meta (one encoded msgpack value, or nothing; opaque here)
 * SESSION_SIGNAL body, 69 bytes: session, hlc, session seq u32 (which signal of that session in
 *   this stream, from 1; 0 on the way to the leader, which gives the number), item u64, ts i64,
 *   weight f64, signal u8
 * SESSION_CLOSE body, 41 bytes: session, hlc, auto u8 (1 the leader closed it for its age)
 *
 * HELD body: every shard holds what was written to one register of the user up to this stamp.
 *   Logged by the leader of the user's home shard, 36 bytes and the name:
 *   user u64, not 0; hlc; kind u8 (held_kind_t); set u8 (of a mute or block with this stamp, for
 *   equal stamps are decided by it; else 0); target u64 (creator of a mute or block; else 0);
 *   name size u16, name (of an attribute, UTF-8; else nothing)
 *
 * Reserved: 24.. tenants, 32 impressions (what was shown to whom), 33 void,
 * 34 seal. A reader meets a type that it does not know with ERR_UNSUPPORTED, never by skipping it.
 */
#ifndef TIDAL_COMMON_WAL_RECORD_H
#define TIDAL_COMMON_WAL_RECORD_H

#include "common/base/bounds.h"
#include "common/base/bytes.h"
#include "common/base/hlc.h"
#include "common/base/ids.h"

typedef enum {
    RECORD_SIGNALS = 1,
    RECORD_ITEM_PUT = 2,
    RECORD_ITEM_DELETE = 3,
    RECORD_USER_PUT = 4,
    RECORD_RELATION = 5,
    RECORD_SESSION_START = 16,
    RECORD_SESSION_SIGNAL = 17,
    RECORD_SESSION_CLOSE = 18,
    RECORD_TENANT_FIRST = 24,
    RECORD_IMPRESSION = 32,
    RECORD_VOID = 33,
    RECORD_SEAL = 34,
    RECORD_HELD = 35
} record_type_t;

enum {
    RECORD_HEADER_SIZE = 12,
    RECORD_SIGNAL_CONSTANT = 1 << 0,
    RECORD_ITEM_32 = 1 << 1,
    RECORD_USER_NONE = 1 << 2,
    RECORD_USER_32 = 1 << 3,
    RECORD_WEIGHT_CONSTANT = 1 << 4,
    RECORD_TS_CONSTANT = 1 << 5,
    RECORD_TS_DELTA_32 = 1 << 6,
    RECORD_COHORTS = 1 << 7
};

typedef enum {
    ITEM_FIELD_TITLE = 1,
    ITEM_FIELD_TEXT = 2,
    ITEM_FIELD_CATEGORY = 3,
    ITEM_FIELD_CREATOR = 4,
    ITEM_FIELD_TAGS = 5,
    ITEM_FIELD_CREATED = 6
} item_field_t;
enum { ITEM_FIELD_COUNT_MAX = 6 };

typedef enum {
    RELATION_HIDE = 1,  /* target is an item */
    RELATION_MUTE = 2,  /* target is a creator */
    RELATION_BLOCK = 3, /* target is a creator */
} relation_action_t;

/* Registers that concern all shards. */
typedef enum {
    HELD_ATTRIBUTE = 1, /* of the user */
    HELD_MUTE = 2,
    HELD_BLOCK = 3
} held_kind_t;

/* One signal event, as it is counted. */
typedef struct {
    item_id_t item;
    user_id_t user; /* 0 none */
    int64_t ts_ns;  /* Unix epoch, >= 0 */
    double weight;  /* finite, |weight| <= 1e9 */
    uint8_t signal; /* id of the schema */
} signal_event_t;

typedef struct {
    item_field_t field;
    slice_t value; /* encoded as in the body */
} record_item_field_t;

typedef struct {
    slice_t name;
    slice_t value;
} record_attribute_t;

typedef struct {
    user_id_t user;
    hlc_stamp_t hlc;
    held_kind_t kind;
    bool set;
    uint64_t target;
    slice_t name; /* 0..TEXT_SIZE_MAX bytes of UTF-8 */
} record_held_t;

/* Columns of a SIGNALS record; slices borrowed from the payload. Read events with
 * record_signals_get. */
typedef struct {
    uint32_t count;
    uint16_t flags;
    const uint8_t *signal;
    const uint8_t *item;
    const uint8_t *user;
    const uint8_t *weight;
    const uint8_t *ts;
    slice_t cohorts; /* the column; empty: none. Read it with record_cohorts.h */
} record_signals_t;

/* One decoded record; slices borrow from the payload. */
typedef struct {
    record_type_t type;
    uint32_t event_count;
    union {
        record_signals_t signals;
        struct {
            item_id_t item;
            hlc_stamp_t hlc;
            uint32_t field_count; /* 0 for ITEM_DELETE */
            record_item_field_t fields[ITEM_FIELD_COUNT_MAX];
        } item;
        struct {
            user_id_t user;
            hlc_stamp_t hlc;
            uint32_t attribute_count;
            record_attribute_t attributes[USER_ATTRIBUTE_COUNT_MAX];
        } user;
        struct {
            user_id_t user;
            uint64_t target;
            hlc_stamp_t hlc;
            relation_action_t action;
            bool set;
        } relation;
        struct {
            session_id_t session;
            hlc_stamp_t hlc;
            slice_t agent; /* 0..SESSION_AGENT_SIZE_MAX bytes of UTF-8 */
            slice_t meta;  /* 0..SESSION_META_SIZE_MAX bytes */
        } session_start;
        struct {
            session_id_t session;
            hlc_stamp_t hlc;
            uint32_t session_seq; /* 1..SESSION_SIGNAL_COUNT_MAX; 0: not given yet */
            item_id_t item;
            int64_t ts_ns;
            double weight;
            uint8_t signal;
        } session_signal;
        struct {
            session_id_t session;
            hlc_stamp_t hlc;
            bool is_auto;
        } session_close;
        record_held_t held;
    } as;
} record_t;

/* The append functions CHECK what the decoder would refuse (item, user or target 0, a weight that
 * is not finite or beyond 1e9, a time before 1970, a negative hlc wall, a text that is too long or
 * not UTF-8, a field or attribute given twice): such a record would make its stream unreadable for
 * ever, so whoever takes foreign input validates it before. */

/* Appends one SIGNALS record in the narrowest columns, without cohorts (cohort_builder.h).
 * in events 1..WAL_BATCH_COUNT_MAX */
void record_append_signals(buffer_t *payload, const signal_event_t *events, uint32_t count);
/* Appends a record of any type but SIGNALS, from its decoded form. */
void record_append(buffer_t *payload, const record_t *record);

/* Decodes the record at *offset_p, checks every length and value range, and moves *offset_p behind
 * it. Of ret_record only the member of `as` that its type uses is written. errs ERR_END no more ·
 * ERR_CORRUPT · ERR_UNSUPPORTED a type or flag of a later version */
err_t record_next(slice_t payload, size_t *offset_p, record_t *ret_record, errbuf_t *errbuf);

/* Event i of the columns; i < count. */
void record_signals_get(const record_signals_t *signals, uint32_t i, signal_event_t *ret_event);

/* Signals in a payload; looks at the heads of its records alone. in payload sound, as an applied
 * one; of another one whatever stands before the first unsound head counts */
uint64_t record_signal_count(slice_t payload);

/* Walks a whole payload: structure, ranges, and that it holds exactly `event_count` events.
 * errs ERR_CORRUPT, ERR_UNSUPPORTED */
err_t record_check_payload(slice_t payload, uint32_t event_count, errbuf_t *errbuf);

#endif
