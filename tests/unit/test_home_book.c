/* Writes for all shards: what is pending is a function of the set of records, in memory and through a
 * checkpoint. */
#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/session/home_book.h"
#include "common/topology/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { S_SHARDS = 4, S_HOME = 2 };

static const tenant_id_t s_tenant = {1};

typedef struct {
    home_book_t *book;
    ledger_t *ledger;
} s_state_t;

static s_state_t s_new(void)
{
    static schema_t s_schema;
    schema_init_default(&s_schema);
    return (s_state_t){home_book_new(s_tenant, (shard_id_t){S_HOME}, S_SHARDS),
                       ledger_new(&s_schema)};
}

static void s_done(s_state_t *state)
{
    home_book_destroy(&state->book);
    ledger_destroy(&state->ledger);
}

static user_id_t s_user(uint16_t shard, uint32_t index)
{
    user_id_t user = {1};
    for (uint32_t found = 0; found <= index; user.value++) {
        found += route_user(s_tenant, user, S_SHARDS).value == shard ? 1 : 0;
        if (found > index) {
            return user;
        }
    }
    return user;
}

static record_t s_mute(user_id_t user, uint64_t creator, int64_t wall_ns, bool set)
{
    record_t record = {.type = RECORD_RELATION, .event_count = 1};
    record.as.relation.user = user;
    record.as.relation.target = creator;
    record.as.relation.hlc = (hlc_stamp_t){wall_ns, 0, 1};
    record.as.relation.action = RELATION_MUTE;
    record.as.relation.set = set;
    return record;
}

static record_t s_held(user_id_t user, uint64_t creator, int64_t wall_ns, bool set)
{
    record_t record = {.type = RECORD_HELD, .event_count = 1};
    record.as.held = (record_held_t){
        .user = user, .hlc = {wall_ns, 0, 1}, .kind = HELD_MUTE, .set = set, .target = creator};
    return record;
}

static record_t s_put(user_id_t user, const char *name, const char *value, int64_t wall_ns)
{
    record_t record = {.type = RECORD_USER_PUT, .event_count = 1};
    record.as.user.user = user;
    record.as.user.hlc = (hlc_stamp_t){wall_ns, 0, 1};
    record.as.user.attribute_count = 1;
    record.as.user.attributes[0] = (record_attribute_t){slice_text(name), slice_text(value)};
    return record;
}

static record_t s_held_attribute(user_id_t user, const char *name, int64_t wall_ns)
{
    record_t record = {.type = RECORD_HELD, .event_count = 1};
    record.as.held = (record_held_t){
        .user = user, .hlc = {wall_ns, 0, 1}, .kind = HELD_ATTRIBUTE, .name = slice_text(name)};
    return record;
}

static void s_apply(s_state_t *state, const record_t *records, uint32_t count)
{
    buffer_t payload;
    errbuf_t errbuf;
    buffer_init(&payload);
    for (uint32_t i = 0; i < count; i++) {
        record_append(&payload, &records[i]);
    }
    assert_int_equal(home_book_apply_payload(state->book, state->ledger, buffer_slice(&payload),
                                             LEDGER_COUNTED, &errbuf),
                     ERR_OK);
    buffer_done(&payload);
}

static void s_apply_one(s_state_t *state, record_t record)
{
    s_apply(state, &record, 1);
}

static void s_expect_pending(const s_state_t *state, uint32_t count)
{
    assert_int_equal(home_book_pending_count(state->book), count);
}

/* Goal: a write is pending until it is said to be held, and a later write is pending again. */
static void test_home_book_write_is_pending_until_held(void **unused)
{
    (void)unused;
    s_state_t state = s_new();
    user_id_t user = s_user(S_HOME, 0);
    s_apply_one(&state, s_mute(user, 7, 10, true));
    s_expect_pending(&state, 1);
    s_apply_one(&state, s_held(user, 7, 9, true)); /* of an earlier one */
    s_expect_pending(&state, 1);
    s_apply_one(&state, s_held(user, 7, 10, true));
    s_expect_pending(&state, 0);
    s_apply_one(&state, s_mute(user, 7, 10, true)); /* a second copy */
    s_apply_one(&state, s_mute(user, 7, 8, false)); /* an island's, long beaten */
    s_expect_pending(&state, 0);
    s_apply_one(&state, s_mute(user, 7, 12, false));
    s_expect_pending(&state, 1);
    s_done(&state);
}

