/* From a schema file to a checked schema_t. */
#include "common/base/check.h"
#include "common/topology/schema.h"
#include "common/topology/yaml_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- the file as it stands --------------------------------------------------------------------- */

typedef struct {
    char *id;
    char *name;
    char *half_life_s;
    char **windows;
    uint32_t window_count;
} raw_signal_t;

typedef struct {
    char *signal;
    char *agg;
    char *window;
    char *weight;
} raw_term_t;

typedef struct {
    char *name;
    raw_term_t *terms;
    uint32_t term_count;
} raw_profile_t;

typedef struct {
    raw_signal_t *signals;
    uint32_t signal_count;
    raw_profile_t *profiles;
    uint32_t profile_count;
    char *default_profile;
} raw_schema_t;

enum { OPTIONAL_LIST = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL };

static const cyaml_schema_value_t s_text = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, CYAML_UNLIMITED)};

static const cyaml_schema_field_t s_signal_fields[] = {
    CYAML_FIELD_STRING_PTR("id", CYAML_FLAG_DEFAULT, raw_signal_t, id, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_DEFAULT, raw_signal_t, name, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR(
        "half_life_s", CYAML_FLAG_DEFAULT, raw_signal_t, half_life_s, 0, CYAML_UNLIMITED),
    CYAML_FIELD_SEQUENCE_COUNT(
        "windows", OPTIONAL_LIST, raw_signal_t, windows, window_count, &s_text, 1, WINDOW_COUNT),
    CYAML_FIELD_END};

static const cyaml_schema_value_t s_signal = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, raw_signal_t, s_signal_fields)};

static const cyaml_schema_field_t s_term_fields[] = {
    CYAML_FIELD_STRING_PTR("signal", CYAML_FLAG_DEFAULT, raw_term_t, signal, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("agg", CYAML_FLAG_DEFAULT, raw_term_t, agg, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("window", CYAML_FLAG_OPTIONAL, raw_term_t, window, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("weight", CYAML_FLAG_DEFAULT, raw_term_t, weight, 0, CYAML_UNLIMITED),
    CYAML_FIELD_END};

static const cyaml_schema_value_t s_term = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, raw_term_t, s_term_fields)};

static const cyaml_schema_field_t s_profile_fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_DEFAULT, raw_profile_t, name, 0, CYAML_UNLIMITED),
    CYAML_FIELD_SEQUENCE_COUNT("terms",
                               CYAML_FLAG_POINTER,
                               raw_profile_t,
                               terms,
                               term_count,
                               &s_term,
                               1,
                               PROFILE_TERM_COUNT_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_value_t s_profile = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, raw_profile_t, s_profile_fields)};

static const cyaml_schema_field_t s_root_fields[] = {
    CYAML_FIELD_SEQUENCE_COUNT("signals",
                               CYAML_FLAG_POINTER,
                               raw_schema_t,
                               signals,
                               signal_count,
                               &s_signal,
                               1,
                               SIGNAL_TYPE_COUNT_MAX),
    CYAML_FIELD_SEQUENCE_COUNT("profiles",
                               CYAML_FLAG_POINTER,
                               raw_schema_t,
                               profiles,
                               profile_count,
                               &s_profile,
                               1,
                               PROFILE_COUNT_MAX),
    CYAML_FIELD_STRING_PTR(
        "default_profile", CYAML_FLAG_DEFAULT, raw_schema_t, default_profile, 0, CYAML_UNLIMITED),
    CYAML_FIELD_END};

static const cyaml_schema_value_t s_root = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, raw_schema_t, s_root_fields)};

/* -- conversion -------------------------------------------------------------------------------- */

typedef struct {
    const yaml_file_t *file;
    const raw_schema_t *raw;
    schema_t *schema;
    errbuf_t *errbuf;
} load_t;

