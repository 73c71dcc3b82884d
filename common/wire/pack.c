/* Walker and reader of msgpack: loops over pack_inline.h, which alone decides how many bytes a
 * value has. */
#include "common/wire/pack.h"

#include "common/base/check.h"
#include "common/wire/pack_inline.h"

#include <stdio.h>

bool pack_next(pack_reader_t *self, pack_value_t *ret_value)
{
    return pack_next_inline(self, ret_value);
}

/* How many values follow the header `value` and belong to it. */
static uint64_t s_children(const pack_value_t *value)
{
    if (value->kind == PACK_ARRAY) {
        return value->as.count;
    }
    return value->kind == PACK_MAP ? 2 * (uint64_t)value->as.count : 0;
}

bool pack_skip(pack_reader_t *self)
{
    pack_reader_t reader = *self;
    pack_value_t value;
    /* Counts are at most 2^33 each and every value takes a byte, so this neither overflows nor runs
     * longer than the bytes. */
    for (uint64_t left = 1; left > 0; left--) {
        if (!pack_next_inline(&reader, &value)) {
            return false;
        }
        left += s_children(&value);
    }
    *self = reader;
    return true;
}

pack_kind_t pack_peek(const pack_reader_t *self)
{
    pack_reader_t reader = *self;
    pack_value_t value;
    (void)pack_next(&reader, &value); /* kind says whether it could */
    return value.kind;
}

/* -- walker ------------------------------------------------------------------------------------ */

typedef struct {
    uint64_t left; /* values still to come, keys among them */
    bool is_map;
    uint32_t first_key; /* of this map in keys[] */
} walk_level_t;

typedef struct {
    pack_reader_t reader;
    const uint8_t *begin;
    errbuf_t *errbuf;
    uint32_t depth;
    walk_level_t levels[MSGPACK_DEPTH_MAX];
    uint32_t compare_count; /* keys compared so far */
    pack_keys_t *keys;      /* of the maps that are open */
} walk_t;

static size_t s_offset(const walk_t *walk)
{
    return (size_t)(walk->reader.at - walk->begin);
}

/* Why no value could be read at the cursor. */
static err_t s_bad_value(const walk_t *walk)
{
    if (walk->reader.at == walk->reader.end) {
        errbuf_set(walk->errbuf, "msgpack ends at byte %zu where a value should begin",
                   s_offset(walk));
        return ERR_CORRUPT;
    }
    uint8_t first = *walk->reader.at;
    bool unknown = first >= 0xc0 && first < 0xe0 && pack_fixed_size(first) == 255;
    if (unknown) {
        errbuf_set(walk->errbuf,
                   "%s 0x%02x at byte %zu: expected nil, bool, integer, float, str, bin, array or "
                   "map",
                   first == 0xc1 ? "reserved byte" : "extension type", first, s_offset(walk));
    } else {
        errbuf_set(walk->errbuf, "value at byte %zu reaches beyond the end of the %zu bytes",
                   s_offset(walk), s_offset(walk) + pack_reader_left(&walk->reader));
    }
    return ERR_CORRUPT;
}

/* Most texts are ASCII and short. */
static bool s_is_utf8(slice_t text)
{
    uint8_t bits = 0;
    for (size_t i = 0; i < text.size; i++) {
        bits |= text.data[i];
    }
    return bits < 0x80 || bytes_are_utf8(text);
}

static uint32_t s_key_hash(slice_t text)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < text.size; i++) {
        hash = (hash ^ text.data[i]) * 16777619U;
    }
    return hash;
}

/* Whether the innermost map has this key already. */
static bool s_has_key(const walk_t *walk, slice_t key, uint32_t hash)
{
    const pack_keys_t *keys = walk->keys;
    for (uint32_t i = walk->levels[walk->depth - 1].first_key; i < keys->count; i++) {
        if (keys->hashes[i] == hash && slice_equal(keys->names[i], key)) {
            return true;
        }
    }
    return false;
}

