/* Walks a list of maps in a reply. */
#ifndef TIDAL_SERVICES_TIDALCTL_REPLY_ROWS_H
#define TIDAL_SERVICES_TIDALCTL_REPLY_ROWS_H

#include "common/wire/pack.h"

typedef struct {
    pack_reader_t reader;
    uint32_t left;
} reply_rows_t;

/* in reply  checked by pack_check. Without such a list there are no rows. */
static inline reply_rows_t reply_rows(slice_t reply, const char *path)
{
    reply_rows_t self = {0};
    pack_value_t head;
    if (pack_find(pack_reader(reply), path, &self.reader) && pack_next(&self.reader, &head) &&
        head.kind == PACK_ARRAY) {
        self.left = head.as.count;
    }
    return self;
}

/* The bytes of the next one, for pack_get. False at the end. */
static inline bool reply_rows_next(reply_rows_t *self, slice_t *ret_row)
{
    const uint8_t *begin = self->reader.at;
    if (self->left == 0 || !pack_skip(&self->reader)) {
        return false;
    }
    self->left--;
    *ret_row = slice_make(begin, (size_t)(self->reader.at - begin));
    return true;
}

/* Empty when it is no str; 0 when it is no number. */
static inline slice_t reply_text(slice_t row, const char *path)
{
    pack_value_t value = pack_get(row, path);
    return value.kind == PACK_STR ? value.as.bytes : (slice_t){0};
}

static inline int64_t reply_i64(slice_t row, const char *path)
{
    pack_value_t value = pack_get(row, path);
    int64_t number = 0;
    return pack_as_i64(&value, &number) ? number : 0;
}

static inline bool reply_bool(slice_t row, const char *path)
{
    pack_value_t value = pack_get(row, path);
    return value.kind == PACK_BOOL && value.as.boolean;
}

#endif