/* in prefix of the path: "signals[2]." and the like */
static err_t s_load_name(const load_t *load,
                         const char *prefix,
                         const char *text,
                         char ret_name[NAME_LENGTH_MAX + 1])
{
    size_t length = strlen(text);
    size_t fitting = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    if (length < 1 || length > NAME_LENGTH_MAX || fitting != length) {
        char path[YAML_PATH_SIZE];
        (void)snprintf(path, sizeof(path), "%sname", prefix);
        return yaml_file_refuse(load->file, path, load->errbuf,
                                "expected 1 to %d of a-z, 0-9, _ and -, found '%.*s'",
                                NAME_LENGTH_MAX, YAML_TEXT_SHOWN_MAX, text);
    }
    (void)memcpy(ret_name, text, length + 1);
    return ERR_OK;
}

static err_t s_load_number(const load_t *load,
                           const char *path,
                           const char *text,
                           uint64_t min,
                           uint64_t max,
                           uint64_t *ret_value)
{
    if (text_to_u64(text, min, max, ret_value) != ERR_OK) {
        return yaml_file_refuse(load->file, path, load->errbuf,
                                "expected a whole number from %llu to %llu, found '%.*s'",
                                (unsigned long long)min, (unsigned long long)max,
                                YAML_TEXT_SHOWN_MAX, text);
    }
    return ERR_OK;
}

static err_t s_load_windows(const load_t *load, uint32_t at, uint8_t *ret_mask)
{
    const raw_signal_t *raw = &load->raw->signals[at];
    char path[YAML_PATH_SIZE];
    if (raw->windows == NULL) {
        *ret_mask = WINDOWS_MASK_ALL;
        return ERR_OK;
    }
    unsigned mask = 0;
    for (uint32_t i = 0; i < raw->window_count; i++) {
        window_t window = WINDOW_ALL;
        (void)snprintf(path, sizeof(path), "signals[%u].windows[%u]", at, i);
        if (window_parse(raw->windows[i], &window) != ERR_OK) {
            return yaml_file_refuse(load->file, path, load->errbuf,
                                    "expected 1h, 24h, 7d, 30d or all, found '%.*s'",
                                    YAML_TEXT_SHOWN_MAX, raw->windows[i]);
        }
        if ((mask >> window & 1) != 0) {
            return yaml_file_refuse(load->file, path, load->errbuf,
                                    "expected each window once, found %s again",
                                    window_name(window));
        }
        mask |= 1U << window;
    }
    if ((mask >> WINDOW_ALL & 1) == 0) {
        (void)snprintf(path, sizeof(path), "signals[%u].windows", at);
        return yaml_file_refuse(load->file, path, load->errbuf,
                                "expected all among the windows, found it left out: the all-time "
                                "count is what the books are balanced with");
    }
    *ret_mask = (uint8_t)mask;
    return ERR_OK;
}

static err_t s_check_signal_is_new(const load_t *load, uint32_t at)
{
    const schema_signal_t *signal = &load->schema->signals[at];
    char path[YAML_PATH_SIZE];
    for (uint32_t i = 0; i < at; i++) {
        if (load->schema->signals[i].id == signal->id) {
            (void)snprintf(path, sizeof(path), "signals[%u].id", at);
            return yaml_file_refuse(load->file, path, load->errbuf,
                                    "expected an id of its own, found %u as in signals[%u] (%s)",
                                    signal->id, i, load->schema->signals[i].name);
        }
        if (strcmp(load->schema->signals[i].name, signal->name) == 0) {
            (void)snprintf(path, sizeof(path), "signals[%u].name", at);
            return yaml_file_refuse(load->file, path, load->errbuf,
                                    "expected a name of its own, found '%s' as in signals[%u]",
                                    signal->name, i);
        }
    }
    return ERR_OK;
}

