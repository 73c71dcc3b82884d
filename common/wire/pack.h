/* msgpack on every socket, within limits: a walker that believes nothing, a reader that cannot
 * leave its bytes, and a writer.
 *
 * Foreign bytes go through pack_check first. It allocates nothing and looks at everything that a
 * later reader would rely on; after it, a pack_reader_t walks the same bytes as a cursor. The
 * reader checks every length by itself as well, so that a mistake in the order of calls can never
 * read outside the slice. msgpack.h appears in the sources of this folder alone. */
#ifndef TIDAL_COMMON_WIRE_PACK_H
#define TIDAL_COMMON_WIRE_PACK_H

#include "common/base/bounds.h"
#include "common/base/bytes.h"

/* -- walker ------------------------------------------------------------------------------------ */

/* Whether bytes are exactly one msgpack object that is safe to read: nothing after it, containers
 * nested at most MSGPACK_DEPTH_MAX deep, every count at most the bytes left, at most node_count_max
 * values in all, every length inside the slice, every str UTF-8, keys of maps str and none twice,
 * at most MSGPACK_MAP_COUNT_MAX keys in a map and the maps around it, no extension types, no
 * reserved byte. errs ERR_CORRUPT the text names the byte · ERR_TOO_LARGE more values than
 * node_count_max cost one pass, no allocation */
err_t pack_check(slice_t bytes, uint32_t node_count_max, errbuf_t *errbuf);

/* Keys of a map, each borrowed from the bytes; the value of a key begins where the key ends. */
typedef struct {
    uint32_t count;
    uint32_t hashes[MSGPACK_MAP_COUNT_MAX];
    slice_t names[MSGPACK_MAP_COUNT_MAX];
} pack_keys_t;

/* pack_check that keeps the keys of the outermost map, so that nobody walks the bytes again to find
 * them. out ret_keys  count 0 when the object is no map; of no use on failure */
err_t pack_check_keys(slice_t bytes,
                      uint32_t node_count_max,
                      pack_keys_t *ret_keys,
                      errbuf_t *errbuf);

/* -- reader ------------------------------------------------------------------------------------ */

typedef enum {
    PACK_NIL = 0,
    PACK_BOOL = 1,
    PACK_UINT = 2, /* an integer of 0 or more, in any encoding */
    PACK_INT = 3,  /* a negative integer */
    PACK_FLOAT = 4,
    PACK_STR = 5,
    PACK_BIN = 6,
    PACK_ARRAY = 7,
    PACK_MAP = 8,
    PACK_BAD = 9 /* extension, reserved byte, cut off, or the end of the bytes */
} pack_kind_t;

/* "integer", "str" and so on, for messages; lives for ever. */
const char *pack_kind_name(pack_kind_t kind);

/* One value as it was read. For arrays and maps only the header: their values follow. */
typedef struct {
    pack_kind_t kind;
    union {
        bool boolean;
        uint64_t uint; /* PACK_UINT */
        int64_t sint;  /* PACK_INT, below 0 */
        double f64;
        slice_t bytes;  /* PACK_STR and PACK_BIN; borrowed from the reader's bytes */
        uint32_t count; /* PACK_ARRAY: values; PACK_MAP: pairs */
    } as;
} pack_value_t;

/* A cursor. Plain: may be copied to look ahead. */
typedef struct {
    const uint8_t *at;
    const uint8_t *end;
} pack_reader_t;

static inline pack_reader_t pack_reader(slice_t bytes)
{
    return (pack_reader_t){bytes.data, bytes.data == NULL ? NULL : bytes.data + bytes.size};
}

static inline size_t pack_reader_left(const pack_reader_t *self)
{
    return (size_t)(self->end - self->at);
}

/* Reads the next value. ret false: the bytes end, or hold no value that this project uses;
 * ret_value->kind is then PACK_BAD and the cursor stands where it stood. */
bool pack_next(pack_reader_t *self, pack_value_t *ret_value);

/* Jumps over the next value with all that is in it. ret false as pack_next */
bool pack_skip(pack_reader_t *self);

/* The kind of the next value; PACK_BAD at the end. */
pack_kind_t pack_peek(const pack_reader_t *self);

/* The liberal numbers of services/gateway/PROTOCOL.md ("Values"). An integer: in any width, an
 * integral float, or a decimal string (`-` only first, no blanks, no `+`). A float: any finite
 * float, or an integer.
 * ret false when the value is none of these or does not fit the result; an integer that is asked
 * for as an integer is never rounded */
bool pack_as_u64(const pack_value_t *value, uint64_t *ret_number);
bool pack_as_i64(const pack_value_t *value, int64_t *ret_number);
bool pack_as_f64(const pack_value_t *value, double *ret_number);

