#include "tests/simulation/answers.h"

#include "common/base/bounds.h"
#include "common/wire/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { S_ORIGIN_SIZE = 64, S_PATH_SIZE = 64 };

/* Where a copy of one shard's part lies. */
typedef struct {
    uint32_t before; /* number, from 1, of the request's place that was named before; 0: none */
    uint64_t shard;
    char origin[S_ORIGIN_SIZE];
    uint64_t first_seq;
    uint64_t last_seq;
    uint64_t session_seq; /* of a session's signal; 0: the answer gives none */
} s_place_t;

void answers_init(answers_t *self)
{
    buffer_init(&self->named);
    buffer_init(&self->latest);
    self->compared_count = 0;
}

void answers_done(answers_t *self)
{
    buffer_done(&self->named);
    buffer_done(&self->latest);
}

/* A field of the reply itself, or of the part that `prefix` leads to. */
static pack_value_t s_get(slice_t reply, const char *prefix, const char *key)
{
    char path[S_PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%s%s", prefix, key);
    return pack_get(reply, path);
}

static bool s_is_replicated(slice_t reply, const char *prefix)
{
    pack_value_t level = s_get(reply, prefix, "durability");
    return level.kind == PACK_STR && (slice_equal(level.as.bytes, slice_text("replicated")) ||
                                      slice_equal(level.as.bytes, slice_text("all")));
}

/* The place that an answer at `replicated` names; false when there is none. */
static bool s_read_place(slice_t reply, const char *prefix, s_place_t *ret_place)
{
    pack_value_t origin = s_get(reply, prefix, "origin");
    pack_value_t shard = s_get(reply, prefix, "shard");
    pack_value_t first = s_get(reply, prefix, "seq_first");
    pack_value_t last = s_get(reply, prefix, "seq_last");
    if (!s_is_replicated(reply, prefix) || origin.kind != PACK_STR ||
        !pack_as_u64(&shard, &ret_place->shard) || !pack_as_u64(&first, &ret_place->first_seq) ||
        !pack_as_u64(&last, &ret_place->last_seq)) {
        return false;
    }
    (void)snprintf(ret_place->origin, sizeof(ret_place->origin), "%.*s", (int)origin.as.bytes.size,
                   (const char *)origin.as.bytes.data);
    pack_value_t session_seq = s_get(reply, prefix, "session_seq");
    if (!pack_as_u64(&session_seq, &ret_place->session_seq)) {
        ret_place->session_seq = 0;
    }
    return true;
}

static s_place_t *s_named(const answers_t *self, uint32_t number)
{
    return (s_place_t *)(void *)self->named.data + (number - 1);
}

/* Number of the request's latest place; lives until the next call. */
static uint32_t *s_latest(answers_t *self, uint32_t request)
{
    size_t size = ((size_t)request + 1) * sizeof(uint32_t);
    if (self->latest.size < size) {
        size_t more = size - self->latest.size;
        memset(buffer_extend(&self->latest, more), 0, more);
    }
    return (uint32_t *)(void *)self->latest.data + request;
}

static bool s_is_same(const s_place_t *a, const s_place_t *b)
{
    return strcmp(a->origin, b->origin) == 0 && a->first_seq == b->first_seq &&
           a->last_seq == b->last_seq && a->session_seq == b->session_seq;
}

/* cost  as many steps as the request has shards */
static bool s_take_place(answers_t *self,
                         uint32_t request,
                         const s_place_t *place,
                         errbuf_t *ret_text)
{
    uint32_t *latest = s_latest(self, request);
    uint32_t at = *latest;
    while (at != 0 && s_named(self, at)->shard != place->shard) {
        at = s_named(self, at)->before;
    }
    if (at == 0) {
        s_place_t added = *place;
        added.before = *latest;
        buffer_append(&self->named, &added, sizeof(added));
        *latest = (uint32_t)(self->named.size / sizeof(added));
        return true;
    }
    const s_place_t *named = s_named(self, at);
    self->compared_count++;
    if (s_is_same(named, place)) {
        return true;
    }
    errbuf_set(ret_text,
               "shard %" PRIu64 " was answered with two copies: expected %s %" PRIu64 "..%" PRIu64
               " session seq %" PRIu64 " as at first, found %s %" PRIu64 "..%" PRIu64
               " session seq %" PRIu64,
               place->shard, named->origin, named->first_seq, named->last_seq, named->session_seq,
               place->origin, place->first_seq, place->last_seq, place->session_seq);
    return false;
}

bool answers_take(answers_t *self, uint32_t request, slice_t reply, errbuf_t *ret_text)
{
    s_place_t place = {.shard = 0};
    pack_value_t ok = pack_get(reply, "ok");
    bool is_ok = ok.kind == PACK_BOOL && ok.as.boolean;
    if (is_ok && s_read_place(reply, "", &place) &&
        !s_take_place(self, request, &place, ret_text)) {
        return false;
    }
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        char prefix[S_PATH_SIZE / 2];
        (void)snprintf(prefix, sizeof(prefix), "shards.%u.", i);
        if (s_get(reply, prefix, "shard").kind == PACK_BAD) {
            break;
        }
        place = (s_place_t){.shard = 0};
        if (s_read_place(reply, prefix, &place) && !s_take_place(self, request, &place, ret_text)) {
            return false;
        }
    }
    return true;
}