/* Remembers a key of the innermost map. */
static err_t s_walk_key(walk_t *walk, const pack_value_t *value)
{
    if (value->kind != PACK_STR) {
        errbuf_set(walk->errbuf, "key that ends at byte %zu: expected str, found %s",
                   s_offset(walk), pack_kind_name(value->kind));
        return ERR_CORRUPT;
    }
    /* Everybody can make keys whose hashes agree, so the work is bounded and not only the count. */
    pack_keys_t *keys = walk->keys;
    walk->compare_count += keys->count - walk->levels[walk->depth - 1].first_key;
    if (keys->count == MSGPACK_MAP_COUNT_MAX ||
        walk->compare_count > MSGPACK_KEY_COMPARE_COUNT_MAX) {
        errbuf_set(walk->errbuf, "more than %d keys in one map, or too many maps of many keys",
                   MSGPACK_MAP_COUNT_MAX);
        return ERR_CORRUPT;
    }
    uint32_t hash = s_key_hash(value->as.bytes);
    if (s_has_key(walk, value->as.bytes, hash)) {
        char text[PACK_DESCRIPTION_SIZE];
        pack_describe(value, text);
        errbuf_set(walk->errbuf, "key %s stands twice in one map", text);
        return ERR_CORRUPT;
    }
    keys->names[keys->count] = value->as.bytes;
    keys->hashes[keys->count] = hash;
    keys->count++;
    return ERR_OK;
}

static err_t s_walk_open(walk_t *walk, const pack_value_t *value)
{
    uint64_t children = s_children(value);
    if (children > pack_reader_left(&walk->reader)) {
        errbuf_set(walk->errbuf, "%s of %u at byte %zu: only %zu bytes follow",
                   pack_kind_name(value->kind), value->as.count, s_offset(walk),
                   pack_reader_left(&walk->reader));
        return ERR_CORRUPT;
    }
    if (walk->depth == MSGPACK_DEPTH_MAX) {
        errbuf_set(walk->errbuf, "nested deeper than %d at byte %zu", MSGPACK_DEPTH_MAX,
                   s_offset(walk));
        return ERR_CORRUPT;
    }
    walk->levels[walk->depth++] =
        (walk_level_t){children, value->kind == PACK_MAP, walk->keys->count};
    return ERR_OK;
}

/* One value; its container counts it, and is closed when it was the last. */
static err_t s_walk_value(walk_t *walk)
{
    pack_value_t value;
    if (!pack_next_inline(&walk->reader, &value)) {
        return s_bad_value(walk);
    }
    if (value.kind == PACK_STR && !s_is_utf8(value.as.bytes)) {
        errbuf_set(walk->errbuf, "str that ends at byte %zu is not UTF-8 (raw bytes are bin)",
                   s_offset(walk));
        return ERR_CORRUPT;
    }
    if (walk->depth > 0) {
        walk_level_t *level = &walk->levels[walk->depth - 1];
        bool is_key = level->is_map && level->left % 2 == 0;
        err_t err = is_key ? s_walk_key(walk, &value) : ERR_OK;
        if (err != ERR_OK) {
            return err;
        }
        level->left--;
    }
    if (value.kind == PACK_ARRAY || value.kind == PACK_MAP) {
        err_t err = s_walk_open(walk, &value);
        if (err != ERR_OK) {
            return err;
        }
    }
    while (walk->depth > 0 && walk->levels[walk->depth - 1].left == 0) {
        walk->depth--;
        /* The keys of the outermost map stay: they are the result. */
        if (walk->depth > 0) {
            walk->keys->count = walk->levels[walk->depth].first_key;
        }
    }
    return ERR_OK;
}

/* Steps over a number, nil, bool or short ASCII text. ret its size, 0 when it is something else */
static size_t s_plain_size(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    if (first < 0x80 || first >= 0xe0) {
        return 1;
    }
    size_t size = 0;
    if (first >= 0xca && first <= 0xd3) {
        size = 1 + (size_t)pack_fixed_size(first);
    } else if (first >= 0xa0 && first < 0xc0) {
        size = 1 + (size_t)(first & 31);
        uint8_t bits = 0;
        for (size_t i = 1; i < size && i < left; i++) {
            bits |= at[i];
        }
        size = bits < 0x80 ? size : 0;
    } else if (first == 0xc0 || first == 0xc2 || first == 0xc3) {
        size = 1;
    }
    return size <= left ? size : 0;
}

/* The values of an array that need no more than a step, which are most of all values: as many as
 * come, but not the last one of the array, which closes it. ret how many */
static uint32_t s_walk_plain(walk_t *walk, uint32_t count_max)
{
    walk_level_t *level = &walk->levels[walk->depth - 1];
    pack_reader_t reader = walk->reader;
    uint32_t count = 0;
    while (count < count_max && count + 1 < level->left && reader.at < reader.end) {
        size_t size = s_plain_size(reader.at, pack_reader_left(&reader));
        if (size == 0) {
            break;
        }
        reader.at += size;
        count++;
    }
    walk->reader = reader;
    level->left -= count;
    return count;
}

