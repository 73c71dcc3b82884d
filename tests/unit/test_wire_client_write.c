/* Write ops of clients in good and bad form: liberal numbers, rows and columns, limits. */
#include "common/wire/client_request.h"

#include "common/wire/pack.h"
#include "tests/unit/wire_client_support.h"
#include "tests/unit/wire_support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* -- writes ------------------------------------------------------------------------------------ */

static pack_writer_t *s_begin_signal(wire_fixture_t *fixture)
{
    pack_writer_t *writer = wire_begin(fixture, "signal");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", 1);
    return writer;
}

/* Goal: ack, timeout, producer and seq are held to their rules. */
static void test_wire_client_write_write_fields_are_checked(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_put_text(s_begin_signal(fixture), "ack", "some");
    wire_expect_bad(fixture, "ack: expected one of `local` `replicated` `all`, found `some`");
    pack_put_u64(s_begin_signal(fixture), "ack", 1);
    wire_expect_bad(fixture, "ack: expected one of");
    pack_put_u64(s_begin_signal(fixture), "timeout_ms", 0);
    wire_expect_bad(fixture, "timeout_ms: expected an integer of 1..600000, found 0");
    pack_put_text(s_begin_signal(fixture), "producer", "p");
    wire_expect_bad(fixture, "seq: expected beside the other one of producer and seq");
    pack_put_u64(s_begin_signal(fixture), "seq", 1);
    wire_expect_bad(fixture, "producer: expected beside the other one of producer and seq");
    pack_writer_t *writer = s_begin_signal(fixture);
    pack_put_text(writer, "producer", "");
    pack_put_u64(writer, "seq", 1);
    wire_expect_bad(fixture, "producer: expected str or bin of 1..64 bytes");
    writer = s_begin_signal(fixture);
    pack_put_u64(writer, "producer", 9);
    pack_put_u64(writer, "seq", 1);
    wire_expect_bad(fixture, "producer: expected str or bin of 1..64 bytes, found 9");
    writer = s_begin_signal(fixture);
    pack_put_text(writer, "producer", "p");
    pack_put_i64(writer, "seq", -1);
    wire_expect_bad(fixture, "seq: expected an integer of 0..18446744073709551615, found -1");
}

/* Goal: a producer is the same as str and as bin. */
static void test_wire_client_write_producer_is_str_or_bin(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_writer_t *writer = s_begin_signal(fixture);
    pack_put_text(writer, "producer", "abc");
    pack_put_text(writer, "seq", "18446744073709551615");
    wire_expect_ok(fixture);
    assert_true(slice_equal(fixture->request->producer, slice_text("abc")));
    assert_true(fixture->request->seq == UINT64_MAX);
    writer = s_begin_signal(fixture);
    pack_put_bin(writer, "producer", slice_text("abc"));
    pack_put_u64(writer, "seq", 0);
    wire_expect_ok(fixture);
    assert_true(fixture->request->has_producer);
    assert_true(slice_equal(fixture->request->producer, slice_text("abc")));
}

/* Goal: one signal is held to type and range in every field. */
static void test_wire_client_write_signal_is_checked(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_put_u64(wire_begin(fixture, "signal"), "item", 1);
    wire_expect_bad(fixture, "signal: expected by this op, found none: add it");
    pack_put_text(wire_begin(fixture, "signal"), "signal", "view");
    wire_expect_bad(fixture, "item: expected by this op, found none: add it");
    pack_writer_t *writer = wire_begin(fixture, "signal");
    pack_put_text(writer, "signal", "vew");
    pack_put_u64(writer, "item", 1);
    wire_expect_code(fixture, CODE_UNKNOWN_SIGNAL,
                     "`vew` is not known; known are view (1), like (2), share (3), skip (4)");
    writer = wire_begin(fixture, "signal");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", 0);
    wire_expect_bad(fixture, "item: expected an integer of 1..18446744073709551615, found 0");
    pack_put_f64(s_begin_signal(fixture), "weight", (double)NAN);
    wire_expect_bad(fixture,
                    "weight: expected a number of -1000000000..1000000000, found float nan");
    pack_put_f64(s_begin_signal(fixture), "weight", -(double)INFINITY);
    wire_expect_bad(fixture, "weight: ");
    pack_put_f64(s_begin_signal(fixture), "weight", 1000000000.5);
    wire_expect_bad(fixture, "weight: ");
    pack_put_text(s_begin_signal(fixture), "weight", "1");
    wire_expect_bad(fixture, "weight: ");
    pack_put_i64(s_begin_signal(fixture), "ts", -1);
    wire_expect_bad(fixture, "ts: expected nanoseconds since 1970");
    pack_put_u64(s_begin_signal(fixture), "ts", UINT64_C(1) << 63);
    wire_expect_bad(fixture, "ts: ");
    pack_put_f64(s_begin_signal(fixture), "user", 1.5);
    wire_expect_bad(fixture,
                    "user: expected an integer of 0..18446744073709551615, found float 1.5");
}