/* Describes a value for an error text: "str `abc`", "integer 7", "map of 3". Always terminated. */
enum { PACK_DESCRIPTION_SIZE = 64 };
void pack_describe(const pack_value_t *value, char ret_text[PACK_DESCRIPTION_SIZE]);

/* For programs that read replies: follows a path of map keys and array indexes separated by dots
 * ("shards.0.seq_last") from the value at the cursor of `root`; an empty path is the value itself.
 * Of equal keys the first one counts. in root  checked by pack_check
 * out ret_reader stands before the value. ret false: there is no such value */
bool pack_find(pack_reader_t root, const char *path, pack_reader_t *ret_reader);

/* pack_find and the next value at once: kind PACK_BAD when there is none. */
pack_value_t pack_get(slice_t bytes, const char *path);

/* -- writer ------------------------------------------------------------------------------------ */

/* Appends msgpack to a buffer. Maps and arrays either say their size first (pack_write_map,
 * pack_write_array) or are opened and closed, counting by themselves what is put into them:
 *
 *     pack_writer_t writer;
 *     pack_writer_init(&writer, &buffer);
 *     pack_open_map(&writer);
 *     pack_put_str(&writer, "op", slice_text("ping"));
 *     pack_close(&writer);
 *     pack_writer_done(&writer);
 *
 * Opened containers nest up to MSGPACK_DEPTH_MAX; more, or a count that does not come out, is a
 * CHECK. */
typedef struct {
    buffer_t *out;
    uint32_t depth; /* opened containers */
    struct {
        size_t offset;  /* of the container's header in the buffer */
        uint32_t count; /* pairs or values put so far */
        bool is_map;
    } open[MSGPACK_DEPTH_MAX];
} pack_writer_t;

/* in out  borrowed until pack_writer_done; written to by nobody else meanwhile */
void pack_writer_init(pack_writer_t *self, buffer_t *out);
/* Checks that everything opened was closed. */
void pack_writer_done(const pack_writer_t *self);

/* Bare values. What stands in an opened array is announced by pack_item, in an opened map by
 * pack_key. Integers take the shortest form, floats are float 64. */
void pack_write_nil(pack_writer_t *self);
void pack_write_bool(pack_writer_t *self, bool value);
void pack_write_u64(pack_writer_t *self, uint64_t value);
void pack_write_i64(pack_writer_t *self, int64_t value);
void pack_write_f64(pack_writer_t *self, double value);
void pack_write_str(pack_writer_t *self, slice_t text);
void pack_write_bin(pack_writer_t *self, slice_t bytes);
/* A str for people that may be too long, or have been cut inside a character: at most size_max
 * bytes are written, and what is not UTF-8 becomes ASCII with `?` in place of the rest. in size_max
 * 1..PACK_CLEAN_SIZE_MAX */
enum { PACK_CLEAN_SIZE_MAX = 2048 };
void pack_write_clean(pack_writer_t *self, slice_t text, size_t size_max);
/* One whole encoded value, as it stands. */
void pack_write_encoded(pack_writer_t *self, slice_t value);
/* Headers of exactly `count` values or pairs, which the caller writes next; these are not counted
 * by an opened container around them. */
void pack_write_array(pack_writer_t *self, uint32_t count);
void pack_write_map(pack_writer_t *self, uint32_t count);

/* Containers that count by themselves, and are announced like any value when they stand in one. */
void pack_open_map(pack_writer_t *self);
void pack_open_array(pack_writer_t *self);
void pack_close(pack_writer_t *self);
/* Announces one more element of the innermost opened array. */
void pack_item(pack_writer_t *self);
/* One more key of the innermost opened map; its value follows. */
void pack_key(pack_writer_t *self, const char *key);

/* pack_key and a value. */
void pack_put_nil(pack_writer_t *self, const char *key);
void pack_put_bool(pack_writer_t *self, const char *key, bool value);
void pack_put_u64(pack_writer_t *self, const char *key, uint64_t value);
void pack_put_i64(pack_writer_t *self, const char *key, int64_t value);
void pack_put_f64(pack_writer_t *self, const char *key, double value);
void pack_put_str(pack_writer_t *self, const char *key, slice_t text);
void pack_put_text(pack_writer_t *self, const char *key, const char *text);
void pack_put_bin(pack_writer_t *self, const char *key, slice_t bytes);
/* pack_key and an opened container; pack_close ends it. */
void pack_put_map(pack_writer_t *self, const char *key);
void pack_put_array(pack_writer_t *self, const char *key);

#endif