err_t pack_check_keys(slice_t bytes,
                      uint32_t node_count_max,
                      pack_keys_t *ret_keys,
                      errbuf_t *errbuf)
{
    walk_t walk;
    walk.reader = pack_reader(bytes);
    walk.begin = walk.reader.at;
    walk.errbuf = errbuf;
    walk.depth = 0;
    walk.compare_count = 0;
    walk.keys = ret_keys;
    walk.keys->count = 0;
    uint32_t node_count = 0;
    do {
        if (node_count == node_count_max) {
            errbuf_set(errbuf, "more than %u values", node_count_max);
            return ERR_TOO_LARGE;
        }
        node_count++;
        err_t err = s_walk_value(&walk);
        if (err != ERR_OK) {
            return err;
        }
        if (walk.depth > 0 && !walk.levels[walk.depth - 1].is_map) {
            node_count += s_walk_plain(&walk, node_count_max - node_count);
        }
    } while (walk.depth > 0);
    if (pack_reader_left(&walk.reader) > 0) {
        errbuf_set(errbuf, "%zu bytes follow the object, which ends at byte %zu",
                   pack_reader_left(&walk.reader), s_offset(&walk));
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

err_t pack_check(slice_t bytes, uint32_t node_count_max, errbuf_t *errbuf)
{
    pack_keys_t keys;
    return pack_check_keys(bytes, node_count_max, &keys, errbuf);
}

/* -- numbers ----------------------------------------------------------------------------------- */

/* Decimal digits, all of them. */
static bool s_digits(slice_t text, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (text.size == 0) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        uint64_t digit = (uint64_t)text.data[i] - '0';
        if (digit > 9 || number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *ret_number = number;
    return true;
}

static const double s_two_63 = 9223372036854775808.0;
static const double s_two_64 = 18446744073709551616.0;

bool pack_as_u64(const pack_value_t *value, uint64_t *ret_number)
{
    if (value->kind == PACK_UINT) {
        *ret_number = value->as.uint;
        return true;
    }
    if (value->kind == PACK_FLOAT) {
        double f64 = value->as.f64;
        if (!(f64 >= 0.0 && f64 < s_two_64) || (double)(uint64_t)f64 != f64) {
            return false;
        }
        *ret_number = (uint64_t)f64;
        return true;
    }
    return value->kind == PACK_STR && s_digits(value->as.bytes, ret_number);
}

static bool s_text_as_i64(slice_t text, int64_t *ret_number)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    uint64_t number;
    slice_t digits = negative ? slice_make(text.data + 1, text.size - 1) : text;
    if (!s_digits(digits, &number) || number > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return false;
    }
    /* -number without leaving the range on the way: INT64_MIN has no positive counterpart. */
    *ret_number = negative && number > 0 ? -(int64_t)(number - 1) - 1 : (int64_t)number;
    return true;
}

bool pack_as_i64(const pack_value_t *value, int64_t *ret_number)
{
    if (value->kind == PACK_UINT && value->as.uint <= INT64_MAX) {
        *ret_number = (int64_t)value->as.uint;
        return true;
    }
    if (value->kind == PACK_INT) {
        *ret_number = value->as.sint;
        return true;
    }
    if (value->kind == PACK_FLOAT) {
        double f64 = value->as.f64;
        if (!(f64 >= -s_two_63 && f64 < s_two_63) || (double)(int64_t)f64 != f64) {
            return false;
        }
        *ret_number = (int64_t)f64;
        return true;
    }
    return value->kind == PACK_STR && s_text_as_i64(value->as.bytes, ret_number);
}

bool pack_as_f64(const pack_value_t *value, double *ret_number)
{
    if (value->kind == PACK_UINT) {
        *ret_number = (double)value->as.uint;
        return true;
    }
    if (value->kind == PACK_INT) {
        *ret_number = (double)value->as.sint;
        return true;
    }
    /* A NaN or an infinity minus itself is not 0. */
    if (value->kind != PACK_FLOAT || value->as.f64 - value->as.f64 != 0.0) {
        return false;
    }
    *ret_number = value->as.f64;
    return true;
}

/* -- texts ------------------------------------------------------------------------------------- */

const char *pack_kind_name(pack_kind_t kind)
{
    static const char *const s_names[] = {
        [PACK_NIL] = "nil",     [PACK_BOOL] = "bool",   [PACK_UINT] = "integer",
        [PACK_INT] = "integer", [PACK_FLOAT] = "float", [PACK_STR] = "str",
        [PACK_BIN] = "bin",     [PACK_ARRAY] = "array", [PACK_MAP] = "map",
        [PACK_BAD] = "nothing",
    };
    CHECK(kind <= PACK_BAD);
    return s_names[kind];
}

/* The text in quotes, cut between two characters, without control characters; what is not UTF-8
 * loses all that is not ASCII. */
static void s_describe_str(slice_t text, char ret_text[PACK_DESCRIPTION_SIZE])
{
    enum { SHOWN_MAX = 32 };
    size_t shown = text.size;
    if (shown > SHOWN_MAX) {
        shown = SHOWN_MAX;
        while (shown > 0 && (text.data[shown] & 0xc0) == 0x80) {
            shown--;
        }
    }
    char clean[SHOWN_MAX + 1];
    uint8_t last = bytes_are_utf8(slice_make(text.data, shown)) ? 0xff : 0x7e;
    for (size_t i = 0; i < shown; i++) {
        clean[i] = (char)text.data[i];
        if (text.data[i] < 0x20 || text.data[i] == 0x7f || text.data[i] > last) {
            clean[i] = '?';
        }
    }
    clean[shown] = '\0';
    (void)snprintf(ret_text, PACK_DESCRIPTION_SIZE, "`%s%s`", clean,
                   shown < text.size ? "..." : "");
}

void pack_describe(const pack_value_t *value, char ret_text[PACK_DESCRIPTION_SIZE])
{
    char *text = ret_text;
    size_t size = PACK_DESCRIPTION_SIZE;
    switch (value->kind) {
    case PACK_NIL:
    case PACK_BAD:
        (void)snprintf(text, size, "%s", pack_kind_name(value->kind));
        break;
    case PACK_BOOL:
        (void)snprintf(text, size, "%s", value->as.boolean ? "true" : "false");
        break;
    case PACK_UINT:
        (void)snprintf(text, size, "%llu", (unsigned long long)value->as.uint);
        break;
    case PACK_INT:
        (void)snprintf(text, size, "%lld", (long long)value->as.sint);
        break;
    case PACK_FLOAT:
        (void)snprintf(text, size, "float %.17g", value->as.f64);
        break;
    case PACK_STR:
        s_describe_str(value->as.bytes, ret_text);
        break;
    case PACK_BIN:
        (void)snprintf(text, size, "bin of %zu bytes", value->as.bytes.size);
        break;
    case PACK_ARRAY:
    case PACK_MAP:
        (void)snprintf(text, size, "%s of %u", pack_kind_name(value->kind), value->as.count);
        break;
    }
}

/* -- paths ------------------------------------------------------------------------------------- */

/* Moves the cursor, which stands behind the header of a map, before the value of `key`. */
static bool s_find_key(pack_reader_t *reader, uint32_t pair_count, slice_t key)
{
    for (uint32_t i = 0; i < pair_count; i++) {
        pack_value_t name;
        if (!pack_next(reader, &name) || name.kind != PACK_STR) {
            return false;
        }
        if (slice_equal(name.as.bytes, key)) {
            return true;
        }
        if (!pack_skip(reader)) {
            return false;
        }
    }
    return false;
}

static bool s_find_index(pack_reader_t *reader, uint32_t count, slice_t text)
{
    uint64_t index;
    if (!s_digits(text, &index) || index >= count) {
        return false;
    }
    for (uint64_t i = 0; i < index; i++) {
        if (!pack_skip(reader)) {
            return false;
        }
    }
    return true;
}

bool pack_find(pack_reader_t root, const char *path, pack_reader_t *ret_reader)
{
    while (*path != '\0') {
        slice_t part = slice_make(path, strcspn(path, "."));
        path += part.size;
        path += *path == '.' ? 1 : 0;
        pack_value_t value;
        if (!pack_next(&root, &value)) {
            return false;
        }
        bool found = value.kind == PACK_MAP     ? s_find_key(&root, value.as.count, part)
                     : value.kind == PACK_ARRAY ? s_find_index(&root, value.as.count, part)
                                                : false;
        if (!found) {
            return false;
        }
    }
    *ret_reader = root;
    return true;
}

pack_value_t pack_get(slice_t bytes, const char *path)
{
    pack_value_t value = {.kind = PACK_BAD};
    pack_reader_t reader;
    if (pack_find(pack_reader(bytes), path, &reader)) {
        (void)pack_next(&reader, &value); /* kind says whether it could */
    }
    return value;
}