/* Goal: numbers as JavaScript sends them: floats for integers, strings for large ids, integers for
 * floats. */
static void test_wire_client_write_signal_takes_liberal_numbers(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_writer_t *writer = wire_begin(fixture, "signal");
    pack_put_text(writer, "signal", "like");
    pack_put_text(writer, "item", "1152921504606846976");
    pack_put_f64(writer, "user", 9007199254740992.0);
    pack_put_i64(writer, "weight", -3);
    pack_put_f64(writer, "ts", 1.7e18);
    wire_expect_ok(fixture);
    const client_event_t *event = &fixture->request->as.signals.events[0];
    assert_true(event->item.value == UINT64_C(1) << 60);
    assert_true(event->user.value == UINT64_C(1) << 53);
    assert_true(event->weight == -3.0);
    assert_true(event->ts_ns == INT64_C(1700000000000000000));
    assert_int_equal(event->signal, 2);
    assert_int_equal(event->present, CLIENT_EVENT_USER | CLIENT_EVENT_WEIGHT | CLIENT_EVENT_TS);
}

/* Goal: bounds of weight and time are part of what is allowed; -0.0 becomes 0.0. */
static void test_wire_client_write_signal_at_the_bounds(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_writer_t *writer = s_begin_signal(fixture);
    pack_put_f64(writer, "weight", -1e9);
    pack_put_i64(writer, "ts", INT64_MAX);
    wire_expect_ok(fixture);
    assert_true(fixture->request->as.signals.events[0].ts_ns == INT64_MAX);
    pack_put_f64(s_begin_signal(fixture), "weight", -0.0);
    wire_expect_ok(fixture);
    assert_false(signbit(fixture->request->as.signals.events[0].weight));
}

/* -- rows -------------------------------------------------------------------------------------- */

static pack_writer_t *s_begin_rows(wire_fixture_t *fixture, uint32_t count)
{
    pack_writer_t *writer = wire_begin(fixture, "signals");
    pack_key(writer, "rows");
    pack_write_array(writer, count);
    return writer;
}

/* A good row, so that a bad one stands at a place of its own. */
static void s_put_row(pack_writer_t *writer)
{
    pack_write_array(writer, 2);
    pack_write_str(writer, slice_text("view"));
    pack_write_u64(writer, 7);
}

/* Rows 0 and 1 are good, row 2 is these bytes. */
static void s_expect_bad_row(wire_fixture_t *fixture, slice_t row, code_t code, const char *part)
{
    pack_writer_t *writer = s_begin_rows(fixture, 3);
    s_put_row(writer);
    s_put_row(writer);
    pack_write_encoded(writer, row);
    wire_expect_code(fixture, code, part);
    assert_non_null(strstr(fixture->errbuf.text, "rows[2]"));
}

/* Goal: nil and what is missing at the end are defaults; the rest is kept. */
static void test_wire_client_write_rows_decode(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_writer_t *writer = s_begin_rows(fixture, 3);
    s_put_row(writer);
    pack_write_encoded(writer, WIRE_BYTES("\x95\xa4skip\x08\xc0\x02\xc0"));
    pack_write_encoded(writer, WIRE_BYTES("\x95\xa4view\xa1"
                                          "9\x00\xc0\x05"));
    wire_expect_ok(fixture);
    assert_int_equal(fixture->request->as.signals.event_count, 3);
    const client_event_t *events = fixture->request->as.signals.events;
    assert_int_equal(events[0].signal, 1);
    assert_int_equal(events[0].item.value, 7);
    assert_int_equal(events[0].present, 0);
    assert_true(events[0].weight == 1.0);
    assert_int_equal(events[1].signal, 4);
    assert_int_equal(events[1].present, CLIENT_EVENT_WEIGHT);
    assert_true(events[1].weight == 2.0);
    assert_int_equal(events[2].signal, 1);
    assert_int_equal(events[2].item.value, 9);
    assert_int_equal(events[2].present, CLIENT_EVENT_TS);
    assert_int_equal(events[2].ts_ns, 5);
}

