#include "tests/unit/ledger_support.h"

#include "common/base/store_batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const int64_t s_minute_ns = INT64_C(60) * 1000000000;

signal_event_t ledger_support_event(prng_t *prng, const ledger_support_range_t *range)
{
    signal_event_t event = {0};
    event.item.value = 1 + prng_below(prng, range->item_count);
    event.user.value = prng_below(prng, range->user_count + 1);
    event.signal = (uint8_t)(1 + prng_below(prng, 4));
    event.weight = prng_chance(prng, 0.5) ? 1.0 : (prng_unit(prng) - 0.2) * 7.0;
    int64_t back = (int64_t)prng_below(prng, range->back_minutes) * s_minute_ns;
    event.ts_ns = LEDGER_SUPPORT_NOW_NS - back - (int64_t)prng_below(prng, 3) * 20000000001;
    return event;
}

static hlc_stamp_t s_stamp(prng_t *prng)
{
    return (hlc_stamp_t){(int64_t)prng_below(prng, 12), (uint32_t)prng_below(prng, 2),
                         (uint32_t)prng_below(prng, 2)};
}

static slice_t s_text(prng_t *prng)
{
    static const char *const s_texts[] = {"",  "a",    "ab",
                                          "b", "news", "a longer text, of no matter"};
    const char *text = s_texts[prng_below(prng, 6)];
    return slice_make(text, strlen(text));
}

/* Some value that the field may have. number has room for the numbers among them. */
static slice_t s_field_value(prng_t *prng, unsigned field, uint8_t number[8])
{
    static const uint8_t s_tags[] = {2, 0, 1, 0, 'x', 2, 0, 'y', 'z'};
    if (field == ITEM_FIELD_CREATOR || field == ITEM_FIELD_CREATED) {
        bytes_put_u64(number, 1 + prng_below(prng, 3));
        return slice_make(number, 8);
    }
    return field == ITEM_FIELD_TAGS ? slice_make(s_tags, sizeof(s_tags)) : s_text(prng);
}

static void s_append_item(buffer_t *payload, prng_t *prng, uint64_t item)
{
    uint8_t numbers[ITEM_FIELD_COUNT_MAX + 1][8];
    record_t record = {.type = RECORD_ITEM_PUT, .event_count = 1};
    record.as.item.item.value = item;
    record.as.item.hlc = s_stamp(prng);
    bool is_delete = prng_chance(prng, 0.2);
    for (unsigned field = ITEM_FIELD_TITLE; field <= ITEM_FIELD_CREATED; field++) {
        if (!is_delete && prng_chance(prng, 0.5)) {
            record_item_field_t *next = &record.as.item.fields[record.as.item.field_count++];
            next->field = (item_field_t)field;
            next->value = s_field_value(prng, field, numbers[field]);
        }
    }
    record.type = is_delete ? RECORD_ITEM_DELETE : RECORD_ITEM_PUT;
    record_append(payload, &record);
}

static void s_append_user(buffer_t *payload, prng_t *prng, uint64_t user)
{
    static const char *const s_names[] = {"age", "locale", "plan", "z"};
    record_t record = {.type = RECORD_USER_PUT, .event_count = 1};
    record.as.user.user.value = user;
    record.as.user.hlc = s_stamp(prng);
    for (unsigned i = 0; i < 4; i++) {
        if (prng_chance(prng, 0.5)) {
            uint32_t j = record.as.user.attribute_count++;
            record.as.user.attributes[j].name = slice_make(s_names[i], strlen(s_names[i]));
            record.as.user.attributes[j].value = s_text(prng);
        }
    }
    record_append(payload, &record);
}

