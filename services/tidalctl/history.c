#include "services/tidalctl/history.h"

#include "common/base/bounds.h"
#include "common/base/check.h"

#include <blake3.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

enum { NS_PER_MS = 1000 * 1000, COLUMN_COUNT_MAX = 32, READ_SIZE = 128 * 1024 };

/* -- lines of fields --------------------------------------------------------------------------- */

typedef struct {
    char path[HISTORY_PATH_SIZE_MAX];
    gzFile file;
    uint64_t line; /* of the text in `text`, from 1 */
    char *text;    /* HISTORY_LINE_SIZE_MAX bytes; fields are cut in it */
    uint32_t field_count;
    char *fields[COLUMN_COUNT_MAX];
} table_file_t;

static err_t s_refuse(const table_file_t *self,
                      const char *expected,
                      const char *found,
                      errbuf_t *errbuf)
{
    errbuf_set(errbuf, "%s, line %" PRIu64 ": expected %s, found '%.80s'", self->path, self->line,
               expected, found);
    return ERR_INVALID;
}

static void s_close(table_file_t *self)
{
    if (self->file != NULL) {
        (void)gzclose_r(self->file); /* read only: nothing is lost */
    }
    free(self->text);
    self->file = NULL;
    self->text = NULL;
}

static err_t s_read_failed(const table_file_t *self, errbuf_t *errbuf)
{
    int code = Z_OK;
    const char *text = gzerror(self->file, &code);
    errbuf_set(errbuf, "%s, behind line %" PRIu64 ": %s", self->path, self->line,
               text[0] != '\0' ? text : "it cannot be read");
    return code == Z_DATA_ERROR || code == Z_BUF_ERROR ? ERR_INVALID : ERR_IO;
}

/* Cuts self->text at its tabs. */
static void s_cut(table_file_t *self)
{
    char *at = self->text;
    self->field_count = 0;
    while (at != NULL && self->field_count < COLUMN_COUNT_MAX) {
        self->fields[self->field_count++] = at;
        char *tab = strchr(at, '\t');
        if (tab != NULL) {
            *tab++ = '\0';
        }
        at = tab;
    }
}

/* The next line that is not empty. errs ERR_END, ERR_INVALID, ERR_IO */
static err_t s_next_line(table_file_t *self, errbuf_t *errbuf)
{
    size_t length = 0;
    while (length == 0) {
        if (gzgets(self->file, self->text, HISTORY_LINE_SIZE_MAX) == NULL) {
            int code = Z_OK;
            (void)gzerror(self->file, &code);
            return code == Z_OK || code == Z_STREAM_END ? ERR_END : s_read_failed(self, errbuf);
        }
        self->line++;
        length = strlen(self->text);
        if (length == HISTORY_LINE_SIZE_MAX - 1) {
            return s_refuse(self, "a line of at most 64 KiB", self->text, errbuf);
        }
        while (length > 0 && (self->text[length - 1] == '\n' || self->text[length - 1] == '\r')) {
            self->text[--length] = '\0';
        }
    }
    s_cut(self);
    return ERR_OK;
}

static err_t s_open(table_file_t *self, const char *path, errbuf_t *errbuf)
{
    *self = (table_file_t){0};
    if (strlen(path) >= sizeof(self->path)) {
        errbuf_set(errbuf, "expected a path of at most %zu bytes", sizeof(self->path) - 1);
        return ERR_INVALID;
    }
    (void)snprintf(self->path, sizeof(self->path), "%s", path);
    errno = 0;
    self->file = gzopen(path, "rb");
    if (self->file == NULL) {
        errbuf_set(errbuf, "expected a history at %s, found none that can be opened%s", path,
                   errno == ENOENT ? ": there is no such file" : "");
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    }
    (void)gzbuffer(self->file, READ_SIZE);
    self->text = malloc(HISTORY_LINE_SIZE_MAX);
    CHECK(self->text != NULL);
    err_t err = s_next_line(self, errbuf);
    if (err == ERR_END) {
        errbuf_set(errbuf, "%s: expected a first line with the names of the columns, found none",
                   path);
        err = ERR_INVALID;
    }
    if (err != ERR_OK) {
        s_close(self);
    }
    return err;
}

