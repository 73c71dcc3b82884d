#include "services/tidalctl/json.h"

#include "common/base/check.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char s_hex_prefix[] = "hex:";
enum { HEX_PREFIX_SIZE = 4 };

/* -- writing ----------------------------------------------------------------------------------- */

static void s_append(buffer_t *out, const char *text)
{
    buffer_append(out, text, strlen(text));
}

static void s_write_escaped(slice_t text, buffer_t *out)
{
    buffer_append(out, "\"", 1);
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        char escape[8] = "";
        if (byte == '"' || byte == '\\') {
            (void)snprintf(escape, sizeof(escape), "\\%c", byte);
        } else if (byte == '\n') {
            (void)snprintf(escape, sizeof(escape), "\\n");
        } else if (byte < 0x20 || byte == 0x7f) {
            (void)snprintf(escape, sizeof(escape), "\\u%04x", byte);
        }
        if (escape[0] != '\0') {
            s_append(out, escape);
        } else {
            buffer_append(out, &byte, 1);
        }
    }
    buffer_append(out, "\"", 1);
}

/* The shortest form that reads back as the same number. */
static void s_write_f64(double value, buffer_t *out)
{
    char text[40];
    if (!isfinite(value)) {
        s_append(out, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    s_append(out, text);
    if (strpbrk(text, ".e") == NULL) {
        s_append(out, ".0");
    }
}

static void s_write_bytes(slice_t bytes, bool bare, buffer_t *out)
{
    char hex[3];
    s_append(out, bare ? "" : "\"");
    s_append(out, s_hex_prefix);
    for (size_t i = 0; i < bytes.size; i++) {
        bytes_to_hex(bytes.data + i, 1, hex);
        s_append(out, hex);
    }
    s_append(out, bare ? "" : "\"");
}

static void s_write_scalar(const pack_value_t *value, bool bare, buffer_t *out)
{
    char text[32] = "null";
    if (value->kind == PACK_STR) {
        if (bare) {
            buffer_append(out, value->as.bytes.data, value->as.bytes.size);
        } else {
            s_write_escaped(value->as.bytes, out);
        }
        return;
    }
    if (value->kind == PACK_BIN) {
        s_write_bytes(value->as.bytes, bare, out);
        return;
    }
    if (value->kind == PACK_FLOAT) {
        s_write_f64(value->as.f64, out);
        return;
    }
    if (value->kind == PACK_BOOL) {
        (void)snprintf(text, sizeof(text), "%s", value->as.boolean ? "true" : "false");
    } else if (value->kind == PACK_UINT) {
        (void)snprintf(text, sizeof(text), "%" PRIu64, value->as.uint);
    } else if (value->kind == PACK_INT) {
        (void)snprintf(text, sizeof(text), "%" PRId64, value->as.sint);
    }
    s_append(out, text);
}

/* A container that is being written. */
typedef struct {
    bool is_map;
    uint32_t left; /* values; keys count as values */
} open_t;

static void s_separate(const open_t *open, bool first, buffer_t *out)
{
    bool is_value = open->is_map && open->left % 2 == 1;
    if (is_value) {
        s_append(out, ": ");
    } else if (!first) {
        s_append(out, ", ");
    }
}

/* The containers that are open, innermost last. */
typedef struct {
    open_t opens[MSGPACK_DEPTH_MAX + 1];
    uint32_t depth;
    bool first; /* nothing was written yet into the innermost */
} stack_t;

static void s_open_container(stack_t *stack, const pack_value_t *value, buffer_t *out)
{
    bool is_map = value->kind == PACK_MAP;
    CHECK(stack->depth < MSGPACK_DEPTH_MAX + 1);
    stack->opens[stack->depth++] = (open_t){is_map, is_map ? 2 * value->as.count : value->as.count};
    stack->first = true;
    s_append(out, is_map ? "{" : "[");
}

static void s_close_containers(stack_t *stack, buffer_t *out)
{
    while (stack->depth > 0 && stack->opens[stack->depth - 1].left == 0) {
        s_append(out, stack->opens[--stack->depth].is_map ? "}" : "]");
        stack->first = false;
    }
}

void json_write_next(pack_reader_t *reader, bool bare, buffer_t *out)
{
    stack_t stack = {.first = true};
    do {
        pack_value_t value;
        if (!pack_next(reader, &value)) {
            return; /* not reached for checked bytes */
        }
        if (stack.depth > 0) {
            s_separate(&stack.opens[stack.depth - 1], stack.first, out);
            stack.opens[stack.depth - 1].left--;
        }
        stack.first = false;
        if (value.kind == PACK_MAP || value.kind == PACK_ARRAY) {
            s_open_container(&stack, &value, out);
        } else {
            s_write_scalar(&value, bare && stack.depth == 0, out);
        }
        s_close_containers(&stack, out);
    } while (stack.depth > 0);
}

void json_write(slice_t value, buffer_t *out)
{
    pack_reader_t reader = pack_reader(value);
    json_write_next(&reader, false, out);
}

/* -- parsing ----------------------------------------------------------------------------------- */

typedef struct {
    const char *begin;
    const char *at;
    const char *end;
    pack_writer_t writer;
    bool is_map[MSGPACK_DEPTH_MAX]; /* opened containers */
    uint32_t depth;
    buffer_t text; /* of the last string */
    errbuf_t *errbuf;
} parser_t;

static err_t s_expected(const parser_t *self, const char *what)
{
    if (self->at < self->end) {
        errbuf_set(self->errbuf, "JSON: expected %s at byte %zu, found '%.12s'", what,
                   (size_t)(self->at - self->begin), self->at);
    } else {
        errbuf_set(self->errbuf, "JSON: expected %s, found the end of the text", what);
    }
    return ERR_INVALID;
}

static void s_skip_blanks(parser_t *self)
{
    while (self->at < self->end && strchr(" \t\r\n", *self->at) != NULL) {
        self->at++;
    }
}

static bool s_take(parser_t *self, char wanted)
{
    if (self->at < self->end && *self->at == wanted) {
        self->at++;
        return true;
    }
    return false;
}

static void s_append_code_point(buffer_t *out, uint32_t code)
{
    uint8_t bytes[4];
    size_t size = 1;
    bytes[0] = (uint8_t)code;
    if (code >= 0x10000) {
        size = 4;
        bytes[0] = (uint8_t)(0xf0 | code >> 18);
        bytes[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        bytes[3] = (uint8_t)(0x80 | (code & 0x3f));
    } else if (code >= 0x800) {
        size = 3;
        bytes[0] = (uint8_t)(0xe0 | code >> 12);
        bytes[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (code & 0x3f));
    } else if (code >= 0x80) {
        size = 2;
        bytes[0] = (uint8_t)(0xc0 | code >> 6);
        bytes[1] = (uint8_t)(0x80 | (code & 0x3f));
    }
    buffer_append(out, bytes, size);
}

static int s_hex_digit(char letter)
{
    static const char s_digits[] = "0123456789abcdefABCDEF";
    const char *found = letter == '\0' ? NULL : strchr(s_digits, letter);
    int digit = found == NULL ? -1 : (int)(found - s_digits);
    return digit < 16 ? digit : digit - 6;
}

static err_t s_take_hex4(parser_t *self, uint32_t *ret_code)
{
    uint32_t code = 0;
    for (int i = 0; i < 4; i++) {
        int digit = self->at < self->end ? s_hex_digit(*self->at) : -1;
        if (digit < 0) {
            return s_expected(self, "four hex digits");
        }
        code = code << 4 | (uint32_t)digit;
        self->at++;
    }
    *ret_code = code;
    return ERR_OK;
}

static err_t s_take_unicode(parser_t *self)
{
    uint32_t code = 0;
    uint32_t low = 0;
    err_t err = s_take_hex4(self, &code);
    if (err == ERR_OK && code >= 0xd800 && code < 0xdc00) {
        if (!s_take(self, '\\') || !s_take(self, 'u')) {
            return s_expected(self, "the second half of a surrogate pair");
        }
        err = s_take_hex4(self, &low);
        if (err == ERR_OK && (low < 0xdc00 || low > 0xdfff)) {
            return s_expected(self, "the second half of a surrogate pair before this");
        }
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (err == ERR_OK && code >= 0xdc00 && code < 0xe000) {
        return s_expected(self, "the first half of a surrogate pair before this");
    }
    if (err == ERR_OK) {
        s_append_code_point(&self->text, code);
    }
    return err;
}

static err_t s_take_escape(parser_t *self)
{
    static const char s_letters[] = "\"\\/bfnrt";
    static const char s_meanings[] = "\"\\/\b\f\n\r\t";
    char letter = '\0';
    if (self->at < self->end) {
        letter = *self->at;
    }
    if (s_take(self, 'u')) {
        return s_take_unicode(self);
    }
    const char *found = letter == '\0' ? NULL : strchr(s_letters, letter);
    if (found == NULL) {
        return s_expected(self, "an escape (one of \"\\/bfnrtu)");
    }
    self->at++;
    buffer_append(&self->text, &s_meanings[found - s_letters], 1);
    return ERR_OK;
}

/* Into self->text; the opening quotation mark was taken. */
static err_t s_take_string(parser_t *self)
{
    buffer_clear(&self->text);
    while (self->at < self->end && *self->at != '"') {
        if ((uint8_t)*self->at < 0x20) {
            return s_expected(self, "an escape instead of a control character");
        }
        err_t err = ERR_OK;
        if (s_take(self, '\\')) {
            err = s_take_escape(self);
        } else {
            buffer_append(&self->text, self->at++, 1);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    if (!s_take(self, '"')) {
        return s_expected(self, "a closing quotation mark");
    }
    if (!bytes_are_utf8(buffer_slice(&self->text))) {
        return s_expected(self, "UTF-8 before this");
    }
    return ERR_OK;
}

/* A string, or the bytes that "hex:.." stands for. */
static err_t s_put_string(parser_t *self)
{
    const char *text = (const char *)self->text.data;
    size_t size = self->text.size;
    if (size < HEX_PREFIX_SIZE || memcmp(text, s_hex_prefix, HEX_PREFIX_SIZE) != 0) {
        pack_write_str(&self->writer, buffer_slice(&self->text));
        return ERR_OK;
    }
    buffer_t bytes;
    buffer_init(&bytes);
    bool good = size % 2 == 0;
    for (size_t i = HEX_PREFIX_SIZE; good && i + 1 < size; i += 2) {
        int high = s_hex_digit(text[i]);
        int low = s_hex_digit(text[i + 1]);
        good = high >= 0 && low >= 0;
        *buffer_extend(&bytes, 1) = (uint8_t)((unsigned)high << 4 | (unsigned)low);
    }
    if (good) {
        pack_write_bin(&self->writer, buffer_slice(&bytes));
    }
    buffer_done(&bytes);
    return good ? ERR_OK : s_expected(self, "pairs of hex digits behind hex: before this");
}

/* The grammar of JSON: -? (0 | [1-9][0-9]*) (.[0-9]+)? ([eE][+-]?[0-9]+)? */
static bool s_is_number(const char *text, bool *ret_whole)
{
    const char *at = text + (*text == '-' ? 1 : 0);
    size_t digits = strspn(at, "0123456789");
    *ret_whole = at[digits] == '\0';
    bool good = digits > 0 && (at[0] != '0' || digits == 1);
    at += digits;
    if (good && *at == '.') {
        digits = strspn(at + 1, "0123456789");
        good = digits > 0;
        at += 1 + digits;
    }
    if (good && (*at == 'e' || *at == 'E')) {
        at += 1 + (at[1] == '+' || at[1] == '-' ? 1 : 0);
        digits = strspn(at, "0123456789");
        good = digits > 0;
        at += digits;
    }
    return good && *at == '\0';
}

static err_t s_put_number(parser_t *self)
{
    char text[64];
    size_t size = 0;
    while (self->at + size < self->end && strchr("+-.eE0123456789", self->at[size]) != NULL) {
        size++;
    }
    bool whole = false;
    if (size == 0 || size >= sizeof(text)) {
        return s_expected(self, "a value");
    }
    memcpy(text, self->at, size);
    text[size] = '\0';
    if (!s_is_number(text, &whole)) {
        return s_expected(self, "a number");
    }
    uint64_t number = 0;
    bool negative = text[0] == '-';
    uint64_t max = negative ? (uint64_t)INT64_MAX : UINT64_MAX;
    if (whole && text_to_u64(text + (negative ? 1 : 0), 0, max, &number) == ERR_OK) {
        if (negative) {
            pack_write_i64(&self->writer, -(int64_t)number);
        } else {
            pack_write_u64(&self->writer, number);
        }
    } else {
        double value = strtod(text, NULL);
        if (!isfinite(value)) {
            return s_expected(self, "a number that fits 64 bits");
        }
        pack_write_f64(&self->writer, value);
    }
    self->at += size;
    return ERR_OK;
}

static bool s_take_word(parser_t *self, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(self->end - self->at) < size || memcmp(self->at, word, size) != 0) {
        return false;
    }
    self->at += size;
    return true;
}

static err_t s_open(parser_t *self, bool is_map)
{
    if (self->depth == MSGPACK_DEPTH_MAX) {
        errbuf_set(self->errbuf, "JSON: expected at most %d levels, found more", MSGPACK_DEPTH_MAX);
        return ERR_INVALID;
    }
    self->is_map[self->depth++] = is_map;
    if (is_map) {
        pack_open_map(&self->writer);
    } else {
        pack_open_array(&self->writer);
    }
    return ERR_OK;
}

static err_t s_put_value(parser_t *self)
{
    if (s_take(self, '"')) {
        err_t err = s_take_string(self);
        return err == ERR_OK ? s_put_string(self) : err;
    }
    if (s_take_word(self, "true")) {
        pack_write_bool(&self->writer, true);
    } else if (s_take_word(self, "false")) {
        pack_write_bool(&self->writer, false);
    } else if (s_take_word(self, "null")) {
        pack_write_nil(&self->writer);
    } else {
        return s_put_number(self);
    }
    return ERR_OK;
}

/* In an opened container: announces the next value, with its key in a map. */
static err_t s_announce(parser_t *self)
{
    if (!self->is_map[self->depth - 1]) {
        pack_item(&self->writer);
        return ERR_OK;
    }
    if (!s_take(self, '"')) {
        return s_expected(self, "a key in quotation marks");
    }
    err_t err = s_take_string(self);
    if (err != ERR_OK) {
        return err;
    }
    if (memchr(self->text.data == NULL ? (const void *)"" : self->text.data, 0, self->text.size) !=
        NULL) {
        return s_expected(self, "a key without a zero byte before this");
    }
    buffer_append(&self->text, "", 1);
    pack_key(&self->writer, (const char *)self->text.data);
    s_skip_blanks(self);
    if (!s_take(self, ':')) {
        return s_expected(self, "':'");
    }
    s_skip_blanks(self);
    return ERR_OK;
}

/* Behind a value: closes what ends here. out ret_more  another value follows in this container */
static err_t s_close(parser_t *self, bool is_empty, bool *ret_more)
{
    *ret_more = false;
    while (self->depth > 0) {
        s_skip_blanks(self);
        bool is_map = self->is_map[self->depth - 1];
        if (s_take(self, is_map ? '}' : ']')) {
            pack_close(&self->writer);
            self->depth--;
            is_empty = false;
        } else if (is_empty || s_take(self, ',')) {
            s_skip_blanks(self);
            *ret_more = true;
            return ERR_OK;
        } else {
            return s_expected(self, is_map ? "',' or '}'" : "',' or ']'");
        }
    }
    return ERR_OK;
}

static err_t s_parse(parser_t *self)
{
    bool more = true;
    err_t err = ERR_OK;
    s_skip_blanks(self);
    while (err == ERR_OK && more) {
        bool opened = false;
        if (self->depth > 0) {
            err = s_announce(self);
        }
        if (err == ERR_OK && self->at < self->end && (*self->at == '{' || *self->at == '[')) {
            opened = true;
            err = s_open(self, *self->at++ == '{');
        } else if (err == ERR_OK) {
            err = s_put_value(self);
        }
        if (err == ERR_OK) {
            err = s_close(self, opened, &more);
        }
    }
    s_skip_blanks(self);
    if (err == ERR_OK && self->at < self->end) {
        err = s_expected(self, "the end of the text");
    }
    return err;
}

err_t json_parse(slice_t text, buffer_t *out, errbuf_t *errbuf)
{
    /* Into a buffer of its own: what is half written at an error has open containers. */
    buffer_t result;
    buffer_init(&result);
    const char *begin = text.size == 0 ? "" : (const char *)text.data;
    parser_t parser = {.begin = begin, .at = begin, .end = begin + text.size, .errbuf = errbuf};
    buffer_init(&parser.text);
    pack_writer_init(&parser.writer, &result);
    err_t err = s_parse(&parser);
    if (err == ERR_OK) {
        pack_writer_done(&parser.writer);
        err = pack_check(buffer_slice(&result), MSGPACK_REPLY_NODE_COUNT_MAX, errbuf);
        err = err == ERR_OK ? ERR_OK : ERR_INVALID;
    }
    if (err == ERR_OK) {
        buffer_append(out, result.data, result.size);
    }
    buffer_done(&parser.text);
    buffer_done(&result);
    return err;
}
