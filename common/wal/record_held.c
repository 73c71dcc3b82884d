#include "common/wal/record_held.h"

#include "common/base/check.h"

#include <string.h>

enum {
    S_USER = 0,
    S_HLC = 8,
    S_KIND = 24,
    S_SET = 25,
    S_TARGET = 26,
    S_NAME_SIZE = 34,
    S_NAME = 36
};

static bool s_is_fine(const record_t *record)
{
    const record_held_t *held = &record->as.held;
    if (held->user.value == 0 || held->hlc.wall_ns < 0) {
        return false;
    }
    if (held->kind == HELD_ATTRIBUTE) {
        return held->target == 0 && !held->set && held->name.size >= 1 &&
               held->name.size <= TEXT_SIZE_MAX && bytes_are_utf8(held->name);
    }
    return (held->kind == HELD_MUTE || held->kind == HELD_BLOCK) && held->target != 0 &&
           held->name.size == 0;
}

err_t record_held_decode(slice_t body, record_t *record, errbuf_t *errbuf)
{
    bool ok = body.size >= S_NAME && body.size - S_NAME == bytes_get_u16(body.data + S_NAME_SIZE) &&
              body.data[S_SET] <= 1;
    if (ok && body.data[S_KIND] > HELD_BLOCK) {
        errbuf_set(errbuf, "HELD record: register of kind %u is of a later version",
                   (unsigned)body.data[S_KIND]);
        return ERR_UNSUPPORTED;
    }
    if (ok) {
        record->as.held = (record_held_t){
            .user = {bytes_get_u64(body.data + S_USER)},
            .hlc = {.wall_ns = (int64_t)bytes_get_u64(body.data + S_HLC),
                    .logical = bytes_get_u32(body.data + S_HLC + 8),
                    .node = bytes_get_u32(body.data + S_HLC + 12)},
            .kind = (held_kind_t)body.data[S_KIND],
            .set = body.data[S_SET] == 1,
            .target = bytes_get_u64(body.data + S_TARGET),
            .name = slice_make(body.data + S_NAME, body.size - S_NAME),
        };
        ok = s_is_fine(record);
    }
    if (!ok) {
        errbuf_set(errbuf, "HELD record: malformed body");
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

void record_held_append(buffer_t *payload, const record_t *record)
{
    CHECK(s_is_fine(record));
    const record_held_t *held = &record->as.held;
    uint8_t *at = buffer_extend(payload, S_NAME);
    bytes_put_u64(at + S_USER, held->user.value);
    bytes_put_u64(at + S_HLC, (uint64_t)held->hlc.wall_ns);
    bytes_put_u32(at + S_HLC + 8, held->hlc.logical);
    bytes_put_u32(at + S_HLC + 12, held->hlc.node);
    at[S_KIND] = (uint8_t)held->kind;
    at[S_SET] = held->set ? 1 : 0;
    bytes_put_u64(at + S_TARGET, held->target);
    bytes_put_u16(at + S_NAME_SIZE, (uint16_t)held->name.size);
    buffer_append(payload, held->name.data, held->name.size);
}
