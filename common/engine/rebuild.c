#include "common/engine/rebuild.h"

#include "common/base/check.h"
#include "common/base/mutant.h"
#include "common/engine/replay_beside.h"
#include "common/engine/replica_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static_assert(LEDGER_KEY_TEXT_SIZE <= REBUILD_TEXT_SIZE_MAX + 1, "every key can be named");

struct rebuild {
    replica_t *live;     /* borrowed */
    replica_t *built;    /* state and readers; it has no log of its own and leads nothing */
    hlc_t hlc;           /* of built: what a base says of time is believed when all of it is */
    base_reader_t *base; /* NULL: there is none, or it is loaded */
    uint64_t event_count;
};

rebuild_t *rebuild_new(replica_t *live)
{
    CHECK(live->is_recovered);
    rebuild_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->live = live;
    hlc_init(&self->hlc, live->hlc->node);
    self->built =
        replica_new(&(replica_node_t){live->env, &self->hlc}, live->tenant, live->tenant_name);
    wal_path_t path;
    if (live->base.position_count > 0 && replica_base_path(live, &path, NULL) == ERR_OK) {
        self->base = base_reader_new(live->env->disk, path.text, live->tenant, live->shard);
    }
    return self;
}

void rebuild_destroy(rebuild_t **self_p)
{
    rebuild_t *self = *self_p;
    if (self != NULL) {
        base_reader_destroy(&self->base);
        replica_close(&self->built);
        free(self);
        *self_p = NULL;
    }
}

/* -- comparing --------------------------------------------------------------------------------- */

static void s_describe(slice_t value, char ret_text[REBUILD_TEXT_SIZE_MAX + 1])
{
    if (value.size == 0) {
        (void)snprintf(ret_text, REBUILD_TEXT_SIZE_MAX + 1, "none");
        return;
    }
    (void)snprintf(ret_text, REBUILD_TEXT_SIZE_MAX + 1, "%zu bytes, hash %016" PRIx64, value.size,
                   (uint64_t)XXH3_64bits(value.data, value.size));
}

static void s_on_difference(void *context, slice_t key, slice_t found, slice_t expected)
{
    rebuild_result_t *result = context;
    if (result->listed_count < REBUILD_DIFFERENCE_COUNT_MAX) {
        rebuild_difference_t *at = &result->listed[result->listed_count++];
        ledger_key_text(key, at->key);
        s_describe(found, at->found);
        s_describe(expected, at->expected);
    }
}

static void s_on_session(void *context, slice_t key, slice_t found, slice_t expected)
{
    rebuild_result_t *result = context;
    if (result->listed_count < REBUILD_DIFFERENCE_COUNT_MAX) {
        rebuild_difference_t *at = &result->listed[result->listed_count++];
        char id[2 * SESSION_ID_SIZE + 1];
        bytes_to_hex(key.data, key.size < SESSION_ID_SIZE ? key.size : SESSION_ID_SIZE, id);
        (void)snprintf(at->key, sizeof(at->key), "session %s", id);
        s_describe(found, at->found);
        s_describe(expected, at->expected);
    }
}

/* Both states stand at one vector. */
static void s_compare(rebuild_t *self, rebuild_result_t *ret_result)
{
    *ret_result = (rebuild_result_t){
        .event_count = self->event_count,
        .voided_count = replica_counters(self->built).voided,
    };
    replica_digest(self->live, ret_result->found);
    replica_digest(self->built, ret_result->rebuilt);
    if (memcmp(ret_result->found, ret_result->rebuilt, MSG_HASH_SIZE) == 0) {
        return;
    }
    ret_result->different = true;
    ret_result->difference_count = ledger_compare(
        replica_ledger(self->live), replica_ledger(self->built), s_on_difference, ret_result);
    ret_result->difference_count +=
        session_book_compare(self->live->sessions, self->built->sessions, s_on_session, ret_result);
}

err_t rebuild_step(
    rebuild_t *self, bool may_end, bool replaces, rebuild_result_t *ret_result, errbuf_t *errbuf)
{
    if (self->base != NULL) {
        err_t err = replica_load_base_piece(self->built, self->base, errbuf);
        if (err == ERR_OK) {
            base_reader_destroy(&self->base);
            hlc_observe(self->live->hlc, self->hlc.last);
        } else if (err != ERR_AGAIN && err != ERR_IO) {
            replica_lose_base(self->live);
        }
        return err == ERR_OK ? ERR_AGAIN : err;
    }
    err_t err = replay_beside(self->built, self->live, &self->event_count, errbuf);
    uint8_t digest[MSG_HASH_SIZE];
    replica_digest(self->built, digest); /* its cost grows with what changed since the last one */
    if (err != ERR_OK) {
        return err;
    }
    if (!may_end) {
        return ERR_FULL;
    }
    s_compare(self, ret_result);
    if (ret_result->different && replaces) {
        replica_exchange_state(self->live, self->built);
        /* What is not exchanged would be found different again for ever. */
        replica_digest(self->live, digest);
        CHECK(memcmp(digest, ret_result->rebuilt, sizeof(digest)) == 0);
    }
    return ERR_OK;
}

err_t rebuild_begin_base(rebuild_t *self,
                         int64_t wall_ns,
                         base_writer_t **ret_writer,
                         errbuf_t *errbuf)
{
    enum { S_TENANT_SIZE = 8 };
    replica_t *built = self->built;
    wal_path_t path;
    err_t err = replica_base_path(built, &path, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    /* What the live state, at the same vector, needs no more. */
    const version_vector_t *forgotten = &self->live->forgotten;
    for (uint32_t i = 0; i < forgotten->count; i++) {
        dedup_forget_stable(built->dedup, forgotten->entries[i].stream, forgotten->entries[i].seq);
    }
    base_head_t head = {.tenant = built->tenant,
                        .shard = built->shard,
                        .made_wall_ns = wall_ns < 0 ? 0 : wall_ns,
                        .position_count = built->applied.count};
    head.positions = calloc((size_t)built->applied.count + 1, sizeof(*head.positions));
    CHECK(head.positions != NULL);
    for (uint32_t i = 0; err == ERR_OK && i < built->applied.count; i++) {
        stream_position_t at = built->applied.entries[i];
        bool is_own = at.stream.origin.region.value == built->env->self.region.value;
        base_position_t *position = &head.positions[i];
        *position =
            (base_position_t){.stream = at.stream,
                              .seq = at.seq,
                              .hash = replica_require_stream(built, at.stream, is_own)->last_hash};
        uint64_t seq = MUTANT(JOIN_AT_BASE) ? at.seq : version_vector_get(forgotten, at.stream);
        stream_position_t within = {at.stream, seq < at.seq ? seq : at.seq};
        err = replica_find_join(self->live, within, &position->join, errbuf);
    }
    if (err != ERR_OK) {
        base_head_done(&head);
        return err;
    }
    replica_digest(built, head.digest);
    replica_mark_all(built);
    store_batch_t *entries = store_batch_new();
    replica_checkpoint_write(built, entries);
    *ret_writer = base_writer_new(built->env->disk, path.text, &head, &entries, S_TENANT_SIZE);
    base_head_done(&head);
    return ERR_OK;
}
