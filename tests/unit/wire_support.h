/* What the tests of common/wire share: bytes of a literal, random messages, sample requests. */
#ifndef TIDAL_TESTS_UNIT_WIRE_SUPPORT_H
#define TIDAL_TESTS_UNIT_WIRE_SUPPORT_H

#include "common/base/prng.h"
#include "common/wire/client_reply.h"
#include "common/wire/client_request.h"
#include "common/wire/msg.h"

/* The bytes of a string literal, zeros and all. */
#define WIRE_BYTES(literal) slice_make((literal), sizeof(literal) - 1)

/* Memory of one random message; freed by wire_random_done. */
typedef struct {
    prng_t prng;
    uint32_t list_count_max; /* elements of each list, where its own bounds allow */
    void *blocks[4096];
    uint32_t block_count;
} wire_random_t;

void wire_random_init(wire_random_t *self, uint64_t seed, uint32_t list_count_max);
void wire_random_done(wire_random_t *self);
/* A message of this type with random values in every field, each within its bounds and often at
 * them. Lives until wire_random_done. */
msg_t wire_random_message(wire_random_t *self, msg_type_t type);

/* Every type that there is, for loops: 0 ends. */
msg_type_t wire_message_type(uint32_t i);

/* A decoder with the default signal types: view 1, like 2, share 3, skip 4. */
client_decoder_t *wire_decoder_new(void);

/* Well-formed requests, one of each shape; appends number i to out. ret false: there is none */
bool wire_sample_request(uint32_t i, buffer_t *out);

#endif
