/* Read ops of clients in good and bad form. */
#include "common/wire/client_request.h"

#include "common/topology/schema.h"
#include "common/wire/pack.h"
#include "tests/unit/wire_client_support.h"
#include "tests/unit/wire_support.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* -- reads ------------------------------------------------------------------------------------- */

/* Goal: what every read takes is held to type and range. */
static void test_wire_client_read_read_fields_are_checked(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_put_text(wire_begin(fixture, "retrieve"), "read", "nearest");
    wire_expect_bad(fixture, "read: expected one of `local` `leader`, found `nearest`");
    pack_put_i64(wire_begin(fixture, "retrieve"), "at", -1);
    wire_expect_bad(fixture, "at: expected nanoseconds");
    pack_put_text(wire_begin(fixture, "retrieve"), "max_staleness_ms", "1s");
    wire_expect_bad(fixture, "max_staleness_ms: ");
    pack_writer_t *writer = wire_begin(fixture, "retrieve");
    pack_put_text(writer, "read", "leader");
    pack_put_text(writer, "at", "123");
    pack_put_u64(writer, "max_staleness_ms", 0);
    wire_expect_ok(fixture);
    assert_true(fixture->request->from_leader);
    assert_true(fixture->request->has_at);
    assert_int_equal(fixture->request->at_ns, 123);
    assert_int_equal(fixture->request->max_staleness_ms, 0);
}

static void s_begin_cell(wire_fixture_t *fixture, const char *op, const char *window)
{
    pack_writer_t *writer = wire_begin(fixture, op);
    pack_put_u64(writer, "item", 1);
    pack_put_text(writer, "signal", "view");
    if (window != NULL) {
        pack_put_text(writer, "window", window);
    }
}

/* Goal: score, count and velocity are held to their fields. */
static void test_wire_client_read_cell_is_checked(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_put_u64(wire_begin(fixture, "score"), "item", 1);
    wire_expect_bad(fixture, "signal: expected by this op, found none: add it");
    s_begin_cell(fixture, "score", NULL);
    wire_expect_ok(fixture);
    s_begin_cell(fixture, "count", NULL);
    wire_expect_bad(fixture, "window: expected by this op, found none: add it");
    s_begin_cell(fixture, "velocity", NULL);
    wire_expect_bad(fixture, "window: expected by this op, found none: add it");
    s_begin_cell(fixture, "count", "2h");
    wire_expect_bad(fixture, "window: expected one of `1h` `24h` `7d` `30d` `all`, found `2h`");
    s_begin_cell(fixture, "velocity", "all");
    wire_expect_bad(fixture, "found `all`: a velocity needs a length");
}

/* Goal: windows are those of the schema, by name. */
static void test_wire_client_read_every_window_decodes(void **state)
{
    wire_fixture_t *fixture = *state;
    for (uint32_t window = 0; window < WINDOW_COUNT; window++) {
        s_begin_cell(fixture, "count", client_window_name((uint8_t)window));
        wire_expect_ok(fixture);
        assert_int_equal(fixture->request->as.cell.window, window);
    }
}

static pack_writer_t *s_begin_cells(wire_fixture_t *fixture, uint32_t items, uint32_t signals)
{
    pack_writer_t *writer = wire_begin(fixture, "cells");
    pack_key(writer, "items");
    pack_write_array(writer, items);
    for (uint32_t i = 0; i < items; i++) {
        pack_write_u64(writer, 1 + i);
    }
    pack_key(writer, "signals");
    pack_write_array(writer, signals);
    for (uint32_t i = 0; i < signals; i++) {
        pack_write_str(writer, slice_text("like"));
    }
    return writer;
}

