#include "common/topology/yaml_file.h"

#include "common/base/bounds.h"
#include "common/base/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct yaml_file {
    char *path;
    uint8_t *bytes;
    size_t size;
    bool has_document;
    yaml_document_t document;
};

/* -- reading and syntax ------------------------------------------------------------------------ */

static err_t s_read(yaml_file_t *self, FILE *stream, errbuf_t *errbuf)
{
    self->bytes = malloc(CONFIG_FILE_SIZE_MAX + 1);
    CHECK(self->bytes != NULL);
    self->size = fread(self->bytes, 1, CONFIG_FILE_SIZE_MAX + 1, stream);
    if (ferror(stream) != 0) {
        errbuf_set(errbuf, "%s: expected a readable file, reading it failed (is it a folder?)",
                   self->path);
        return ERR_IO;
    }
    if (self->size > CONFIG_FILE_SIZE_MAX) {
        errbuf_set(errbuf, "%s: expected at most %d bytes, found more", self->path,
                   CONFIG_FILE_SIZE_MAX);
        return ERR_TOO_LARGE;
    }
    return ERR_OK;
}

static err_t s_read_path(yaml_file_t *self, errbuf_t *errbuf)
{
    FILE *stream = fopen(self->path, "rbe");
    if (stream == NULL) {
        bool missing = errno == ENOENT || errno == ENOTDIR;
        errbuf_set(errbuf, "%s: expected a file, %s", self->path,
                   missing ? "found none: check the path"
                           : "found one that cannot be opened: check its permissions");
        return missing ? ERR_NOT_FOUND : ERR_IO;
    }
    err_t err = s_read(self, stream, errbuf);
    (void)fclose(stream); /* opened for reading: nothing can be lost */
    return err;
}

/* A parser over the bytes of the file. */
static void s_parser_init(const yaml_file_t *self, yaml_parser_t *parser)
{
    CHECK(yaml_parser_initialize(parser) == 1); /* fails only without memory */
    yaml_parser_set_input_string(parser, self->bytes, self->size);
}

static err_t s_refuse_at(const yaml_file_t *self,
                         yaml_mark_t mark,
                         errbuf_t *errbuf,
                         const char *expected)
{
    errbuf_set(errbuf, "%s:%zu:%zu: %s", self->path, mark.line + 1, mark.column + 1, expected);
    return ERR_INVALID;
}

static err_t s_refuse_syntax(const yaml_file_t *self, const yaml_parser_t *parser, errbuf_t *errbuf)
{
    yaml_mark_t mark = parser->problem_mark;
    const char *problem = parser->problem == NULL ? "malformed" : parser->problem;
    if (parser->error == YAML_READER_ERROR) {
        errbuf_set(errbuf, "%s: expected YAML in UTF-8, found at byte %zu: %s", self->path,
                   parser->problem_offset, problem);
        return ERR_INVALID;
    }
    errbuf_set(errbuf, "%s:%zu:%zu: expected YAML, found an error: %s", self->path, mark.line + 1,
               mark.column + 1, problem);
    if (parser->context != NULL) {
        errbuf_t cause = *errbuf;
        errbuf_set(errbuf, "%s %s that begins in line %zu", cause.text, parser->context,
                   parser->context_mark.line + 1);
    }
    return ERR_INVALID;
}

typedef struct {
    unsigned document_count;
    int depth;
} syntax_t;

static err_t s_check_event(const yaml_file_t *self,
                           const yaml_event_t *event,
                           syntax_t *syntax,
                           errbuf_t *errbuf)
{
    yaml_mark_t mark = event->start_mark;
    if (event->type == YAML_ALIAS_EVENT) {
        return s_refuse_at(self, mark, errbuf, "expected a value, found an alias (*name)");
    }
    if (event->type == YAML_DOCUMENT_START_EVENT && ++syntax->document_count > 1) {
        return s_refuse_at(self, mark, errbuf, "expected one document, found a second");
    }
    if (event->type == YAML_SCALAR_EVENT) {
        const char *text = (const char *)event->data.scalar.value;
        if (strlen(text) != event->data.scalar.length) {
            return s_refuse_at(self, mark, errbuf, "expected text, found a zero byte in it");
        }
    }
    bool opens =
        event->type == YAML_MAPPING_START_EVENT || event->type == YAML_SEQUENCE_START_EVENT;
    bool closes = event->type == YAML_MAPPING_END_EVENT || event->type == YAML_SEQUENCE_END_EVENT;
    syntax->depth += opens ? 1 : closes ? -1 : 0;
    if (syntax->depth > CONFIG_DEPTH_MAX) {
        return s_refuse_at(self, mark, errbuf, "expected less nesting of maps and lists");
    }
    return ERR_OK;
}

