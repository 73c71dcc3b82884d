/* From a topology file to a checked topology_t. */
#include "common/base/check.h"
#include "common/topology/topology.h"
#include "common/topology/topology_fields.h"
#include "common/topology/yaml_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The texts of one section, in the order of field_at; NULL where the file has none. */
typedef struct {
    char *values[SECTION_FIELD_COUNT_MAX];
} texts_t;

/* The file as it stands, before anything is converted. */
typedef struct {
    texts_t top;
    texts_t *sections[SECTION_COUNT]; /* those that there are once, but for the top */
    texts_t *regions;
    uint32_t region_count;
    char **leaders;
    uint32_t leader_count;
} raw_t;

/* The shape of the file for libcyaml, made from the list of fields. */
typedef struct {
    cyaml_schema_field_t fields[SECTION_COUNT][SECTION_FIELD_COUNT_MAX + SECTION_COUNT + 2];
    cyaml_schema_value_t region;
    cyaml_schema_value_t leader;
    cyaml_schema_value_t root;
} shape_t;

typedef struct {
    const yaml_file_t *file;
    raw_t *raw;
    topology_t *topology;
    errbuf_t *errbuf;
} load_t;

/* -- the shape --------------------------------------------------------------------------------- */

static cyaml_schema_value_t s_text_shape(bool required)
{
    enum cyaml_flag flags = CYAML_FLAG_POINTER;
    flags = required ? flags : (enum cyaml_flag)(flags | CYAML_FLAG_OPTIONAL);
    return (cyaml_schema_value_t){
        .type = CYAML_STRING,
        .flags = flags,
        .data_size = sizeof(char),
        .string = {.min = 0, .max = CYAML_UNLIMITED},
    };
}

/* Fills the fields of a section from the list; returns how many. */
static unsigned s_section_shape(shape_t *shape, section_t section)
{
    const field_t *field = NULL;
    unsigned count = 0;
    for (; (field = field_at(section, count)) != NULL; count++) {
        CHECK(count < SECTION_FIELD_COUNT_MAX);
        shape->fields[section][count] = (cyaml_schema_field_t){
            .key = field->key,
            .data_offset = (uint32_t)(offsetof(texts_t, values) + count * sizeof(char *)),
            .value = s_text_shape(field->required),
        };
    }
    return count;
}

static cyaml_schema_value_t s_map_shape(const cyaml_schema_field_t *fields,
                                        size_t data_size,
                                        int flags)
{
    return (cyaml_schema_value_t){
        .type = CYAML_MAPPING,
        .flags = (enum cyaml_flag)flags,
        .data_size = (uint32_t)data_size,
        .mapping = {.fields = fields},
    };
}

static void s_shape_init(shape_t *self)
{
    (void)memset(self, 0, sizeof(*self));
    cyaml_schema_field_t *top = self->fields[SECTION_TOP];
    unsigned count = s_section_shape(self, SECTION_TOP);

    (void)s_section_shape(self, SECTION_REGION);
    self->region = s_map_shape(self->fields[SECTION_REGION], sizeof(texts_t), CYAML_FLAG_DEFAULT);
    top[count++] = (cyaml_schema_field_t)CYAML_FIELD_SEQUENCE_COUNT(
        "regions", CYAML_FLAG_POINTER, raw_t, regions, region_count, &self->region, 1,
        REGION_COUNT_MAX);
    self->leader = s_text_shape(true);
    top[count++] = (cyaml_schema_field_t)CYAML_FIELD_SEQUENCE_COUNT(
        "leaders", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, raw_t, leaders, leader_count,
        &self->leader, 1, SHARD_COUNT_MAX);

    for (section_t section = SECTION_CONTROL; section <= SECTION_LAST; section++) {
        (void)s_section_shape(self, section);
        top[count++] = (cyaml_schema_field_t){
            .key = section_name(section),
            .data_offset = (uint32_t)(offsetof(raw_t, sections) + section * sizeof(texts_t *)),
            .value = s_map_shape(self->fields[section], sizeof(texts_t),
                                 CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL),
        };
    }
    self->root = s_map_shape(top, sizeof(raw_t), CYAML_FLAG_POINTER);
}

