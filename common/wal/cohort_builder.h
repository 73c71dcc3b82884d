/* Builds the cohorts column of a SIGNALS record (record.h), and the record that has it.
 *
 *   cohort_builder_begin, then for each event in order
 *     cohort_builder_add_name for each cohort and cohort_builder_put_event, or
 *     cohort_builder_put_set with the number that an earlier event got,
 *   then cohort_builder_append.
 *
 * What comes out is a function of the events' sets alone: no order of names or hashes shows. */
#ifndef TIDAL_COMMON_WAL_COHORT_BUILDER_H
#define TIDAL_COMMON_WAL_COHORT_BUILDER_H

#include "common/wal/record.h"

typedef struct cohort_builder cohort_builder_t;

/* Never NULL; memory is kept from record to record. */
cohort_builder_t *cohort_builder_new(void);
/* Nulls; NULL is allowed. */
void cohort_builder_destroy(cohort_builder_t **self_p);

/* Starts over: no events, no names. */
void cohort_builder_begin(cohort_builder_t *self);

/* A cohort of the next event; one that is added twice counts once.
 * in name  copied; 1..NAME_LENGTH_MAX bytes of UTF-8; at most USER_ATTRIBUTE_COUNT_MAX per event */
void cohort_builder_add_name(cohort_builder_t *self, slice_t name);
/* The next event counts for the names added since the last one.
 * out number of its set; 0: no names */
uint32_t cohort_builder_put_event(cohort_builder_t *self);
/* The next event counts for the same set as an earlier one. in number of that set, may be 0 */
void cohort_builder_put_set(cohort_builder_t *self, uint32_t number);

/* Whether no event counts for a cohort. */
bool cohort_builder_is_empty(const cohort_builder_t *self);

/* Appends the record with the column that was built.
 * in   record  one whole SIGNALS record without cohorts, of as many events as were put, not empty
 * errs ERR_TOO_LARGE more names or sets than a record may have; nothing was appended */
err_t cohort_builder_append(cohort_builder_t *self,
                            slice_t record,
                            buffer_t *payload,
                            errbuf_t *errbuf);

#endif