/* Goal: cells keep the order asked, and are bounded by their product. */
static void test_wire_client_read_cells_are_bounded(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_writer_t *writer = s_begin_cells(fixture, 3, 2);
    pack_key(writer, "windows");
    pack_write_encoded(writer, WIRE_BYTES("\x92\xa3"
                                          "all\xa2"
                                          "1h"));
    wire_expect_ok(fixture);
    assert_int_equal(fixture->request->as.cells.item_count, 3);
    assert_int_equal(fixture->request->as.cells.items[2], 3);
    assert_int_equal(fixture->request->as.cells.signals[1], 2);
    assert_int_equal(fixture->request->as.cells.windows[0], WINDOW_ALL);
    assert_int_equal(fixture->request->as.cells.windows[1], WINDOW_1H);
    pack_put_array(s_begin_cells(fixture, 10000, 10), "windows");
    pack_close(&fixture->writer);
    wire_expect_ok(fixture);
    pack_put_array(s_begin_cells(fixture, 10000, 11), "windows");
    pack_close(&fixture->writer);
    wire_expect_code(fixture, CODE_TOO_LARGE, "at most 100000, found 110000");
    pack_put_array(s_begin_cells(fixture, 10001, 1), "windows");
    pack_close(&fixture->writer);
    wire_expect_code(fixture, CODE_TOO_LARGE, "items: expected at most 10000 values");
    pack_put_array(s_begin_cells(fixture, 0, 1), "windows");
    pack_close(&fixture->writer);
    wire_expect_bad(fixture, "items: expected at least one");
    pack_put_array(s_begin_cells(fixture, 1, 0), "windows");
    pack_close(&fixture->writer);
    wire_expect_bad(fixture, "signals: expected at least one");
    (void)s_begin_cells(fixture, 1, 1);
    wire_expect_bad(fixture, "windows: expected by this op, found none: add it");
    writer = s_begin_cells(fixture, 1, 1);
    pack_key(writer, "windows");
    pack_write_encoded(writer, WIRE_BYTES("\x91\xa1"
                                          "9"));
    wire_expect_bad(fixture, "windows[0]: expected one of");
    writer = wire_begin(fixture, "cells");
    pack_key(writer, "items");
    pack_write_encoded(writer, WIRE_BYTES("\x92\x01\x00"));
    pack_put_array(writer, "signals");
    pack_close(writer);
    pack_put_array(writer, "windows");
    pack_close(writer);
    wire_expect_bad(fixture, "items[1]: expected an id of 1..");
}

/* Goal: a relation is of an item or of a creator. */
static void test_wire_client_read_relation_needs_one_target(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_put_u64(wire_begin(fixture, "relation"), "user", 1);
    wire_expect_bad(fixture, "either item or creator, found neither");
    pack_writer_t *writer = wire_begin(fixture, "relation");
    pack_put_u64(writer, "user", 1);
    pack_put_u64(writer, "item", 1);
    pack_put_u64(writer, "creator", 1);
    wire_expect_bad(fixture, "either item or creator, found both");
    pack_put_u64(wire_begin(fixture, "relation"), "item", 1);
    wire_expect_bad(fixture, "user: expected by this op, found none: add it");
}

/* Goal: a retrieve with everything keeps everything. Method: the sample. */
static void test_wire_client_read_retrieve_decodes(void **state)
{
    wire_fixture_t *fixture = *state;
    bool found = false;
    for (uint32_t i = 0; !found; i++) {
        buffer_clear(&fixture->body);
        assert_true(wire_sample_request(i, &fixture->body));
        assert_int_equal(wire_decode_bytes(fixture, buffer_slice(&fixture->body)), CODE_OK);
        found = fixture->request->op == CLIENT_OP_RETRIEVE;
    }
    const client_retrieve_t *retrieve = &fixture->request->as.retrieve;
    assert_true(retrieve->has_user && retrieve->user.value == 7);
    assert_true(retrieve->has_session);
    assert_memory_equal(retrieve->session.bytes, "abcdefgh0123456789abcdef", SESSION_ID_SIZE);
    assert_false(retrieve->has_profile);
    assert_int_equal(retrieve->term_count, 1);
    assert_int_equal(retrieve->terms[0].signal_id, 1);
    assert_int_equal(retrieve->terms[0].kind, TERM_VELOCITY);
    assert_int_equal(retrieve->terms[0].window, WINDOW_1H);
    assert_true(retrieve->terms[0].weight == 3.0);
    assert_int_equal(retrieve->candidate_count, 2); /* 11 stood twice */
    assert_int_equal(retrieve->candidates[0], 11);
    assert_int_equal(retrieve->candidates[1], 12);
    assert_int_equal(retrieve->category_count, 2);
    assert_true(slice_equal(retrieve->categories[1], slice_text("sport")));
    assert_int_equal(retrieve->creator.value, 5);
    assert_true(retrieve->created_after == 10 && retrieve->created_before == 20);
    assert_true(retrieve->unseen && retrieve->explain);
    assert_true(retrieve->has_diversity && retrieve->max_per_creator == 2);
    assert_int_equal(retrieve->max_per_category, 0);
    assert_true(retrieve->has_cohort && slice_equal(retrieve->cohort, slice_text("locale:EU")));
    assert_int_equal(retrieve->limit, 10);
    assert_true(retrieve->has_cursor && retrieve->cursor.item.value == 7);
    assert_true(retrieve->cursor.score == 1.5 && retrieve->cursor.at_ns == 5);
}

