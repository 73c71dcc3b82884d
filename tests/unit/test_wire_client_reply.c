/* Replies: the fields of the protocol, in bytes that any msgpack reader takes. */
#include "common/wire/client_reply.h"

#include "tests/unit/wire_support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef struct {
    buffer_t out;
    client_answer_t answer;
} fixture_t;

static int s_setup(void **state)
{
    static fixture_t s_fixture;
    buffer_init(&s_fixture.out);
    *state = &s_fixture;
    return 0;
}

static int s_teardown(void **state)
{
    fixture_t *fixture = *state;
    buffer_done(&fixture->out);
    return 0;
}

static const slice_t s_id = {(const uint8_t *)"\x07", 1};

/* The reply is well formed and ok. */
static slice_t s_expect_ok(fixture_t *fixture)
{
    errbuf_t errbuf = {{0}};
    slice_t bytes = buffer_slice(&fixture->out);
    if (client_answer_read(bytes, &fixture->answer, &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
    assert_true(fixture->answer.ok);
    assert_int_equal(fixture->answer.code, CODE_OK);
    assert_true(fixture->answer.has_id);
    assert_int_equal(fixture->answer.id, 7);
    return bytes;
}

static void s_expect_text(slice_t bytes, const char *path, const char *text)
{
    pack_value_t value = pack_get(bytes, path);
    if (value.kind != PACK_STR || !slice_equal(value.as.bytes, slice_text(text))) {
        char found[PACK_DESCRIPTION_SIZE];
        pack_describe(&value, found);
        fail_msg("%s: expected %s, found %s", path, text, found);
    }
}

static void s_expect_u64(slice_t bytes, const char *path, uint64_t number)
{
    pack_value_t value = pack_get(bytes, path);
    if (value.kind != PACK_UINT || value.as.uint != number) {
        char found[PACK_DESCRIPTION_SIZE];
        pack_describe(&value, found);
        fail_msg("%s: expected %llu, found %s", path, (unsigned long long)number, found);
    }
}

static void s_expect_f64(slice_t bytes, const char *path, double number)
{
    pack_value_t value = pack_get(bytes, path);
    assert_int_equal(value.kind, PACK_FLOAT);
    assert_true(value.as.f64 == number);
}

static void s_expect_bool(slice_t bytes, const char *path, bool expected)
{
    pack_value_t value = pack_get(bytes, path);
    assert_int_equal(value.kind, PACK_BOOL);
    assert_int_equal(value.as.boolean, expected);
}

static void s_expect_kind(slice_t bytes, const char *path, pack_kind_t kind)
{
    assert_int_equal(pack_get(bytes, path).kind, kind);
}

/* -- errors ------------------------------------------------------------------------------------ */

/* Goal: an error has code, message and retryable, and what helps only where it helps. */
static void test_wire_client_reply_error_carries_its_fields(void **state)
{
    fixture_t *fixture = *state;
    client_reply_error(&fixture->out, s_id, CODE_BAD_REQUEST, "item: is missing");
    slice_t bytes = buffer_slice(&fixture->out);
    errbuf_t errbuf;
    assert_int_equal(client_answer_read(bytes, &fixture->answer, &errbuf), ERR_OK);
    assert_false(fixture->answer.ok);
    assert_int_equal(fixture->answer.code, CODE_BAD_REQUEST);
    assert_true(slice_equal(fixture->answer.message, slice_text("item: is missing")));
    s_expect_bool(bytes, "error.retryable", false);
    s_expect_kind(bytes, "error.leader", PACK_BAD);
    s_expect_kind(bytes, "error.retry_after_ms", PACK_BAD);
    s_expect_kind(bytes, "error.shards", PACK_BAD);
    buffer_clear(&fixture->out);
    client_failed_shard_t shard = {
        {3}, CODE_READ_ONLY, slice_text("not here"), slice_text("eu-west")};
    client_failure_t failure = {CODE_PARTIAL, slice_text("some"), slice_text("us-east"), 20, 1,
                                &shard};
    client_reply_failure(&fixture->out, (slice_t){NULL, 0}, &failure);
    bytes = buffer_slice(&fixture->out);
    assert_int_equal(client_answer_read(bytes, &fixture->answer, &errbuf), ERR_OK);
    assert_false(fixture->answer.has_id);
    s_expect_kind(bytes, "id", PACK_BAD);
    s_expect_bool(bytes, "error.retryable", true);
    s_expect_text(bytes, "error.leader", "us-east");
    s_expect_u64(bytes, "error.retry_after_ms", 20);
    s_expect_u64(bytes, "error.shards.0.shard", 3);
    s_expect_text(bytes, "error.shards.0.code", "READ_ONLY");
    s_expect_text(bytes, "error.shards.0.leader", "eu-west");
}

/* Goal: a message is UTF-8 whatever was handed in, also when it was cut inside a character. */
static void test_wire_client_reply_error_message_is_utf8(void **state)
{
    fixture_t *fixture = *state;
    client_reply_error(&fixture->out, s_id, CODE_INTERNAL, "caf\xc3");
    s_expect_text(buffer_slice(&fixture->out), "error.message", "caf?");
    buffer_clear(&fixture->out);
    client_reply_error(&fixture->out, s_id, CODE_INTERNAL, "caf\xc3\xa9");
    s_expect_text(buffer_slice(&fixture->out), "error.message", "caf\xc3\xa9");
}

/* Goal: every code has a name that reads back. */
static void test_wire_client_reply_every_code_reads_back(void **state)
{
    fixture_t *fixture = *state;
    for (uint32_t code = CODE_OK + 1; code < CODE_COUNT; code++) {
        errbuf_t errbuf;
        buffer_clear(&fixture->out);
        client_reply_error(&fixture->out, s_id, (code_t)code, "x");
        assert_int_equal(client_answer_read(buffer_slice(&fixture->out), &fixture->answer, &errbuf),
                         ERR_OK);
        assert_int_equal(fixture->answer.code, code);
    }
}

/* Goal: what is no reply is refused. */
static void test_wire_client_reply_other_bytes_are_no_reply(void **state)
{
    (void)state;
    const slice_t bodies[] = {WIRE_BYTES(""),
                              WIRE_BYTES("\x80"),
                              WIRE_BYTES("\x91\x01"),
                              WIRE_BYTES("\x81\xa2ok\x01"),
                              WIRE_BYTES("\x81\xa2ok\xc2"),
                              WIRE_BYTES("\x82\xa2ok\xc2\xa5"
                                         "error\x01"),
                              WIRE_BYTES("\x81\xa2ok\xc3\xc0")};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        client_answer_t answer;
        errbuf_t errbuf = {{0}};
        assert_int_equal(client_answer_read(bodies[i], &answer, &errbuf), ERR_CORRUPT);
        assert_non_null(strstr(errbuf.text, "reply"));
    }
}

/* -- writes ------------------------------------------------------------------------------------ */

static const stream_id_t s_stream = {{1}, 0x00f3a1c2d4e5b697, {{2}, {3}}};

/* Goal: a write's reply has every field of the protocol. */
static void test_wire_client_reply_write(void **state)
{
    fixture_t *fixture = *state;
    char origin[CLIENT_ORIGIN_SIZE];
    client_origin_text(origin, slice_text("us-east"), &s_stream);
    assert_string_equal(origin, "us-east-3-00f3a1c2d4e5b697");
    slice_t replicas[] = {slice_text("us-east"), slice_text("eu-west")};
    client_write_reply_t write = {.durability = ACK_REPLICATED,
                                  .replica_count = 2,
                                  .replicas = replicas,
                                  .has_token = true,
                                  .token = WIRE_BYTES("\x01"),
                                  .has_position = true,
                                  .shard = {3},
                                  .origin = slice_text(origin),
                                  .seq_first = 10,
                                  .seq_last = 12,
                                  .hlc = {5, 6, 7}};
    client_reply_write(&fixture->out, s_id, NULL, &write);
    slice_t bytes = s_expect_ok(fixture);
    s_expect_text(bytes, "durability", "replicated");
    s_expect_text(bytes, "replicas.1", "eu-west");
    assert_true(slice_equal(pack_get(bytes, "token").as.bytes, WIRE_BYTES("\x01")));
    s_expect_u64(bytes, "shard", 3);
    s_expect_text(bytes, "origin", "us-east-3-00f3a1c2d4e5b697");
    s_expect_u64(bytes, "seq_first", 10);
    s_expect_u64(bytes, "seq_last", 12);
    s_expect_u64(bytes, "hlc.0", 5);
    s_expect_u64(bytes, "hlc.2", 7);
    s_expect_kind(bytes, "island", PACK_BAD);
    s_expect_kind(bytes, "duplicate", PACK_BAD);
    buffer_clear(&fixture->out);
    write.island = true;
    write.duplicate = true;
    write.has_position = false;
    write.durability = ACK_ALL;
    client_reply_write(&fixture->out, s_id, NULL, &write);
    bytes = s_expect_ok(fixture);
    s_expect_bool(bytes, "island", true);
    s_expect_bool(bytes, "duplicate", true);
    s_expect_text(bytes, "durability", "all");
    s_expect_kind(bytes, "shard", PACK_BAD);
}

/* Goal: NOT_REPLICATED says how far the write got, and carries the token. */
static void test_wire_client_reply_failed_write_keeps_durability_and_token(void **state)
{
    fixture_t *fixture = *state;
    client_failure_t failure = {.code = CODE_NOT_REPLICATED, .message = slice_text("maybe")};
    client_write_reply_t write = {
        .durability = ACK_LOCAL, .has_token = true, .token = WIRE_BYTES("\x01")};
    client_reply_write(&fixture->out, s_id, &failure, &write);
    slice_t bytes = buffer_slice(&fixture->out);
    s_expect_bool(bytes, "ok", false);
    s_expect_text(bytes, "error.code", "NOT_REPLICATED");
    s_expect_text(bytes, "durability", "local");
    s_expect_kind(bytes, "token", PACK_BIN);
}

/* Goal: a write over many shards lists them. */
static void test_wire_client_reply_shards(void **state)
{
    fixture_t *fixture = *state;
    client_shard_write_t shards[] = {
        {{0}, true, slice_text("o"), 1, 2, 2, ACK_ALL, false, false},
        {{4}, false, slice_text(""), 0, 0, 3, ACK_REPLICATED, true, true},
    };
    client_shards_reply_t reply = {.write = {.durability = ACK_REPLICATED},
                                   .has_accepted = true,
                                   .accepted = 5,
                                   .shard_count = 2,
                                   .shards = shards};
    client_reply_shards(&fixture->out, s_id, NULL, &reply);
    slice_t bytes = s_expect_ok(fixture);
    s_expect_u64(bytes, "accepted", 5);
    s_expect_kind(bytes, "shards.2", PACK_BAD);
    s_expect_u64(bytes, "shards.0.shard", 0);
    s_expect_u64(bytes, "shards.0.seq_last", 2);
    s_expect_text(bytes, "shards.0.durability", "all");
    s_expect_bool(bytes, "shards.0.duplicate", false);
    s_expect_u64(bytes, "shards.1.count", 3);
    s_expect_bool(bytes, "shards.1.duplicate", true);
    s_expect_kind(bytes, "shards.1.origin", PACK_BAD);
    s_expect_kind(bytes, "replicas", PACK_ARRAY);
}

/* -- reads ------------------------------------------------------------------------------------- */

static const client_read_reply_t s_read = {1700000000000000000, {(const uint8_t *)"\x01", 1}};

/* Goal: score, count and velocity reply under their own names; clipped only when it is. */
static void test_wire_client_reply_cell(void **state)
{
    fixture_t *fixture = *state;
    client_cell_reply_t cell = {.op = CLIENT_OP_SCORE, .score = 2.0, .count = 9};
    client_reply_cell(&fixture->out, s_id, &s_read, &cell);
    slice_t bytes = s_expect_ok(fixture);
    s_expect_f64(bytes, "score", 2.0);
    s_expect_kind(bytes, "clipped", PACK_BAD);
    s_expect_u64(bytes, "as_of", 1700000000000000000);
    s_expect_kind(bytes, "token", PACK_BIN);
    cell.op = CLIENT_OP_COUNT;
    cell.clipped = true;
    buffer_clear(&fixture->out);
    client_reply_cell(&fixture->out, s_id, &s_read, &cell);
    bytes = s_expect_ok(fixture);
    s_expect_u64(bytes, "count", 9);
    s_expect_bool(bytes, "clipped", true);
    s_expect_kind(bytes, "score", PACK_BAD);
    cell.op = CLIENT_OP_VELOCITY;
    buffer_clear(&fixture->out);
    client_reply_cell(&fixture->out, s_id, &s_read, &cell);
    s_expect_f64(s_expect_ok(fixture), "velocity", 2.0);
}

static void s_cell_row(void *context, uint32_t i, client_cell_row_t *ret_row)
{
    const msg_cell_t *cells = context;
    *ret_row = (client_cell_row_t){
        .signal = slice_text("view"), .window_count = 2, .cell = &cells[i], .item = {10 + i}};
}

/* Goal: rows are [item, signal, score, [counts]]. */
static void test_wire_client_reply_cells(void **state)
{
    fixture_t *fixture = *state;
    msg_cell_t cells[2] = {{.score = 0.5, .counts = {1, 2}}, {.score = 0.0}};
    client_reply_cells(&fixture->out, s_id, &s_read, 2, s_cell_row, cells);
    slice_t bytes = s_expect_ok(fixture);
    s_expect_u64(bytes, "rows.0.0", 10);
    s_expect_text(bytes, "rows.0.1", "view");
    s_expect_f64(bytes, "rows.0.2", 0.5);
    s_expect_u64(bytes, "rows.0.3.1", 2);
    s_expect_f64(bytes, "rows.1.2", 0.0);
    s_expect_kind(bytes, "rows.1.3.2", PACK_BAD);
    s_expect_kind(bytes, "rows.2", PACK_BAD);
}

/* Goal: an item has the fields that it has. */
static void test_wire_client_reply_item(void **state)
{
    fixture_t *fixture = *state;
    slice_t tags[] = {slice_text("a"), slice_text("b")};
    client_item_t item = {.item = {5},
                          .present = CLIENT_ITEM_TITLE | CLIENT_ITEM_TAGS | CLIENT_ITEM_CREATED,
                          .title = slice_text("T"),
                          .text = slice_text("unseen"),
                          .tag_count = 2,
                          .tags = tags,
                          .created_ns = 9};
    client_reply_item(&fixture->out, s_id, &s_read, &item);
    slice_t bytes = s_expect_ok(fixture);
    s_expect_text(bytes, "fields.title", "T");
    s_expect_text(bytes, "fields.tags.1", "b");
    s_expect_u64(bytes, "fields.created", 9);
    s_expect_kind(bytes, "fields.text", PACK_BAD);
    s_expect_kind(bytes, "fields.creator", PACK_BAD);
}

/* Goal: users and relations; a stamp that was never set is nil. */
static void test_wire_client_reply_user_and_relation(void **state)
{
    fixture_t *fixture = *state;
    msg_attribute_t attribute = {slice_text("locale"), slice_text("EU")};
    client_user_reply_t user = {{6}, 1, &attribute};
    client_reply_user(&fixture->out, s_id, &s_read, &user);
    s_expect_text(s_expect_ok(fixture), "attrs.locale", "EU");
    client_relation_reply_t relation = {.hidden = true, .hidden_hlc = {5, 1, 2}};
    buffer_clear(&fixture->out);
    client_reply_relation(&fixture->out, s_id, &s_read, &relation);
    slice_t bytes = s_expect_ok(fixture);
    s_expect_bool(bytes, "hidden", true);
    s_expect_u64(bytes, "hidden_hlc.0", 5);
    s_expect_kind(bytes, "muted", PACK_BAD);
    relation.of_creator = true;
    buffer_clear(&fixture->out);
    client_reply_relation(&fixture->out, s_id, &s_read, &relation);
    bytes = s_expect_ok(fixture);
    s_expect_bool(bytes, "muted", true);
    s_expect_bool(bytes, "blocked", false);
    s_expect_kind(bytes, "blocked_hlc", PACK_NIL);
    s_expect_kind(bytes, "hidden", PACK_BAD);
}

static void s_fill_session_row(void *context, uint32_t i, client_session_row_t *ret_row)
{
    (void)context;
    *ret_row = (client_session_row_t){.session_seq = i + 1,
                                      .signal = i == 0 ? slice_text("view") : slice_make(NULL, 0),
                                      .item = {40 + i},
                                      .weight = 0.5,
                                      .ts_ns = 7,
                                      .origin = slice_text("us-east-0-1")};
}

/* Goal: a session with its rows; a signal without a name, and meta that is no map, are nil. */
static void test_wire_client_reply_session(void **state)
{
    fixture_t *fixture = *state;
    client_session_reply_t session = {.user = {6},
                                      .agent = slice_text("web"),
                                      .meta = slice_make("\x81\xa1k\x05", 4),
                                      .open = true,
                                      .auto_closed = true,
                                      .started_ns = 3,
                                      .closed_ns = 9,
                                      .row_count = 2,
                                      .row_fn = s_fill_session_row};
    client_reply_session(&fixture->out, s_id, &s_read, &session);
    slice_t bytes = s_expect_ok(fixture);
    s_expect_u64(bytes, "user", 6);
    s_expect_text(bytes, "agent", "web");
    s_expect_u64(bytes, "meta.k", 5);
    s_expect_bool(bytes, "open", true);
    s_expect_bool(bytes, "auto_closed", false);
    s_expect_kind(bytes, "closed", PACK_NIL);
    s_expect_u64(bytes, "signals.1.0", 2);
    s_expect_text(bytes, "signals.0.1", "view");
    s_expect_kind(bytes, "signals.1.1", PACK_NIL);
    s_expect_u64(bytes, "signals.1.2", 41);
    static const slice_t s_bad[] = {{(const uint8_t *)"\x81\xa1k", 3},
                                    {(const uint8_t *)"\x05", 1},
                                    {(const uint8_t *)"\x80\x80", 2},
                                    {NULL, 0}};
    for (size_t i = 0; i < 4; i++) {
        session.meta = s_bad[i];
        session.open = false;
        session.agent = slice_make(NULL, 0);
        buffer_clear(&fixture->out);
        client_reply_session(&fixture->out, s_id, &s_read, &session);
        bytes = s_expect_ok(fixture);
        s_expect_kind(bytes, "meta", PACK_NIL);
        s_expect_kind(bytes, "agent", PACK_NIL);
        s_expect_bool(bytes, "auto_closed", true);
        s_expect_u64(bytes, "closed", 9);
    }
}

/* Goal: a ranked answer with everything. */
static void test_wire_client_reply_retrieve(void **state)
{
    fixture_t *fixture = *state;
    msg_ranked_t items[] = {{.item = {9}, .score = 3.5, .terms = {3.0, 0.5}}, {.item = {4}}};
    client_term_t terms[] = {{slice_text("view"), 0, 0, 1.0}, {slice_text("like"), 2, 1, 0.25}};
    slice_t reason = slice_text("region_unreachable");
    client_missing_shard_t missing = {{2}, slice_text("eu-west")};
    client_staleness_t staleness[] = {{slice_text("us-east"), 7},
                                      {slice_text("eu-west"), UINT32_MAX}};
    client_retrieve_reply_t retrieve = {.item_count = 2,
                                        .items = items,
                                        .term_count = 2,
                                        .terms = terms,
                                        .has_cursor = true,
                                        .cursor = {1, 0.0, {4}},
                                        .stats = {.reason_count = 1,
                                                  .reasons = &reason,
                                                  .shards_total = 5,
                                                  .shards_answered = 4,
                                                  .missing_count = 1,
                                                  .missing = &missing,
                                                  .staleness_count = 2,
                                                  .staleness = staleness,
                                                  .candidates = 100,
                                                  .filtered = 3,
                                                  .took_us = 44}};
    client_reply_retrieve(&fixture->out, s_id, &s_read, &retrieve);
    slice_t bytes = s_expect_ok(fixture);
    s_expect_u64(bytes, "items.0.item", 9);
    s_expect_f64(bytes, "items.0.score", 3.5);
    s_expect_text(bytes, "items.0.terms.1.window", "24h");
    s_expect_text(bytes, "items.0.terms.1.agg", "velocity");
    s_expect_f64(bytes, "items.0.terms.1.score", 0.5);
    s_expect_kind(bytes, "items.0.terms.0.window", PACK_BAD);
    assert_int_equal(pack_get(bytes, "cursor").as.bytes.size, CLIENT_CURSOR_SIZE);
    s_expect_bool(bytes, "stats.degraded", true);
    s_expect_text(bytes, "stats.reasons.0", "region_unreachable");
    s_expect_text(bytes, "stats.missing.0.region", "eu-west");
    s_expect_u64(bytes, "stats.staleness_ms.us-east", 7);
    assert_int_equal(pack_get(bytes, "stats.staleness_ms.eu-west").as.sint, -1);
    s_expect_u64(bytes, "stats.took_us", 44);
    buffer_clear(&fixture->out);
    retrieve.has_cursor = false;
    retrieve.term_count = 0;
    retrieve.stats.reason_count = 0;
    client_reply_retrieve(&fixture->out, s_id, &s_read, &retrieve);
    bytes = s_expect_ok(fixture);
    s_expect_kind(bytes, "cursor", PACK_NIL);
    s_expect_kind(bytes, "items.0.terms", PACK_BAD);
    s_expect_bool(bytes, "stats.degraded", false);
}

/* -- mesh -------------------------------------------------------------------------------------- */

/* Goal: hello names what a client needs to know. */
static void test_wire_client_reply_hello(void **state)
{
    fixture_t *fixture = *state;
    client_hello_signal_t signal = {2, slice_text("like"), 2592000, 0x13};
    client_hello_profile_t profile = {slice_text("default"), slice_text("1 * decay(view)")};
    client_hello_t hello = {slice_text("0.1.0"), slice_text("us-east"), 1, &signal, 1, &profile};
    client_reply_hello(&fixture->out, s_id, &hello);
    slice_t bytes = s_expect_ok(fixture);
    s_expect_text(bytes, "server", "tidalmesh");
    s_expect_u64(bytes, "protocol", 1);
    s_expect_text(bytes, "signals.0.name", "like");
    s_expect_u64(bytes, "signals.0.half_life_s", 2592000);
    s_expect_text(bytes, "signals.0.windows.1", "24h");
    s_expect_text(bytes, "signals.0.windows.2", "all");
    s_expect_text(bytes, "profiles.default", "1 * decay(view)");
    s_expect_u64(bytes, "limits.max_rows", REQUEST_ROW_COUNT_MAX);
    s_expect_u64(bytes, "limits.max_request_bytes", CLIENT_REQUEST_SIZE_MAX);
    buffer_clear(&fixture->out);
    client_reply_ping(&fixture->out, s_id);
    s_expect_bool(s_expect_ok(fixture), "pong", true);
}

/* Goal: topology, lag and digest list their rows. */
static void test_wire_client_reply_topology_lag_and_digest(void **state)
{
    fixture_t *fixture = *state;
    slice_t regions[] = {slice_text("us-east"), slice_text("eu-west")};
    client_topology_shard_t shard = {{1}, 4, slice_text(""), 2, regions, 2, regions};
    client_topology_t topology = {9, 2, regions, 1, &shard, 1, &regions[0]};
    client_reply_topology(&fixture->out, s_id, &topology);
    slice_t bytes = s_expect_ok(fixture);
    s_expect_u64(bytes, "version", 9);
    s_expect_kind(bytes, "shards.0.leader", PACK_NIL);
    s_expect_text(bytes, "shards.0.in_sync.1", "eu-west");
    s_expect_text(bytes, "tenants.0", "us-east");
    client_lag_t lag = {regions[1], {3}, slice_text("default"), slice_text("o"), 10, 7, UINT32_MAX};
    buffer_clear(&fixture->out);
    client_reply_lag(&fixture->out, s_id, 1, &lag);
    bytes = s_expect_ok(fixture);
    s_expect_u64(bytes, "nodes.0.lag_seq", 3);
    assert_int_equal(pack_get(bytes, "nodes.0.lag_ms").as.sint, -1);
    client_applied_t applied = {slice_text("o"), 7};
    client_digest_t digests[] = {
        {regions[0], slice_text("default"), {3}, 1, &applied, 12, true, {0xab}},
        {regions[1], slice_text("default"), {3}, 0, NULL, 0, false, {0}}};
    buffer_clear(&fixture->out);
    client_reply_digest(&fixture->out, s_id, 2, digests);
    bytes = s_expect_ok(fixture);
    s_expect_u64(bytes, "nodes.0.applied.o", 7);
    assert_int_equal(pack_get(bytes, "nodes.0.digest").as.bytes.size, 64);
    assert_memory_equal(pack_get(bytes, "nodes.0.digest").as.bytes.data, "ab00", 4);
    s_expect_kind(bytes, "nodes.1.digest", PACK_NIL);
}

/* Goal: links, health and metrics; integral metrics are integers. */
static void test_wire_client_reply_links_health_and_metrics(void **state)
{
    fixture_t *fixture = *state;
    client_counter_t counters[] = {{slice_text("dropped"), 3}, {slice_text("passed"), 4}};
    client_link_t link = {slice_text("us-east"),
                          slice_text("control"),
                          {CLIENT_LINK_HOLD, 5, 6, 0.5, 0, 0, 7},
                          2,
                          counters};
    client_reply_links(&fixture->out, s_id, 1, &link);
    slice_t bytes = s_expect_ok(fixture);
    s_expect_text(bytes, "links.0.mode", "hold");
    s_expect_f64(bytes, "links.0.drop", 0.5);
    s_expect_u64(bytes, "links.0.counters.passed", 4);
    slice_t reason = slice_text("replaying");
    buffer_clear(&fixture->out);
    client_reply_health(&fixture->out, s_id, false, 1, &reason);
    bytes = s_expect_ok(fixture);
    s_expect_bool(bytes, "live", true);
    s_expect_bool(bytes, "ready", false);
    s_expect_text(bytes, "reasons.0", "replaying");
    msg_metric_t metrics[] = {{slice_text("a"), 5.0},
                              {slice_text("b"), 0.25},
                              {slice_text("c"), (double)NAN},
                              {slice_text("d"), 1e300}};
    buffer_clear(&fixture->out);
    client_reply_metrics(&fixture->out, s_id, 4, metrics);
    bytes = s_expect_ok(fixture);
    s_expect_u64(bytes, "metrics.a", 5);
    s_expect_f64(bytes, "metrics.b", 0.25);
    s_expect_kind(bytes, "metrics.c", PACK_FLOAT);
    s_expect_f64(bytes, "metrics.d", 1e300);
}

/* Goal: status has the whole mesh in it. */
static void test_wire_client_reply_status(void **state)
{
    fixture_t *fixture = *state;
    client_process_t process = {.name = slice_text("shard-us-east-0"),
                                .kind = slice_text("shard_node"),
                                .region = slice_text("us-east"),
                                .has_shard = true,
                                .alive = true,
                                .silent_ms = 12};
    client_usage_t usage = {.tenant = slice_text("default"), .signals = -1, .bytes = 70};
    client_status_t status = {.converged = true,
                              .summary = slice_text("converged"),
                              .process_count = 1,
                              .processes = &process,
                              .usage_count = 1,
                              .usage = &usage};
    client_reply_status(&fixture->out, s_id, &status);
    slice_t bytes = s_expect_ok(fixture);
    s_expect_text(bytes, "processes.0.name", "shard-us-east-0");
    s_expect_u64(bytes, "processes.0.silent_ms", 12);
    s_expect_bool(bytes, "converged", true);
    s_expect_text(bytes, "usage.0.tenant", "default");
    s_expect_u64(bytes, "usage.0.bytes", 70);
    s_expect_kind(bytes, "usage.0.signals", PACK_INT); /* below 0 */
    s_expect_kind(bytes, "migrations", PACK_ARRAY);
    s_expect_kind(bytes, "links", PACK_ARRAY);
    s_expect_kind(bytes, "shards", PACK_ARRAY);
}

#define S_TEST(name) cmocka_unit_test_setup_teardown(name, s_setup, s_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        S_TEST(test_wire_client_reply_error_carries_its_fields),
        S_TEST(test_wire_client_reply_error_message_is_utf8),
        S_TEST(test_wire_client_reply_every_code_reads_back),
        S_TEST(test_wire_client_reply_other_bytes_are_no_reply),
        S_TEST(test_wire_client_reply_write),
        S_TEST(test_wire_client_reply_failed_write_keeps_durability_and_token),
        S_TEST(test_wire_client_reply_shards),
        S_TEST(test_wire_client_reply_cell),
        S_TEST(test_wire_client_reply_cells),
        S_TEST(test_wire_client_reply_item),
        S_TEST(test_wire_client_reply_user_and_relation),
        S_TEST(test_wire_client_reply_session),
        S_TEST(test_wire_client_reply_retrieve),
        S_TEST(test_wire_client_reply_hello),
        S_TEST(test_wire_client_reply_topology_lag_and_digest),
        S_TEST(test_wire_client_reply_links_health_and_metrics),
        S_TEST(test_wire_client_reply_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
