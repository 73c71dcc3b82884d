/* Named registers of one item or user, each the last write's value (design idea 3).
 *
 * A write carries a stamp. Of two writes to one name the one with the higher stamp stands; of two
 * with the same stamp, which only copies of one request or a client's own stamps can have, the one
 * whose value is greater (bytes compared as unsigned, a prefix first). A delete with stamp d takes
 * away everything written with a stamp up to and including d, before or after it arrives: delete
 * wins a tie. So the result is a function of the set of writes and deletes: merging them is
 * commutative, associative and idempotent.
 *
 * At most REGISTER_COUNT_MAX registers are kept, those with the latest stamps (equal stamps: the
 * first names). One that was dropped has that many above it for ever, so this too depends on the
 * set alone. (Leaders refuse such writes; two of them may still each accept half.)
 *
 * The state is its own canonical encoding, see checkpoint_format.h. */
#ifndef TIDAL_COMMON_SIGNAL_REGISTERS_H
#define TIDAL_COMMON_SIGNAL_REGISTERS_H

#include "common/base/bounds.h"
#include "common/base/bytes.h"
#include "common/base/hlc.h"

#include <stdbool.h>

enum {
    REGISTER_COUNT_MAX = USER_ATTRIBUTE_COUNT_MAX,
    REGISTER_NAME_SIZE_MAX = TEXT_SIZE_MAX,
    REGISTER_VALUE_SIZE_MAX = 2 + TAG_COUNT_MAX * (2 + TEXT_SIZE_MAX) /* tags of an item */
};

typedef struct {
    uint8_t *bytes; /* the canonical encoding; NULL before the first write or delete */
    uint32_t size;
    uint32_t capacity;
} registers_t;

/* One register; slices borrow from the registers until they change. */
typedef struct {
    slice_t name;
    slice_t value;
    hlc_stamp_t hlc;
} register_view_t;

void registers_init(registers_t *self);
/* Frees; may be called twice. */
void registers_done(registers_t *self);

/* A write with this stamp exists, whatever it writes. out whether anything changed */
bool registers_touch(registers_t *self, hlc_stamp_t hlc);
/* One write; copies. in name 1..REGISTER_NAME_SIZE_MAX bytes, value 0..REGISTER_VALUE_SIZE_MAX
 * cost a pass over all registers and a memmove. out whether anything changed */
bool registers_write(registers_t *self, slice_t name, hlc_stamp_t hlc, slice_t value);
/* The delete. out whether anything changed */
bool registers_clear(registers_t *self, hlc_stamp_t hlc);

/* Stamp of the latest write above the latest delete; the zero stamp when there is none. */
hlc_stamp_t registers_written(const registers_t *self);
/* Whether the thing exists: was written after its last delete. */
bool registers_exist(const registers_t *self);

/* The register of this name. out false when there is none */
bool registers_find(const registers_t *self, slice_t name, register_view_t *ret_register);
/* All registers in the order of their names; *offset_p begins at 0. out false at the end */
bool registers_next(const registers_t *self, size_t *offset_p, register_view_t *ret_register);

/* The canonical encoding, empty before the first write or delete; lives until the next change. */
slice_t registers_encoded(const registers_t *self);
/* Replaces everything by what is encoded; strict. errs ERR_CORRUPT, ERR_UNSUPPORTED (unchanged) */
err_t registers_decode(registers_t *self, slice_t bytes, errbuf_t *errbuf);

#endif
