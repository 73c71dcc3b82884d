/* The announcing side of a process: one PUB socket, messages [topic][body].
 *
 * Nobody listening, or a listener whose queue is full: the message is lost for that listener,
 * without a sign. So what is published is numbered, cumulative and repeated by whoever publishes
 * (the body carries the boot id and a number), and a listener that sees a gap asks over a ROUTER.
 */
#ifndef TIDAL_COMMON_ENV_ENV_PUBLISHER_H
#define TIDAL_COMMON_ENV_ENV_PUBLISHER_H

#include "common/base/bytes.h"
#include "common/env/env_loop.h"

typedef struct env_publisher env_publisher_t;

typedef struct {
    const char *endpoint;        /* copied; port * for any free one */
    uint64_t queue_size_bytes;   /* budget per listener; 0: 64 MiB */
    uint64_t message_size_bytes; /* usual size, for the budget; 0: 16 KiB */
} env_publisher_options_t;

/* errs as env_zmq_bind */
err_t env_publisher_open(env_loop_t *loop,
                         const env_publisher_options_t *options,
                         env_publisher_t **ret_publisher,
                         errbuf_t *errbuf);
void env_publisher_close(env_publisher_t **self_p);

/* copies body. in topic  1..TOPIC_SIZE_MAX ASCII bytes; listeners match by prefix */
void env_publisher_publish(env_publisher_t *self, const char *topic, slice_t body);
/* The same; takes the bytes of *body (env_message_send_buffer). */
void env_publisher_publish_buffer(env_publisher_t *self, const char *topic, buffer_t *body);

/* Where it is bound, for tests; lives as long as self. */
const char *env_publisher_endpoint(const env_publisher_t *self);
uint64_t env_publisher_published_count(const env_publisher_t *self);

#endif