/* Goal: a bad row is named by its number and the field. */
static void test_wire_client_write_bad_rows_are_named(void **state)
{
    wire_fixture_t *fixture = *state;
    s_expect_bad_row(fixture, WIRE_BYTES("\x01"), CODE_BAD_REQUEST, "found 1");
    s_expect_bad_row(fixture, WIRE_BYTES("\x80"), CODE_BAD_REQUEST, "found map of 0");
    s_expect_bad_row(fixture, WIRE_BYTES("\x90"), CODE_BAD_REQUEST, "found array of 0");
    s_expect_bad_row(fixture, WIRE_BYTES("\x91\xa4view"), CODE_BAD_REQUEST, "found array of 1");
    s_expect_bad_row(fixture, WIRE_BYTES("\x96\xa4view\x01\x01\x01\x01\x01"), CODE_BAD_REQUEST,
                     "found array of 6");
    s_expect_bad_row(fixture, WIRE_BYTES("\x92\x01\x01"), CODE_BAD_REQUEST,
                     ".signal: expected str");
    s_expect_bad_row(fixture, WIRE_BYTES("\x92\xc0\x01"), CODE_BAD_REQUEST,
                     ".signal: expected str");
    s_expect_bad_row(fixture, WIRE_BYTES("\x92\xa3vew\x01"), CODE_UNKNOWN_SIGNAL, "`vew` is not");
    s_expect_bad_row(fixture, WIRE_BYTES("\x92\xa4view\x00"), CODE_BAD_REQUEST, ".item: expected");
    s_expect_bad_row(fixture, WIRE_BYTES("\x92\xa4view\xc0"), CODE_BAD_REQUEST, "found nil");
    s_expect_bad_row(fixture, WIRE_BYTES("\x92\xa4view\xff"), CODE_BAD_REQUEST, "found -1");
    s_expect_bad_row(fixture, WIRE_BYTES("\x93\xa4view\x01\xc3"), CODE_BAD_REQUEST, ".user: ");
    s_expect_bad_row(fixture, WIRE_BYTES("\x94\xa4view\x01\x01\xa1x"), CODE_BAD_REQUEST,
                     ".weight: expected a number");
    s_expect_bad_row(fixture, WIRE_BYTES("\x94\xa4view\x01\x01\xca\x7f\x80\x00\x00"),
                     CODE_BAD_REQUEST, ".weight: ");
    s_expect_bad_row(fixture, WIRE_BYTES("\x94\xa4view\x01\x01\xce\xff\xff\xff\xff"),
                     CODE_BAD_REQUEST, ".weight: ");
    s_expect_bad_row(fixture, WIRE_BYTES("\x95\xa4view\x01\x01\x01\xff"), CODE_BAD_REQUEST,
                     ".ts: expected nanoseconds");
}

/* Goal: rows are bounded, exactly, and an empty list is refused. */
static void test_wire_client_write_row_count_is_bounded(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_writer_t *writer = s_begin_rows(fixture, REQUEST_ROW_COUNT_MAX);
    for (uint32_t i = 0; i < REQUEST_ROW_COUNT_MAX; i++) {
        s_put_row(writer);
    }
    wire_expect_ok(fixture);
    writer = s_begin_rows(fixture, REQUEST_ROW_COUNT_MAX + 1);
    for (uint32_t i = 0; i <= REQUEST_ROW_COUNT_MAX; i++) {
        s_put_row(writer);
    }
    wire_expect_code(fixture, CODE_TOO_LARGE, "rows: expected at most 10000 values, found 10001");
    (void)s_begin_rows(fixture, 0);
    wire_expect_bad(fixture, "rows: expected at least one");
    pack_put_u64(wire_begin(fixture, "signals"), "rows", 1);
    wire_expect_bad(fixture, "rows: expected array, found 1");
    (void)wire_begin(fixture, "signals");
    wire_expect_bad(fixture, "either rows or columns, found neither");
    writer = s_begin_rows(fixture, 1);
    s_put_row(writer);
    pack_put_map(writer, "columns");
    pack_close(writer);
    wire_expect_bad(fixture, "either rows or columns, found both");
}

/* -- columns ----------------------------------------------------------------------------------- */

enum { COLUMN_COUNT = 3 };

/* Columns n, signal and item of three events; more follow before pack_close. */
static pack_writer_t *s_begin_columns(wire_fixture_t *fixture, slice_t signals)
{
    pack_writer_t *writer = wire_begin(fixture, "signals");
    pack_put_map(writer, "columns");
    pack_put_u64(writer, "n", COLUMN_COUNT);
    pack_put_bin(writer, "signal", signals);
    pack_put_bin(writer, "item",
                 WIRE_BYTES("\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\377\377\377\377\377\377\377\377"));
    return writer;
}

