/* What of a replica lies in the node's store. Keys, after the node's prefix of eight bytes (tenant
 * generation, big-endian):
 *
 *   'L' ...      ledger, common/signal/checkpoint_format.h
 *   'D' ...      pairs seen and their positions, common/session/dedup_format.h
 *   'S' ...      sessions, common/session/session_format.h
 *   'A' ...      writes for all shards that not all are known to hold, common/session/home_book.h
 *   'H', u8      half-life in seconds (u64 l.e.) that the cells of this signal id were made with
 *   'U' ...      usage, common/engine/usage.h
 *   'C'          highest HLC that the node had given or seen, so that a restart never goes below
 *                what it logged: wall i64 >= 0, logical u32, node u32 (l.e.)
 *   'V', region u16, incarnation u64 (b.e.)
 *                applied position of a stream of this shard, u64 (l.e.)
 *
 * All of them change in one transaction, so state and applied vector always belong together. Cells
 * made with another half-life cannot be read: such a checkpoint is refused,
 * and the state rebuilt. */
#include "common/engine/replica_state.h"

#include "common/base/check.h"
#include "common/base/mutant.h"

#include <string.h>

enum { S_PREFIX_SIZE = 9, S_VECTOR_KEY_SIZE = 11, S_CLOCK_VALUE_SIZE = 16 };

static slice_t s_prefix(const replica_t *self, char kind, uint8_t ret_bytes[S_PREFIX_SIZE])
{
    bytes_put_u64_be(ret_bytes, self->tenant.value);
    ret_bytes[8] = (uint8_t)kind;
    return slice_make(ret_bytes, S_PREFIX_SIZE);
}

static err_t s_load_position(replica_t *self, slice_t key, slice_t value, errbuf_t *errbuf)
{
    if (key.size != S_VECTOR_KEY_SIZE - 1 || value.size != 8) {
        errbuf_set(
            errbuf,
            "applied position: expected a key of %d and a value of 8 bytes, found %zu and %zu",
            S_VECTOR_KEY_SIZE - 1, key.size, value.size);
        return ERR_CORRUPT;
    }
    uint16_t region = (uint16_t)(key.data[0] << 8 | key.data[1]);
    if (region == 0 || region > REGION_COUNT_MAX) {
        errbuf_set(errbuf, "applied position: expected a region 1..%d, found %u", REGION_COUNT_MAX,
                   (unsigned)region);
        return ERR_CORRUPT;
    }
    stream_id_t stream = {.tenant = self->tenant,
                          .incarnation = bytes_get_u64_be(key.data + 2),
                          .origin = {{region}, self->shard}};
    (void)replica_require_stream(self, stream, region == self->env->self.region.value);
    replica_set_applied(self, stream, bytes_get_u64(value.data));
    return ERR_OK;
}

static err_t s_check_half_life(const replica_t *self, slice_t key, slice_t value, errbuf_t *errbuf)
{
    if (key.size != 1 || value.size != 8) {
        errbuf_set(errbuf,
                   "half-life: expected a key of 1 and a value of 8 bytes, found %zu and %zu",
                   key.size, value.size);
        return ERR_CORRUPT;
    }
    const schema_signal_t *signal =
        schema_find_signal_id(&self->env->topology->schema, key.data[0]);
    uint64_t half_life_s = bytes_get_u64(value.data);
    if (signal != NULL && half_life_s != (uint64_t)signal->half_life_s) {
        errbuf_set(errbuf,
                   "half_life_s of signal %s: expected %llu, with which the checkpoint was made, "
                   "found %lld in the schema; put the schema back, or stop the mesh and delete the "
                   "store folder of every node: state is then rebuilt from the logs",
                   signal->name, (unsigned long long)half_life_s, (long long)signal->half_life_s);
        return ERR_UNSUPPORTED;
    }
    return ERR_OK;
}

static void s_write_half_lives(const replica_t *self, store_batch_t *batch)
{
    const schema_t *schema = &self->env->topology->schema;
    for (uint32_t i = 0; i < schema->signal_count; i++) {
        uint8_t key[S_PREFIX_SIZE + 1];
        uint8_t value[8];
        (void)s_prefix(self, 'H', key);
        key[S_PREFIX_SIZE] = schema->signals[i].id;
        bytes_put_u64(value, (uint64_t)schema->signals[i].half_life_s);
        store_batch_put(batch, slice_make(key, sizeof(key)), slice_make(value, sizeof(value)));
    }
}

