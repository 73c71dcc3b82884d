/* The listening side of a process: one SUB socket on any number of publishers.
 *
 * Messages are [topic][body]. What was lost on the way, or before the connection was made, is lost:
 * see env_publisher.h. When a connection ends for good (env_watch.h) the whole socket is made anew,
 * which may lose messages of the other publishers too: one more gap. */
#ifndef TIDAL_COMMON_ENV_ENV_SUBSCRIBER_H
#define TIDAL_COMMON_ENV_ENV_SUBSCRIBER_H

#include "common/base/bytes.h"
#include "common/env/env_loop.h"

enum { ENV_SUBSCRIBER_TOPIC_COUNT_MAX = 16 };

typedef struct env_subscriber env_subscriber_t;

typedef struct {
    uint64_t queue_size_bytes;   /* budget per publisher; 0: 64 MiB */
    uint64_t message_size_bytes; /* usual size, for the budget; 0: 16 KiB */
    void *context;
    /* Slices live until return. The subscriber must not be destroyed within. */
    void (*on_message)(void *context, slice_t topic, slice_t body);
    /* A publisher's connection came up or ended; may be NULL. What it said before `true` was not
     * heard. */
    void (*on_state)(void *context, const char *endpoint, bool is_up);
} env_subscriber_options_t;

typedef struct {
    uint64_t received;
    uint64_t malformed; /* dropped */
    uint64_t recreated;
    uint32_t connected; /* publishers, now */
} env_subscriber_counts_t;

env_subscriber_t *env_subscriber_new(env_loop_t *loop, const env_subscriber_options_t *options);
void env_subscriber_destroy(env_subscriber_t **self_p);

/* Topics that begin with this; "" is everything. Copied; at most ENV_SUBSCRIBER_TOPIC_COUNT_MAX. */
void env_subscriber_add_topic(env_subscriber_t *self, const char *topic);
/* Listens there too; copied; a second time for one endpoint does nothing; at most
 * ENDPOINT_COUNT_MAX. errs ERR_INVALID */
err_t env_subscriber_connect(env_subscriber_t *self, const char *endpoint, errbuf_t *errbuf);

/* For tests. */
env_subscriber_counts_t env_subscriber_counts(const env_subscriber_t *self);

#endif
