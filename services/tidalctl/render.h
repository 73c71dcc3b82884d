/* Replies for people: fields one per line, lists of maps and lists of lists as tables. */
#ifndef TIDAL_SERVICES_TIDALCTL_RENDER_H
#define TIDAL_SERVICES_TIDALCTL_RENDER_H

#include "common/wire/pack.h"

/* Appends the fields of a reply as text; `id`, `ok` and `error` are left out, and the token, which
 * only programs want (--json has it). in reply  a map, checked by pack_check */
void render_reply(slice_t reply, buffer_t *out);

/* -- tables ------------------------------------------------------------------------------------ */

/* Cells are added row by row; every column is as wide as its widest cell. */
typedef struct {
    uint32_t column_count;
    uint32_t cell_count;
    buffer_t texts;   /* cells end to end */
    buffer_t offsets; /* u64 end of each cell */
} render_table_t;

void render_table_init(render_table_t *self, uint32_t column_count);
void render_table_done(render_table_t *self);
void render_table_add(render_table_t *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void render_table_add_slice(render_table_t *self, slice_t text);
/* Appends the rows, each behind `indent` blanks. What is a number stands to the right. */
void render_table_print(const render_table_t *self, uint32_t indent, buffer_t *out);

/* -- values ------------------------------------------------------------------------------------ */

enum { RENDER_TIME_SIZE = 40 };
/* "2026-08-22T12:01:09.123456789Z"; returns ret_text. in ns >= 0 */
const char *render_time(int64_t ns, char ret_text[RENDER_TIME_SIZE]);

void render_format(buffer_t *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* All of it to standard output, and clears it. */
void render_flush(buffer_t *text);

#endif