static err_t s_load_signal(const load_t *load, uint32_t at)
{
    const raw_signal_t *raw = &load->raw->signals[at];
    schema_signal_t *signal = &load->schema->signals[at];
    char prefix[YAML_PATH_SIZE / 2];
    char path[YAML_PATH_SIZE];
    uint64_t value = 0;
    (void)snprintf(prefix, sizeof(prefix), "signals[%u].", at);

    err_t err = s_load_name(load, prefix, raw->name, signal->name);
    if (err == ERR_OK) {
        (void)snprintf(path, sizeof(path), "%sid", prefix);
        err = s_load_number(load, path, raw->id, 1, SIGNAL_TYPE_COUNT_MAX, &value);
        signal->id = (uint8_t)value;
    }
    if (err == ERR_OK) {
        (void)snprintf(path, sizeof(path), "%shalf_life_s", prefix);
        err = s_load_number(load, path, raw->half_life_s, SIGNAL_HALF_LIFE_S_MIN,
                            SIGNAL_HALF_LIFE_S_MAX, &value);
        signal->half_life_s = (int64_t)value;
    }
    if (err == ERR_OK) {
        err = s_load_windows(load, at, &signal->windows_mask);
    }
    if (err == ERR_OK) {
        err = s_check_signal_is_new(load, at);
    }
    return err;
}

/* A decimal number; what strtod takes besides (hex, inf, nan, blanks) is refused. */
static bool s_parse_weight(const char *text, double *ret_weight)
{
    if (text[0] == '\0' || text[strspn(text, "+-.0123456789eE")] != '\0') {
        return false;
    }
    char *end = NULL;
    double weight = strtod(text, &end);
    if (*end != '\0' || !isfinite(weight) || fabs(weight) > PROFILE_WEIGHT_MAX) {
        return false;
    }
    *ret_weight = weight;
    return true;
}