/* Index of a column by its name in the first line. */
static err_t s_column(const table_file_t *self,
                      const char *name,
                      uint32_t *ret_index,
                      errbuf_t *errbuf)
{
    for (uint32_t i = 0; i < self->field_count; i++) {
        if (strcmp(self->fields[i], name) == 0) {
            *ret_index = i;
            return ERR_OK;
        }
    }
    errbuf_set(errbuf, "%s, line 1: expected a column '%s', found none of that name", self->path,
               name);
    return ERR_INVALID;
}

/* "" for a field that the line does not have. */
static const char *s_field(const table_file_t *self, uint32_t index)
{
    return index < self->field_count ? self->fields[index] : "";
}

static err_t s_id(const table_file_t *self, uint32_t index, uint64_t *ret_id, errbuf_t *errbuf)
{
    const char *text = s_field(self, index);
    if (text_to_u64(text, 1, UINT64_MAX, ret_id) != ERR_OK) {
        return s_refuse(self, "a number of 1 and up", text, errbuf);
    }
    return ERR_OK;
}

/* -- events ------------------------------------------------------------------------------------ */

struct history {
    table_file_t file;
    uint32_t ts;
    uint32_t user;
    uint32_t item;
    uint32_t action;
};

err_t history_open(const char *path, history_t **ret_history, errbuf_t *errbuf)
{
    history_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    err_t err = s_open(&self->file, path, errbuf);
    if (err != ERR_OK) {
        free(self);
        return err;
    }
    struct {
        const char *name;
        uint32_t *index;
    } columns[] = {{"ts_ms", &self->ts},
                   {"user", &self->user},
                   {"item", &self->item},
                   {"action", &self->action}};
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]) && err == ERR_OK; i++) {
        err = s_column(&self->file, columns[i].name, columns[i].index, errbuf);
    }
    if (err != ERR_OK) {
        history_close(&self);
        return err;
    }
    *ret_history = self;
    return ERR_OK;
}

void history_close(history_t **self_p)
{
    if (*self_p != NULL) {
        s_close(&(*self_p)->file);
        free(*self_p);
        *self_p = NULL;
    }
}