void ledger_support_append_register(buffer_t *payload,
                                    prng_t *prng,
                                    const ledger_support_range_t *range)
{
    uint64_t item = 1 + prng_below(prng, range->item_count);
    uint64_t user = 1 + prng_below(prng, range->user_count);
    uint64_t kind = prng_below(prng, 3);
    if (kind == 0) {
        s_append_item(payload, prng, item);
    } else if (kind == 1) {
        s_append_user(payload, prng, user);
    } else {
        record_t record = {.type = RECORD_RELATION, .event_count = 1};
        record.as.relation.user.value = user;
        record.as.relation.action = (relation_action_t)(1 + prng_below(prng, 3));
        record.as.relation.target = 1 + prng_below(prng, 3);
        record.as.relation.hlc = s_stamp(prng);
        record.as.relation.set = prng_chance(prng, 0.5);
        record_append(payload, &record);
    }
}

void ledger_support_append_cohorts(buffer_t *payload,
                                   prng_t *prng,
                                   const signal_event_t *events,
                                   uint32_t count,
                                   uint64_t cohort_count)
{
    cohort_builder_t *builder = cohort_builder_new();
    cohort_builder_begin(builder);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t names = events[i].user.value == 0 ? 0 : prng_below(prng, 4);
        for (uint64_t n = 0; n < names; n++) {
            char name[32];
            (void)snprintf(name, sizeof(name), "c:%u", (unsigned)prng_below(prng, cohort_count));
            cohort_builder_add_name(builder, slice_text(name));
        }
        (void)cohort_builder_put_event(builder);
    }
    buffer_t plain = {0};
    record_append_signals(&plain, events, count);
    if (cohort_builder_is_empty(builder)) {
        buffer_append(payload, plain.data, plain.size);
    } else {
        err_t err = cohort_builder_append(builder, buffer_slice(&plain), payload, NULL);
        assert_int_equal(err, ERR_OK);
    }
    buffer_done(&plain);
    cohort_builder_destroy(&builder);
}

void ledger_support_batch_init(ledger_support_batch_t *self,
                               prng_t *prng,
                               const ledger_support_range_t *range)
{
    *self = (ledger_support_batch_t){.is_signals = prng_chance(prng, 0.7)};
    if (!self->is_signals) {
        uint64_t count = 1 + prng_below(prng, 3);
        for (uint64_t i = 0; i < count; i++) {
            ledger_support_append_register(&self->payload, prng, range);
        }
        return;
    }
    signal_event_t events[40];
    uint32_t count = 1 + (uint32_t)prng_below(prng, 40);
    for (uint32_t i = 0; i < count; i++) {
        events[i] = ledger_support_event(prng, range);
    }
    if (range->cohort_count > 0 && prng_chance(prng, 0.8)) {
        ledger_support_append_cohorts(&self->payload, prng, events, count, range->cohort_count);
    } else {
        record_append_signals(&self->payload, events, count);
    }
    self->is_voided = prng_chance(prng, 0.15);
}

void ledger_support_batch_done(ledger_support_batch_t *self)
{
    buffer_done(&self->payload);
}

static void s_must(err_t err, const errbuf_t *errbuf)
{
    if (err != ERR_OK) {
        print_error("%s: %s\n", err_text(err), errbuf->text);
    }
    assert_int_equal(err, ERR_OK);
}

static void s_shuffle(prng_t *prng, ledger_support_batch_t *batches, unsigned count)
{
    for (unsigned i = count; i > 1; i--) {
        unsigned j = (unsigned)prng_below(prng, i);
        ledger_support_batch_t swapped = batches[i - 1];
        batches[i - 1] = batches[j];
        batches[j] = swapped;
    }
}

static void s_apply_batch(ledger_t *ledger, prng_t *prng, ledger_support_batch_t *batch)
{
    errbuf_t errbuf = {""};
    batch->voided_on_arrival = batch->is_voided && prng_chance(prng, 0.5);
    ledger_standing_t standing = batch->voided_on_arrival ? LEDGER_VOID : LEDGER_COUNTED;
    s_must(ledger_apply_payload(ledger, buffer_slice(&batch->payload), standing, &errbuf), &errbuf);
}