/* -- conversion -------------------------------------------------------------------------------- */

static err_t s_load_number(const load_t *load,
                           const field_t *field,
                           const char *text,
                           const char *path,
                           void *section_struct)
{
    uint64_t value = 0;
    if (text_to_u64(text, field->min, field->max, &value) != ERR_OK) {
        return yaml_file_refuse(load->file, path, load->errbuf,
                                "expected a whole number from %llu to %llu%s%s%s, found '%.*s'",
                                (unsigned long long)field->min, (unsigned long long)field->max,
                                field->unit[0] == '\0' ? "" : " (", field->unit,
                                field->unit[0] == '\0' ? "" : ")", YAML_TEXT_SHOWN_MAX, text);
    }
    field_set(field, section_struct, value);
    return ERR_OK;
}

static err_t s_load_text(const load_t *load,
                         const field_t *field,
                         const char *text,
                         const char *path,
                         void *section_struct)
{
    size_t length = strlen(text);
    if (length == 0) {
        return yaml_file_refuse(load->file, path, load->errbuf, "expected a text, found nothing");
    }
    if (length >= field->size) {
        return yaml_file_refuse(load->file, path, load->errbuf,
                                "expected at most %zu bytes, found %zu", field->size - 1, length);
    }
    (void)memcpy((uint8_t *)section_struct + field->offset, text, length + 1);
    return ERR_OK;
}

