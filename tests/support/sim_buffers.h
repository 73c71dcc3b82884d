/* Counted byte buffers of the simulated network, from free lists by power-of-two size. Under the
 * address sanitizer a released buffer is poisoned, so that a callback that kept a pointer is found.
 */
#ifndef TIDAL_TESTS_SUPPORT_SIM_BUFFERS_H
#define TIDAL_TESTS_SUPPORT_SIM_BUFFERS_H

#include <stddef.h>
#include <stdint.h>

enum { SIM_BUFFER_CLASS_COUNT = 26 }; /* up to 2^25 bytes: the largest message with its topic */

typedef struct sim_buffer {
    struct sim_buffer *next_free;
    uint64_t hash; /* of topic and payload */
    size_t size;   /* of the payload */
    uint32_t users;
    uint16_t size_class; /* capacity is 2^size_class */
    uint16_t topic_size; /* with its NUL; 0 none */
    uint8_t bytes[];     /* topic, then payload */
} sim_buffer_t;

/* {0} is ready. */
typedef struct {
    sim_buffer_t *free[SIM_BUFFER_CLASS_COUNT];
} sim_buffers_t;

/* Frees what is free; buffers in use are their users'. */
void sim_buffers_done(sim_buffers_t *self);

/* copies topic (may be NULL) and payload. One user. */
sim_buffer_t *sim_buffers_take(sim_buffers_t *self,
                               const char *topic,
                               const uint8_t *payload,
                               size_t size);
/* Gives one use back. */
void sim_buffers_release(sim_buffers_t *self, sim_buffer_t *buffer);

uint8_t *sim_buffer_payload(sim_buffer_t *buffer);
/* After the payload was changed. */
void sim_buffer_rehash(sim_buffer_t *buffer);

/* One step of a 64-bit hash: order counts. Not for secrets. */
uint64_t sim_hash_mix(uint64_t hash, uint64_t value);

#endif
