/* One YAML configuration file: loaded by a schema with libcyaml, refused with file, line and
 * column.
 *
 * libcyaml finds that a file does not fit its schema, but names the place of the value before the
 * one that is wrong, and takes "5x" for 5, "-1" for the largest number and "maybe" for true. So
 * here every scalar is loaded as text, which the owner of the field converts within its range, and
 * what libcyaml refuses is looked up in the document itself, to name the very place, what was
 * expected there and what stands there. Schemas are therefore made of maps, lists and strings
 * alone.
 *
 * Refused besides: more than one document, aliases, zero bytes, nesting deeper than
 * CONFIG_DEPTH_MAX, files larger than CONFIG_FILE_SIZE_MAX. */
#ifndef TIDAL_COMMON_TOPOLOGY_YAML_FILE_H
#define TIDAL_COMMON_TOPOLOGY_YAML_FILE_H

#include "common/base/err.h"

#include <cyaml/cyaml.h>

#include <stdint.h>

typedef struct yaml_file yaml_file_t;

enum {
    YAML_PATH_SIZE = 128,    /* "profiles[12].terms[3].weight" and the like */
    YAML_TEXT_SHOWN_MAX = 40 /* bytes of a value that an error message repeats */
};

/* Reads the file and checks its syntax. out ret_file owned by the caller
 * errs ERR_NOT_FOUND · ERR_IO · ERR_TOO_LARGE · ERR_INVALID */
err_t yaml_file_open(const char *path, yaml_file_t **ret_file, errbuf_t *errbuf);
void yaml_file_close(yaml_file_t **self_p);

/* Loads the document into the C structures that the schema describes.
 * out ret_data owned by the caller until yaml_file_free; every scalar a char *
 * errs ERR_INVALID unknown, missing or repeated key, wrong kind of value, list too short or long */
err_t yaml_file_load(const yaml_file_t *self,
                     const cyaml_schema_value_t *schema,
                     void **ret_data,
                     errbuf_t *errbuf);
/* Nulls. */
void yaml_file_free(const cyaml_schema_value_t *schema, void **data_p);

/* Fills errbuf with "<file>:<line>:<column>: <path>: <text>" and returns ERR_INVALID. in path as
 * "regions[1].port_base", its keys without '.' and '['; where the file does not have it, the place
 * of the innermost part that it has is named. */
err_t yaml_file_refuse(const yaml_file_t *self,
                       const char *path,
                       errbuf_t *errbuf,
                       const char *format,
                       ...) __attribute__((format(printf, 4, 5)));

/* Puts "<file>:<line>:<column>: <path>: " before what stands in errbuf. */
void yaml_file_prefix(const yaml_file_t *self, const char *path, errbuf_t *errbuf);

#endif
