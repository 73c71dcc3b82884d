/* The cohorts column of a SIGNALS record, as record.h lays it out, for reading.
 *
 * A record names each cohort once, lists the distinct sets of cohorts that its events count for,
 * and gives each event the number of its set. Who works through all events resolves the names once
 * and follows the numbers; record_cohorts_get is for those who look at one event. */
#ifndef TIDAL_COMMON_WAL_RECORD_COHORTS_H
#define TIDAL_COMMON_WAL_RECORD_COHORTS_H

#include "common/wal/record.h"

/* Where the parts of the column lie; borrowed from the payload. */
typedef struct {
    uint32_t name_count;
    uint32_t set_count;
    uint32_t member_count; /* of all sets */
    const uint8_t *set_numbers;
    const uint8_t *set_sizes;
    const uint8_t *members;
    const uint8_t *name_sizes;
    const uint8_t *names;
} record_cohorts_t;

/* Checks every length, number and name of the column; for record_signals.c, before anybody reads.
 * errs ERR_CORRUPT */
err_t record_cohorts_check(const record_signals_t *signals, errbuf_t *errbuf);

/* in signals  decoded. out false: the record has no cohorts */
bool record_cohorts_open(const record_signals_t *signals, record_cohorts_t *ret_cohorts);

/* Set of event i: 0 none, else 1..set_count. */
static inline uint32_t record_cohorts_set(const record_cohorts_t *self, uint32_t i)
{
    return self->set_count > UINT8_MAX ? bytes_get_u16(self->set_numbers + 2 * (size_t)i)
                                       : self->set_numbers[i];
}

/* Number of a name, 0..name_count-1. in place 0..member_count-1; set 1 begins at 0, and each other
 * one where the one before ends, set_sizes[set - 1] further. */
static inline uint32_t record_cohorts_member(const record_cohorts_t *self, uint32_t place)
{
    return self->name_count > UINT8_MAX + 1 ? bytes_get_u16(self->members + 2 * (size_t)place)
                                            : self->members[place];
}

/* The names that event i counts for, in order. out how many; they borrow from the payload
 * cost a pass over the sets and names of the record */
uint32_t record_cohorts_get(const record_signals_t *signals,
                            uint32_t i,
                            slice_t ret_names[USER_ATTRIBUTE_COUNT_MAX]);

#endif
