#include "tests/unit/wire_client_support.h"

#include "tests/unit/wire_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

int wire_setup(void **state)
{
    wire_fixture_t *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    fixture->decoder = wire_decoder_new();
    buffer_init(&fixture->body);
    *state = fixture;
    return 0;
}

int wire_teardown(void **state)
{
    wire_fixture_t *fixture = *state;
    client_decoder_destroy(&fixture->decoder);
    buffer_done(&fixture->body);
    free(fixture);
    return 0;
}

pack_writer_t *wire_begin(wire_fixture_t *fixture, const char *op)
{
    buffer_clear(&fixture->body);
    client_request_begin(&fixture->writer, &fixture->body, op, 5);
    return &fixture->writer;
}

code_t wire_decode_bytes(wire_fixture_t *fixture, slice_t bytes)
{
    fixture->errbuf.text[0] = '\0';
    code_t code = client_decode(fixture->decoder, bytes, &fixture->request, &fixture->errbuf);
    /* A refusal says why, in text that a reply can carry. */
    assert_true(code == CODE_OK || fixture->errbuf.text[0] != '\0');
    assert_true(bytes_are_utf8(slice_text(fixture->errbuf.text)));
    return code;
}

/* Puts sample number i into the body. ret false: there is none */
bool wire_load_sample(wire_fixture_t *fixture, uint32_t i)
{
    buffer_clear(&fixture->body);
    return wire_sample_request(i, &fixture->body);
}

code_t wire_decode(wire_fixture_t *fixture)
{
    client_request_end(&fixture->writer);
    return wire_decode_bytes(fixture, buffer_slice(&fixture->body));
}

void wire_expect_ok(wire_fixture_t *fixture)
{
    if (wire_decode(fixture) != CODE_OK) {
        fail_msg("%s", fixture->errbuf.text);
    }
}

/* The request as it stands is refused with this code, and with a text that holds this part. */
void wire_expect_code(wire_fixture_t *fixture, code_t code, const char *part)
{
    assert_int_equal(wire_decode(fixture), code);
    if (strstr(fixture->errbuf.text, part) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", part, fixture->errbuf.text);
    }
    assert_int_equal(fixture->request->id.size, 1);
    assert_int_equal(fixture->request->id.data[0], 5);
}

void wire_expect_bad(wire_fixture_t *fixture, const char *part)
{
    wire_expect_code(fixture, CODE_BAD_REQUEST, part);
}