static void s_put_f64_column(pack_writer_t *writer, double a, double b, double c)
{
    uint8_t bytes[8 * COLUMN_COUNT];
    bytes_put_f64(bytes, a);
    bytes_put_f64(bytes + 8, b);
    bytes_put_f64(bytes + 16, c);
    pack_put_bin(writer, "weight", slice_make(bytes, sizeof(bytes)));
}

/* Goal: columns give the same events as rows would. */
static void test_wire_client_write_columns_decode(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_writer_t *writer = s_begin_columns(fixture, WIRE_BYTES("\1\4\2"));
    pack_put_bin(writer, "user", WIRE_BYTES("\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0"));
    s_put_f64_column(writer, 0.5, -0.0, 1e9);
    pack_close(writer);
    wire_expect_ok(fixture);
    assert_int_equal(fixture->request->as.signals.event_count, 3);
    const client_event_t *events = fixture->request->as.signals.events;
    assert_int_equal(events[0].present, CLIENT_EVENT_WEIGHT);
    assert_int_equal(events[1].present, CLIENT_EVENT_WEIGHT | CLIENT_EVENT_USER);
    assert_int_equal(events[1].signal, 4);
    assert_false(signbit(events[1].weight));
    assert_true(events[2].item.value == UINT64_MAX);
    assert_true(events[2].weight == 1e9);
    assert_int_equal(events[2].user.value, 3);
}

/* Goal: one name may stand for all. */
static void test_wire_client_write_columns_take_one_signal(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_writer_t *writer = wire_begin(fixture, "signals");
    pack_put_map(writer, "columns");
    pack_put_f64(writer, "n", 1.0);
    pack_put_text(writer, "signal", "share");
    pack_put_bin(writer, "item", WIRE_BYTES("\1\0\0\0\0\0\0\0"));
    pack_close(writer);
    wire_expect_ok(fixture);
    assert_int_equal(fixture->request->as.signals.events[0].signal, 3);
    assert_int_equal(fixture->request->as.signals.events[0].present, 0);
}

/* Goal: columns are held to their sizes, and values to their ranges, by column and place. */
static void test_wire_client_write_bad_columns_are_named(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_close(s_begin_columns(fixture, WIRE_BYTES("\1\4")));
    wire_expect_bad(fixture, "columns.signal: expected str (one name for all) or bin of 3 bytes");
    pack_close(s_begin_columns(fixture, WIRE_BYTES("\1\4\5")));
    wire_expect_code(fixture, CODE_UNKNOWN_SIGNAL, "columns[2].signal: id 5 is not known");
    pack_close(s_begin_columns(fixture, WIRE_BYTES("\1\4\xff")));
    wire_expect_code(fixture, CODE_UNKNOWN_SIGNAL, "id 255 is not known; known are view (1)");
    pack_close(s_begin_columns(fixture, WIRE_BYTES("\0\4\1")));
    wire_expect_code(fixture, CODE_UNKNOWN_SIGNAL, "columns[0].signal: id 0 is not known");
    pack_writer_t *writer = s_begin_columns(fixture, WIRE_BYTES("\1\1\1"));
    pack_put_bin(writer, "user", WIRE_BYTES("\0\0\0\0\0\0\0\0"));
    pack_close(writer);
    wire_expect_bad(fixture,
                    "columns.user: expected bin of 24 bytes, 8 for each of n, found bin of 8");
    writer = s_begin_columns(fixture, WIRE_BYTES("\1\1\1"));
    s_put_f64_column(writer, 1.0, (double)NAN, 1.0);
    pack_close(writer);
    wire_expect_bad(fixture, "columns[1].weight: expected a number of -1e9..1e9, found float nan");
    writer = s_begin_columns(fixture, WIRE_BYTES("\1\1\1"));
    s_put_f64_column(writer, 1.0, 1.0, (double)INFINITY);
    pack_close(writer);
    wire_expect_bad(fixture, "columns[2].weight");
    writer = s_begin_columns(fixture, WIRE_BYTES("\1\1\1"));
    pack_put_bin(writer, "ts",
                 WIRE_BYTES("\0\0\0\0\0\0\0\0\377\377\377\377\377\377\377\377"
                            "\0\0\0\0\0\0\0\0"));
    pack_close(writer);
    wire_expect_bad(fixture, "columns[1].ts: expected nanoseconds since 1970");
    writer = s_begin_columns(fixture, WIRE_BYTES("\1\1\1"));
    pack_put_text(writer, "weight", "heavy");
    pack_close(writer);
    wire_expect_bad(fixture, "columns.weight: expected bin of 24 bytes");
}