/* Goal: of two writes with one stamp the one that sets is the later one. */
static void test_home_book_set_is_above_its_opposite_with_one_stamp(void **unused)
{
    (void)unused;
    s_state_t state = s_new();
    user_id_t user = s_user(S_HOME, 0);
    s_apply_one(&state, s_mute(user, 7, 10, false));
    s_apply_one(&state, s_held(user, 7, 10, false));
    s_expect_pending(&state, 0);
    s_apply_one(&state, s_mute(user, 7, 10, true));
    s_expect_pending(&state, 1);
    s_apply_one(&state, s_held(user, 7, 10, false));
    s_expect_pending(&state, 1);
    s_apply_one(&state, s_held(user, 7, 10, true));
    s_expect_pending(&state, 0);
    s_done(&state);
}

/* Goal: what is no business of this shard is not kept: users of others, hides, one shard. */
static void test_home_book_keeps_nothing_of_others(void **unused)
{
    (void)unused;
    s_state_t state = s_new();
    s_apply_one(&state, s_mute(s_user(S_HOME + 1, 0), 7, 10, true));
    s_apply_one(&state, s_held(s_user(S_HOME + 1, 0), 8, 10, true));
    s_apply_one(&state, s_put(s_user(0, 0), "locale", "EU", 10));
    record_t hide = s_mute(s_user(S_HOME, 0), 7, 10, true);
    hide.as.relation.action = RELATION_HIDE;
    s_apply_one(&state, hide);
    s_expect_pending(&state, 0);
    assert_int_equal(home_book_changed_count(state.book), 0);
    home_book_destroy(&state.book);
    state.book = home_book_new(s_tenant, (shard_id_t){0}, 1);
    s_apply_one(&state, s_mute(s_user(S_HOME, 0), 9, 10, true));
    s_expect_pending(&state, 0);
    s_done(&state);
}

/* Goal: attributes stand each for itself, and what is repeated is what the ledger has. */
static void test_home_book_gives_each_attribute_as_it_stands(void **unused)
{
    (void)unused;
    s_state_t state = s_new();
    user_id_t user = s_user(S_HOME, 1);
    s_apply_one(&state, s_put(user, "locale", "EU", 10));
    s_apply_one(&state, s_put(user, "plan", "free", 12));
    s_apply_one(&state, s_held_attribute(user, "plan", 12));
    s_expect_pending(&state, 1);
    home_entry_t entry;
    assert_true(home_book_next(state.book, 0, &entry));
    buffer_t expected;
    buffer_t found;
    buffer_init(&expected);
    buffer_init(&found);
    record_t put = s_put(user, "locale", "EU", 10);
    record_append(&expected, &put);
    assert_true(home_book_append_write(&entry, state.ledger, &found));
    assert_true(slice_equal(buffer_slice(&expected), buffer_slice(&found)));
    assert_false(home_book_next(state.book, entry.order, &entry));
    buffer_done(&expected);
    buffer_done(&found);
    s_done(&state);
}

/* The same set of records, in an order and in payloads that the seed decides. */
static s_state_t s_shuffled(const record_t *records, uint32_t count, uint64_t seed)
{
    enum { S_RECORD_COUNT_MAX = 512 };
    prng_t prng;
    record_t order[S_RECORD_COUNT_MAX];
    CHECK(count <= S_RECORD_COUNT_MAX);
    prng_init(&prng, seed);
    memcpy(order, records, count * sizeof(*records));
    for (uint32_t i = count; i > 1; i--) {
        uint32_t k = (uint32_t)prng_below(&prng, i);
        record_t moved = order[i - 1];
        order[i - 1] = order[k];
        order[k] = moved;
    }
    s_state_t state = s_new();
    for (uint32_t i = 0; i < count;) {
        uint32_t size = 1 + (uint32_t)prng_below(&prng, 3);
        size = size < count - i ? size : count - i;
        s_apply(&state, order + i, size);
        i += size;
    }
    return state;
}

static uint32_t s_random_records(uint64_t seed, record_t *ret_records, uint32_t count)
{
    static const char *const s_names[] = {"locale", "plan", "age"};
    static const char *const s_values[] = {"a", "b", "c"};
    prng_t prng;
    prng_init(&prng, seed);
    for (uint32_t i = 0; i < count; i++) {
        user_id_t user = s_user(S_HOME, (uint32_t)prng_below(&prng, 3));
        int64_t wall_ns = 1 + (int64_t)prng_below(&prng, 6);
        uint64_t which = prng_below(&prng, 3);
        bool set = prng_below(&prng, 2) == 0;
        switch (prng_below(&prng, 4)) {
        case 0:
            ret_records[i] = s_mute(user, 1 + which, wall_ns, set);
            break;
        case 1:
            ret_records[i] = s_held(user, 1 + which, wall_ns, set);
            break;
        case 2:
            ret_records[i] = s_put(user, s_names[which], s_values[wall_ns % 3], wall_ns);
            break;
        default:
            ret_records[i] = s_held_attribute(user, s_names[which], wall_ns);
            break;
        }
    }
    return count;
}

