/* The whole mesh on one screen: a line per place, then what is wrong, worst first, and at last the
 * control plane's sentence. */
#ifndef TIDAL_SERVICES_TIDALCTL_STATUS_TEXT_H
#define TIDAL_SERVICES_TIDALCTL_STATUS_TEXT_H

#include "common/wire/pack.h"

/* Appends it. in status  a reply of the op `status`; links  a reply with the rules of the links.
 * Both checked by pack_check. */
void status_text_write(slice_t status, slice_t links, buffer_t *out);

#endif