/* Columns of `n` with an item column of one value. */
static pack_writer_t *s_begin_columns_of(wire_fixture_t *fixture, uint64_t n, slice_t items)
{
    pack_writer_t *writer = wire_begin(fixture, "signals");
    pack_put_map(writer, "columns");
    pack_put_u64(writer, "n", n);
    pack_put_text(writer, "signal", "view");
    pack_put_bin(writer, "item", items);
    return writer;
}

/* Goal: n is bounded, and nothing is believed because of it. */
static void test_wire_client_write_column_count_is_bounded(void **state)
{
    wire_fixture_t *fixture = *state;
    const slice_t one = WIRE_BYTES("\1\0\0\0\0\0\0\0");
    pack_close(s_begin_columns_of(fixture, 0, WIRE_BYTES("")));
    wire_expect_bad(fixture, "columns.n: expected an integer of 1..");
    pack_close(s_begin_columns_of(fixture, REQUEST_ROW_COUNT_MAX + 1, one));
    wire_expect_code(fixture, CODE_TOO_LARGE, "columns.n: expected at most 10000, found 10001");
    pack_close(s_begin_columns_of(fixture, UINT64_MAX, one));
    wire_expect_code(fixture, CODE_TOO_LARGE, "columns.n: expected at most 10000");
    pack_close(s_begin_columns_of(fixture, UINT64_C(1) << 61, one));
    wire_expect_code(fixture, CODE_TOO_LARGE, "columns.n: ");
    pack_close(s_begin_columns_of(fixture, 2, one));
    wire_expect_bad(fixture, "columns.item: expected bin of 16 bytes");
    pack_close(s_begin_columns_of(fixture, 1, WIRE_BYTES("\0\0\0\0\0\0\0\0")));
    wire_expect_bad(fixture, "columns[0].item: expected an id");
    pack_writer_t *writer = wire_begin(fixture, "signals");
    pack_put_map(writer, "columns");
    pack_close(writer);
    wire_expect_bad(fixture, "columns.n: expected by this op, found none: add it");
    pack_put_text(wire_begin(fixture, "signals"), "columns", "x");
    wire_expect_bad(fixture, "columns: expected map, found `x`");
}

/* -- items, users, relations ------------------------------------------------------------------- */

/* Goal: an item has the fields that were sent and no others. */
static void test_wire_client_write_items_decode(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_writer_t *writer = wire_begin(fixture, "put_item");
    pack_put_u64(writer, "item", 7);
    pack_put_text(writer, "title", "T");
    pack_put_u64(writer, "creator", 0);
    pack_put_array(writer, "tags");
    pack_close(writer);
    wire_expect_ok(fixture);
    const client_item_t *item = &fixture->request->as.items.items[0];
    assert_int_equal(fixture->request->as.items.item_count, 1);
    assert_int_equal(item->item.value, 7);
    assert_int_equal(item->present, CLIENT_ITEM_TITLE | CLIENT_ITEM_CREATOR | CLIENT_ITEM_TAGS);
    assert_int_equal(item->tag_count, 0);
    assert_true(slice_equal(item->title, slice_text("T")));
}

/* Goal: of an item that stands twice, what is said later is laid over what was said before. */
static void test_wire_client_write_items_that_stand_twice_are_one(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_writer_t *writer = wire_begin(fixture, "put_items");
    pack_key(writer, "items");
    pack_write_array(writer, 3);
    pack_write_encoded(writer, WIRE_BYTES("\x83\xa4item\x07\xa5title\xa1"
                                          "A\xa4tags\x91\xa1t"));
    pack_write_encoded(writer, WIRE_BYTES("\x82\xa4item\x08\xa4tags\x92\xa1u\xa1v"));
    pack_write_encoded(writer, WIRE_BYTES("\x83\xa4item\xa1"
                                          "7\xa5title\xa1"
                                          "B\xa7"
                                          "creator\x05"));
    wire_expect_ok(fixture);
    assert_int_equal(fixture->request->as.items.item_count, 2);
    const client_item_t *items = fixture->request->as.items.items;
    assert_int_equal(items[0].item.value, 7);
    assert_int_equal(items[0].present, CLIENT_ITEM_TITLE | CLIENT_ITEM_TAGS | CLIENT_ITEM_CREATOR);
    assert_true(slice_equal(items[0].title, slice_text("B")));
    assert_int_equal(items[0].tag_count, 1);
    assert_true(slice_equal(items[0].tags[0], slice_text("t")));
    assert_int_equal(items[0].creator.value, 5);
    assert_int_equal(items[1].tag_count, 2);
    assert_true(slice_equal(items[1].tags[1], slice_text("v")));
}

