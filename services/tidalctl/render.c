#include "services/tidalctl/render.h"

#include "common/base/check.h"
#include "services/tidalctl/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { NS_PER_S = 1000 * 1000 * 1000 };

/* -- values ------------------------------------------------------------------------------------ */

const char *render_time(int64_t ns, char ret_text[RENDER_TIME_SIZE])
{
    time_t seconds = (time_t)(ns / NS_PER_S);
    struct tm parts;
    if (ns < 0 || gmtime_r(&seconds, &parts) == NULL) {
        (void)snprintf(ret_text, RENDER_TIME_SIZE, "%lld ns", (long long)ns);
        return ret_text;
    }
    char date[24];
    (void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(ret_text, RENDER_TIME_SIZE, "%s.%09lldZ", date, (long long)(ns % NS_PER_S));
    return ret_text;
}

static void s_format_list(buffer_t *out, const char *format, va_list list)
    __attribute__((format(printf, 2, 0)));

static void s_format_list(buffer_t *out, const char *format, va_list list)
{
    char text[4096];
    int size = vsnprintf(text, sizeof(text), format, list);
    CHECK(size >= 0);
    size_t length = (size_t)size < sizeof(text) ? (size_t)size : sizeof(text) - 1;
    buffer_append(out, text, length);
}

void render_format(buffer_t *out, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    s_format_list(out, format, list);
    va_end(list);
}

void render_flush(buffer_t *text)
{
    if (text->size > 0) {
        (void)fwrite(text->data, 1, text->size, stdout);
    }
    (void)fflush(stdout);
    buffer_clear(text);
}

/* -- tables ------------------------------------------------------------------------------------ */

void render_table_init(render_table_t *self, uint32_t column_count)
{
    *self = (render_table_t){.column_count = column_count};
    buffer_init(&self->texts);
    buffer_init(&self->offsets);
}

void render_table_done(render_table_t *self)
{
    buffer_done(&self->texts);
    buffer_done(&self->offsets);
}

static void s_end_cell(render_table_t *self)
{
    bytes_put_u64(buffer_extend(&self->offsets, sizeof(uint64_t)), self->texts.size);
    self->cell_count++;
}

void render_table_add_slice(render_table_t *self, slice_t text)
{
    buffer_append(&self->texts, text.data, text.size);
    s_end_cell(self);
}

void render_table_add(render_table_t *self, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    s_format_list(&self->texts, format, list);
    va_end(list);
    s_end_cell(self);
}

static slice_t s_cell(const render_table_t *self, uint32_t index)
{
    uint64_t begin = index == 0 ? 0 : bytes_get_u64(self->offsets.data + 8 * (size_t)(index - 1));
    uint64_t end = bytes_get_u64(self->offsets.data + 8 * (size_t)index);
    if (self->texts.data == NULL) {
        return slice_make(NULL, 0);
    }
    return slice_make(self->texts.data + begin, (size_t)(end - begin));
}

/* Characters, for UTF-8. */
static size_t s_width(slice_t text)
{
    size_t width = 0;
    for (size_t i = 0; i < text.size; i++) {
        width += (text.data[i] & 0xc0) != 0x80 ? 1 : 0;
    }
    return width;
}

static bool s_is_numeric(slice_t text)
{
    bool has_digit = false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        bool is_digit = byte >= '0' && byte <= '9';
        if (!is_digit && (byte == 0 || strchr(".-+e", byte) == NULL)) {
            return false;
        }
        has_digit = has_digit || is_digit;
    }
    return has_digit && text.data[0] != 'e';
}

static void s_pad(buffer_t *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buffer_append(out, " ", 1);
    }
}

void render_table_print(const render_table_t *self, uint32_t indent, buffer_t *out)
{
    enum { COLUMN_COUNT_MAX = 64, WIDTH_MAX = 120 };
    size_t widths[COLUMN_COUNT_MAX] = {0};
    CHECK(self->column_count >= 1 && self->column_count <= COLUMN_COUNT_MAX);
    CHECK(self->cell_count % self->column_count == 0);
    for (uint32_t i = 0; i < self->cell_count; i++) {
        size_t width = s_width(s_cell(self, i));
        width = width < WIDTH_MAX ? width : WIDTH_MAX;
        size_t *column = &widths[i % self->column_count];
        *column = width > *column ? width : *column;
    }
    for (uint32_t i = 0; i < self->cell_count; i++) {
        uint32_t column = i % self->column_count;
        slice_t text = s_cell(self, i);
        size_t width = s_width(text);
        size_t pad = width < widths[column] ? widths[column] - width : 0;
        bool right = s_is_numeric(text);
        bool last = column + 1 == self->column_count;
        s_pad(out, column == 0 ? indent : 2);
        s_pad(out, right ? pad : 0);
        buffer_append(out, text.data, text.size);
        s_pad(out, right || last ? 0 : pad);
        buffer_append(out, "\n", last ? 1 : 0);
    }
}

/* -- replies ----------------------------------------------------------------------------------- */

/* The bytes of the value at the cursor, which moves behind it. */
static slice_t s_take(pack_reader_t *reader)
{
    const uint8_t *begin = reader->at;
    (void)pack_skip(reader);
    return slice_make(begin, (size_t)(reader->at - begin));
}

