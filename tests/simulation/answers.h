/* With which copy each request was answered. A copy is named by origin and seqs, and a session's signal by
 * its session seq as well; of one (tenant, producer, seq) and shard every answer at `replicated` or above
 * must name the same one, whoever gives it and whenever it arrives, but for writes for all shards. An
 * answer at `local` may name a copy that is voided later, and one without a place (what every region
 * holds for good) names none. */
#ifndef TIDAL_TESTS_SIMULATION_ANSWERS_H
#define TIDAL_TESTS_SIMULATION_ANSWERS_H

#include "common/base/bytes.h"
#include "common/base/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    buffer_t named;  /* the first answer for each request and shard */
    buffer_t latest; /* by request: number, from 1, of the one that was named last; 0: none */
    uint64_t compared_count;
} answers_t;

void answers_init(answers_t *self);
void answers_done(answers_t *self);

/* Takes any reply to a request that carries a pair.
 * in request  number of the pair; reply  checked msgpack
 * out ret_text  the contradiction. ret false: there is one */
bool answers_take(answers_t *self, uint32_t request, slice_t reply, errbuf_t *ret_text);

#endif
