/* Writes that gather before the next group: see group_pace.h. They wait as they came, before
 * anything was looked at or changed for them, so at the end of every turn what was logged is
 * durable and applied, and state, digest and checkpoint agree. */
#include "common/engine/replica_state.h"

#include "common/base/check.h"

#include <stdlib.h>

static int64_t s_until_ns(const replica_t *self)
{
    int64_t hold_ns = (int64_t)self->env->topology->log.group_hold_ms * ENGINE_NS_PER_MS;
    bool is_leader = leader_role(self->leader) == LEADER_LEADER;
    return is_leader ? group_pace_until_ns(&self->pace, hold_ns) : INT64_MIN;
}

bool replica_gather(
    replica_t *self, uint64_t reply_to, const msg_write_t *write, slice_t bytes, now_t now)
{
    replica_gathered_t *at = &self->gathered;
    if (at->count == 0 && now.mono_ns >= s_until_ns(self)) {
        return false;
    }
    if (at->count == REPLICA_GATHERED_COUNT_MAX ||
        at->bytes.size + bytes.size > REPLICA_GATHERED_SIZE_MAX) {
        replica_refuse_write(self, reply_to, write->request_id, CODE_OVERLOADED,
                             "too many writes wait for their group; retry later");
        return true;
    }
    if (at->list == NULL) {
        at->list = calloc(REPLICA_GATHERED_COUNT_MAX, sizeof(*at->list));
        CHECK(at->list != NULL);
    }
    at->list[at->count++] = (replica_gathered_write_t){
        .reply_to = reply_to,
        .deadline_ns = now.mono_ns + (int64_t)write->timeout_ms * ENGINE_NS_PER_MS,
        .offset = at->bytes.size,
        .size = bytes.size,
    };
    buffer_append(&at->bytes, bytes.data, bytes.size);
    return true;
}

void replica_note_confirmed(replica_t *self, now_t now)
{
    region_set_t replicas;
    if (!self->pace.is_on_its_way || self->log == NULL || wal_log_durable_seq(self->log) == 0) {
        return;
    }
    if (leader_durability(self->leader, wal_log_stream(self->log), wal_log_durable_seq(self->log),
                          &replicas) >= ACK_REPLICATED) {
        group_pace_confirmed(&self->pace, now.mono_ns);
    }
}

void replica_review_gathered(replica_t *self, msg_codec_t *codec, now_t now)
{
    replica_gathered_t *at = &self->gathered;
    replica_note_confirmed(self, now);
    bool is_large = at->count > REPLICA_GATHERED_COUNT_MAX / 4 ||
                    at->bytes.size > REPLICA_GATHERED_SIZE_MAX / 4;
    /* A group that is begun, by records of the node itself, takes them along. */
    bool has_group =
        self->log != NULL && wal_log_appended_seq(self->log) > wal_log_durable_seq(self->log);
    if (at->count == 0 || (!is_large && !has_group && now.mono_ns < s_until_ns(self))) {
        return;
    }
    for (uint32_t i = 0; i < at->count; i++) {
        const replica_gathered_write_t *one = &at->list[i];
        slice_t bytes = slice_make(at->bytes.data + one->offset, one->size);
        msg_t msg;
        errbuf_t errbuf;
        err_t err = msg_decode(codec, bytes, &msg, &errbuf);
        CHECK(err == ERR_OK && msg.type == MSG_WRITE); /* it decoded when it came */
        int64_t left_ms = (one->deadline_ns - now.mono_ns) / ENGINE_NS_PER_MS;
        msg.as.write.timeout_ms = left_ms < 1 ? 1 : (uint32_t)left_ms;
        replica_take_write(self, one->reply_to, &msg.as.write, bytes, now);
    }
    at->count = 0;
    buffer_clear(&at->bytes);
}

int64_t replica_gathered_deadline_ns(const replica_t *self)
{
    return self->gathered.count == 0 ? INT64_MAX : s_until_ns(self);
}

void replica_gathered_done(replica_t *self)
{
    free(self->gathered.list);
    buffer_done(&self->gathered.bytes);
}