static err_t s_load_clock(replica_t *self, slice_t key, slice_t value, errbuf_t *errbuf)
{
    if (key.size != 0 || value.size != S_CLOCK_VALUE_SIZE) {
        errbuf_set(errbuf, "clock: expected a key of 0 and a value of %d bytes, found %zu and %zu",
                   S_CLOCK_VALUE_SIZE, key.size, value.size);
        return ERR_CORRUPT;
    }
    hlc_stamp_t stamp = {.wall_ns = (int64_t)bytes_get_u64(value.data),
                         .logical = bytes_get_u32(value.data + 8),
                         .node = bytes_get_u32(value.data + 12)};
    if (stamp.wall_ns < 0) {
        errbuf_set(errbuf, "clock: expected a time since 1970, found one before it");
        return ERR_CORRUPT;
    }
    hlc_observe(self->hlc, stamp);
    return ERR_OK;
}

static void s_write_clock(const replica_t *self, store_batch_t *batch)
{
    uint8_t key[S_PREFIX_SIZE];
    uint8_t value[S_CLOCK_VALUE_SIZE];
    bytes_put_u64(value, (uint64_t)self->hlc->last.wall_ns);
    bytes_put_u32(value + 8, self->hlc->last.logical);
    bytes_put_u32(value + 12, self->hlc->last.node);
    store_batch_put(batch, s_prefix(self, 'C', key), slice_make(value, sizeof(value)));
}

static void s_write_usage(const replica_t *self, store_batch_t *batch)
{
    usage_slot_t slots[PN_COUNTER_SLOT_COUNT_MAX];
    uint32_t count = usage_slots(&self->usage, slots);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t key[S_PREFIX_SIZE + USAGE_KEY_SIZE];
        uint8_t value[USAGE_VALUE_SIZE];
        (void)s_prefix(self, 'U', key);
        usage_encode(&slots[i], key + S_PREFIX_SIZE, value);
        store_batch_put(batch, slice_make(key, sizeof(key)), slice_make(value, sizeof(value)));
    }
}

err_t replica_load_entry(replica_t *self, slice_t key, slice_t value, errbuf_t *errbuf)
{
    CHECK(!self->is_recovered);
    err_t err = ERR_CORRUPT;
    slice_t rest = slice_make(key.data + 1, key.size > 0 ? key.size - 1 : 0);
    if (key.size > 0 && key.data[0] == 'L') {
        err = ledger_load_entry(self->ledger, rest, value, errbuf);
    } else if (key.size > 0 && key.data[0] == 'D') {
        err = dedup_load_entry(self->dedup, rest, value, errbuf);
    } else if (key.size > 0 && key.data[0] == 'S') {
        err = session_book_load_entry(self->sessions, rest, value, errbuf);
    } else if (key.size > 0 && key.data[0] == 'A') {
        err = home_book_load_entry(self->home, rest, value, errbuf);
    } else if (key.size > 0 && key.data[0] == 'H') {
        err = s_check_half_life(self, rest, value, errbuf);
    } else if (key.size > 0 && key.data[0] == 'U') {
        err = usage_load_entry(&self->usage, self->shard, rest, value, errbuf);
    } else if (key.size > 0 && key.data[0] == 'C') {
        err = s_load_clock(self, rest, value, errbuf);
    } else if (key.size > 0 && key.data[0] == 'V') {
        err = s_load_position(self, rest, value, errbuf);
    } else {
        errbuf_set(errbuf, "expected an entry of kind L, D, S, A, H, U, C or V");
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "checkpoint of tenant %s, shard %u", self->tenant_name,
                      (unsigned)self->shard.value);
        return err;
    }
    self->loaded_entries++;
    return ERR_OK;
}

uint64_t replica_changed_count(const replica_t *self)
{
    return ledger_changed_count(self->ledger) + dedup_changed_count(self->dedup) +
           session_book_changed_count(self->sessions) + home_book_changed_count(self->home) +
           (self->vector_changed ? 1 : 0);
}

bool replica_wants_whole(const replica_t *self)
{
    return self->wants_whole;
}