/* One pass over the events before anything is built from them: aliases could make a small file
 * large, and more than one document would be ignored in silence. */
static err_t s_check_syntax(const yaml_file_t *self, errbuf_t *errbuf)
{
    yaml_parser_t parser;
    s_parser_init(self, &parser);
    syntax_t syntax = {0, 0};
    err_t err = ERR_OK;
    bool done = false;
    while (err == ERR_OK && !done) {
        yaml_event_t event;
        if (yaml_parser_parse(&parser, &event) != 1) {
            err = s_refuse_syntax(self, &parser, errbuf);
            break;
        }
        err = s_check_event(self, &event, &syntax, errbuf);
        done = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (err == ERR_OK && syntax.document_count == 0) {
        errbuf_set(errbuf, "%s:1:1: expected a map of settings, found nothing", self->path);
        return ERR_INVALID;
    }
    return err;
}

static err_t s_compose(yaml_file_t *self, errbuf_t *errbuf)
{
    yaml_parser_t parser;
    s_parser_init(self, &parser);
    err_t err = ERR_OK;
    if (yaml_parser_load(&parser, &self->document) == 1) {
        self->has_document = true;
    } else {
        err = s_refuse_syntax(self, &parser, errbuf);
    }
    yaml_parser_delete(&parser);
    return err;
}

err_t yaml_file_open(const char *path, yaml_file_t **ret_file, errbuf_t *errbuf)
{
    yaml_file_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    size_t path_size = strlen(path) + 1;
    self->path = malloc(path_size);
    CHECK(self->path != NULL);
    (void)memcpy(self->path, path, path_size);

    err_t err = s_read_path(self, errbuf);
    if (err == ERR_OK) {
        err = s_check_syntax(self, errbuf);
    }
    if (err == ERR_OK) {
        err = s_compose(self, errbuf);
    }
    if (err != ERR_OK) {
        yaml_file_close(&self);
        return err;
    }
    *ret_file = self;
    return ERR_OK;
}

void yaml_file_close(yaml_file_t **self_p)
{
    yaml_file_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    if (self->has_document) {
        yaml_document_delete(&self->document);
    }
    free(self->bytes);
    free(self->path);
    free(self);
    *self_p = NULL;
}

/* -- finding places ---------------------------------------------------------------------------- */

static yaml_node_t *s_node(const yaml_file_t *self, int index)
{
    /* libyaml reads the document only, but its signature has no const. */
    union {
        const yaml_document_t *in;
        yaml_document_t *out;
    } document = {.in = &self->document};
    yaml_node_t *node = yaml_document_get_node(document.out, index);
    CHECK(node != NULL);
    return node;
}

static const char *s_scalar(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static size_t s_pair_count(const yaml_node_t *map)
{
    return (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start);
}

static size_t s_item_count(const yaml_node_t *list)
{
    return (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
}

/* Node of the value under this key, or NULL. */
static const yaml_node_t *s_find_key(const yaml_file_t *self,
                                     const yaml_node_t *map,
                                     const char *key,
                                     size_t key_length)
{
    if (map->type != YAML_MAPPING_NODE) {
        return NULL;
    }
    for (size_t i = 0; i < s_pair_count(map); i++) {
        const yaml_node_pair_t *pair = &map->data.mapping.pairs.start[i];
        const char *text = s_scalar(s_node(self, pair->key));
        if (text != NULL && strlen(text) == key_length && memcmp(text, key, key_length) == 0) {
            return s_node(self, pair->value);
        }
    }
    return NULL;
}

static const yaml_node_t *s_find_item(const yaml_file_t *self, const yaml_node_t *list, size_t at)
{
    if (list->type != YAML_SEQUENCE_NODE || at >= s_item_count(list)) {
        return NULL;
    }
    return s_node(self, list->data.sequence.items.start[at]);
}

/* Place of the value at this path, or of the innermost part of the path that the file has. */
static yaml_mark_t s_locate(const yaml_file_t *self, const char *path)
{
    const yaml_node_t *node = s_node(self, 1);
    while (*path != '\0') {
        const yaml_node_t *next = NULL;
        if (*path == '[') {
            char *end = NULL;
            unsigned long at = strtoul(path + 1, &end, 10);
            CHECK(*end == ']');
            next = s_find_item(self, node, at);
            path = end + 1;
        } else {
            size_t length = strcspn(path, ".[");
            next = s_find_key(self, node, path, length);
            path += length;
        }
        if (next == NULL) {
            break;
        }
        node = next;
        path += *path == '.' ? 1 : 0;
    }
    return node->start_mark;
}

void yaml_file_prefix(const yaml_file_t *self, const char *path, errbuf_t *errbuf)
{
    yaml_mark_t mark = s_locate(self, path);
    errbuf_prefix(errbuf, "%s:%zu:%zu%s%s", self->path, mark.line + 1, mark.column + 1,
                  *path == '\0' ? "" : ": ", path);
}

err_t yaml_file_refuse(
    const yaml_file_t *self, const char *path, errbuf_t *errbuf, const char *format, ...)
{
    char text[ERRBUF_SIZE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    errbuf_set(errbuf, "%s", text);
    yaml_file_prefix(self, path, errbuf);
    return ERR_INVALID;
}

/* -- what does not fit the schema -------------------------------------------------------------- */

/* One map or list that the walk is inside of. */
typedef struct {
    const yaml_node_t *node;
    const cyaml_schema_value_t *schema;
    size_t next;        /* entry to look at next */
    size_t path_length; /* of the path to this node */
} frame_t;

typedef struct {
    const yaml_file_t *file;
    unsigned depth;
    frame_t frames[CONFIG_DEPTH_MAX + 1];
    char path[YAML_PATH_SIZE];
    errbuf_t *errbuf;
} walk_t;

static err_t s_walk_refuse(const walk_t *walk, yaml_mark_t mark, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static err_t s_walk_refuse(const walk_t *walk, yaml_mark_t mark, const char *format, ...)
{
    char text[ERRBUF_SIZE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    errbuf_set(walk->errbuf, "%s:%zu:%zu: %s%s%s", walk->file->path, mark.line + 1, mark.column + 1,
               walk->path, walk->path[0] == '\0' ? "" : ": ", text);
    return ERR_INVALID;
}

static const char *s_kind_expected(const cyaml_schema_value_t *schema)
{
    return schema->type == CYAML_MAPPING    ? "a map"
           : schema->type == CYAML_SEQUENCE ? "a list"
                                            : "one value";
}

static yaml_node_type_t s_node_type_expected(const cyaml_schema_value_t *schema)
{
    return schema->type == CYAML_MAPPING    ? YAML_MAPPING_NODE
           : schema->type == CYAML_SEQUENCE ? YAML_SEQUENCE_NODE
                                            : YAML_SCALAR_NODE;
}

static err_t s_refuse_kind(const walk_t *walk, const yaml_node_t *node, const char *expected)
{
    if (node->type == YAML_SCALAR_NODE && node->data.scalar.length > 0) {
        return s_walk_refuse(walk, node->start_mark, "expected %s, found '%.*s'", expected,
                             YAML_TEXT_SHOWN_MAX, (const char *)node->data.scalar.value);
    }
    const char *found = node->type == YAML_MAPPING_NODE    ? "a map"
                        : node->type == YAML_SEQUENCE_NODE ? "a list"
                                                           : "nothing";
    return s_walk_refuse(walk, node->start_mark, "expected %s, found %s", expected, found);
}

/* Steps into a value: checks its kind, and opens a frame where it has entries. */
static err_t s_walk_enter(walk_t *walk, const yaml_node_t *node, const cyaml_schema_value_t *schema)
{
    if (node->type != s_node_type_expected(schema)) {
        return s_refuse_kind(walk, node, s_kind_expected(schema));
    }
    if (schema->type == CYAML_SEQUENCE) {
        size_t count = s_item_count(node);
        if (count < schema->sequence.min || count > schema->sequence.max) {
            return s_walk_refuse(walk, node->start_mark, "expected %u to %u entries, found %zu",
                                 schema->sequence.min, schema->sequence.max, count);
        }
    }
    if (node->type != YAML_SCALAR_NODE) {
        CHECK(walk->depth <= CONFIG_DEPTH_MAX);
        walk->frames[walk->depth++] = (frame_t){node, schema, 0, strlen(walk->path)};
    }
    return ERR_OK;
}

static const cyaml_schema_field_t *s_find_field(const cyaml_schema_value_t *schema, const char *key)
{
    for (const cyaml_schema_field_t *field = schema->mapping.fields; field->key != NULL; field++) {
        if (strcmp(field->key, key) == 0) {
            return field;
        }
    }
    return NULL;
}

/* Edit distance (Levenshtein) of two short names; large where one is long. */
static size_t s_distance(const char *a, const char *b)
{
    enum { LENGTH_MAX = 32 };
    size_t a_length = strlen(a);
    size_t b_length = strlen(b);
    if (a_length > LENGTH_MAX || b_length > LENGTH_MAX) {
        return SIZE_MAX;
    }
    size_t row[LENGTH_MAX + 1];
    for (size_t j = 0; j <= b_length; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b_length];
}

/* The known key that is meant, or NULL when none is near: the one that differs least, by less than
 * one letter in three, or the one that only lacks its unit. */
static const char *s_nearest_key(const cyaml_schema_value_t *schema, const char *key)
{
    const char *nearest = NULL;
    size_t length = strlen(key);
    size_t distance = 2 + length / 4;
    for (const cyaml_schema_field_t *field = schema->mapping.fields; field->key != NULL; field++) {
        bool lacks_unit = strncmp(field->key, key, length) == 0 && field->key[length] == '_';
        size_t found = lacks_unit ? 0 : s_distance(key, field->key);
        if (found < distance) {
            distance = found;
            nearest = field->key;
        }
    }
    return nearest;
}

static err_t s_refuse_unknown_key(const walk_t *walk,
                                  const yaml_node_t *key_node,
                                  const cyaml_schema_value_t *schema)
{
    const char *key = s_scalar(key_node);
    const char *nearest = s_nearest_key(schema, key);
    char known[ERRBUF_SIZE_BYTES / 2];
    size_t used = 0;
    for (const cyaml_schema_field_t *field = schema->mapping.fields; field->key != NULL; field++) {
        int length =
            snprintf(known + used, sizeof(known) - used, "%s%s", used == 0 ? "" : " ", field->key);
        CHECK(length > 0 && used + (size_t)length < sizeof(known));
        used += (size_t)length;
    }
    return s_walk_refuse(walk, key_node->start_mark, "unknown key '%.*s'%s%s%s: expected one of %s",
                         YAML_TEXT_SHOWN_MAX, key, nearest == NULL ? "" : " (meant '",
                         nearest == NULL ? "" : nearest, nearest == NULL ? "" : "'?)", known);
}

static err_t s_walk_pair(walk_t *walk, frame_t *frame)
{
    size_t at = frame->next++;
    const yaml_node_pair_t *pair = &frame->node->data.mapping.pairs.start[at];
    const yaml_node_t *key_node = s_node(walk->file, pair->key);
    const char *key = s_scalar(key_node);
    if (key == NULL) {
        return s_refuse_kind(walk, key_node, "a key");
    }
    const cyaml_schema_field_t *field = s_find_field(frame->schema, key);
    if (field == NULL) {
        return s_refuse_unknown_key(walk, key_node, frame->schema);
    }
    for (size_t i = 0; i < at; i++) {
        const yaml_node_t *earlier =
            s_node(walk->file, frame->node->data.mapping.pairs.start[i].key);
        if (strcmp(s_scalar(earlier), key) == 0) {
            return s_walk_refuse(walk, key_node->start_mark,
                                 "expected the key '%s' once, found it again (first in line %zu)",
                                 key, earlier->start_mark.line + 1);
        }
    }
    (void)snprintf(walk->path + frame->path_length, sizeof(walk->path) - frame->path_length, "%s%s",
                   frame->path_length == 0 ? "" : ".", key);
    return s_walk_enter(walk, s_node(walk->file, pair->value), &field->value);
}

static err_t s_walk_item(walk_t *walk, frame_t *frame)
{
    size_t at = frame->next++;
    (void)snprintf(walk->path + frame->path_length, sizeof(walk->path) - frame->path_length,
                   "[%zu]", at);
    const yaml_node_t *item = s_find_item(walk->file, frame->node, at);
    CHECK(item != NULL);
    return s_walk_enter(walk, item, frame->schema->sequence.entry);
}

/* All entries were looked at: is one missing? */
static err_t s_walk_leave(walk_t *walk, const frame_t *frame)
{
    if (frame->schema->type != CYAML_MAPPING) {
        return ERR_OK;
    }
    const cyaml_schema_field_t *field = frame->schema->mapping.fields;
    for (; field->key != NULL; field++) {
        if ((field->value.flags & CYAML_FLAG_OPTIONAL) == 0 &&
            s_find_key(walk->file, frame->node, field->key, strlen(field->key)) == NULL) {
            return s_walk_refuse(walk, frame->node->start_mark, "expected the key '%s', found none",
                                 field->key);
        }
    }
    return ERR_OK;
}

/* The first thing in the document that does not fit the schema; ERR_OK when all does. */
static err_t s_check_schema(const yaml_file_t *self,
                            const cyaml_schema_value_t *schema,
                            errbuf_t *errbuf)
{
    walk_t walk = {.file = self, .errbuf = errbuf};
    err_t err = s_walk_enter(&walk, s_node(self, 1), schema);
    while (err == ERR_OK && walk.depth > 0) {
        frame_t *frame = &walk.frames[walk.depth - 1];
        bool is_map = frame->schema->type == CYAML_MAPPING;
        size_t count = is_map ? s_pair_count(frame->node) : s_item_count(frame->node);
        walk.path[frame->path_length] = '\0';
        if (frame->next < count) {
            err = is_map ? s_walk_pair(&walk, frame) : s_walk_item(&walk, frame);
        } else {
            err = s_walk_leave(&walk, frame);
            walk.depth--;
        }
    }
    return err;
}

/* -- loading ----------------------------------------------------------------------------------- */

/* Keeps the first error of libcyaml, for the case that the walk finds nothing. */
static void s_log(cyaml_log_t level, void *context, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

static void s_log(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
    errbuf_t *first = context;
    if (level >= CYAML_LOG_ERROR && first->text[0] == '\0') {
        (void)vsnprintf(first->text, sizeof(first->text), format, arguments);
        first->text[strcspn(first->text, "\n")] = '\0';
    }
}

static cyaml_config_t s_config(errbuf_t *first)
{
    return (cyaml_config_t){
        .log_fn = s_log,
        .log_ctx = first,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_WARNING,
        .flags = CYAML_CFG_NO_ALIAS,
    };
}

err_t yaml_file_load(const yaml_file_t *self,
                     const cyaml_schema_value_t *schema,
                     void **ret_data,
                     errbuf_t *errbuf)
{
    errbuf_t first = {""};
    cyaml_config_t config = s_config(&first);
    void *data = NULL;
    cyaml_err_t found = cyaml_load_data(self->bytes, self->size, &config, schema, &data, NULL);
    if (found == CYAML_OK && data != NULL) {
        *ret_data = data;
        return ERR_OK;
    }
    err_t err = s_check_schema(self, schema, errbuf);
    if (err == ERR_OK) {
        errbuf_set(errbuf, "%s: expected a file that fits its schema: %s: %s", self->path,
                   cyaml_strerror(found), first.text);
        err = ERR_INVALID;
    }
    return err;
}

void yaml_file_free(const cyaml_schema_value_t *schema, void **data_p)
{
    errbuf_t first = {""};
    cyaml_config_t config = s_config(&first);
    if (*data_p != NULL) {
        cyaml_err_t err = cyaml_free(&config, schema, *data_p, 0);
        CHECK(err == CYAML_OK);
        *data_p = NULL;
    }
}
