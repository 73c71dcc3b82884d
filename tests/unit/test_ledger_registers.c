/* Registers of items, users and relations: who wins, and the laws that a merge obeys. */
#include "tests/unit/ledger_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* -- one set of registers ---------------------------------------------------------------------- */

typedef enum { WRITE_TOUCH, WRITE_REGISTER, WRITE_CLEAR } write_kind_t;

typedef struct {
    write_kind_t kind;
    hlc_stamp_t hlc;
    uint8_t name;
    uint8_t value[3];
    uint8_t value_size;
} write_t;

static hlc_stamp_t s_stamp(int64_t wall_ns)
{
    return (hlc_stamp_t){wall_ns, 0, 1};
}

static void s_do(registers_t *registers, const write_t *write)
{
    if (write->kind == WRITE_TOUCH) {
        (void)registers_touch(registers, write->hlc);
    } else if (write->kind == WRITE_CLEAR) {
        (void)registers_clear(registers, write->hlc);
    } else {
        (void)registers_write(registers, slice_make(&write->name, 1), write->hlc,
                              slice_make(write->value, write->value_size));
    }
}

static write_t s_random_write(prng_t *prng, uint64_t name_count)
{
    write_t write = {0};
    write.kind = prng_chance(prng, 0.1)   ? WRITE_CLEAR
                 : prng_chance(prng, 0.1) ? WRITE_TOUCH
                                          : WRITE_REGISTER;
    write.hlc = (hlc_stamp_t){(int64_t)prng_below(prng, 20), (uint32_t)prng_below(prng, 2),
                              (uint32_t)prng_below(prng, 2)};
    if (write.kind == WRITE_CLEAR) {
        write.hlc.wall_ns /= 2;
    }
    write.name = (uint8_t)(1 + prng_below(prng, name_count));
    write.value_size = (uint8_t)prng_below(prng, 4);
    for (unsigned i = 0; i < write.value_size; i++) {
        write.value[i] = (uint8_t)prng_below(prng, 3);
    }
    return write;
}

static void s_shuffle(prng_t *prng, write_t *writes, unsigned count)
{
    for (unsigned i = count; i > 1; i--) {
        unsigned j = (unsigned)prng_below(prng, i);
        write_t swapped = writes[i - 1];
        writes[i - 1] = writes[j];
        writes[j] = swapped;
    }
}

static void s_assert_equal(const registers_t *a, const registers_t *b)
{
    assert_true(slice_equal(registers_encoded(a), registers_encoded(b)));
}

/* Goal: writes and deletes commute, associate and repeat without effect: any order, with any of
 * them twice, gives the same bytes. Method: 3,000 generated sets with many ties, few names and
 * many. */
static void test_ledger_registers_merge_obeys_its_laws(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    prng_t prng;
    prng_init(&prng, 31);
    for (unsigned round = 0; round < 3000; round++) {
        write_t writes[2 * COUNT];
        uint64_t name_count = round % 2 == 0 ? 3 : 200;
        for (unsigned i = 0; i < COUNT; i++) {
            writes[i] = s_random_write(&prng, name_count);
        }
        registers_t once;
        registers_t again;
        registers_init(&once);
        registers_init(&again);
        for (unsigned i = 0; i < COUNT; i++) {
            s_do(&once, &writes[i]);
        }
        for (unsigned i = 0; i < COUNT; i++) {
            writes[COUNT + i] = writes[prng_below(&prng, COUNT)];
        }
        s_shuffle(&prng, writes, 2 * COUNT);
        for (unsigned i = 0; i < 2 * COUNT; i++) {
            s_do(&again, &writes[i]);
        }
        s_assert_equal(&once, &again);
        registers_done(&once);
        registers_done(&again);
    }
}

static unsigned s_count(const registers_t *registers)
{
    size_t offset = 0;
    unsigned count = 0;
    register_view_t view;
    while (registers_next(registers, &offset, &view)) {
        count++;
    }
    return count;
}

static void s_do_all(registers_t *registers, const write_t *writes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        s_do(registers, &writes[i]);
    }
}

static void s_check_orders(prng_t *prng, write_t *writes, unsigned count)
{
    registers_t expected;
    registers_init(&expected);
    s_do_all(&expected, writes, count);
    assert_true(s_count(&expected) <= REGISTER_COUNT_MAX);
    for (unsigned order = 0; order < 10; order++) {
        registers_t found;
        registers_init(&found);
        s_shuffle(prng, writes, count);
        s_do_all(&found, writes, count);
        s_assert_equal(&expected, &found);
        registers_done(&found);
    }
    registers_done(&expected);
}

