/* A decoder and a request under construction: what the tests of client requests share. */
#ifndef TIDAL_TESTS_UNIT_WIRE_CLIENT_SUPPORT_H
#define TIDAL_TESTS_UNIT_WIRE_CLIENT_SUPPORT_H

#include "common/wire/client_request.h"
#include "common/wire/pack.h"

typedef struct {
    client_decoder_t *decoder;
    buffer_t body;
    pack_writer_t writer;
    const client_request_t *request; /* as decoded last */
    errbuf_t errbuf;
} wire_fixture_t;

/* For cmocka: *state is a wire_fixture_t. */
int wire_setup(void **state);
int wire_teardown(void **state);
#define WIRE_TEST(name) cmocka_unit_test_setup_teardown(name, wire_setup, wire_teardown)

/* Begins a request with id 5; fields follow by the writer, until one of the functions below. */
pack_writer_t *wire_begin(wire_fixture_t *fixture, const char *op);
/* Puts sample number i into the body. ret false: there is none */
bool wire_load_sample(wire_fixture_t *fixture, uint32_t i);

/* Decodes; a refusal must come with a text that a reply can carry. */
code_t wire_decode_bytes(wire_fixture_t *fixture, slice_t bytes);
code_t wire_decode(wire_fixture_t *fixture);
void wire_expect_ok(wire_fixture_t *fixture);
/* The request as it stands is refused with this code, a text that holds this part, and its id. */
void wire_expect_code(wire_fixture_t *fixture, code_t code, const char *part);
void wire_expect_bad(wire_fixture_t *fixture, const char *part);

#endif