static void s_expect_bad_terms(wire_fixture_t *fixture,
                               slice_t terms,
                               code_t code,
                               const char *part)
{
    pack_writer_t *writer = wire_begin(fixture, "retrieve");
    pack_key(writer, "terms");
    pack_write_encoded(writer, terms);
    wire_expect_code(fixture, code, part);
}

/* Goal: terms are held to their fields. */
static void test_wire_client_read_bad_terms_are_named(void **state)
{
    wire_fixture_t *fixture = *state;
    s_expect_bad_terms(fixture, WIRE_BYTES("\x90"), CODE_BAD_REQUEST, "terms: expected at least");
    s_expect_bad_terms(fixture, WIRE_BYTES("\x01"), CODE_BAD_REQUEST, "terms: expected array");
    s_expect_bad_terms(fixture, WIRE_BYTES("\x91\x01"), CODE_BAD_REQUEST, "terms[0]: expected map");
    s_expect_bad_terms(fixture, WIRE_BYTES("\x91\x80"), CODE_BAD_REQUEST,
                       "terms[0].signal: expected");
    s_expect_bad_terms(fixture,
                       WIRE_BYTES("\x91\x83\xa6signal\xa3vew\xa3"
                                  "agg\xa5"
                                  "decay\xa6weight\x01"),
                       CODE_UNKNOWN_SIGNAL, "terms[0].signal: `vew`");
    s_expect_bad_terms(fixture,
                       WIRE_BYTES("\x91\x83\xa6signal\xa4view\xa3"
                                  "agg\xa3sum\xa6weight\x01"),
                       CODE_BAD_REQUEST,
                       "terms[0].agg: expected one of `decay` `count` `velocity`");
    s_expect_bad_terms(fixture,
                       WIRE_BYTES("\x91\x82\xa6signal\xa4view\xa3"
                                  "agg\xa5"
                                  "decay"),
                       CODE_BAD_REQUEST,
                       "terms[0].weight: expected by this op, found none: add it");
    s_expect_bad_terms(fixture,
                       WIRE_BYTES("\x91\x83\xa6signal\xa4view\xa3"
                                  "agg\xa5"
                                  "count\xa6weight\x01"),
                       CODE_BAD_REQUEST,
                       "terms[0].window: expected by this op, found none: add it");
    s_expect_bad_terms(fixture,
                       WIRE_BYTES("\x91\x84\xa6signal\xa4view\xa3"
                                  "agg\xa8velocity\xa6window\xa3"
                                  "all"
                                  "\xa6weight\x01"),
                       CODE_BAD_REQUEST, "terms[0].window: expected one of `1h`");
    uint8_t many[3 + 17] = {0xdc, 0, 17};
    memset(many + 3, 0x80, 17);
    s_expect_bad_terms(fixture, slice_make(many, sizeof(many)), CODE_TOO_LARGE, "terms: ");
}

