#include "common/engine/node_snapshot.h"

#include "common/base/check.h"
#include "common/engine/snapshot_load.h"

#include <stdlib.h>
#include <string.h>

/* What goes on for one replica. */
typedef struct {
    replica_t *replica;       /* borrowed */
    snapshot_load_t *adopted; /* waits for its files; NULL: none */
    snapshot_load_t *next;    /* not adopted yet; NULL: none */
    uint64_t reply_to;        /* of who waits for `next`; 0: nobody */
    uint64_t request_id;
} s_load_t;

struct node_snapshot {
    const engine_env_t *env;
    uint32_t count;
    s_load_t loads[TENANT_COUNT_MAX];
    node_snapshot_counters_t counters;
    buffer_t out;
};

node_snapshot_t *node_snapshot_new(const engine_env_t *env)
{
    node_snapshot_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->env = env;
    buffer_init(&self->out);
    return self;
}

void node_snapshot_destroy(node_snapshot_t **self_p)
{
    node_snapshot_t *self = *self_p;
    if (self != NULL) {
        for (uint32_t i = 0; i < self->count; i++) {
            snapshot_load_destroy(&self->loads[i].adopted);
            snapshot_load_destroy(&self->loads[i].next);
        }
        buffer_done(&self->out);
        free(self);
        *self_p = NULL;
    }
}

/* -- answers ----------------------------------------------------------------------------------- */

static code_t s_code(err_t err)
{
    code_t code = err == ERR_DISK_FULL ? CODE_DISK_FULL : CODE_UNAVAILABLE;
    code = err == ERR_CORRUPT || err == ERR_UNSUPPORTED ? CODE_CORRUPT : code;
    code = err == ERR_STALE ? CODE_STALE : code;
    code = err == ERR_NOT_FOUND ? CODE_NOT_FOUND : code;
    return err == ERR_OK ? CODE_OK : code;
}

static void s_answer(node_snapshot_t *self, uint64_t reply_to, const msg_base_reply_t *reply)
{
    msg_t msg = {.type = MSG_BASE_REPLY};
    msg.as.base_reply = *reply;
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
    /* Lost: the reconciler asks again in its next run. */
    (void)self->env->net->reply(self->env->net->context, reply_to, self->out.data, self->out.size);
    self->env->net->forget(self->env->net->context, reply_to);
}

static void s_look(node_snapshot_t *self,
                   uint64_t reply_to,
                   const msg_base_reply_t *form,
                   const replica_t *replica)
{
    msg_log_range_t *ranges = malloc(STREAM_COUNT_MAX * sizeof(*ranges));
    CHECK(ranges != NULL);
    errbuf_t errbuf = {{0}};
    uint32_t count = 0;
    err_t err = replica_log_ranges(replica, ranges, STREAM_COUNT_MAX, &count, &errbuf);
    msg_base_reply_t reply = *form;
    reply.code = s_code(err);
    reply.message = slice_text(errbuf.text);
    reply.base_is_lost = replica_base_is_lost(replica);
    reply.has_base = replica_base_stream_count(replica) > 0 && !reply.base_is_lost;
    reply.range_count = err == ERR_OK ? count : 0;
    reply.ranges = ranges;
    s_answer(self, reply_to, &reply);
    free(ranges);
}

static s_load_t *s_require(node_snapshot_t *self, replica_t *replica)
{
    uint32_t at = 0;
    while (at < self->count && self->loads[at].replica != replica) {
        at++;
    }
    if (at == self->count) {
        CHECK(self->count < TENANT_COUNT_MAX);
        self->loads[self->count++] = (s_load_t){.replica = replica};
    }
    if (self->loads[at].next == NULL) {
        self->loads[at].next = snapshot_load_new(replica);
    }
    return &self->loads[at];
}

void node_snapshot_ask(node_snapshot_t *self,
                       uint64_t reply_to,
                       const msg_base_task_t *question,
                       replica_t *replica)
{
    msg_base_reply_t reply = {
        .request_id = question->request_id,
        .tenant = question->tenant,
        .shard = question->shard,
        .kind = question->kind,
    };
    if (replica == NULL) {
        reply.code = CODE_UNAVAILABLE;
        reply.message = slice_text("this node does not hold that tenant and shard");
        s_answer(self, reply_to, &reply);
        return;
    }
    if (question->kind == BASE_TASK_LOOK) {
        s_look(self, reply_to, &reply, replica);
        return;
    }
    s_load_t *load = s_require(self, replica);
    if (load->reply_to != 0) {
        self->env->net->forget(self->env->net->context, load->reply_to);
    }
    load->reply_to = reply_to;
    load->request_id = question->request_id;
}

/* -- work -------------------------------------------------------------------------------------- */

static void s_tell(node_snapshot_t *self, s_load_t *load, err_t err, const errbuf_t *errbuf)
{
    if (load->reply_to == 0) {
        return;
    }
    msg_base_reply_t reply = {
        .request_id = load->request_id,
        .tenant = replica_tenant(load->replica),
        .shard = self->env->self.shard,
        .kind = BASE_TASK_TAKE,
        .code = s_code(err),
        .message = slice_text(err == ERR_OK ? "" : errbuf->text),
    };
    s_answer(self, load->reply_to, &reply);
    load->reply_to = 0;
}

/* One that waits for files which are gone by now makes room for a later one. True when there is
 * more to do. */
static bool s_step_next(node_snapshot_t *self, s_load_t *load, now_t now)
{
    errbuf_t errbuf = {{0}};
    err_t err = snapshot_load_step(load->next, false, now, &errbuf);
    if (snapshot_load_is_adopted(load->next)) {
        self->counters.adopted++;
        s_tell(self, load, ERR_OK, &errbuf);
        snapshot_load_destroy(&load->adopted);
        load->adopted = load->next;
        load->next = NULL;
        if (!replica_is_joining(load->replica)) {
            snapshot_load_destroy(&load->adopted); /* the live state holds all of it */
        }
        return true;
    }
    if (err == ERR_AGAIN) {
        return true;
    }
    self->counters.refused += err == ERR_NOT_FOUND ? 0 : 1;
    s_tell(self, load, err, &errbuf);
    snapshot_load_destroy(&load->next);
    return false;
}

static bool s_step(node_snapshot_t *self, s_load_t *load, bool may_replace, now_t now)
{
    if (load->next != NULL) {
        return s_step_next(self, load, now);
    }
    errbuf_t errbuf = {{0}};
    err_t err = snapshot_load_step(load->adopted, may_replace, now, &errbuf);
    if (err == ERR_OK) {
        self->counters.taken++;
        snapshot_load_destroy(&load->adopted);
    }
    return err == ERR_AGAIN;
}

bool node_snapshot_turn(node_snapshot_t *self, bool may_replace, now_t now)
{
    bool has_more = false;
    for (uint32_t i = self->count; i > 0; i--) {
        s_load_t *load = &self->loads[i - 1];
        has_more = s_step(self, load, may_replace, now) || has_more;
        if (load->adopted == NULL && load->next == NULL) {
            self->count--;
            memmove(load, load + 1, (self->count - (i - 1)) * sizeof(*load));
        }
    }
    return has_more;
}

node_snapshot_counters_t node_snapshot_counters(const node_snapshot_t *self)
{
    return self->counters;
}