static void s_void_batch(ledger_t *ledger, const ledger_support_batch_t *batch)
{
    errbuf_t errbuf = {""};
    if (batch->is_voided && !batch->voided_on_arrival) {
        s_must(ledger_void_payload(ledger, buffer_slice(&batch->payload), &errbuf), &errbuf);
    }
}

void ledger_support_apply_shuffled(ledger_t *ledger,
                                   prng_t *prng,
                                   ledger_support_batch_t *batches,
                                   unsigned count)
{
    s_shuffle(prng, batches, count);
    unsigned voided_to = 0;
    for (unsigned i = 0; i < count; i++) {
        s_apply_batch(ledger, prng, &batches[i]);
        while (voided_to <= i && (i + 1 == count || prng_chance(prng, 0.3))) {
            s_void_batch(ledger, &batches[voided_to++]);
        }
    }
}

void ledger_support_apply(ledger_t *ledger, const signal_event_t *events, uint32_t count)
{
    buffer_t payload = {0};
    errbuf_t errbuf = {""};
    record_append_signals(&payload, events, count);
    s_must(ledger_apply_payload(ledger, buffer_slice(&payload), LEDGER_COUNTED, &errbuf), &errbuf);
    buffer_done(&payload);
}

void ledger_support_void(ledger_t *ledger, const signal_event_t *events, uint32_t count)
{
    buffer_t payload = {0};
    errbuf_t errbuf = {""};
    record_append_signals(&payload, events, count);
    s_must(ledger_void_payload(ledger, buffer_slice(&payload), &errbuf), &errbuf);
    buffer_done(&payload);
}

static err_t s_collect(void *context, slice_t key, slice_t value)
{
    store_batch_put(context, key, value);
    return ERR_OK;
}

void ledger_support_dump(const ledger_t *ledger, buffer_t *ret_bytes)
{
    store_batch_t *batch = store_batch_new();
    assert_int_equal(ledger_walk(ledger, s_collect, batch), ERR_OK);
    size_t count = store_batch_count(batch);
    store_batch_sort(batch);
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    size_t walked = 0;
    while (store_batch_next(batch, &cursor, &operation)) {
        bytes_put_u32(buffer_extend(ret_bytes, 4), (uint32_t)operation.key.size);
        bytes_put_u32(buffer_extend(ret_bytes, 4), (uint32_t)operation.value.size);
        buffer_append(ret_bytes, operation.key.data, operation.key.size);
        buffer_append(ret_bytes, operation.value.data, operation.value.size);
        walked++;
    }
    assert_int_equal(walked, count); /* no key twice */
    store_batch_destroy(&batch);
}

static void s_print_difference(void *context, slice_t key, slice_t value_a, slice_t value_b)
{
    unsigned *left = context;
    char text[LEDGER_KEY_TEXT_SIZE];
    ledger_key_text(key, text);
    if (*left > 0) {
        (*left)--;
        print_error("%s: %zu and %zu bytes\n", text, value_a.size, value_b.size);
    }
}

void ledger_support_assert_equal(ledger_t *a, ledger_t *b)
{
    ledger_digest_t digests[4];
    buffer_t dumps[2] = {{0}, {0}};
    unsigned left = 10;
    assert_int_equal(ledger_compare(a, b, s_print_difference, &left), 0);
    ledger_digest(a, &digests[0]);
    ledger_digest(b, &digests[1]);
    ledger_digest_full(a, &digests[2]);
    ledger_digest_full(b, &digests[3]);
    for (unsigned i = 1; i < 4; i++) {
        assert_memory_equal(&digests[0], &digests[i], sizeof(digests[0]));
    }
    ledger_support_dump(a, &dumps[0]);
    ledger_support_dump(b, &dumps[1]);
    assert_int_equal(dumps[0].size, dumps[1].size);
    assert_memory_equal(dumps[0].data, dumps[1].data, dumps[0].size);
    buffer_done(&dumps[0]);
    buffer_done(&dumps[1]);
}
