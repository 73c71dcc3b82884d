#include "common/engine/usage.h"

#include "common/base/check.h"
#include "common/wal/record.h"

void usage_done(usage_t *self)
{
    pn_counter_done(&self->signals);
    pn_counter_done(&self->bytes);
}

void usage_log(usage_t *self, node_id_t origin, slice_t payload)
{
    pn_counter_slot_t signals = {.node = origin, .plus = record_signal_count(payload)};
    pn_counter_slot_t bytes = {.node = origin, .plus = payload.size};
    pn_counter_add(&self->signals, &signals);
    pn_counter_add(&self->bytes, &bytes);
}

void usage_void(usage_t *self, node_id_t origin, slice_t payload)
{
    pn_counter_slot_t signals = {.node = origin, .minus = record_signal_count(payload)};
    pn_counter_add(&self->signals, &signals);
}

uint32_t usage_slots(const usage_t *self, usage_slot_t *ret_slots)
{
    /* Whatever has signals has bytes. */
    for (uint32_t i = 0; i < self->bytes.count; i++) {
        node_id_t origin = self->bytes.slots[i].node;
        pn_counter_slot_t signals = pn_counter_get(&self->signals, origin);
        ret_slots[i] = (usage_slot_t){.origin = origin,
                                      .signals = signals.plus,
                                      .voided = signals.minus,
                                      .bytes = self->bytes.slots[i].plus};
    }
    return self->bytes.count;
}

void usage_raise(usage_t *self, const usage_slot_t *slot)
{
    pn_counter_slot_t signals = {slot->origin, slot->signals, slot->voided};
    pn_counter_slot_t bytes = {slot->origin, slot->bytes, 0};
    pn_counter_raise(&self->signals, &signals);
    pn_counter_raise(&self->bytes, &bytes);
}

void usage_merge(usage_t *self, const usage_t *other)
{
    pn_counter_merge(&self->signals, &other->signals);
    pn_counter_merge(&self->bytes, &other->bytes);
}

void usage_encode(const usage_slot_t *slot,
                  uint8_t ret_key[USAGE_KEY_SIZE],
                  uint8_t ret_value[USAGE_VALUE_SIZE])
{
    ret_key[0] = (uint8_t)(slot->origin.region.value >> 8);
    ret_key[1] = (uint8_t)slot->origin.region.value;
    bytes_put_u64(ret_value, slot->signals);
    bytes_put_u64(ret_value + 8, slot->voided);
    bytes_put_u64(ret_value + 16, slot->bytes);
}

err_t usage_load_entry(
    usage_t *self, shard_id_t shard, slice_t key, slice_t value, errbuf_t *errbuf)
{
    if (key.size != USAGE_KEY_SIZE || value.size != USAGE_VALUE_SIZE) {
        errbuf_set(errbuf, "usage: expected a key of %d and a value of %d bytes, found %zu and %zu",
                   USAGE_KEY_SIZE, USAGE_VALUE_SIZE, key.size, value.size);
        return ERR_CORRUPT;
    }
    uint16_t region = (uint16_t)(key.data[0] << 8 | key.data[1]);
    usage_slot_t slot = {.origin = {{region}, shard},
                         .signals = bytes_get_u64(value.data),
                         .voided = bytes_get_u64(value.data + 8),
                         .bytes = bytes_get_u64(value.data + 16)};
    if (region == 0 || region > REGION_COUNT_MAX || slot.voided > slot.signals || slot.bytes == 0) {
        errbuf_set(errbuf,
                   "usage: expected a region 1..%d with bytes, and no more signals voided than "
                   "logged; found region %u, %llu bytes, %llu of %llu signals",
                   REGION_COUNT_MAX, (unsigned)region, (unsigned long long)slot.bytes,
                   (unsigned long long)slot.voided, (unsigned long long)slot.signals);
        return ERR_CORRUPT;
    }
    usage_raise(self, &slot);
    return ERR_OK;
}