/* Goal: in whatever order and packing, the same records leave the same pending. Method: two hundred
 * sets, each in two orders, and one that is also taken twice. */
static void test_home_book_is_a_function_of_the_set_of_records(void **unused)
{
    (void)unused;
    enum { S_SETS = 200, S_COUNT = 40 };
    static record_t s_records[2 * S_COUNT];
    for (uint64_t seed = 1; seed <= S_SETS; seed++) {
        uint32_t count = s_random_records(seed, s_records, S_COUNT);
        memcpy(s_records + count, s_records, count * sizeof(*s_records));
        s_state_t a = s_shuffled(s_records, count, seed * 3);
        s_state_t b = s_shuffled(s_records, count, seed * 5 + 1);
        s_state_t twice = s_shuffled(s_records, 2 * count, seed * 7 + 2);
        assert_true(home_book_equal(a.book, b.book, a.ledger));
        assert_true(home_book_equal(a.book, twice.book, a.ledger));
        assert_int_equal(home_book_pending_count(a.book), home_book_pending_count(b.book));
        s_done(&a);
        s_done(&b);
        s_done(&twice);
    }
}

/* Carries what a checkpoint says out on a book of entries: here, a list of puts by key. */
typedef struct {
    uint32_t count;
    uint8_t keys[256][HOME_KEY_SIZE];
    buffer_t values[256];
} s_disk_t;

static void s_carry_out(s_disk_t *disk, store_batch_t *batch)
{
    store_operation_t operation;
    store_batch_cursor_t cursor = {0};
    while (store_batch_next(batch, &cursor, &operation)) {
        uint32_t at = 0;
        assert_int_equal(operation.key.size, HOME_KEY_SIZE + 1);
        const uint8_t *key = operation.key.data + 1;
        while (at < disk->count && memcmp(disk->keys[at], key, HOME_KEY_SIZE) != 0) {
            at++;
        }
        assert_in_range(at, 0, 255);
        if (at == disk->count) {
            disk->count++;
            memcpy(disk->keys[at], key, HOME_KEY_SIZE);
            buffer_init(&disk->values[at]);
        }
        buffer_clear(&disk->values[at]);
        if (operation.kind == STORE_OPERATION_PUT) {
            buffer_append(&disk->values[at], operation.value.data, operation.value.size);
        }
    }
}

static home_book_t *s_load(const s_disk_t *disk)
{
    home_book_t *book = home_book_new(s_tenant, (shard_id_t){S_HOME}, S_SHARDS);
    errbuf_t errbuf;
    for (uint32_t i = 0; i < disk->count; i++) {
        if (disk->values[i].size > 0) {
            assert_int_equal(home_book_load_entry(book, slice_make(disk->keys[i], HOME_KEY_SIZE),
                                                  buffer_slice(&disk->values[i]), &errbuf),
                             ERR_OK);
        }
    }
    assert_int_equal(home_book_changed_count(book), 0);
    return book;
}

/* Goal: checkpoints of what changed, some of which fail, always come to the book as it was when the
 * last durable one was made. */
static void test_home_book_checkpoints_come_to_the_same_book(void **unused)
{
    (void)unused;
    enum { S_ROUNDS = 60, S_COUNT = 8 };
    static s_disk_t s_disk;
    s_state_t state = s_new();
    for (uint64_t round = 1; round <= S_ROUNDS; round++) {
        record_t records[S_COUNT];
        (void)s_random_records(round, records, S_COUNT);
        s_apply(&state, records, S_COUNT);
        if (round == S_ROUNDS / 2) {
            home_book_mark_all(state.book);
        }
        bool is_durable = round % 3 != 0;
        store_batch_t *batch = store_batch_new();
        home_book_checkpoint_write(state.book, batch, slice_text("A"));
        if (is_durable) {
            s_carry_out(&s_disk, batch);
        }
        home_book_checkpoint_settle(state.book, is_durable);
        store_batch_destroy(&batch);
        if (is_durable) {
            home_book_t *loaded = s_load(&s_disk);
            assert_true(home_book_equal(state.book, loaded, state.ledger));
            assert_int_equal(home_book_pending_count(state.book), home_book_pending_count(loaded));
            home_book_destroy(&loaded);
        }
    }
    for (uint32_t i = 0; i < s_disk.count; i++) {
        buffer_done(&s_disk.values[i]);
    }
    s_done(&state);
}

