#include "services/tidalctl/data_fields.h"

#include <stdio.h>
#include <stdlib.h>

static err_t s_refuse(const data_field_t *field,
                      const char *expected,
                      slice_t found,
                      errbuf_t *errbuf)
{
    errbuf_set(errbuf, "%s: expected %s, found '%.*s'", field->word, expected, (int)found.size,
               (const char *)found.data);
    return ERR_INVALID;
}

/* -- lists ------------------------------------------------------------------------------------- */

/* The part up to the next separator; false at the end. A text without any has one part. */
static bool s_next_part(const char **at_p, char separator, slice_t *ret_part)
{
    const char *at = *at_p;
    if (at == NULL) {
        return false;
    }
    const char *end = strchr(at, separator);
    *ret_part = slice_make(at, end == NULL ? strlen(at) : (size_t)(end - at));
    *at_p = end == NULL ? NULL : end + 1;
    return true;
}

static err_t s_part_u64(const data_field_t *field,
                        slice_t part,
                        uint64_t *ret_value,
                        errbuf_t *errbuf)
{
    char text[24] = "";
    if (part.size < sizeof(text)) {
        memcpy(text, part.data, part.size);
        text[part.size] = '\0';
    }
    if (text_to_u64(text, 0, UINT64_MAX, ret_value) != ERR_OK) {
        return s_refuse(field, "a whole number", part, errbuf);
    }
    return ERR_OK;
}

static err_t s_write_part(const data_field_t *field,
                          slice_t part,
                          pack_writer_t *writer,
                          errbuf_t *errbuf)
{
    uint64_t number = 0;
    if (field->kind == DATA_TEXT_LIST) {
        pack_write_str(writer, part);
        return ERR_OK;
    }
    err_t err = s_part_u64(field, part, &number, errbuf);
    if (err == ERR_OK) {
        pack_write_u64(writer, number);
    }
    return err;
}

static err_t s_write_parts(const data_field_t *field,
                           const char *text,
                           pack_writer_t *writer,
                           errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    slice_t part;
    while (err == ERR_OK && s_next_part(&text, ',', &part)) {
        pack_item(writer);
        err = s_write_part(field, part, writer, errbuf);
    }
    return err;
}

static err_t s_write_term(const data_field_t *field,
                          const char *text,
                          pack_writer_t *writer,
                          errbuf_t *errbuf)
{
    static const char s_expected[] = "SIGNAL:decay:WEIGHT or SIGNAL:count:WINDOW:WEIGHT";
    slice_t parts[4];
    const char *at = text;
    uint32_t count = 0;
    char last[64] = "";
    double weight = 0;
    while (count < 4 && s_next_part(&at, ':', &parts[count])) {
        count++;
    }
    if (at != NULL || count < 3) {
        return s_refuse(field, s_expected, slice_text(text), errbuf);
    }
    slice_t number = parts[count - 1];
    (void)snprintf(last, sizeof(last), "%.*s", (int)number.size, (const char *)number.data);
    if (arguments_parse_f64(last, &weight) != ERR_OK) {
        return s_refuse(field, "a number as the weight", number, errbuf);
    }
    pack_open_map(writer);
    pack_put_str(writer, "signal", parts[0]);
    pack_put_str(writer, "agg", parts[1]);
    if (count == 4) {
        pack_put_str(writer, "window", parts[2]);
    }
    pack_put_f64(writer, "weight", weight);
    pack_close(writer);
    return ERR_OK;
}

err_t data_field_write_list(const data_field_t *field,
                            const arguments_list_t *texts,
                            pack_writer_t *writer,
                            errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    pack_open_array(writer);
    for (uint32_t i = 0; i < texts->count && err == ERR_OK; i++) {
        if (field->kind == DATA_TERM_LIST) {
            pack_item(writer);
            err = s_write_term(field, texts->texts[i], writer, errbuf);
        } else {
            err = s_write_parts(field, texts->texts[i], writer, errbuf);
        }
    }
    pack_close(writer);
    return err;
}

/* -- single values ----------------------------------------------------------------------------- */

