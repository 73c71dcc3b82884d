/* The wire form of every internal message as data: one table of fields per struct of msg.h.
 *
 * Encoder, decoder and the tests' generator walk the same tables, so they cannot disagree, and a
 * new field is one new line. Private to this folder and its tests. */
#ifndef TIDAL_COMMON_WIRE_MSG_FIELDS_H
#define TIDAL_COMMON_WIRE_MSG_FIELDS_H

#include "common/wire/msg.h"

typedef enum {
    MSG_FIELD_UINT = 0, /* `width` bytes; min..max: its range */
    MSG_FIELD_TIME = 1, /* int64_t, any value when min is 1, else 0.. */
    MSG_FIELD_F64 = 2,  /* finite; any bits when min is 1 */
    MSG_FIELD_BOOL = 3,
    MSG_FIELD_BIN = 4,  /* slice_t; min..max bytes, a multiple of `width` */
    MSG_FIELD_TEXT = 5, /* slice_t, UTF-8; min..max bytes. With width 0 a text for people, which the
                            encoder makes fit (pack_write_clean) */
    MSG_FIELD_HASH = 6, /* `max` bytes in place, as bin */
    MSG_FIELD_STRUCT = 7, /* in place: an array of the layout's fields */
    MSG_FIELD_LIST = 8,   /* pointer to min..max elements; uint32_t count in the same struct */
    MSG_FIELD_ARRAY = 9,  /* up to max elements in place; uint32_t count in the same struct */
    MSG_FIELD_OUTER_ARRAY = 10, /* as ARRAY, with the count in the struct that holds the list
                                   around, where it stands as a field of its own */
    MSG_FIELD_UNION = 11 /* an array of the fields of layouts[kind], kind being the read_kind_t at
                            count_offset; offsets count from the whole struct. With width 1 the
                            array is empty unless the code_t at `min` is CODE_OK */
} msg_field_kind_t;

typedef struct msg_layout msg_layout_t;

typedef struct {
    const char *name;
    msg_field_kind_t kind;
    uint16_t width;
    uint16_t offset;
    uint16_t count_offset;
    uint64_t min;
    uint64_t max;
    const msg_layout_t *layout; /* of STRUCT and of elements; array of them for UNION */
} msg_field_t;

struct msg_layout {
    size_t size;    /* of the struct, which is the distance of elements */
    bool is_bare;   /* one field that stands alone, not in an array of its own */
    uint32_t count; /* fields */
    const msg_field_t *fields;
};

/* Containers in one another: read_reply, its union, ranked, a term; heartbeat, state, applied,
 * stream. */
enum { MSG_LAYOUT_DEPTH_MAX = 6, MSG_READ_KIND_END = READ_PAIR + 1 };

/* The fields behind the type, offsets from the message's member of the union; NULL: no such type.
 */
const msg_layout_t *msg_layout_of(uint64_t type);

/* "WRITE" and so on; "?" for what is no type. Lives for ever. */
const char *msg_type_name(uint64_t type);

/* Rules that concern more than one field. ret NULL: they hold; else the rule that does not, lives
 * for ever */
const char *msg_find_contradiction(const msg_t *msg);

/* The uint32_t at `base + offset`. */
static inline uint32_t msg_count_at(const uint8_t *base, uint16_t offset)
{
    uint32_t count;
    memcpy(&count, base + offset, sizeof(count));
    return count;
}

/* Layout of a UNION field for what stands at `base`. */
const msg_layout_t *msg_union_layout(const msg_field_t *field, const uint8_t *base);

#endif