/* Goal: at most REGISTER_COUNT_MAX registers are kept, the latest ones, whatever the order. Method:
 * 150 names, some written again, some deleted, in 200 orders. */
static void test_ledger_registers_limit_keeps_the_latest(void **state)
{
    (void)state;
    enum { COUNT = 220 };
    static write_t s_writes[COUNT];
    prng_t prng;
    prng_init(&prng, 32);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            s_writes[i] = s_random_write(&prng, 150);
            s_writes[i].hlc.wall_ns = (int64_t)prng_below(&prng, 100) + 1;
            s_writes[i].hlc.wall_ns /= s_writes[i].kind == WRITE_CLEAR ? 10 : 1;
        }
        s_check_orders(&prng, s_writes, COUNT);
    }
}

static void s_assert_value(const registers_t *registers, const char *name, const char *expected)
{
    register_view_t view;
    bool found = registers_find(registers, slice_make(name, strlen(name)), &view);
    assert_int_equal(found, expected != NULL);
    if (expected != NULL) {
        assert_int_equal(view.value.size, strlen(expected));
        assert_memory_equal(view.value.data, expected, view.value.size);
    }
}

static bool s_write(registers_t *registers, const char *name, int64_t wall_ns, const char *value)
{
    return registers_write(registers, slice_make(name, strlen(name)), s_stamp(wall_ns),
                           slice_make(value, strlen(value)));
}

/* Goal: the later stamp wins; a tie goes to the greater value, where a longer one is greater than
 * its own beginning. */
static void test_ledger_registers_later_stamp_wins(void **state)
{
    (void)state;
    registers_t registers;
    registers_init(&registers);
    assert_true(s_write(&registers, "a", 5, "five"));
    assert_false(s_write(&registers, "a", 4, "zzz"));
    s_assert_value(&registers, "a", "five");
    assert_true(s_write(&registers, "a", 5, "fivefold"));
    assert_false(s_write(&registers, "a", 5, "five"));
    assert_false(s_write(&registers, "a", 5, "aaaaaaaaaaaa"));
    s_assert_value(&registers, "a", "fivefold");
    assert_true(s_write(&registers, "a", 6, ""));
    s_assert_value(&registers, "a", "");
    s_assert_value(&registers, "b", NULL);
    registers_done(&registers);
}

/* Goal: a delete hides what was written with stamps up to its own, before and after it arrives;
 * what is above stays. */
static void test_ledger_registers_delete_wins_a_tie(void **state)
{
    (void)state;
    registers_t registers;
    registers_init(&registers);
    (void)s_write(&registers, "a", 5, "five");
    (void)s_write(&registers, "b", 6, "six");
    assert_true(registers_clear(&registers, s_stamp(5)));
    assert_false(registers_clear(&registers, s_stamp(5)));
    s_assert_value(&registers, "a", NULL);
    s_assert_value(&registers, "b", "six");
    assert_false(s_write(&registers, "c", 5, "late"));
    assert_true(registers_exist(&registers));
    assert_true(registers_clear(&registers, s_stamp(6)));
    assert_false(registers_exist(&registers));
    s_assert_value(&registers, "b", NULL);
    assert_true(s_write(&registers, "b", 7, "seven"));
    assert_true(registers_exist(&registers));
    registers_done(&registers);
}

/* Goal: a zero stamp is before everything: it writes nothing. */
static void test_ledger_registers_zero_stamp_writes_nothing(void **state)
{
    (void)state;
    registers_t registers;
    registers_init(&registers);
    hlc_stamp_t zero = {0, 0, 0};
    assert_false(registers_touch(&registers, zero));
    assert_false(registers_write(&registers, slice_make("a", 1), zero, slice_make("b", 1)));
    assert_false(registers_clear(&registers, zero));
    assert_int_equal(registers_encoded(&registers).size, 0);
    registers_done(&registers);
}

/* Goal: damaged bytes are refused or are other sound registers. Method: each bit flipped, each
 * truncation, one byte more; what is accepted is kept as it is, and can be written to. */