static err_t s_write_hlc(const data_field_t *field,
                         const char *text,
                         pack_writer_t *writer,
                         errbuf_t *errbuf)
{
    const char *at = text;
    uint64_t parts[3];
    slice_t part;
    for (uint32_t i = 0; i < 3; i++) {
        if (!s_next_part(&at, ',', &part) || s_part_u64(field, part, &parts[i], NULL) != ERR_OK) {
            return s_refuse(field, "WALL_NS,LOGICAL,NODE", slice_text(text), errbuf);
        }
    }
    if (at != NULL) {
        return s_refuse(field, "WALL_NS,LOGICAL,NODE", slice_text(text), errbuf);
    }
    pack_write_array(writer, 3);
    for (uint32_t i = 0; i < 3; i++) {
        pack_write_u64(writer, parts[i]);
    }
    return ERR_OK;
}

static err_t s_write_bytes(const data_field_t *field,
                           const char *text,
                           pack_writer_t *writer,
                           errbuf_t *errbuf)
{
    static const char s_digits[] = "0123456789abcdef";
    const char *at = strncmp(text, "hex:", 4) == 0 ? text + 4 : text;
    size_t size = strlen(at);
    if (size % 2 != 0 || strspn(at, s_digits) != size) {
        return s_refuse(field, "pairs of hex digits", slice_text(text), errbuf);
    }
    buffer_t bytes;
    buffer_init(&bytes);
    for (size_t i = 0; i < size; i += 2) {
        size_t high = (size_t)(strchr(s_digits, at[i]) - s_digits);
        size_t low = (size_t)(strchr(s_digits, at[i + 1]) - s_digits);
        *buffer_extend(&bytes, 1) = (uint8_t)(high << 4 | low);
    }
    pack_write_bin(writer, buffer_slice(&bytes));
    buffer_done(&bytes);
    return ERR_OK;
}

err_t data_field_write(const data_field_t *field,
                       const char *text,
                       pack_writer_t *writer,
                       errbuf_t *errbuf)
{
    arguments_list_t one = {.count = 1, .texts = {text}};
    uint64_t number = 0;
    int64_t time_ns = 0;
    double real = 0;
    switch (field->kind) {
    case DATA_TEXT:
        if (!bytes_are_utf8(slice_text(text))) {
            errbuf_set(errbuf, "%s: expected UTF-8", field->word);
            return ERR_INVALID;
        }
        pack_write_str(writer, slice_text(text));
        return ERR_OK;
    case DATA_U64:
        if (s_part_u64(field, slice_text(text), &number, errbuf) != ERR_OK) {
            return ERR_INVALID;
        }
        pack_write_u64(writer, number);
        return ERR_OK;
    case DATA_F64:
        if (arguments_parse_f64(text, &real) != ERR_OK) {
            return s_refuse(field, "a number", slice_text(text), errbuf);
        }
        pack_write_f64(writer, real);
        return ERR_OK;
    case DATA_TIME:
        if (arguments_parse_time(text, &time_ns) != ERR_OK) {
            return s_refuse(field, "a time (now, ns since 1970, 1787400069s, 2026-08-22T12:01:09Z)",
                            slice_text(text), errbuf);
        }
        pack_write_i64(writer, time_ns);
        return ERR_OK;
    case DATA_BOOL:
        pack_write_bool(writer, true);
        return ERR_OK;
    case DATA_BYTES:
        return s_write_bytes(field, text, writer, errbuf);
    case DATA_HLC:
        return s_write_hlc(field, text, writer, errbuf);
    case DATA_U64_LIST:
    case DATA_TEXT_LIST:
    case DATA_TERM_LIST:
        break;
    case DATA_ATTRIBUTES:
        return ERR_INVALID; /* data_field_write_attributes */
    }
    return data_field_write_list(field, &one, writer, errbuf);
}

err_t data_field_write_attributes(
    const data_field_t *field, int count, char **words, pack_writer_t *writer, errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    pack_open_map(writer);
    for (int i = 0; i < count && err == ERR_OK; i++) {
        char name[NAME_LENGTH_MAX + 1];
        const char *equals = strchr(words[i], '=');
        size_t size = equals == NULL ? 0 : (size_t)(equals - words[i]);
        if (size == 0 || size > NAME_LENGTH_MAX) {
            err = s_refuse(field, "NAME=VALUE", slice_text(words[i]), errbuf);
            continue;
        }
        memcpy(name, words[i], size);
        name[size] = '\0';
        bool again = false;
        for (int j = i + 1; j < count; j++) {
            again = again || strncmp(words[j], words[i], size + 1) == 0;
        }
        if (!again) {
            pack_put_text(writer, name, equals + 1);
        }
    }
    pack_close(writer);
    return err;
}