/* Goal: items are held to type, size and count. */
static void test_wire_client_write_bad_items_are_refused(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_put_text(wire_begin(fixture, "put_item"), "title", "T");
    wire_expect_bad(fixture, "item: expected by this op, found none: add it");
    pack_writer_t *writer = wire_begin(fixture, "put_item");
    pack_put_u64(writer, "item", 7);
    pack_put_bin(writer, "title", slice_text("T"));
    wire_expect_bad(fixture, "title: expected str, found bin of 1 bytes");
    static char s_long[TEXT_SIZE_MAX + 1];
    memset(s_long, 'x', sizeof(s_long));
    writer = wire_begin(fixture, "put_item");
    pack_put_u64(writer, "item", 7);
    pack_put_str(writer, "text", slice_make(s_long, sizeof(s_long)));
    wire_expect_bad(fixture, "text: expected str of 0..16384 bytes, found one of 16385");
    writer = wire_begin(fixture, "put_item");
    pack_put_u64(writer, "item", 7);
    pack_put_text(writer, "tags", "a");
    wire_expect_bad(fixture, "tags: expected array, found `a`");
    writer = wire_begin(fixture, "put_items");
    pack_key(writer, "items");
    pack_write_array(writer, 1);
    pack_write_encoded(writer, WIRE_BYTES("\x82\xa4item\x07\xa4tags\x91\x05"));
    wire_expect_bad(fixture, "items[0].tags: expected str, found 5");
    writer = wire_begin(fixture, "put_items");
    pack_key(writer, "items");
    pack_write_array(writer, 1);
    pack_write_u64(writer, 7);
    wire_expect_bad(fixture, "items[0]: expected map, found 7");
    writer = wire_begin(fixture, "put_items");
    pack_put_array(writer, "items");
    pack_close(writer);
    wire_expect_bad(fixture, "items: expected at least one");
    writer = wire_begin(fixture, "put_items");
    pack_key(writer, "items");
    pack_write_array(writer, REQUEST_ITEM_COUNT_MAX + 1);
    for (uint32_t i = 0; i <= REQUEST_ITEM_COUNT_MAX; i++) {
        pack_write_encoded(writer, WIRE_BYTES("\x81\xa4item\x07"));
    }
    wire_expect_code(fixture, CODE_TOO_LARGE, "items: expected at most 1000 values, found 1001");
}

/* Goal: attributes come sorted by name, whatever the order they were sent in. */
static void test_wire_client_write_attributes_are_sorted(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_writer_t *writer = wire_begin(fixture, "put_user");
    pack_put_u64(writer, "user", 7);
    pack_put_map(writer, "attrs");
    pack_put_text(writer, "locale", "EU");
    pack_put_text(writer, "a", "");
    pack_put_text(writer, "ab", "x");
    pack_close(writer);
    wire_expect_ok(fixture);
    assert_int_equal(fixture->request->as.put_user.attribute_count, 3);
    const msg_attribute_t *attributes = fixture->request->as.put_user.attributes;
    assert_true(slice_equal(attributes[0].name, slice_text("a")));
    assert_true(slice_equal(attributes[1].name, slice_text("ab")));
    assert_true(slice_equal(attributes[2].value, slice_text("EU")));
}

/* Goal: users are held to type and count. */
static void test_wire_client_write_bad_users_are_refused(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_put_u64(wire_begin(fixture, "put_user"), "user", 7);
    wire_expect_bad(fixture, "attrs: expected by this op, found none: add it");
    pack_writer_t *writer = wire_begin(fixture, "put_user");
    pack_put_u64(writer, "user", 0);
    pack_put_map(writer, "attrs");
    pack_close(writer);
    wire_expect_bad(fixture, "user: expected an integer of 1..");
    writer = wire_begin(fixture, "put_user");
    pack_put_u64(writer, "user", 7);
    pack_put_map(writer, "attrs");
    pack_put_u64(writer, "age", 30);
    pack_close(writer);
    wire_expect_bad(fixture, "attrs.value: expected str, found 30");
    writer = wire_begin(fixture, "put_user");
    pack_put_u64(writer, "user", 7);
    pack_put_map(writer, "attrs");
    pack_put_text(writer, "", "x");
    pack_close(writer);
    wire_expect_bad(fixture, "attrs.name: expected str of 1..64 bytes");
    (void)wire_begin(fixture, "get_user");
    wire_expect_bad(fixture, "user: expected by this op, found none: add it");
}

