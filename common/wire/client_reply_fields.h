/* Parts that several replies are made of. Private to this folder. */
#ifndef TIDAL_COMMON_WIRE_CLIENT_REPLY_FIELDS_H
#define TIDAL_COMMON_WIRE_CLIENT_REPLY_FIELDS_H

#include "common/wire/client_reply.h"

/* A text that may have been cut anywhere (pack_write_clean). */
void client_put_people_text(pack_writer_t *writer, const char *key, slice_t text);
/* An array of str. */
void client_put_names(pack_writer_t *writer, const char *key, uint32_t count, const slice_t *names);
/* [wall, logical, node]; nil for the zero stamp. */
void client_put_hlc(pack_writer_t *writer, const char *key, hlc_stamp_t hlc);
/* Milliseconds, -1 for UINT32_MAX. */
void client_put_ms(pack_writer_t *writer, const char *key, uint32_t ms);

#endif