/* Defaults, then what the file says. in texts NULL: the file does not have the section */
static err_t s_load_section(const load_t *load,
                            section_t section,
                            const texts_t *texts,
                            const char *prefix,
                            void *section_struct)
{
    field_set_standards(section, section_struct);
    const field_t *field = NULL;
    for (unsigned i = 0; texts != NULL && (field = field_at(section, i)) != NULL; i++) {
        char path[YAML_PATH_SIZE];
        (void)snprintf(path, sizeof(path), "%s%s", prefix, field->key);
        const char *text = texts->values[i];
        if (text == NULL || field->size == 0) {
            continue;
        }
        err_t err = field_is_number(field) ? s_load_number(load, field, text, path, section_struct)
                                           : s_load_text(load, field, text, path, section_struct);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static void s_complete_host(topology_host_t *host)
{
    if (host->host[0] == '\0') {
        (void)snprintf(host->host, sizeof(host->host), "127.0.0.1");
    }
    topology_host_complete(host);
}

static err_t s_load_sections(const load_t *load)
{
    topology_t *topology = load->topology;
    err_t err = s_load_section(load, SECTION_TOP, &load->raw->top, "", topology);
    for (section_t section = SECTION_CONTROL; err == ERR_OK && section <= SECTION_LAST; section++) {
        char prefix[YAML_PATH_SIZE];
        (void)snprintf(prefix, sizeof(prefix), "%s.", section_name(section));
        err = s_load_section(load, section, load->raw->sections[section], prefix,
                             section_of(topology, section));
    }
    s_complete_host(&topology->control.at);
    s_complete_host(&topology->proxy.at);
    topology->has_proxy = load->raw->sections[SECTION_PROXY] != NULL;
    return err;
}

static err_t s_load_regions(const load_t *load)
{
    topology_t *topology = load->topology;
    CHECK(load->raw->region_count <= REGION_COUNT_MAX); /* the shape says so */
    topology->region_count = load->raw->region_count;
    for (uint32_t i = 0; i < topology->region_count; i++) {
        char prefix[YAML_PATH_SIZE];
        (void)snprintf(prefix, sizeof(prefix), "regions[%u].", i);
        topology_region_t *region = &topology->regions[i];
        err_t err = s_load_section(load, SECTION_REGION, &load->raw->regions[i], prefix, region);
        if (err != ERR_OK) {
            return err;
        }
        s_complete_host(&region->at);
    }
    return ERR_OK;
}

static err_t s_load_leaders(const load_t *load)
{
    topology_t *topology = load->topology;
    const raw_t *raw = load->raw;
    for (uint32_t i = 0; i < topology->shard_count; i++) {
        topology->leaders[i] = topology->regions[i % topology->region_count].id;
    }
    if (raw->leaders != NULL && raw->leader_count != topology->shard_count) {
        return yaml_file_refuse(load->file, "leaders", load->errbuf,
                                "expected one region per shard (%u), found %u",
                                topology->shard_count, raw->leader_count);
    }
    for (uint32_t i = 0; raw->leaders != NULL && i < raw->leader_count; i++) {
        const topology_region_t *region = topology_find_region_name(topology, raw->leaders[i]);
        if (region == NULL) {
            char path[YAML_PATH_SIZE];
            (void)snprintf(path, sizeof(path), "leaders[%u]", i);
            return yaml_file_refuse(load->file, path, load->errbuf,
                                    "expected the name of a region, found '%.*s'",
                                    YAML_TEXT_SHOWN_MAX, raw->leaders[i]);
        }
        topology->leaders[i] = region->id;
    }
    return ERR_OK;
}

/* The name in the file is relative to the folder of the file. */
static err_t s_load_schema(const load_t *load, const char *topology_path)
{
    unsigned index = 0;
    while (strcmp(field_at(SECTION_TOP, index)->key, "schema") != 0) {
        index++;
    }
    const char *name = load->raw->top.values[index];
    const char *slash = strrchr(topology_path, '/');
    size_t folder_length =
        slash == NULL || name[0] == '/' ? 0 : (size_t)(slash - topology_path) + 1;
    size_t size = folder_length + strlen(name) + 1;
    char *path = malloc(size);
    CHECK(path != NULL);
    (void)snprintf(path, size, "%.*s%s", (int)folder_length, topology_path, name);
    err_t err = schema_load(path, &load->topology->schema, load->errbuf);
    if (err != ERR_OK) {
        yaml_file_prefix(load->file, "schema", load->errbuf);
    }
    free(path);
    return err;
}

static err_t s_convert(const load_t *load, const char *topology_path)
{
    err_t err = s_load_sections(load);
    if (err == ERR_OK) {
        err = s_load_regions(load);
    }
    if (err == ERR_OK) {
        err = s_load_leaders(load);
    }
    topology_problem_t problem;
    if (err == ERR_OK && topology_find_problem(load->topology, &problem)) {
        err = yaml_file_refuse(load->file, problem.path, load->errbuf, "%s", problem.text);
    }
    if (err == ERR_OK) {
        err = s_load_schema(load, topology_path);
    }
    return err;
}

static err_t s_load_file(const yaml_file_t *file,
                         const char *path,
                         topology_t *ret_topology,
                         errbuf_t *errbuf)
{
    shape_t shape;
    s_shape_init(&shape);
    void *raw = NULL;
    err_t err = yaml_file_load(file, &shape.root, &raw, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    topology_t *topology = calloc(1, sizeof(*topology));
    CHECK(topology != NULL);
    load_t load = {file, raw, topology, errbuf};
    err = s_convert(&load, path);
    if (err == ERR_OK) {
        *ret_topology = *topology;
    }
    free(topology);
    yaml_file_free(&shape.root, &raw);
    return err;
}

err_t topology_load(const char *path, topology_t *ret_topology, errbuf_t *errbuf)
{
    yaml_file_t *file = NULL;
    err_t err = yaml_file_open(path, &file, errbuf);
    if (err == ERR_OK) {
        err = s_load_file(file, path, ret_topology, errbuf);
        yaml_file_close(&file);
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "cannot load the topology");
    }
    return err;
}
