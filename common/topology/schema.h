/* Signal types and ranking profiles: what a deployment counts and how it ranks.
 *
 * Read from a schema file beside the topology (see topology/README.md); immutable afterwards. A
 * signal's id is its wire and disk form and never changes its meaning. */
#ifndef TIDAL_COMMON_TOPOLOGY_SCHEMA_H
#define TIDAL_COMMON_TOPOLOGY_SCHEMA_H

#include "common/base/bounds.h"
#include "common/base/bytes.h"
#include "common/base/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    WINDOW_1H = 0,
    WINDOW_24H = 1,
    WINDOW_7D = 2,
    WINDOW_30D = 3,
    WINDOW_ALL = 4
} window_t;

/* "1h" "24h" "7d" "30d" "all"; lives for ever. */
const char *window_name(window_t window);
/* errs ERR_NOT_FOUND */
err_t window_parse(const char *text, window_t *ret_window);
/* Seconds; 0 for WINDOW_ALL. */
int64_t window_seconds(window_t window);

enum {
    WINDOWS_MASK_ALL = (1 << WINDOW_COUNT) - 1,
    SIGNAL_HALF_LIFE_S_MIN = 60,
    SIGNAL_HALF_LIFE_S_MAX = 365 * 86400,
    PROFILE_WEIGHT_MAX = 1000000000, /* of either sign; as the weight of an event */
    PROFILE_FORMULA_SIZE = 2048      /* holds every formula: 16 terms of the longest names */
};

typedef struct {
    uint8_t id; /* 1..SIGNAL_TYPE_COUNT_MAX, unique */
    char name[NAME_LENGTH_MAX + 1];
    int64_t half_life_s;  /* 60 .. 365 days */
    uint8_t windows_mask; /* bit window_t; WINDOW_ALL is always among them */
} schema_signal_t;

/* Whether this window of the signal is counted. */
bool schema_signal_has_window(const schema_signal_t *signal, window_t window);

typedef enum { TERM_DECAY = 0, TERM_COUNT = 1, TERM_VELOCITY = 2 } term_kind_t;

/* "decay" "count" "velocity"; lives for ever. */
const char *term_kind_name(term_kind_t kind);
/* errs ERR_NOT_FOUND */
err_t term_kind_parse(const char *text, term_kind_t *ret_kind);

/* weight * (decayed score | windowed count | windowed velocity) of one signal. */
typedef struct {
    uint8_t signal_id;
    term_kind_t kind;
    window_t window; /* of COUNT and VELOCITY; 0 for DECAY. VELOCITY has no WINDOW_ALL */
    double weight;   /* finite, |weight| <= PROFILE_WEIGHT_MAX */
} profile_term_t;

typedef struct {
    char name[NAME_LENGTH_MAX + 1];
    uint32_t term_count; /* 1..PROFILE_TERM_COUNT_MAX */
    profile_term_t terms[PROFILE_TERM_COUNT_MAX];
} schema_profile_t;

typedef struct {
    uint32_t signal_count;                          /* 1..SIGNAL_TYPE_COUNT_MAX */
    schema_signal_t signals[SIGNAL_TYPE_COUNT_MAX]; /* in the order of the file */
    uint32_t profile_count;                         /* 1..PROFILE_COUNT_MAX */
    schema_profile_t profiles[PROFILE_COUNT_MAX];
    uint32_t profile_default; /* index */
} schema_t;

/* view 7 d, like 30 d, share 14 d, skip 1 d, every window; profiles `default`, `top`, `hot` and
 * `trending`: what topology/schema.yaml says (a test holds the two together). */
void schema_init_default(schema_t *self);
/* NULL when there is none. Borrowed from self. */
const schema_signal_t *schema_find_signal(const schema_t *self, const char *name);
const schema_signal_t *schema_find_signal_id(const schema_t *self, uint8_t id);
const schema_profile_t *schema_find_profile(const schema_t *self, const char *name);
/* The same for names that do not end with a zero byte, as they come from the wire. */
const schema_signal_t *schema_find_signal_slice(const schema_t *self, slice_t name);
const schema_profile_t *schema_find_profile_slice(const schema_t *self, slice_t name);
/* What ranks where a request names no profile. */
const schema_profile_t *schema_default_profile(const schema_t *self);

/* The profile for people: "1 * decay(view) + 4 * velocity(like, 24h) - 2 * decay(skip)". */
void schema_profile_formula(const schema_t *self,
                            const schema_profile_t *profile,
                            char ret_text[PROFILE_FORMULA_SIZE]);

/* Loads and checks; the message names file, line and column, what was expected and found.
 * errs ERR_NOT_FOUND no such file · ERR_IO · ERR_TOO_LARGE · ERR_INVALID */
err_t schema_load(const char *path, schema_t *ret_schema, errbuf_t *errbuf);

#endif
