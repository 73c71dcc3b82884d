#include "tests/simulation/cursors.h"

#include "common/base/check.h"

#include <inttypes.h>
#include <stdlib.h>

enum { S_PLACE_COUNT = REGION_COUNT_MAX + 1, S_OWN_STREAM_COUNT_MAX = 64 };

/* One stream, as it was shown last. */
typedef struct {
    stream_position_t shown;
    uint32_t falls_left;
} s_cursor_t;

typedef struct {
    buffer_t list; /* s_cursor_t, in the order in which they were shown last */
} s_cursors_t;

typedef struct {
    s_cursors_t applied;
    s_cursors_t logged; /* own streams */
} s_node_t;

struct cursors {
    const topology_t *topology;
    s_node_t *nodes; /* (region, shard) */
    s_cursors_t received[S_PLACE_COUNT];
    s_cursors_t stable;
    uint64_t control_boot; /* that said what is stable */
    region_set_t forgotten;
};

static s_node_t *s_node(const cursors_t *self, region_id_t region, shard_id_t shard)
{
    return &self->nodes[region.value * self->topology->shard_count + shard.value];
}

static uint32_t s_node_count(const cursors_t *self)
{
    return S_PLACE_COUNT * (uint32_t)self->topology->shard_count;
}

cursors_t *cursors_new(const topology_t *topology)
{
    cursors_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->topology = topology;
    self->nodes = calloc(s_node_count(self), sizeof(*self->nodes));
    CHECK(self->nodes != NULL);
    return self;
}

void cursors_destroy(cursors_t **self_p)
{
    cursors_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < s_node_count(self); i++) {
        buffer_done(&self->nodes[i].applied.list);
        buffer_done(&self->nodes[i].logged.list);
    }
    for (uint32_t place = 0; place < S_PLACE_COUNT; place++) {
        buffer_done(&self->received[place].list);
    }
    buffer_done(&self->stable.list);
    free(self->nodes);
    free(self);
    *self_p = NULL;
}

/* -- one list ---------------------------------------------------------------------------------- */

static uint32_t s_count(const s_cursors_t *self)
{
    return (uint32_t)(self->list.size / sizeof(s_cursor_t));
}

static s_cursor_t *s_at(const s_cursors_t *self, uint32_t index)
{
    return (s_cursor_t *)(void *)self->list.data + index;
}

/* From `from` on; the count when it is not there. */
static uint32_t s_find(const s_cursors_t *self, uint32_t from, stream_id_t stream)
{
    uint32_t at = from;
    while (at < s_count(self) && !stream_id_equal(s_at(self, at)->shown.stream, stream)) {
        at++;
    }
    return at;
}

/* The cursor of the stream, which is brought to this index: streams are mostly shown in one order. */
static s_cursor_t *s_require(s_cursors_t *self, uint32_t index, stream_id_t stream)
{
    uint32_t at = s_find(self, index, stream);
    if (at == s_count(self)) {
        *(s_cursor_t *)(void *)buffer_extend(&self->list, sizeof(s_cursor_t)) =
            (s_cursor_t){.shown = {.stream = stream}};
    }
    if (at == index) {
        return s_at(self, at);
    }
    s_cursor_t found = *s_at(self, at);
    *s_at(self, at) = *s_at(self, index);
    *s_at(self, index) = found;
    return s_at(self, index);
}

static bool s_fell(const world_process_t *process,
                   const char *what,
                   stream_position_t from,
                   uint64_t to,
                   errbuf_t *ret_text)
{
    errbuf_set(ret_text,
               "%s of shard %u in region %u went back from %" PRIu64 " to %" PRIu64
               " in stream %016" PRIx64 " of region %u",
               what, (unsigned)from.stream.origin.shard.value,
               (unsigned)process->address.region.value, from.seq, to, from.stream.incarnation,
               (unsigned)from.stream.origin.region.value);
    return false;
}

static bool s_raise(s_cursors_t *self,
                    uint32_t index,
                    const world_process_t *process,
                    const char *what,
                    stream_position_t shown,
                    errbuf_t *ret_text)
{
    s_cursor_t *cursor = s_require(self, index, shown.stream);
    stream_position_t before = cursor->shown;
    cursor->shown.seq = shown.seq;
    if (shown.seq >= before.seq) {
        return true;
    }
    if (cursor->falls_left > 0) {
        cursor->falls_left--;
        return true;
    }
    return s_fell(process, what, before, shown.seq, ret_text);
}

/* What was shown before and is not among the first `count` has gone. */
static bool s_none_is_gone(const s_cursors_t *self,
                           uint32_t count,
                           const world_process_t *process,
                           const char *what,
                           errbuf_t *ret_text)
{
    for (uint32_t i = count; i < s_count(self); i++) {
        if (s_at(self, i)->shown.seq > 0) {
            return s_fell(process, what, s_at(self, i)->shown, 0, ret_text);
        }
    }
    return true;
}

/* -- processes --------------------------------------------------------------------------------- */

