#include "services/tidalctl/call_fields.h"

#include "services/tidalctl/json.h"

#include <stdio.h>

/* One value: JSON if it is JSON, bytes behind hex:, else a text. errs ERR_INVALID not UTF-8, or bad
 * hex digits */
static err_t s_value(const char *text, buffer_t *out, errbuf_t *errbuf)
{
    errbuf_t ignored;
    if (json_parse(slice_text(text), out, &ignored) == ERR_OK) {
        return ERR_OK;
    }
    if (text[0] == '{' || text[0] == '[' || text[0] == '"') {
        *errbuf = ignored; /* was meant as JSON */
        return ERR_INVALID;
    }
    if (!bytes_are_utf8(slice_text(text))) {
        errbuf_set(errbuf, "expected UTF-8 in a value");
        return ERR_INVALID;
    }
    if (strncmp(text, "hex:", 4) == 0) {
        buffer_t quoted;
        buffer_init(&quoted);
        buffer_append(&quoted, "\"", 1);
        buffer_append(&quoted, text, strlen(text));
        buffer_append(&quoted, "\"", 1);
        err_t err = json_parse(buffer_slice(&quoted), out, errbuf);
        buffer_done(&quoted);
        return err;
    }
    pack_writer_t writer;
    pack_writer_init(&writer, out);
    pack_write_str(&writer, slice_text(text));
    pack_writer_done(&writer);
    return ERR_OK;
}

static err_t s_parse_pair(pack_writer_t *writer, const char *word, errbuf_t *errbuf)
{
    char key[NAME_LENGTH_MAX + 1];
    const char *equals = strchr(word, '=');
    size_t size = equals == NULL ? 0 : (size_t)(equals - word);
    if (size == 0 || size > NAME_LENGTH_MAX) {
        errbuf_set(errbuf, "expected KEY=VALUE, found '%s'", word);
        return ERR_INVALID;
    }
    memcpy(key, word, size);
    key[size] = '\0';
    buffer_t value;
    buffer_init(&value);
    err_t err = s_value(equals + 1, &value, errbuf);
    if (err == ERR_OK) {
        pack_key(writer, key);
        pack_write_encoded(writer, buffer_slice(&value));
    } else {
        errbuf_prefix(errbuf, "%s", key);
    }
    buffer_done(&value);
    return err;
}

static err_t s_parse_pairs(int word_count, char **words, buffer_t *ret_fields, errbuf_t *errbuf)
{
    buffer_t fields;
    pack_writer_t writer;
    buffer_init(&fields);
    pack_writer_init(&writer, &fields);
    pack_open_map(&writer);
    err_t err = ERR_OK;
    for (int i = 0; i < word_count && err == ERR_OK; i++) {
        err = s_parse_pair(&writer, words[i], errbuf);
    }
    pack_close(&writer);
    pack_writer_done(&writer);
    if (err == ERR_OK) {
        err = pack_check(buffer_slice(&fields), MSGPACK_NODE_COUNT_MAX, errbuf);
    }
    if (err == ERR_OK) {
        buffer_append(ret_fields, fields.data, fields.size);
    }
    buffer_done(&fields);
    return err;
}

static err_t s_take_op(slice_t op, char *ret_op, errbuf_t *errbuf)
{
    if (op.size == 0 || op.size > NAME_LENGTH_MAX) {
        errbuf_set(errbuf, "expected an op of 1..%d characters, found %zu", NAME_LENGTH_MAX,
                   op.size);
        return ERR_INVALID;
    }
    memcpy(ret_op, op.data, op.size);
    ret_op[op.size] = '\0';
    return ERR_OK;
}

err_t call_fields_parse(
    int word_count, char **words, char *ret_op, buffer_t *ret_fields, errbuf_t *errbuf)
{
    if (words[0][0] != '{') {
        err_t err = s_take_op(slice_text(words[0]), ret_op, errbuf);
        return err == ERR_OK ? s_parse_pairs(word_count - 1, words + 1, ret_fields, errbuf) : err;
    }
    if (word_count > 1) {
        errbuf_set(errbuf, "expected one JSON object alone, found more words: quote it");
        return ERR_INVALID;
    }
    err_t err = json_parse(slice_text(words[0]), ret_fields, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    pack_value_t op = pack_get(buffer_slice(ret_fields), "op");
    if (op.kind != PACK_STR) {
        errbuf_set(errbuf, "expected \"op\" in the JSON object, found none");
        return ERR_INVALID;
    }
    return s_take_op(op.as.bytes, ret_op, errbuf);
}

void call_fields_put(pack_writer_t *writer, slice_t fields)
{
    pack_reader_t reader = pack_reader(fields);
    pack_value_t head;
    if (!pack_next(&reader, &head) || head.kind != PACK_MAP) {
        return;
    }
    for (uint32_t i = 0; i < head.as.count; i++) {
        pack_value_t key;
        (void)pack_next(&reader, &key);
        const uint8_t *begin = reader.at;
        (void)pack_skip(&reader);
        char name[256];
        (void)snprintf(name, sizeof(name), "%.*s", (int)key.as.bytes.size,
                       (const char *)key.as.bytes.data);
        if (strcmp(name, "op") != 0 && strcmp(name, "id") != 0) {
            pack_key(writer, name);
            pack_write_encoded(writer, slice_make(begin, (size_t)(reader.at - begin)));
        }
    }
}