/* Goal: no byte of an entry is believed: a changed key or value is refused, or is another register's
 * stamp, never a crash; and no entry comes twice. */
static void test_home_book_bad_entries_are_refused(void **unused)
{
    (void)unused;
    s_state_t state = s_new();
    errbuf_t errbuf;
    s_apply_one(&state, s_put(s_user(S_HOME, 0), "locale", "EU", 10));
    store_batch_t *batch = store_batch_new();
    home_book_checkpoint_write(state.book, batch, slice_make(NULL, 0));
    home_book_checkpoint_settle(state.book, true);
    store_operation_t entry;
    store_batch_cursor_t cursor = {0};
    assert_true(store_batch_next(batch, &cursor, &entry));
    home_book_t *loaded = home_book_new(s_tenant, (shard_id_t){S_HOME}, S_SHARDS);
    uint8_t bytes[128];
    assert_in_range(entry.value.size, 1, sizeof(bytes));
    for (size_t size = 0; size < entry.value.size; size++) {
        assert_int_not_equal(
            home_book_load_entry(loaded, entry.key, slice_make(entry.value.data, size), &errbuf),
            ERR_OK);
    }
    for (size_t i = 0; i < HOME_KEY_SIZE; i++) {
        memcpy(bytes, entry.key.data, HOME_KEY_SIZE);
        bytes[i] ^= 1;
        assert_int_equal(
            home_book_load_entry(loaded, slice_make(bytes, HOME_KEY_SIZE), entry.value, &errbuf),
            ERR_CORRUPT);
    }
    memcpy(bytes, entry.value.data, entry.value.size);
    bytes[0] = 2;
    assert_int_equal(
        home_book_load_entry(loaded, entry.key, slice_make(bytes, entry.value.size), &errbuf),
        ERR_UNSUPPORTED);
    bytes[0] = 1;
    bytes[1] = 3;
    assert_int_equal(
        home_book_load_entry(loaded, entry.key, slice_make(bytes, entry.value.size), &errbuf),
        ERR_CORRUPT);
    assert_int_equal(home_book_load_entry(loaded, entry.key, entry.value, &errbuf), ERR_OK);
    assert_int_equal(home_book_load_entry(loaded, entry.key, entry.value, &errbuf), ERR_CORRUPT);
    home_book_destroy(&loaded);
    store_batch_destroy(&batch);
    s_done(&state);
}

/* Goal: ten thousand writes that come and go leave no memory behind that a walk would see. */
static void test_home_book_many_come_and_go(void **unused)
{
    (void)unused;
    enum { S_COUNT = 10000 };
    s_state_t state = s_new();
    user_id_t user = s_user(S_HOME, 0);
    home_entry_t entry;
    for (int64_t i = 1; i <= S_COUNT; i++) {
        s_apply_one(&state, s_mute(user, (uint64_t)i, i, true));
        if (i > 10) {
            s_apply_one(&state, s_held(user, (uint64_t)(i - 10), i - 10, true));
        }
    }
    s_expect_pending(&state, 10);
    uint64_t order = 0;
    for (uint64_t creator = S_COUNT - 9; creator <= S_COUNT; creator++) {
        assert_true(home_book_next(state.book, order, &entry));
        assert_true(entry.order > order);
        assert_true(entry.held.target == creator); /* first come first served */
        order = entry.order;
    }
    assert_false(home_book_next(state.book, order, &entry));
    assert_true(home_book_last_order(state.book) == order);
    s_done(&state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_home_book_write_is_pending_until_held),
        cmocka_unit_test(test_home_book_set_is_above_its_opposite_with_one_stamp),
        cmocka_unit_test(test_home_book_keeps_nothing_of_others),
        cmocka_unit_test(test_home_book_gives_each_attribute_as_it_stands),
        cmocka_unit_test(test_home_book_is_a_function_of_the_set_of_records),
        cmocka_unit_test(test_home_book_checkpoints_come_to_the_same_book),
        cmocka_unit_test(test_home_book_bad_entries_are_refused),
        cmocka_unit_test(test_home_book_many_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