static void s_add_value(render_table_t *table, slice_t value)
{
    pack_reader_t reader = pack_reader(value);
    if (value.size > 0) {
        json_write_next(&reader, true, &table->texts);
    }
    s_end_cell(table);
}

static void s_add_cell(render_table_t *table, bool is_wanted, slice_t value)
{
    if (is_wanted) {
        s_add_value(table, value);
    }
}

/* A list of maps: the keys of the first one are the columns. */
static void s_render_maps(pack_reader_t rows, uint32_t row_count, buffer_t *out)
{
    enum { COLUMN_COUNT_MAX = 32 };
    slice_t keys[COLUMN_COUNT_MAX];
    pack_value_t head;
    pack_value_t key;
    pack_reader_t first = rows;
    (void)pack_next(&first, &head);
    uint32_t column_count = 0;
    for (uint32_t i = 0; i < head.as.count && column_count < COLUMN_COUNT_MAX; i++) {
        (void)pack_next(&first, &key);
        keys[column_count++] = key.as.bytes;
        (void)pack_skip(&first);
    }
    if (column_count == 0) {
        return;
    }
    render_table_t table;
    render_table_init(&table, column_count);
    for (uint32_t i = 0; i < column_count; i++) {
        render_table_add_slice(&table, keys[i]);
    }
    for (uint32_t row = 0; row < row_count; row++) {
        slice_t bytes = s_take(&rows);
        for (uint32_t i = 0; i < column_count; i++) {
            char path[NAME_LENGTH_MAX + 1];
            pack_reader_t value;
            (void)snprintf(path, sizeof(path), "%.*s", (int)keys[i].size,
                           (const char *)keys[i].data);
            bool found = pack_find(pack_reader(bytes), path, &value);
            s_add_value(&table, found ? s_take(&value) : (slice_t){0});
        }
    }
    render_table_print(&table, 2, out);
    render_table_done(&table);
}

/* A list of lists of one length. */
static void s_render_lists(pack_reader_t rows, uint32_t row_count, buffer_t *out)
{
    pack_value_t head;
    pack_reader_t first = rows;
    (void)pack_next(&first, &head);
    uint32_t column_count = head.as.count;
    render_table_t table;
    if (column_count == 0 || column_count > 64) {
        return;
    }
    render_table_init(&table, column_count);
    for (uint32_t row = 0; row < row_count; row++) {
        (void)pack_next(&rows, &head);
        uint32_t cell_count = head.kind == PACK_ARRAY ? head.as.count : 0;
        for (uint32_t i = 0; i < cell_count || i < column_count; i++) {
            slice_t value = i < cell_count ? s_take(&rows) : (slice_t){0};
            s_add_cell(&table, i < column_count, value);
        }
    }
    render_table_print(&table, 2, out);
    render_table_done(&table);
}

static void s_render_map(pack_reader_t reader, uint32_t count, buffer_t *out)
{
    render_table_t table;
    render_table_init(&table, 2);
    for (uint32_t i = 0; i < count; i++) {
        s_add_value(&table, s_take(&reader));
        s_add_value(&table, s_take(&reader));
    }
    render_table_print(&table, 2, out);
    render_table_done(&table);
}

static void s_render_field(slice_t key, slice_t value, buffer_t *out)
{
    pack_reader_t reader = pack_reader(value);
    pack_reader_t inner = reader;
    pack_value_t head;
    (void)pack_next(&inner, &head);
    pack_kind_t first = pack_peek(&inner);
    bool is_list = head.kind == PACK_ARRAY && head.as.count > 0;
    buffer_append(out, key.data, key.size);
    if (is_list && first == PACK_MAP) {
        render_format(out, "\n");
        s_render_maps(inner, head.as.count, out);
    } else if (is_list && first == PACK_ARRAY) {
        render_format(out, "\n");
        s_render_lists(inner, head.as.count, out);
    } else if (head.kind == PACK_MAP && head.as.count > 0) {
        render_format(out, "\n");
        s_render_map(inner, head.as.count, out);
    } else {
        render_format(out, "  ");
        json_write_next(&reader, true, out);
        if (slice_equal(key, slice_text("as_of")) && head.kind == PACK_UINT) {
            char text[RENDER_TIME_SIZE];
            render_format(out, "  (%s)", render_time((int64_t)head.as.uint, text));
        }
        render_format(out, "\n");
    }
}

void render_reply(slice_t reply, buffer_t *out)
{
    static const char *const s_hidden[] = {"id", "ok", "error", "token"};
    pack_reader_t reader = pack_reader(reply);
    pack_value_t head;
    if (!pack_next(&reader, &head) || head.kind != PACK_MAP) {
        return;
    }
    for (uint32_t i = 0; i < head.as.count; i++) {
        pack_value_t key;
        bool hidden = false;
        (void)pack_next(&reader, &key);
        slice_t value = s_take(&reader);
        for (size_t j = 0; j < sizeof(s_hidden) / sizeof(s_hidden[0]); j++) {
            hidden = hidden || slice_equal(key.as.bytes, slice_text(s_hidden[j]));
        }
        if (!hidden) {
            s_render_field(key.as.bytes, value, out);
        }
    }
}
