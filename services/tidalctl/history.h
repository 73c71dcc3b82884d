/* Engagement histories as files: events, and what is known of the items.
 *
 *   <name>-events.tsv[.gz]   first line `ts_ms user item action`, separated by tabs, in any order;
 *                            then one event per line, roughly in time order. ts_ms is milliseconds
 *                            since 1970, user and item are numbers of 1 and up, action is M
 *                            (changed), A (added) or D (deleted)
 *   <name>-items.tsv[.gz]    first line `item title category`; then one item per line
 *
 * Other columns are left alone. An error names the file and the line. */
#ifndef TIDAL_SERVICES_TIDALCTL_HISTORY_H
#define TIDAL_SERVICES_TIDALCTL_HISTORY_H

#include "common/base/bytes.h"

enum { HISTORY_LINE_SIZE_MAX = 65536, HISTORY_PATH_SIZE_MAX = 1024 };

typedef enum { HISTORY_CHANGED = 'M', HISTORY_ADDED = 'A', HISTORY_DELETED = 'D' } history_action_t;

typedef struct {
    int64_t ts_ns;
    uint64_t user;
    uint64_t item;
    history_action_t action;
} history_event_t;

typedef struct history history_t;

/* Opens a file of events, compressed or not, and reads its first line.
 * errs ERR_NOT_FOUND · ERR_IO · ERR_INVALID not such a file */
err_t history_open(const char *path, history_t **ret_history, errbuf_t *errbuf);
void history_close(history_t **self_p);
/* errs ERR_END · ERR_INVALID a line · ERR_IO */
err_t history_next(history_t *self, history_event_t *ret_event, errbuf_t *errbuf);

/* -- items ------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t item;
    slice_t title; /* UTF-8 */
    slice_t category;
} history_item_t;

typedef struct history_items history_items_t;

/* errs as history_open and history_next */
err_t history_items_load(const char *path, history_items_t **ret_items, errbuf_t *errbuf);
void history_items_destroy(history_items_t **self_p);
uint64_t history_items_count(const history_items_t *self);
/* False when nothing is known of it; also with self NULL. The slices live as long as self. */
bool history_items_find(const history_items_t *self, uint64_t item, history_item_t *ret_item);

/* Where the items of this file of events would be: "x-events.tsv.gz" -> "x-items.tsv.gz", with and
 * without .gz. False when neither file is there. */
bool history_items_path(const char *events_path, char ret_path[HISTORY_PATH_SIZE_MAX]);

/* -- identity ---------------------------------------------------------------------------------- */

enum { HISTORY_HASH_SIZE = 32 };

/* Reads the first event_count_max events (0: all) and hashes them, and the items file where there
 * is one: the same history has the same hash, compressed or not.
 * out  ret_event_count  how many there are
 * errs as history_open and history_next */
err_t history_identify(const char *events_path,
                       const history_items_t *items,
                       uint64_t event_count_max,
                       uint8_t ret_hash[HISTORY_HASH_SIZE],
                       uint64_t *ret_event_count,
                       errbuf_t *errbuf);

#endif