static pack_writer_t *s_begin_hide(wire_fixture_t *fixture)
{
    pack_writer_t *writer = wire_begin(fixture, "hide");
    pack_put_u64(writer, "user", 7);
    pack_put_u64(writer, "item", 8);
    return writer;
}

/* Goal: a register write takes its target by op, and a stamp of its own. */
static void test_wire_client_write_relations_decode(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_writer_t *writer = s_begin_hide(fixture);
    pack_put_u64(writer, "creator", 9);
    pack_key(writer, "hlc");
    pack_write_encoded(writer, WIRE_BYTES("\x93\xa1"
                                          "5\x02\xcb\x40\x08\x00\x00\x00\x00\x00\x00"));
    wire_expect_ok(fixture);
    assert_int_equal(fixture->request->as.relation.target, 8);
    assert_true(fixture->request->as.relation.has_hlc);
    assert_int_equal(fixture->request->as.relation.hlc.wall_ns, 5);
    assert_int_equal(fixture->request->as.relation.hlc.node, 3);
    writer = wire_begin(fixture, "mute");
    pack_put_u64(writer, "user", 7);
    pack_put_u64(writer, "creator", 9);
    wire_expect_ok(fixture);
    assert_int_equal(fixture->request->as.relation.target, 9);
    assert_false(fixture->request->as.relation.has_hlc);
}