static void test_ledger_registers_damaged_bytes_are_refused(void **state)
{
    (void)state;
    registers_t registers;
    registers_init(&registers);
    (void)s_write(&registers, "locale", 5, "EU");
    (void)s_write(&registers, "plan", 6, "free");
    (void)registers_clear(&registers, s_stamp(2));
    slice_t encoded = registers_encoded(&registers);
    uint8_t bytes[256];
    (void)memcpy(bytes, encoded.data, encoded.size);
    registers_t other;
    registers_init(&other);
    unsigned refused = 0;
    for (size_t bit = 0; bit < 8 * encoded.size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        if (registers_decode(&other, slice_make(bytes, encoded.size), NULL) == ERR_OK) {
            assert_true(slice_equal(registers_encoded(&other), slice_make(bytes, encoded.size)));
            (void)s_write(&other, "m", 7, "x");
        } else {
            refused++;
        }
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_true(refused > 100);
    for (size_t size = 0; size < encoded.size; size++) {
        if (registers_decode(&other, slice_make(bytes, size), NULL) == ERR_OK) {
            /* cut between two registers: `written` says that one is missing only when it was last
             */
            assert_true(size >= 33);
        }
    }
    bytes[encoded.size] = 0;
    assert_int_equal(registers_decode(&other, slice_make(bytes, encoded.size + 1), NULL),
                     ERR_CORRUPT);
    bytes[0] = 2;
    assert_int_equal(registers_decode(&other, slice_make(bytes, encoded.size), NULL),
                     ERR_UNSUPPORTED);
    registers_done(&other);
    registers_done(&registers);
}

/* -- through the ledger ------------------------------------------------------------------------ */

static ledger_t *s_new(void)
{
    static schema_t s_schema;
    schema_init_default(&s_schema);
    return ledger_new(&s_schema);
}

static void s_apply(ledger_t *ledger, const record_t *record)
{
    buffer_t payload = {0};
    record_append(&payload, record);
    assert_int_equal(ledger_apply_payload(ledger, buffer_slice(&payload), LEDGER_COUNTED, NULL),
                     ERR_OK);
    buffer_done(&payload);
}

static void s_relate(
    ledger_t *ledger, relation_action_t action, uint64_t target, int64_t wall_ns, bool set)
{
    record_t record = {.type = RECORD_RELATION, .event_count = 1};
    record.as.relation.user.value = 9;
    record.as.relation.action = action;
    record.as.relation.target = target;
    record.as.relation.hlc = s_stamp(wall_ns);
    record.as.relation.set = set;
    s_apply(ledger, &record);
}

static bool s_is_hidden(const ledger_t *ledger)
{
    ledger_relation_t relation;
    err_t err = ledger_get_relation(ledger, (user_id_t){9}, RELATION_HIDE, 70, &relation);
    return err == ERR_OK && relation.set;
}

/* Goal: hide wins an exact tie, in both orders; otherwise the later stamp wins, in both orders. */
static void test_ledger_registers_hide_wins_ties(void **state)
{
    (void)state;
    static const struct {
        int64_t hide_ns;
        int64_t unhide_ns;
        bool hidden;
    } s_cases[] = {{50, 50, true}, {100, 50, true}, {50, 200, false}, {0, 0, true}};
    for (unsigned i = 0; i < 8; i++) {
        bool hide_first = i < 4;
        ledger_t *ledger = s_new();
        s_relate(ledger, RELATION_HIDE, 70,
                 hide_first ? s_cases[i % 4].hide_ns : s_cases[i % 4].unhide_ns, hide_first);
        s_relate(ledger, RELATION_HIDE, 70,
                 hide_first ? s_cases[i % 4].unhide_ns : s_cases[i % 4].hide_ns, !hide_first);
        assert_int_equal(s_is_hidden(ledger), s_cases[i % 4].hidden);
        ledger_destroy(&ledger);
    }
}

static void s_put_creator(ledger_t *ledger, uint64_t item, uint64_t creator, int64_t wall_ns)
{
    uint8_t number[8];
    bytes_put_u64(number, creator);
    record_t record = {.type = RECORD_ITEM_PUT, .event_count = 1};
    record.as.item.item.value = item;
    record.as.item.hlc = s_stamp(wall_ns);
    record.as.item.field_count = 1;
    record.as.item.fields[0].field = ITEM_FIELD_CREATOR;
    record.as.item.fields[0].value = slice_make(number, sizeof(number));
    s_apply(ledger, &record);
}

/* Goal: an item is suppressed while any of hide, mute and block holds, and for nobody else. */
static void test_ledger_registers_any_relation_suppresses(void **state)
{
    (void)state;
    ledger_t *ledger = s_new();
    s_put_creator(ledger, 70, 500, 1);
    const ledger_item_t *item = ledger_item(ledger, ledger_find_item(ledger, (item_id_t){70}));
    assert_false(ledger_is_suppressed(ledger, 0, item));
    static const relation_action_t s_actions[] = {RELATION_HIDE, RELATION_MUTE, RELATION_BLOCK};
    for (unsigned i = 0; i < 3; i++) {
        uint64_t target = s_actions[i] == RELATION_HIDE ? 70 : 500;
        s_relate(ledger, s_actions[i], target, 10, true);
        uint32_t user = ledger_find_user(ledger, (user_id_t){9});
        assert_true(ledger_is_suppressed(ledger, user, item));
        s_relate(ledger, s_actions[i], target, 20, false);
        assert_false(ledger_is_suppressed(ledger, user, item));
    }
    ledger_relation_t relation;
    assert_int_equal(ledger_get_relation(ledger, (user_id_t){8}, RELATION_HIDE, 70, &relation),
                     ERR_NOT_FOUND);
    ledger_destroy(&ledger);
}

/* Goal: the row that ranking reads follows put and delete, and get_item says so too. */
static void test_ledger_registers_item_row_follows_its_fields(void **state)
{
    (void)state;
    ledger_t *ledger = s_new();
    ledger_fields_t fields;
    assert_int_equal(ledger_get_item(ledger, (item_id_t){70}, &fields), ERR_NOT_FOUND);
    s_put_creator(ledger, 70, 500, 5);
    const ledger_item_t *item = ledger_item(ledger, ledger_find_item(ledger, (item_id_t){70}));
    assert_int_equal(item->creator.value, 500);
    assert_int_equal(item->flags, LEDGER_ITEM_PUT);
    assert_int_equal(ledger_get_item(ledger, (item_id_t){70}, &fields), ERR_OK);
    assert_true(fields.has[ITEM_FIELD_CREATOR]);
    assert_false(fields.has[ITEM_FIELD_TITLE]);
    assert_int_equal(fields.written.wall_ns, 5);
    record_t deleted = {.type = RECORD_ITEM_DELETE, .event_count = 1};
    deleted.as.item.item.value = 70;
    deleted.as.item.hlc = s_stamp(5);
    s_apply(ledger, &deleted);
    assert_int_equal(item->creator.value, 0);
    assert_int_equal(item->flags, LEDGER_ITEM_DELETED);
    assert_int_equal(ledger_get_item(ledger, (item_id_t){70}, &fields), ERR_NOT_FOUND);
    s_put_creator(ledger, 70, 501, 6);
    assert_int_equal(item->creator.value, 501);
    assert_int_equal(item->flags, LEDGER_ITEM_PUT);
    ledger_destroy(&ledger);
}

/* Goal: put_user replaces the attributes given and leaves the others; an unknown user is not found.
 */
static void test_ledger_registers_user_attributes_merge(void **state)
{
    (void)state;
    ledger_t *ledger = s_new();
    const registers_t *attributes = NULL;
    assert_int_equal(ledger_get_user(ledger, (user_id_t){9}, &attributes), ERR_NOT_FOUND);
    record_t record = {.type = RECORD_USER_PUT, .event_count = 1};
    record.as.user.user.value = 9;
    record.as.user.hlc = s_stamp(5);
    record.as.user.attribute_count = 2;
    record.as.user.attributes[0] =
        (record_attribute_t){slice_make("locale", 6), slice_make("EU", 2)};
    record.as.user.attributes[1] = (record_attribute_t){slice_make("plan", 4), slice_make("x", 1)};
    s_apply(ledger, &record);
    record.as.user.hlc = s_stamp(6);
    record.as.user.attribute_count = 1;
    record.as.user.attributes[0].value = slice_make("US", 2);
    s_apply(ledger, &record);
    assert_int_equal(ledger_get_user(ledger, (user_id_t){9}, &attributes), ERR_OK);
    s_assert_value(attributes, "locale", "US");
    s_assert_value(attributes, "plan", "x");
    ledger_destroy(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ledger_registers_merge_obeys_its_laws),
        cmocka_unit_test(test_ledger_registers_limit_keeps_the_latest),
        cmocka_unit_test(test_ledger_registers_later_stamp_wins),
        cmocka_unit_test(test_ledger_registers_delete_wins_a_tie),
        cmocka_unit_test(test_ledger_registers_zero_stamp_writes_nothing),
        cmocka_unit_test(test_ledger_registers_damaged_bytes_are_refused),
        cmocka_unit_test(test_ledger_registers_hide_wins_ties),
        cmocka_unit_test(test_ledger_registers_any_relation_suppresses),
        cmocka_unit_test(test_ledger_registers_item_row_follows_its_fields),
        cmocka_unit_test(test_ledger_registers_user_attributes_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
