#include "tests/unit/session_support.h"

#include "common/session/session_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const tenant_id_t s_tenant = {1};
static const shard_id_t s_shard = {2};

session_id_t session_test_id(uint64_t n)
{
    return session_id_make((user_id_t){7}, (const uint64_t[2]){n, 99});
}

stream_id_t session_test_stream(uint16_t region)
{
    return (stream_id_t){
        .tenant = s_tenant, .incarnation = 0xa0u + region, .origin = {{region}, s_shard}};
}

hlc_stamp_t session_test_hlc(int64_t ms)
{
    return (hlc_stamp_t){SESSION_TEST_WALL_NS + ms * 1000000, 0, 0x1ffff};
}

record_t session_test_start(uint64_t n, int64_t ms, const char *agent)
{
    record_t record = {.type = RECORD_SESSION_START, .event_count = 1};
    record.as.session_start.session = session_test_id(n);
    record.as.session_start.hlc = session_test_hlc(ms);
    record.as.session_start.agent = slice_text(agent);
    record.as.session_start.meta = slice_make(NULL, 0);
    return record;
}

record_t session_test_signal(uint64_t n, int64_t ms, uint32_t session_seq, uint64_t item)
{
    record_t record = {.type = RECORD_SESSION_SIGNAL, .event_count = 1};
    record.as.session_signal.session = session_test_id(n);
    record.as.session_signal.hlc = session_test_hlc(ms);
    record.as.session_signal.session_seq = session_seq;
    record.as.session_signal.item.value = item;
    record.as.session_signal.ts_ns = SESSION_TEST_WALL_NS;
    record.as.session_signal.weight = 0.5;
    record.as.session_signal.signal = 1;
    return record;
}

record_t session_test_close(uint64_t n, int64_t ms, bool is_auto)
{
    record_t record = {.type = RECORD_SESSION_CLOSE, .event_count = 1};
    record.as.session_close.session = session_test_id(n);
    record.as.session_close.hlc = session_test_hlc(ms);
    record.as.session_close.is_auto = is_auto;
    return record;
}

session_book_t *session_test_book(void)
{
    return session_book_new(s_tenant, s_shard);
}

wal_batch_t session_test_batch(uint16_t region, uint64_t seq, slice_t payload)
{
    return (wal_batch_t){
        .stream = session_test_stream(region), .first_seq = seq, .payload = payload};
}

static void s_encode(const record_t *record, buffer_t *payload)
{
    buffer_init(payload);
    record_append(payload, record);
}

void session_test_apply(session_book_t *book,
                        uint16_t region,
                        uint64_t seq,
                        const record_t *record,
                        session_standing_t standing)
{
    buffer_t payload;
    s_encode(record, &payload);
    wal_batch_t batch = session_test_batch(region, seq, buffer_slice(&payload));
    assert_int_equal(session_book_apply(book, &batch, standing, NULL), ERR_OK);
    buffer_done(&payload);
}

void session_test_void(session_book_t *book, uint16_t region, uint64_t seq, const record_t *record)
{
    buffer_t payload;
    s_encode(record, &payload);
    wal_batch_t batch = session_test_batch(region, seq, buffer_slice(&payload));
    assert_int_equal(session_book_void(book, &batch, NULL), ERR_OK);
    buffer_done(&payload);
}

static void s_on_difference(void *context, slice_t key, slice_t value_a, slice_t value_b)
{
    (void)context;
    (void)printf("session %02x..: %zu and %zu bytes\n", key.data[8], value_a.size, value_b.size);
}

void session_test_expect_equal(session_book_t *a, session_book_t *b)
{
    session_digest_t digests[3];
    assert_int_equal(session_book_compare(a, b, s_on_difference, NULL), 0);
    session_book_digest(a, &digests[0]);
    session_book_digest(b, &digests[1]);
    session_book_digest_full(b, &digests[2]);
    assert_memory_equal(&digests[0], &digests[1], sizeof(digests[0]));
    assert_memory_equal(&digests[1], &digests[2], sizeof(digests[1]));
}

session_book_t *session_test_reload(session_book_t *book)
{
    session_book_t *loaded = session_test_book();
    store_batch_t *batch = store_batch_new();
    session_book_checkpoint_write(book, batch, slice_text("pp"));
    session_book_checkpoint_settle(book, true);
    store_batch_sort(batch);
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    while (store_batch_next(batch, &cursor, &operation)) {
        slice_t key = slice_make(operation.key.data + 2, operation.key.size - 2);
        assert_int_equal(session_book_load_entry(loaded, key, operation.value, NULL), ERR_OK);
    }
    store_batch_destroy(&batch);
    return loaded;
}