static bool s_look_at_applied(cursors_t *self,
                              const world_process_t *process,
                              bool *ret_moved,
                              errbuf_t *ret_text)
{
    static const char s_what[] = "the applied vector";
    s_cursors_t *applied = &s_node(self, process->address.region, process->address.shard)->applied;
    uint32_t count = 0;
    const stream_position_t *shown =
        replica_applied(node_engine_replica(process->node, TENANT_DEFAULT), &count);
    bool ok = true;
    for (uint32_t i = 0; ok && i < count; i++) {
        *ret_moved =
            *ret_moved || s_require(applied, i, shown[i].stream)->shown.seq != shown[i].seq;
        ok = s_raise(applied, i, process, s_what, shown[i], ret_text);
    }
    return ok && s_none_is_gone(applied, count, process, s_what, ret_text);
}

/* A stream that is not shown any more was given up: then it is the receiver's, for ever. */
static bool s_look_at_log(cursors_t *self, const world_process_t *process, errbuf_t *ret_text)
{
    s_cursors_t *logged = &s_node(self, process->address.region, process->address.shard)->logged;
    stream_position_t shown[S_OWN_STREAM_COUNT_MAX];
    const replica_t *replica = node_engine_replica(process->node, TENANT_DEFAULT);
    uint32_t count =
        replica == NULL ? 0 : replica_own_positions(replica, shown, S_OWN_STREAM_COUNT_MAX);
    CHECK(count < S_OWN_STREAM_COUNT_MAX);
    bool ok = true;
    for (uint32_t i = 0; ok && i < count; i++) {
        ok = s_raise(logged, i, process, "the log", shown[i], ret_text);
    }
    return ok;
}

static bool s_look_at_copies(cursors_t *self, const world_process_t *process, errbuf_t *ret_text)
{
    static const char s_what[] = "the durable copy";
    const receiver_t *core = receiver_engine_core(process->receiver);
    s_cursors_t *received = &self->received[process->address.region.value];
    uint32_t count = receiver_stream_count(core);
    bool ok = true;
    for (uint32_t i = 0; ok && i < count; i++) {
        const receiver_row_t *row = receiver_row(core, i);
        const stream_position_t shown = {row->stream, row->durable_seq};
        ok = s_raise(received, i, process, s_what, shown, ret_text);
    }
    return ok && s_none_is_gone(received, count, process, s_what, ret_text);
}

/* Whether every node has applied it; but for those whose disk was lost, which may have told before. */
static bool s_is_applied(const cursors_t *self, stream_position_t stable, errbuf_t *ret_text)
{
    for (uint32_t i = 0; i < self->topology->region_count; i++) {
        region_id_t region = self->topology->regions[i].id;
        const s_cursors_t *applied = &s_node(self, region, stable.stream.origin.shard)->applied;
        uint32_t at = s_find(applied, 0, stable.stream);
        uint64_t seq = at == s_count(applied) ? 0 : s_at(applied, at)->shown.seq;
        if (seq < stable.seq && !region_set_has(self->forgotten, region)) {
            errbuf_set(ret_text,
                       "event %" PRIu64 " of shard %u, region %u, is called stable, and region %u "
                       "has applied %" PRIu64,
                       stable.seq, (unsigned)stable.stream.origin.shard.value,
                       (unsigned)stable.stream.origin.region.value, (unsigned)region.value, seq);
            return false;
        }
    }
    return true;
}

static bool s_look_at_stable(cursors_t *self, const world_process_t *process, errbuf_t *ret_text)
{
    static const char s_what[] = "what is called stable";
    uint32_t count = 0;
    const stream_position_t *shown = control_engine_stable(process->control, &count);
    if (process->env.boot != self->control_boot) {
        self->control_boot = process->env.boot;
        buffer_clear(&self->stable.list);
    }
    bool ok = true;
    for (uint32_t i = 0; ok && i < count; i++) {
        bool rises = shown[i].seq > s_require(&self->stable, i, shown[i].stream)->shown.seq;
        ok = s_raise(&self->stable, i, process, s_what, shown[i], ret_text) &&
             (!rises || s_is_applied(self, shown[i], ret_text));
    }
    return ok && s_none_is_gone(&self->stable, count, process, s_what, ret_text);
}

bool cursors_look(cursors_t *self,
                  const world_process_t *process,
                  bool is_ready,
                  bool *ret_moved,
                  errbuf_t *ret_text)
{
    *ret_moved = false;
    if (process->node != NULL) {
        return s_look_at_log(self, process, ret_text) &&
               (!is_ready || s_look_at_applied(self, process, ret_moved, ret_text));
    }
    if (process->receiver != NULL) {
        return s_look_at_copies(self, process, ret_text);
    }
    return process->control == NULL || s_look_at_stable(self, process, ret_text);
}

/* -- faults ------------------------------------------------------------------------------------ */

void cursors_forget(cursors_t *self, region_id_t region)
{
    for (uint16_t shard = 0; shard < self->topology->shard_count; shard++) {
        buffer_clear(&s_node(self, region, (shard_id_t){shard})->applied.list);
        buffer_clear(&s_node(self, region, (shard_id_t){shard})->logged.list);
    }
    buffer_clear(&self->received[region.value].list);
    self->forgotten = region_set_add(self->forgotten, region);
}

void cursors_allow_fall(cursors_t *self, const fault_flip_t *flip)
{
    s_cursors_t *received = &self->received[flip->region.value];
    s_require(received, s_find(received, 0, flip->stream), flip->stream)->falls_left++;
}
