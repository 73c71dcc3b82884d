/* The columns of SIGNALS records: the part of the codec of record.h that is about speed and width.
 * For record.c alone. */
#ifndef TIDAL_COMMON_WAL_RECORD_SIGNALS_H
#define TIDAL_COMMON_WAL_RECORD_SIGNALS_H

#include "common/wal/record.h"

/* Decodes the body of a SIGNALS record of record->event_count events into record->as.signals; every
 * column is checked. errs ERR_CORRUPT, ERR_UNSUPPORTED */
err_t record_signals_decode(slice_t body, unsigned flags, record_t *record, errbuf_t *errbuf);

/* Writes the RECORD_HEADER_SIZE bytes in front of a body, its size being 0 for now. */
void record_put_header(uint8_t *at, record_type_t type, unsigned flags, uint32_t events);

#endif