/* Goal: stamps and ids of register writes are held to their ranges. */
static void test_wire_client_write_bad_relations_are_refused(void **state)
{
    wire_fixture_t *fixture = *state;
    const slice_t stamps[] = {
        WIRE_BYTES("\x05"),
        WIRE_BYTES("\x92\x05\x01"),
        WIRE_BYTES("\x94\x05\x01\x01\x01"),
        WIRE_BYTES("\x93\x00\x01\x01"),
        WIRE_BYTES("\x93\xff\x01\x01"),
        WIRE_BYTES("\x93\x05\xff\x01"),
        WIRE_BYTES("\x93\x05\x01\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
        WIRE_BYTES("\x93\xc0\xc0\xc0"),
    };
    for (size_t i = 0; i < sizeof(stamps) / sizeof(stamps[0]); i++) {
        pack_writer_t *writer = s_begin_hide(fixture);
        pack_key(writer, "hlc");
        pack_write_encoded(writer, stamps[i]);
        wire_expect_bad(fixture, "hlc: expected [wall_ns of 1..");
    }
    pack_put_u64(wire_begin(fixture, "hide"), "user", 7);
    wire_expect_bad(fixture, "item: expected by this op, found none: add it");
    pack_writer_t *writer = wire_begin(fixture, "block");
    pack_put_u64(writer, "user", 7);
    pack_put_u64(writer, "item", 7);
    wire_expect_bad(fixture, "creator: expected by this op, found none: add it");
    writer = wire_begin(fixture, "unmute");
    pack_put_u64(writer, "user", 0);
    pack_put_u64(writer, "creator", 7);
    wire_expect_bad(fixture, "user: expected an integer of 1..");
    (void)wire_begin(fixture, "delete_item");
    wire_expect_bad(fixture, "item: expected by this op, found none: add it");
}

/* -- sessions ---------------------------------------------------------------------------------- */

static const uint8_t s_session[SESSION_ID_SIZE + 1] = {7, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3};

/* Goal: agent and meta at their limits are taken, one byte more is not; meta is kept as it was sent.
 */
static void test_wire_client_write_session_starts_are_bounded(void **state)
{
    wire_fixture_t *fixture = *state;
    static uint8_t s_agent[SESSION_AGENT_SIZE_MAX + 1];
    static uint8_t s_value[SESSION_META_SIZE_MAX];
    memset(s_agent, 'a', sizeof(s_agent));
    for (size_t over = 0; over <= 1; over++) {
        pack_writer_t *writer = wire_begin(fixture, "session_start");
        pack_put_u64(writer, "user", 7);
        pack_put_str(writer, "agent", slice_make(s_agent, SESSION_AGENT_SIZE_MAX + over));
        if (over == 0) {
            wire_expect_ok(fixture);
            assert_int_equal(fixture->request->as.session_start.agent.size, SESSION_AGENT_SIZE_MAX);
            assert_int_equal(fixture->request->as.session_start.meta.size, 0);
        } else {
            wire_expect_bad(fixture, "agent: ");
        }
        writer = wire_begin(fixture, "session_start");
        pack_put_u64(writer, "user", 7);
        pack_key(writer, "meta");
        pack_write_map(writer, 1); /* 1 byte, key 2 bytes, header of the bin 3 bytes */
        pack_write_str(writer, slice_text("k"));
        pack_write_bin(writer, slice_make(s_value, SESSION_META_SIZE_MAX - 6 + over));
        if (over == 0) {
            wire_expect_ok(fixture);
            slice_t meta = fixture->request->as.session_start.meta;
            assert_int_equal(meta.size, SESSION_META_SIZE_MAX);
            assert_true(meta.data[0] == 0x81 && meta.data[1] == 0xa1 && meta.data[2] == 'k');
        } else {
            wire_expect_code(fixture, CODE_TOO_LARGE, "meta: expected at most 4096 bytes");
        }
    }
}

/* Goal: what is no session, user or map is refused by name. */
static void test_wire_client_write_bad_sessions_are_refused(void **state)
{
    wire_fixture_t *fixture = *state;
    static const char *const s_ops[] = {"session_signal", "session_close", "session_get"};
    static const uint8_t s_nobody[SESSION_ID_SIZE] = {0};
    pack_put_u64(wire_begin(fixture, "session_start"), "user", 0);
    wire_expect_bad(fixture, "user: expected an integer of 1..");
    (void)wire_begin(fixture, "session_start");
    wire_expect_bad(fixture, "user: expected by this op, found none: add it");
    pack_writer_t *writer = wire_begin(fixture, "session_start");
    pack_put_u64(writer, "user", 7);
    pack_put_text(writer, "meta", "x");
    wire_expect_bad(fixture, "meta: expected map");
    for (size_t i = 0; i < 3; i++) {
        (void)wire_begin(fixture, s_ops[i]);
        wire_expect_bad(fixture, "session: expected by this op, found none: add it");
        const slice_t bad[] = {slice_make(s_session, SESSION_ID_SIZE - 1),
                               slice_make(s_session, SESSION_ID_SIZE + 1),
                               slice_make(s_nobody, SESSION_ID_SIZE)};
        for (size_t k = 0; k < 3; k++) {
            pack_put_bin(wire_begin(fixture, s_ops[i]), "session", bad[k]);
            wire_expect_bad(fixture, "session: expected the bin that session_start gave");
        }
    }
    writer = wire_begin(fixture, "session_signal");
    pack_put_bin(writer, "session", slice_make(s_session, SESSION_ID_SIZE));
    pack_put_text(writer, "signal", "view");
    wire_expect_bad(fixture, "item: expected by this op, found none: add it");
    writer = wire_begin(fixture, "session_signal");
    pack_put_bin(writer, "session", slice_make(s_session, SESSION_ID_SIZE));
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", 3);
    pack_put_f64(writer, "weight", 1.1e9);
    wire_expect_bad(fixture, "weight: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(test_wire_client_write_write_fields_are_checked),
        WIRE_TEST(test_wire_client_write_producer_is_str_or_bin),
        WIRE_TEST(test_wire_client_write_signal_is_checked),
        WIRE_TEST(test_wire_client_write_signal_takes_liberal_numbers),
        WIRE_TEST(test_wire_client_write_signal_at_the_bounds),
        WIRE_TEST(test_wire_client_write_rows_decode),
        WIRE_TEST(test_wire_client_write_bad_rows_are_named),
        WIRE_TEST(test_wire_client_write_row_count_is_bounded),
        WIRE_TEST(test_wire_client_write_columns_decode),
        WIRE_TEST(test_wire_client_write_columns_take_one_signal),
        WIRE_TEST(test_wire_client_write_bad_columns_are_named),
        WIRE_TEST(test_wire_client_write_column_count_is_bounded),
        WIRE_TEST(test_wire_client_write_items_decode),
        WIRE_TEST(test_wire_client_write_items_that_stand_twice_are_one),
        WIRE_TEST(test_wire_client_write_bad_items_are_refused),
        WIRE_TEST(test_wire_client_write_attributes_are_sorted),
        WIRE_TEST(test_wire_client_write_bad_users_are_refused),
        WIRE_TEST(test_wire_client_write_relations_decode),
        WIRE_TEST(test_wire_client_write_bad_relations_are_refused),
        WIRE_TEST(test_wire_client_write_session_starts_are_bounded),
        WIRE_TEST(test_wire_client_write_bad_sessions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