/* Which window the term has: one for count and velocity, none for decay. */
static err_t s_load_term_window(const load_t *load,
                                const raw_term_t *raw,
                                const schema_signal_t *signal,
                                const char *prefix,
                                profile_term_t *term)
{
    char path[YAML_PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%swindow", prefix);
    const char *kind = term_kind_name(term->kind);
    if (term->kind == TERM_DECAY) {
        return raw->window == NULL
                   ? ERR_OK
                   : yaml_file_refuse(load->file, path, load->errbuf,
                                      "expected no window with agg decay, found '%.*s'",
                                      YAML_TEXT_SHOWN_MAX, raw->window);
    }
    if (raw->window == NULL) {
        return yaml_file_refuse(load->file, path, load->errbuf,
                                "expected a window with agg %s, found none", kind);
    }
    bool known = window_parse(raw->window, &term->window) == ERR_OK;
    if (!known || (term->kind == TERM_VELOCITY && term->window == WINDOW_ALL)) {
        return yaml_file_refuse(
            load->file, path, load->errbuf, "expected %s with agg %s, found '%.*s'",
            term->kind == TERM_COUNT ? "1h, 24h, 7d, 30d or all" : "1h, 24h, 7d or 30d", kind,
            YAML_TEXT_SHOWN_MAX, raw->window);
    }
    if (!schema_signal_has_window(signal, term->window)) {
        return yaml_file_refuse(load->file, path, load->errbuf,
                                "expected a window that signal '%s' counts, found %s", signal->name,
                                raw->window);
    }
    return ERR_OK;
}

static err_t s_load_term(const load_t *load,
                         const raw_term_t *raw,
                         const char *prefix,
                         profile_term_t *term)
{
    char path[YAML_PATH_SIZE];
    const schema_signal_t *signal = schema_find_signal(load->schema, raw->signal);
    if (signal == NULL) {
        (void)snprintf(path, sizeof(path), "%ssignal", prefix);
        return yaml_file_refuse(load->file, path, load->errbuf,
                                "expected the name of a signal, found '%.*s'", YAML_TEXT_SHOWN_MAX,
                                raw->signal);
    }
    term->signal_id = signal->id;
    if (term_kind_parse(raw->agg, &term->kind) != ERR_OK) {
        (void)snprintf(path, sizeof(path), "%sagg", prefix);
        return yaml_file_refuse(load->file, path, load->errbuf,
                                "expected decay, count or velocity, found '%.*s'",
                                YAML_TEXT_SHOWN_MAX, raw->agg);
    }
    if (!s_parse_weight(raw->weight, &term->weight)) {
        (void)snprintf(path, sizeof(path), "%sweight", prefix);
        return yaml_file_refuse(load->file, path, load->errbuf,
                                "expected a number from -1e9 to 1e9, found '%.*s'",
                                YAML_TEXT_SHOWN_MAX, raw->weight);
    }
    return s_load_term_window(load, raw, signal, prefix, term);
}

static err_t s_load_profile(const load_t *load, uint32_t at)
{
    const raw_profile_t *raw = &load->raw->profiles[at];
    schema_profile_t *profile = &load->schema->profiles[at];
    char prefix[YAML_PATH_SIZE / 2];
    (void)snprintf(prefix, sizeof(prefix), "profiles[%u].", at);
    err_t err = s_load_name(load, prefix, raw->name, profile->name);
    for (uint32_t i = 0; err == ERR_OK && i < at; i++) {
        if (strcmp(load->schema->profiles[i].name, profile->name) == 0) {
            char path[YAML_PATH_SIZE];
            (void)snprintf(path, sizeof(path), "%sname", prefix);
            err = yaml_file_refuse(load->file, path, load->errbuf,
                                   "expected a name of its own, found '%s' as in profiles[%u]",
                                   profile->name, i);
        }
    }
    CHECK(raw->term_count <= PROFILE_TERM_COUNT_MAX); /* the shape says so */
    profile->term_count = raw->term_count;
    for (uint32_t i = 0; err == ERR_OK && i < raw->term_count; i++) {
        (void)snprintf(prefix, sizeof(prefix), "profiles[%u].terms[%u].", at, i);
        err = s_load_term(load, &raw->terms[i], prefix, &profile->terms[i]);
    }
    return err;
}

static err_t s_convert(const load_t *load)
{
    err_t err = ERR_OK;
    CHECK(load->raw->signal_count <= SIGNAL_TYPE_COUNT_MAX);
    for (uint32_t i = 0; err == ERR_OK && i < load->raw->signal_count; i++) {
        err = s_load_signal(load, i);
        load->schema->signal_count = i + 1;
    }
    CHECK(load->raw->profile_count <= PROFILE_COUNT_MAX);
    for (uint32_t i = 0; err == ERR_OK && i < load->raw->profile_count; i++) {
        err = s_load_profile(load, i);
        load->schema->profile_count = i + 1;
    }
    if (err != ERR_OK) {
        return err;
    }
    const schema_profile_t *profile = schema_find_profile(load->schema, load->raw->default_profile);
    if (profile == NULL) {
        return yaml_file_refuse(load->file, "default_profile", load->errbuf,
                                "expected the name of a profile, found '%.*s'", YAML_TEXT_SHOWN_MAX,
                                load->raw->default_profile);
    }
    load->schema->profile_default = (uint32_t)(profile - load->schema->profiles);
    return ERR_OK;
}

static err_t s_load_file(const yaml_file_t *file, schema_t *ret_schema, errbuf_t *errbuf)
{
    void *raw = NULL;
    err_t err = yaml_file_load(file, &s_root, &raw, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    schema_t *schema = calloc(1, sizeof(*schema));
    CHECK(schema != NULL);
    load_t load = {file, raw, schema, errbuf};
    err = s_convert(&load);
    if (err == ERR_OK) {
        *ret_schema = *schema;
    }
    free(schema);
    yaml_file_free(&s_root, &raw);
    return err;
}

err_t schema_load(const char *path, schema_t *ret_schema, errbuf_t *errbuf)
{
    yaml_file_t *file = NULL;
    err_t err = yaml_file_open(path, &file, errbuf);
    if (err == ERR_OK) {
        err = s_load_file(file, ret_schema, errbuf);
        yaml_file_close(&file);
    }
    return err;
}
