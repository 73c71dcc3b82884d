/* Envelopes of requests that wait for their answer: the frames that stood before the body, under a
 * handle that is never used twice while a stale copy of it could be about.
 *
 * Capacity is fixed. When it is full an envelope older than the expiry gives way, oldest first;
 * when there is none the new request is refused (its sender is told, the others are not touched).
 */
#ifndef TIDAL_COMMON_ENV_ENV_ENVELOPES_H
#define TIDAL_COMMON_ENV_ENV_ENVELOPES_H

#include "common/base/bounds.h"
#include "common/base/bytes.h"

enum { ENV_ENVELOPE_FRAME_COUNT_MAX = CLIENT_PREFIX_FRAME_COUNT_MAX + 1 };

typedef struct env_envelopes env_envelopes_t;

/* in capacity  1..ROUTER_ENVELOPE_COUNT_MAX; memory is reserved at once and used as it fills */
env_envelopes_t *env_envelopes_new(uint32_t capacity, int64_t expiry_ns);
void env_envelopes_destroy(env_envelopes_t **self_p);

/* Copies the frames. in frames  1..ENV_ENVELOPE_FRAME_COUNT_MAX, each up to
 * CLIENT_PREFIX_FRAME_SIZE_MAX bytes. Returns the handle, 0 when the table is full. */
uint64_t env_envelopes_open(env_envelopes_t *self,
                            const slice_t *frames,
                            uint32_t frame_count,
                            int64_t now_ns);

/* out ret_frames  borrowed until the envelope is closed. Returns how many, 0 when the handle is not
 * open (closed, expired, or never given). */
uint32_t env_envelopes_find(const env_envelopes_t *self,
                            uint64_t handle,
                            slice_t ret_frames[ENV_ENVELOPE_FRAME_COUNT_MAX]);

/* False when the handle is not open. */
bool env_envelopes_close(env_envelopes_t *self, uint64_t handle);

uint32_t env_envelopes_count(const env_envelopes_t *self);
/* How many gave way to newer ones. */
uint64_t env_envelopes_expired_count(const env_envelopes_t *self);

#endif
