/* Hybrid logical clock (Kulkarni et al., 2014): wall time that never goes back and orders causes
 * before effects.
 *
 * A stamp is (wall, logical, node). Ties of wall and logical are broken by node, so stamps of
 * different nodes are never equal. The wall clock is handed in; nothing here reads one. */
#ifndef TIDAL_COMMON_BASE_HLC_H
#define TIDAL_COMMON_BASE_HLC_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t wall_ns;  /* Unix epoch, ns; 0 in the zero stamp, which is before every other */
    uint32_t logical; /* rises where wall does not */
    uint32_t node;    /* region << 16 | shard; gateways use shard 0xffff, clients what they like */
} hlc_stamp_t;

/* The year 2200. No clock gives a stamp beyond it, and none follows one: it could not go on from
 * the end of the numbers. Foreign stamps beyond it are told in logs like any
 * other, and merge by order. */
#define HLC_WALL_NS_MAX INT64_C(7258118400000000000)

/* <0, 0, >0. */
int hlc_compare(hlc_stamp_t a, hlc_stamp_t b);

typedef struct {
    hlc_stamp_t last; /* highest stamp given or seen */
    uint32_t node;
} hlc_t;

void hlc_init(hlc_t *self, uint32_t node);

/* A new stamp, higher than every stamp given or observed before: the wall time where that is
 * higher, else the last wall time with the next logical number, which carries into it. */
hlc_stamp_t hlc_now(hlc_t *self, int64_t wall_ns);

/* Takes note of a stamp from elsewhere (a message, or the log or checkpoint at a restart). One
 * beyond HLC_WALL_NS_MAX is not followed. */
void hlc_observe(hlc_t *self, hlc_stamp_t stamp);

/* How far a stamp lies ahead of a wall clock; 0 when it does not. Whether that is too far is asked
 * before something is logged, never of what is logged (design section 5). in wall_ns >= 0 */
int64_t hlc_ahead_ns(hlc_stamp_t stamp, int64_t wall_ns);

#endif