/* Goal: the other fields of a retrieve are held to theirs. */
static void test_wire_client_read_bad_retrieves_are_refused(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_put_u64(wire_begin(fixture, "retrieve"), "limit", 0);
    wire_expect_bad(fixture, "limit: expected an integer of 1..1000, found 0");
    pack_put_u64(wire_begin(fixture, "retrieve"), "limit", RETRIEVE_LIMIT_MAX + 1);
    wire_expect_bad(fixture, "limit: ");
    pack_put_u64(wire_begin(fixture, "retrieve"), "explain", 1);
    wire_expect_bad(fixture, "explain: expected true or false, found 1");
    pack_put_text(wire_begin(fixture, "retrieve"), "session", "x");
    wire_expect_bad(fixture, "session: expected the bin that session_start gave");
    pack_put_text(wire_begin(fixture, "retrieve"), "profile", "");
    wire_expect_bad(fixture, "profile: ");
    pack_put_bin(wire_begin(fixture, "retrieve"), "cursor", slice_text("x"));
    wire_expect_bad(fixture, "cursor: expected a cursor as a reply gave it");
    pack_put_u64(wire_begin(fixture, "retrieve"), "candidates", 5);
    wire_expect_bad(fixture, "candidates: expected array");
    pack_put_u64(wire_begin(fixture, "retrieve"), "filter", 5);
    wire_expect_bad(fixture, "filter: expected map");
    pack_writer_t *writer = wire_begin(fixture, "retrieve");
    pack_put_map(writer, "filter");
    pack_put_text(writer, "category", "news");
    pack_close(writer);
    wire_expect_bad(fixture, "filter.category: expected array");
    writer = wire_begin(fixture, "retrieve");
    pack_put_map(writer, "filter");
    pack_put_bool(writer, "unseen", true);
    pack_close(writer);
    wire_expect_bad(fixture, "filter.unseen: expected a `user` or a `session` beside it");
    writer = wire_begin(fixture, "retrieve");
    pack_put_map(writer, "diversity");
    pack_put_u64(writer, "max_per_creator", 0);
    pack_close(writer);
    wire_expect_bad(fixture, "diversity.max_per_creator: ");
    writer = wire_begin(fixture, "retrieve");
    pack_key(writer, "candidates");
    pack_write_array(writer, CANDIDATE_COUNT_MAX + 1);
    for (uint32_t i = 0; i <= CANDIDATE_COUNT_MAX; i++) {
        pack_write_u64(writer, 1 + i);
    }
    wire_expect_code(fixture, CODE_TOO_LARGE, "candidates: expected at most 10000");
}

/* Goal: an empty list of candidates is not the same as none. */
static void test_wire_client_read_empty_candidates_are_sent(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_put_array(wire_begin(fixture, "retrieve"), "candidates");
    pack_close(&fixture->writer);
    wire_expect_ok(fixture);
    assert_true(fixture->request->as.retrieve.has_candidates);
    assert_int_equal(fixture->request->as.retrieve.candidate_count, 0);
}

/* Goal: a cursor comes back as it went, and no other bytes are one. */
static void test_wire_client_read_cursor_bytes_are_checked(void **state)
{
    wire_fixture_t *fixture = *state;
    client_cursor_t cursor = {.at_ns = 1, .score = -2.5, .item = {3}};
    uint8_t bytes[CLIENT_CURSOR_SIZE];
    client_cursor_encode(&cursor, bytes);
    static const struct {
        size_t at;
        uint8_t value;
    } s_changes[] = {{0, 2}, {8, 0x80}, {16, 0x7f}, {17, 0}};
    for (size_t i = 0; i < sizeof(s_changes) / sizeof(s_changes[0]); i++) {
        uint8_t changed[CLIENT_CURSOR_SIZE];
        memcpy(changed, bytes, sizeof(changed));
        changed[s_changes[i].at] = s_changes[i].value;
        if (s_changes[i].at == 16) {
            changed[15] = 0xf8; /* NaN */
        }
        pack_put_bin(wire_begin(fixture, "retrieve"), "cursor",
                     slice_make(changed, sizeof(changed)));
        wire_expect_bad(fixture, "cursor: expected");
    }
    pack_put_bin(wire_begin(fixture, "retrieve"), "cursor", slice_make(bytes, sizeof(bytes)));
    wire_expect_ok(fixture);
    assert_true(fixture->request->as.retrieve.cursor.score == -2.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(test_wire_client_read_read_fields_are_checked),
        WIRE_TEST(test_wire_client_read_cell_is_checked),
        WIRE_TEST(test_wire_client_read_every_window_decodes),
        WIRE_TEST(test_wire_client_read_cells_are_bounded),
        WIRE_TEST(test_wire_client_read_relation_needs_one_target),
        WIRE_TEST(test_wire_client_read_retrieve_decodes),
        WIRE_TEST(test_wire_client_read_bad_terms_are_named),
        WIRE_TEST(test_wire_client_read_bad_retrieves_are_refused),
        WIRE_TEST(test_wire_client_read_empty_candidates_are_sent),
        WIRE_TEST(test_wire_client_read_cursor_bytes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
