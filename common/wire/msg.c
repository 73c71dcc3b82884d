/* Names and small facts of messages and codes. */
#include "common/wire/msg.h"

#include "common/base/check.h"

static_assert(sizeof(code_t) == 4 && sizeof(read_kind_t) == 4, "tables of fields read them as u32");

const char *code_name(code_t code)
{
#define CODE_NAME(name) [CODE_##name] = #name,
    static const char *const s_names[] = {MSG_CODE_LIST(CODE_NAME)};
#undef CODE_NAME
    CHECK(code < CODE_COUNT);
    return s_names[code];
}

bool code_is_retryable(code_t code)
{
    switch (code) {
    case CODE_READ_ONLY:
    case CODE_UNAVAILABLE:
    case CODE_NOT_REPLICATED:
    case CODE_PARTIAL:
    case CODE_OVERLOADED:
    case CODE_STALE:
    case CODE_DISK_FULL:
    case CODE_TIMEOUT:
        return true;
    case CODE_OK:
    case CODE_BAD_REQUEST:
    case CODE_UNKNOWN_OP:
    case CODE_UNKNOWN_SIGNAL:
    case CODE_UNKNOWN_TENANT:
    case CODE_NOT_FOUND:
    case CODE_QUOTA:
    case CODE_CLOCK_SKEW:
    case CODE_FORBIDDEN:
    case CODE_TOO_LARGE:
    case CODE_CORRUPT:
    case CODE_INTERNAL:
    case CODE_COUNT:
        break;
    }
    return false;
}

bool msg_is_client_map(slice_t bytes)
{
    if (bytes.size == 0) {
        return false;
    }
    uint8_t first = bytes.data[0];
    return (first >= 0x80 && first < 0x90) || first == 0xde || first == 0xdf;
}