void replica_checkpoint_write(replica_t *self, store_batch_t *batch)
{
    self->whole_is_open = self->wants_whole;
    self->wants_whole = false;
    uint8_t prefix[S_PREFIX_SIZE];
    ledger_checkpoint_write(self->ledger, batch, s_prefix(self, 'L', prefix));
    store_batch_t *forgotten = MUTANT(FORGET_DEDUP) ? store_batch_new() : NULL;
    dedup_checkpoint_write(self->dedup, forgotten == NULL ? batch : forgotten,
                           s_prefix(self, 'D', prefix));
    store_batch_destroy(&forgotten);
    session_book_checkpoint_write(self->sessions, batch, s_prefix(self, 'S', prefix));
    home_book_checkpoint_write(self->home, batch, s_prefix(self, 'A', prefix));
    s_write_half_lives(self, batch);
    s_write_usage(self, batch);
    s_write_clock(self, batch);
    for (uint32_t i = 0; i < self->applied.count; i++) {
        uint8_t key[S_PREFIX_SIZE + S_VECTOR_KEY_SIZE - 1];
        uint8_t value[8];
        (void)s_prefix(self, 'V', key);
        stream_id_t stream = self->applied.entries[i].stream;
        key[S_PREFIX_SIZE] = (uint8_t)(stream.origin.region.value >> 8);
        key[S_PREFIX_SIZE + 1] = (uint8_t)stream.origin.region.value;
        bytes_put_u64_be(key + S_PREFIX_SIZE + 2, stream.incarnation);
        uint64_t behind = MUTANT(FORGET_VECTOR) ? self->applied.entries[i].seq : 0;
        bytes_put_u64(value, self->applied.entries[i].seq - behind);
        store_batch_put(batch, slice_make(key, sizeof(key)), slice_make(value, sizeof(value)));
    }
    self->vector_changed = false;
}

void replica_checkpoint_settle(replica_t *self, bool durable)
{
    ledger_checkpoint_settle(self->ledger, durable);
    dedup_checkpoint_settle(self->dedup, durable);
    session_book_checkpoint_settle(self->sessions, durable);
    home_book_checkpoint_settle(self->home, durable);
    self->vector_changed = self->vector_changed || !durable;
    self->wants_whole = self->wants_whole || (self->whole_is_open && !durable);
    self->whole_is_open = false;
}

void replica_exchange_state(replica_t *self, replica_t *other)
{
    ledger_t *ledger = self->ledger;
    dedup_t *dedup = self->dedup;
    self->ledger = other->ledger;
    self->dedup = other->dedup;
    other->ledger = ledger;
    other->dedup = dedup;
    replica_tickets_exchange_sessions(self, other->sessions);
    session_book_t *sessions = self->sessions;
    self->sessions = other->sessions;
    other->sessions = sessions;
    home_book_t *home = self->home;
    self->home = other->home;
    other->home = home;
    replica_complete_reset(self);
    usage_t usage = self->usage;
    self->usage = other->usage;
    other->usage = usage;
    replica_mark_all(self);
    self->wants_whole = true;
    self->vector_changed = true;
}

void replica_mark_all(replica_t *self)
{
    ledger_mark_all(self->ledger);
    dedup_mark_all(self->dedup);
    session_book_mark_all(self->sessions);
    home_book_mark_all(self->home);
}

bool replica_is_settled(const replica_t *self)
{
    return self->log == NULL ||
           wal_log_appended_seq(self->log) == replica_applied_seq(self, wal_log_stream(self->log));
}

void replica_digest(replica_t *self, uint8_t ret_digest[MSG_HASH_SIZE])
{
    /* Two sums of 128 bits: of the ledger and the sessions, and of the pairs seen. */
    ledger_digest_t ledger;
    session_digest_t sessions;
    dedup_digest_t dedup;
    ledger_digest(self->ledger, &ledger);
    dedup_digest(self->dedup, &dedup);
    static_assert(sizeof(ledger.bytes) + sizeof(dedup.bytes) == MSG_HASH_SIZE, "two halves");
    memcpy(ret_digest, ledger.bytes, sizeof(ledger.bytes));
    memcpy(ret_digest + sizeof(ledger.bytes), dedup.bytes, sizeof(dedup.bytes));
    session_book_digest(self->sessions, &sessions);
    session_digest_add(ret_digest, &sessions);
}
