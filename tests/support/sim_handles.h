/* Reply handles of one simulated process: who is to be answered, for each message received and not
 * yet forgotten. A handle is never 0 and never given twice, over all lives of the process. */
#ifndef TIDAL_TESTS_SUPPORT_SIM_HANDLES_H
#define TIDAL_TESTS_SUPPORT_SIM_HANDLES_H

#include <stdbool.h>
#include <stdint.h>

enum { SIM_HANDLE_COUNT_MAX = 65536 }; /* open at a time; then the oldest expires */

/* The connection that a message came over. */
typedef struct {
    uint32_t requester; /* slot of the process */
    uint32_t requester_life;
    uint32_t resets; /* of the link, when the message came */
} sim_origin_t;

typedef struct {
    uint64_t handle; /* 0: free */
    sim_origin_t origin;
    uint32_t next_free;
} sim_handle_t;

/* {0} is ready. */
typedef struct {
    uint64_t serial;
    sim_handle_t *places;
    uint32_t capacity;
    uint32_t count;
    uint32_t first_free; /* place + 1 */
} sim_handles_t;

void sim_handles_done(sim_handles_t *self);
/* out ret_expired whether the oldest one had to go */
uint64_t sim_handles_add(sim_handles_t *self, sim_origin_t origin, bool *ret_expired);
/* NULL when it was forgotten, has expired, or never was. Lives until the next add. */
const sim_origin_t *sim_handles_find(const sim_handles_t *self, uint64_t handle);
/* Whether it was there. */
bool sim_handles_forget(sim_handles_t *self, uint64_t handle);
/* How many there were. */
uint32_t sim_handles_forget_all(sim_handles_t *self);

#endif
