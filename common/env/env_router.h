/* The serving side of a process: one ROUTER socket for all who ask.
 *
 * A request arrives as [routing id][0..8 prefix frames][body]. The application gets the body and a
 * handle, and answers with the handle when it can: in the same call, in a later turn, several times
 * until it forgets the handle, or never. What stood before the body goes back unchanged, so DEALER,
 * REQ, REQ with REQ_CORRELATE, and any of them through proxies are served alike.
 *
 * What happens when
 *   more than 8 prefix frames, or one over 256 bytes   on_refused with ERR_CORRUPT
 *   the table of open requests is full                 on_refused with ERR_FULL
 *   a frame over frame_size_max                        ZeroMQ cuts the sender off
 *   the asker's queue is full at the reply             reply dropped, ERR_FULL
 *   the asker is gone                                  reply dropped, ERR_UNREACHABLE
 * Each is counted. on_refused may answer its handle at once, within the call; it is void
 * afterwards. A message with too many frames gets back those up to the first empty one, when that
 * is among the first 8, and none otherwise: what a REQ peer needs.
 *
 * An envelope that nobody answers or forgets is open until it expires (design: every queue
 * bounded). */
#ifndef TIDAL_COMMON_ENV_ENV_ROUTER_H
#define TIDAL_COMMON_ENV_ENV_ROUTER_H

#include "common/base/bytes.h"
#include "common/env/env_loop.h"
#include "common/env/env_message.h"

typedef struct env_router env_router_t;

typedef struct {
    uint64_t handle; /* never 0 */
    slice_t target;  /* last prefix frame; empty when there is none or it is a REQ delimiter */
    slice_t body;
} env_request_t; /* slices live until the callback returns */

typedef struct {
    const char *endpoint;        /* copied; tcp://<address>:<port>, port * for any free one */
    uint64_t frame_size_max;     /* bytes of one frame of a request */
    uint64_t queue_size_bytes;   /* budget per asker, each direction; 0: 64 MiB */
    uint64_t message_size_bytes; /* usual size, for the budget; 0: 16 KiB */
    uint32_t envelope_count_max; /* 0: ROUTER_ENVELOPE_COUNT_MAX */
    int64_t envelope_expiry_ms;  /* 0: TIMEOUT_MS_MAX and a minute */
    void *context;
    void (*on_request)(void *context, const env_request_t *request);
    /* May be NULL: then nothing is answered. */
    void (*on_refused)(void *context, uint64_t handle, err_t err);
} env_router_options_t;

typedef struct {
    uint64_t received;
    uint64_t replied;
    uint64_t refused_malformed;
    uint64_t refused_full;
    uint64_t reply_full;        /* dropped */
    uint64_t reply_unreachable; /* dropped */
    uint64_t reply_unknown;     /* handle not open: answered twice, or expired */
    uint64_t expired;
    uint32_t open;
} env_router_counts_t;

/* errs as env_zmq_bind */
err_t env_router_open(env_loop_t *loop,
                      const env_router_options_t *options,
                      env_router_t **ret_router,
                      errbuf_t *errbuf);
/* Open requests are forgotten. */
void env_router_close(env_router_t **self_p);

/* Where it is bound, for tests; lives as long as self. */
const char *env_router_endpoint(const env_router_t *self);

/* One answer of several: the handle stays open until env_router_forget. copies body.
 * errs ERR_FULL, ERR_UNREACHABLE dropped · ERR_NOT_FOUND the handle is not open */
err_t env_router_answer(env_router_t *self, uint64_t handle, slice_t body);
/* The only or last answer: the handle is closed, also on error. errs as env_router_answer
 * takes the bytes of *body (env_message_send_buffer) */
err_t env_router_reply_buffer(env_router_t *self, uint64_t handle, buffer_t *body);
/* No more answers will come; an unknown handle is fine. */
void env_router_forget(env_router_t *self, uint64_t handle);

env_router_counts_t env_router_counts(const env_router_t *self);

#endif
