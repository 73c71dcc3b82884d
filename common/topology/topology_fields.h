/* The numbers and texts of a topology file: where each stands in the file and in topology_t, and
 * what it may be. Loader, checker and documentation share this one list. Inside common/topology. */
#ifndef TIDAL_COMMON_TOPOLOGY_TOPOLOGY_FIELDS_H
#define TIDAL_COMMON_TOPOLOGY_TOPOLOGY_FIELDS_H

#include "common/topology/topology.h"

#include <stddef.h>

typedef enum {
    SECTION_TOP = 0,
    SECTION_REGION = 1, /* entries of the list `regions` */
    SECTION_CONTROL = 2,
    SECTION_PROXY = 3,
    SECTION_LOG = 4,
    SECTION_CHECKPOINT = 5,
    SECTION_TIMING = 6,
    SECTION_LIMITS = 7,
    SECTION_LAST = SECTION_LIMITS
} section_t;
enum { SECTION_COUNT = SECTION_LAST + 1, SECTION_FIELD_COUNT_MAX = 16 };

/* "" "regions" "control" ... */
const char *section_name(section_t section);

/* Fields of one section are numbered, numbers first, then texts. */
typedef struct {
    const char *key;
    const char *unit; /* of a number; NULL for a text */
    size_t offset;    /* in the struct of the section: topology_t itself for SECTION_TOP */
    size_t size; /* 2, 4 or 8 of a number; of the char array of a text, 0 when it is not kept */
    uint64_t min;
    uint64_t max;
    uint64_t standard;
    section_t section;
    bool required;
} field_t;

/* NULL behind the last one. */
const field_t *field_at(section_t section, unsigned index);
bool field_is_number(const field_t *field);

/* Value of a number in its section's struct. */
uint64_t field_get(const field_t *field, const void *section_struct);
/* in value <= max of the field */
void field_set(const field_t *field, void *section_struct, uint64_t value);
/* Sets every number of the section that is not required to its default. */
void field_set_standards(section_t section, void *section_struct);

/* A section's struct inside a topology; not for SECTION_REGION. */
void *section_of(topology_t *topology, section_t section);
const void *section_of_const(const topology_t *topology, section_t section);

/* host as given, bind what was given or, where that is empty, the host when it is an address
 * (localhost being 127.0.0.1), else "*". */
void topology_host_complete(topology_host_t *host);

enum { PROBLEM_PATH_SIZE = 128, PROBLEM_TEXT_SIZE = 320 };

/* The first rule that a topology breaks, and where in its file: "regions[1].port_base". */
typedef struct {
    char path[PROBLEM_PATH_SIZE];
    char text[PROBLEM_TEXT_SIZE]; /* "expected ..., found ..." */
} topology_problem_t;

bool topology_find_problem(const topology_t *self, topology_problem_t *ret_problem);

/* 0 when the process does not exist or has no such socket. */
uint16_t topology_port(const topology_t *self, process_address_t address, socket_kind_t kind);
/* Not cut to 16 bits, so that a topology which is not checked yet can be asked. */
uint32_t topology_link_port(const topology_t *self, topology_link_t link);

#endif
