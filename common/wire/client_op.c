/* Names and places of ops, windows and link modes; cursors. */
#include "common/base/check.h"
#include "common/wire/client_fields.h"

typedef struct {
    const char *name;
    client_class_t class;
    unsigned where;
} op_t;

#define OP_ROW(name, text, kind, where) [CLIENT_OP_##name] = {text, CLIENT_CLASS_##kind, where},
static const op_t s_ops[CLIENT_OP_END] = {[CLIENT_OP_NONE] = {"none", CLIENT_CLASS_MESH, 0},
                                          CLIENT_OP_LIST(OP_ROW)};
#undef OP_ROW

const char *client_op_name(client_op_t op)
{
    CHECK(op < CLIENT_OP_END);
    return s_ops[op].name;
}

client_class_t client_op_class(client_op_t op)
{
    CHECK(op > CLIENT_OP_NONE && op < CLIENT_OP_END);
    return s_ops[op].class;
}

static unsigned s_place_of(process_kind_t kind)
{
    switch (kind) {
    case PROCESS_GATEWAY:
        return CLIENT_AT_GATEWAY;
    case PROCESS_CONTROL:
        return CLIENT_AT_CONTROL;
    case PROCESS_PROXY:
        return CLIENT_AT_PROXY;
    case PROCESS_NONE:
    case PROCESS_NODE:
    case PROCESS_SHIPPER:
    case PROCESS_RECEIVER:
    case PROCESS_RECONCILER:
    case PROCESS_TOOL:
        break;
    }
    return 0;
}

bool client_op_is_served(client_op_t op, process_kind_t by, errbuf_t *errbuf)
{
    CHECK(op > CLIENT_OP_NONE && op < CLIENT_OP_END);
    unsigned where = s_ops[op].where;
    if (s_ops[op].class == CLIENT_CLASS_LATER) {
        errbuf_set(errbuf, "op `%s` is not part of this version", s_ops[op].name);
        return false;
    }
    if ((where & (CLIENT_AT_EVERY | s_place_of(by))) != 0) {
        return true;
    }
    bool gateway = (where & CLIENT_AT_GATEWAY) != 0;
    bool control = (where & CLIENT_AT_CONTROL) != 0;
    errbuf_set(errbuf, "op `%s` is not answered here: ask %s", s_ops[op].name,
               gateway && control ? "a gateway or the control plane"
               : gateway          ? "a gateway"
               : control          ? "the control plane"
                                  : "the partition proxy");
    return false;
}

const char *const *client_windows(void)
{
    static const char *const s_windows[WINDOW_COUNT + 1] = {"1h", "24h", "7d", "30d", "all", NULL};
    return s_windows;
}

const char *client_window_name(uint8_t window)
{
    CHECK(window < WINDOW_COUNT);
    return client_windows()[window];
}

const char *client_link_mode_name(client_link_mode_t mode)
{
    static const char *const s_names[] = {"pass", "drop", "hold", "cut"};
    CHECK(mode <= CLIENT_LINK_CUT);
    return s_names[mode];
}

/* -- cursor: u8 version, i64 at, f64 score, u64 item, little-endian ---------------------------- */

enum { CURSOR_VERSION = 1, CURSOR_AT = 1, CURSOR_SCORE = 9, CURSOR_ITEM = 17 };

void client_cursor_encode(const client_cursor_t *cursor, uint8_t ret_bytes[CLIENT_CURSOR_SIZE])
{
    CHECK(cursor->at_ns >= 0);
    CHECK(cursor->item.value != 0);
    ret_bytes[0] = CURSOR_VERSION;
    bytes_put_u64(ret_bytes + CURSOR_AT, (uint64_t)cursor->at_ns);
    bytes_put_f64(ret_bytes + CURSOR_SCORE, cursor->score);
    bytes_put_u64(ret_bytes + CURSOR_ITEM, cursor->item.value);
}

bool client_cursor_decode(slice_t bytes, client_cursor_t *ret_cursor)
{
    if (bytes.size != CLIENT_CURSOR_SIZE || bytes.data[0] != CURSOR_VERSION) {
        return false;
    }
    client_cursor_t cursor = {
        .at_ns = (int64_t)bytes_get_u64(bytes.data + CURSOR_AT),
        .score = bytes_get_f64(bytes.data + CURSOR_SCORE),
        .item = {bytes_get_u64(bytes.data + CURSOR_ITEM)},
    };
    /* A NaN or an infinity minus itself is not 0. */
    bool finite = cursor.score - cursor.score == 0.0;
    if (cursor.at_ns < 0 || !finite || cursor.item.value == 0) {
        return false;
    }
    *ret_cursor = cursor;
    return true;
}