err_t history_next(history_t *self, history_event_t *ret_event, errbuf_t *errbuf)
{
    static const uint64_t s_ms_max = (uint64_t)(INT64_MAX / NS_PER_MS);
    history_event_t event = {0};
    uint64_t ms = 0;
    err_t err = s_next_line(&self->file, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    const char *ts = s_field(&self->file, self->ts);
    const char *action = s_field(&self->file, self->action);
    if (text_to_u64(ts, 0, s_ms_max, &ms) != ERR_OK) {
        return s_refuse(&self->file, "ts_ms, milliseconds since 1970", ts, errbuf);
    }
    if (strlen(action) != 1 || strchr("MAD", action[0]) == NULL) {
        return s_refuse(&self->file, "the action M, A or D", action, errbuf);
    }
    event.ts_ns = (int64_t)ms * NS_PER_MS;
    event.action = action[0] == 'M'   ? HISTORY_CHANGED
                   : action[0] == 'A' ? HISTORY_ADDED
                                      : HISTORY_DELETED;
    err = s_id(&self->file, self->user, &event.user, errbuf);
    if (err == ERR_OK) {
        err = s_id(&self->file, self->item, &event.item, errbuf);
    }
    if (err == ERR_OK) {
        *ret_event = event;
    }
    return err;
}

/* -- items ------------------------------------------------------------------------------------- */

/* Texts by their place in `texts`: it moves while it grows. */
typedef struct {
    uint64_t item;
    size_t title_offset;
    size_t title_size;
    size_t category_offset;
    size_t category_size;
} item_entry_t;

struct history_items {
    buffer_t texts;
    item_entry_t *entries; /* ascending by item */
    uint64_t count;
    uint64_t capacity;
};

static int s_compare_items(const void *a, const void *b)
{
    uint64_t left = ((const item_entry_t *)a)->item;
    uint64_t right = ((const item_entry_t *)b)->item;
    return left < right ? -1 : left > right ? 1 : 0;
}

static err_t s_take_text(const table_file_t *file,
                         uint32_t index,
                         slice_t *ret_text,
                         errbuf_t *errbuf)
{
    slice_t text = slice_text(s_field(file, index));
    if (!bytes_are_utf8(text) || text.size > TEXT_SIZE_MAX) {
        return s_refuse(file, "UTF-8 of at most 16 KiB", (const char *)text.data, errbuf);
    }
    *ret_text = text;
    return ERR_OK;
}

static void s_add_item(history_items_t *self, uint64_t item, slice_t title, slice_t category)
{
    if (self->count == self->capacity) {
        self->capacity = self->capacity == 0 ? 1024 : 2 * self->capacity;
        self->entries = realloc(self->entries, self->capacity * sizeof(item_entry_t));
        CHECK(self->entries != NULL);
    }
    item_entry_t *entry = &self->entries[self->count++];
    *entry = (item_entry_t){.item = item, .title_size = title.size, .category_size = category.size};
    entry->title_offset = self->texts.size;
    buffer_append(&self->texts, title.data, title.size);
    entry->category_offset = self->texts.size;
    buffer_append(&self->texts, category.data, category.size);
}

static err_t s_load_items(history_items_t *self, table_file_t *file, errbuf_t *errbuf)
{
    uint32_t item = 0;
    uint32_t title = 0;
    uint32_t category = 0;
    err_t err = s_column(file, "item", &item, errbuf);
    err = err == ERR_OK ? s_column(file, "title", &title, errbuf) : err;
    err = err == ERR_OK ? s_column(file, "category", &category, errbuf) : err;
    while (err == ERR_OK) {
        uint64_t id = 0;
        slice_t texts[2];
        err = s_next_line(file, errbuf);
        err = err == ERR_OK ? s_id(file, item, &id, errbuf) : err;
        err = err == ERR_OK ? s_take_text(file, title, &texts[0], errbuf) : err;
        err = err == ERR_OK ? s_take_text(file, category, &texts[1], errbuf) : err;
        if (err == ERR_OK) {
            s_add_item(self, id, texts[0], texts[1]);
        }
    }
    return err == ERR_END ? ERR_OK : err;
}

err_t history_items_load(const char *path, history_items_t **ret_items, errbuf_t *errbuf)
{
    table_file_t file;
    err_t err = s_open(&file, path, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    history_items_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    buffer_init(&self->texts);
    err = s_load_items(self, &file, errbuf);
    s_close(&file);
    if (self->count > 1) {
        qsort(self->entries, self->count, sizeof(item_entry_t), s_compare_items);
    }
    for (uint64_t i = 1; err == ERR_OK && i < self->count; i++) {
        if (self->entries[i].item == self->entries[i - 1].item) {
            errbuf_set(errbuf, "%s: expected each item once, found item %" PRIu64 " again", path,
                       self->entries[i].item);
            err = ERR_INVALID;
        }
    }
    if (err != ERR_OK) {
        history_items_destroy(&self);
        return err;
    }
    *ret_items = self;
    return ERR_OK;
}

void history_items_destroy(history_items_t **self_p)
{
    if (*self_p != NULL) {
        buffer_done(&(*self_p)->texts);
        free((*self_p)->entries);
        free(*self_p);
        *self_p = NULL;
    }
}

uint64_t history_items_count(const history_items_t *self)
{
    return self == NULL ? 0 : self->count;
}

static slice_t s_text_at(const history_items_t *self, size_t offset, size_t size)
{
    if (size == 0) {
        return slice_make(NULL, 0);
    }
    return slice_make(self->texts.data + offset, size);
}

bool history_items_find(const history_items_t *self, uint64_t item, history_item_t *ret_item)
{
    item_entry_t key = {.item = item};
    if (self == NULL || self->count == 0) {
        return false;
    }
    const item_entry_t *entry =
        bsearch(&key, self->entries, self->count, sizeof(key), s_compare_items);
    if (entry == NULL) {
        return false;
    }
    *ret_item =
        (history_item_t){.item = item,
                         .title = s_text_at(self, entry->title_offset, entry->title_size),
                         .category = s_text_at(self, entry->category_offset, entry->category_size)};
    return true;
}

/* "<stem>-items.tsv.gz" or without .gz, whichever is there. */
static bool s_find_items(const char *stem, size_t stem_size, char ret_path[HISTORY_PATH_SIZE_MAX])
{
    static const char *const s_items[] = {"-items.tsv.gz", "-items.tsv"};
    for (size_t i = 0; i < sizeof(s_items) / sizeof(s_items[0]); i++) {
        int length =
            snprintf(ret_path, HISTORY_PATH_SIZE_MAX, "%.*s%s", (int)stem_size, stem, s_items[i]);
        if (length > 0 && length < HISTORY_PATH_SIZE_MAX && access(ret_path, R_OK) == 0) {
            return true;
        }
    }
    return false;
}

bool history_items_path(const char *events_path, char ret_path[HISTORY_PATH_SIZE_MAX])
{
    static const char *const s_endings[] = {"-events.tsv.gz", "-events.tsv", ".tsv.gz", ".tsv"};
    size_t size = strlen(events_path);
    for (size_t i = 0; i < sizeof(s_endings) / sizeof(s_endings[0]); i++) {
        size_t ending = strlen(s_endings[i]);
        if (size > ending && strcmp(events_path + size - ending, s_endings[i]) == 0) {
            return s_find_items(events_path, size - ending, ret_path);
        }
    }
    return false;
}

/* -- identity ---------------------------------------------------------------------------------- */

static void s_hash_slice(blake3_hasher *hasher, slice_t text)
{
    uint8_t size[8];
    bytes_put_u64(size, text.size);
    blake3_hasher_update(hasher, size, sizeof(size));
    if (text.size > 0) {
        blake3_hasher_update(hasher, text.data, text.size);
    }
}

static void s_hash_items(blake3_hasher *hasher, const history_items_t *items)
{
    for (uint64_t i = 0; i < history_items_count(items); i++) {
        const item_entry_t *entry = &items->entries[i];
        uint8_t id[8];
        bytes_put_u64(id, entry->item);
        blake3_hasher_update(hasher, id, sizeof(id));
        s_hash_slice(hasher, s_text_at(items, entry->title_offset, entry->title_size));
        s_hash_slice(hasher, s_text_at(items, entry->category_offset, entry->category_size));
    }
}

static void s_hash_event(blake3_hasher *hasher, const history_event_t *event)
{
    uint8_t bytes[25];
    bytes_put_u64(bytes, (uint64_t)event->ts_ns);
    bytes_put_u64(bytes + 8, event->user);
    bytes_put_u64(bytes + 16, event->item);
    bytes[24] = (uint8_t)event->action;
    blake3_hasher_update(hasher, bytes, sizeof(bytes));
}

err_t history_identify(const char *events_path,
                       const history_items_t *items,
                       uint64_t event_count_max,
                       uint8_t ret_hash[HISTORY_HASH_SIZE],
                       uint64_t *ret_event_count,
                       errbuf_t *errbuf)
{
    history_t *history = NULL;
    err_t err = history_open(events_path, &history, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    s_hash_items(&hasher, items);
    uint64_t count = 0;
    history_event_t event;
    while (err == ERR_OK && (event_count_max == 0 || count < event_count_max)) {
        err = history_next(history, &event, errbuf);
        if (err == ERR_OK) {
            s_hash_event(&hasher, &event);
            count++;
        }
    }
    history_close(&history);
    if (err != ERR_OK && err != ERR_END) {
        return err;
    }
    blake3_hasher_finalize(&hasher, ret_hash, HISTORY_HASH_SIZE);
    *ret_event_count = count;
    return ERR_OK;
}
