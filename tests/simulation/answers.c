#include "tests/simulation/answers.h"

#include "common/base/bounds.h"
#include "common/wire/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { S_ORIGIN_SIZE = 64, S_PATH_SIZE = 64 };

/* Where a copy of one shard's part lies. */
typedef struct {
    uint32_t request;
    uint64_t shard;
    char origin[S_ORIGIN_SIZE];
    uint64_t first_seq;
    uint64_t last_seq;
    uint64_t session_seq; /* of a session's signal; 0: the answer gives none */
} s_place_t;

void answers_init(answers_t *self)
{
    buffer_init(&self->named);
    self->compared_count = 0;
}

void answers_done(answers_t *self)
{
    buffer_done(&self->named);
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

static bool s_take_place(answers_t *self, const s_place_t *place, errbuf_t *ret_text)
{
    const s_place_t *named = (const void *)self->named.data;
    size_t count = self->named.size / sizeof(*named);
    for (size_t i = 0; i < count; i++) {
        if (named[i].request != place->request || named[i].shard != place->shard) {
            continue;
        }
        self->compared_count++;
        if (strcmp(named[i].origin, place->origin) == 0 && named[i].first_seq == place->first_seq &&
            named[i].last_seq == place->last_seq && named[i].session_seq == place->session_seq) {
            return true;
        }
        errbuf_set(ret_text,
                   "shard %" PRIu64 " was answered with two copies: expected %s %" PRIu64
                   "..%" PRIu64 " session seq %" PRIu64 " as at first, found %s %" PRIu64
                   "..%" PRIu64 " session seq %" PRIu64,
                   place->shard, named[i].origin, named[i].first_seq, named[i].last_seq,
                   named[i].session_seq, place->origin, place->first_seq, place->last_seq,
                   place->session_seq);
        return false;
    }
    buffer_append(&self->named, place, sizeof(*place));
    return true;
}

bool answers_take(answers_t *self, uint32_t request, slice_t reply, errbuf_t *ret_text)
{
    s_place_t place = {.request = request};
    pack_value_t ok = pack_get(reply, "ok");
    bool is_ok = ok.kind == PACK_BOOL && ok.as.boolean;
    if (is_ok && s_read_place(reply, "", &place) && !s_take_place(self, &place, ret_text)) {
        return false;
    }
    for (unsigned i = 0; i < SHARD_COUNT_MAX; i++) {
        char prefix[S_PATH_SIZE / 2];
        (void)snprintf(prefix, sizeof(prefix), "shards.%u.", i);
        if (s_get(reply, prefix, "shard").kind == PACK_BAD) {
            break;
        }
        place = (s_place_t){.request = request};
        if (s_read_place(reply, prefix, &place) && !s_take_place(self, &place, ret_text)) {
            return false;
        }
    }
    return true;
}
