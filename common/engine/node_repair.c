#include "common/engine/node_repair.h"

#include "common/base/check.h"
#include "common/engine/base_file.h"
#include "common/engine/rebuild.h"

#include <stdlib.h>
#include <string.h>

/* A replica per tenant, and one that waits behind its own base. */
enum { S_QUESTION_COUNT_MAX = TENANT_COUNT_MAX + 1 };

/* A replica that is asked about. */
typedef struct {
    replica_t *replica; /* borrowed */
    uint64_t reply_to;  /* 0: nobody waits for an answer */
    uint64_t request_id;
    int64_t asked_ns; /* the first time */
    bool wants_base;
} s_question_t;

struct node_repair {
    const engine_env_t *env;
    uint32_t count;
    s_question_t questions[S_QUESTION_COUNT_MAX]; /* the first one is being worked on */
    rebuild_t *rebuild;                           /* NULL: not begun */
    uint64_t base_number;                         /* of its base */
    base_writer_t *writer;                        /* of its base; NULL: not begun */
    rebuild_result_t result;
    node_repair_counters_t counters;
    buffer_t out;
};

node_repair_t *node_repair_new(const engine_env_t *env)
{
    node_repair_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->env = env;
    buffer_init(&self->out);
    return self;
}

void node_repair_destroy(node_repair_t **self_p)
{
    node_repair_t *self = *self_p;
    if (self != NULL) {
        base_writer_destroy(&self->writer);
        rebuild_destroy(&self->rebuild);
        buffer_done(&self->out);
        free(self);
        *self_p = NULL;
    }
}

static void s_answer(node_repair_t *self, uint64_t reply_to, const msg_rebuild_reply_t *reply)
{
    msg_t msg = {.type = MSG_REBUILD_REPLY};
    msg.as.rebuild_reply = *reply;
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
    /* Lost: its reconciler asks again while the states differ. */
    (void)self->env->net->reply(self->env->net->context, reply_to, self->out.data, self->out.size);
    self->env->net->forget(self->env->net->context, reply_to);
}

/* The place of a replica in the line. Behind the first one when that one's file is being written:
 * its state was compared already. */
static s_question_t *s_require(node_repair_t *self, replica_t *replica, now_t now)
{
    uint32_t at = self->writer != NULL ? 1 : 0;
    while (at < self->count && self->questions[at].replica != replica) {
        at++;
    }
    if (at == self->count) {
        CHECK(self->count < S_QUESTION_COUNT_MAX);
        self->questions[self->count++] =
            (s_question_t){.replica = replica, .asked_ns = now.mono_ns};
    }
    return &self->questions[at];
}

void node_repair_ask(node_repair_t *self,
                     uint64_t reply_to,
                     const msg_rebuild_t *question,
                     replica_t *replica,
                     now_t now)
{
    if (replica == NULL) {
        msg_rebuild_reply_t reply = {
            .request_id = question->request_id,
            .tenant = question->tenant,
            .shard = question->shard,
            .code = CODE_UNAVAILABLE,
            .message = slice_text("this node does not hold that tenant and shard"),
        };
        s_answer(self, reply_to, &reply);
        return;
    }
    s_question_t *at = s_require(self, replica, now);
    if (at->reply_to != 0) {
        self->env->net->forget(self->env->net->context, at->reply_to);
    }
    at->reply_to = reply_to;
    at->request_id = question->request_id;
}

void node_repair_want_base(node_repair_t *self, replica_t *replica, now_t now)
{
    s_require(self, replica, now)->wants_base = true;
}

/* -- the end of one ---------------------------------------------------------------------------- */

static void s_count(node_repair_t *self, err_t err, bool replaces)
{
    self->counters.failed += err == ERR_OK ? 0 : 1;
    if (err == ERR_OK) {
        self->counters.rebuilds++;
        self->counters.replaced += self->result.different && replaces ? 1 : 0;
        self->counters.entries += replaces ? self->result.difference_count : 0;
    }
}

/* Whether a state that differs is replaced. Where there are other regions their reconcilers find
 * it, too, and ask: then it stands in a report. */
static bool s_replaces(const node_repair_t *self)
{
    const s_question_t *question = &self->questions[0];
    return question->reply_to != 0 || region_set_count(replica_others(question->replica)) == 0;
}

/* The first question is done with. */
static void s_drop_first(node_repair_t *self)
{
    self->count--;
    memmove(&self->questions[0], &self->questions[1], self->count * sizeof(self->questions[0]));
    base_writer_destroy(&self->writer);
    rebuild_destroy(&self->rebuild);
}

/* Tells whoever asked. */
static void s_tell(node_repair_t *self, err_t err, const errbuf_t *errbuf, now_t now)
{
    s_question_t question = self->questions[0];
    if (question.reply_to == 0) {
        return;
    }
    self->questions[0].reply_to = 0;
    int64_t took_ms = (now.mono_ns - question.asked_ns) / ENGINE_NS_PER_MS;
    msg_rebuild_reply_t reply = {
        .request_id = question.request_id,
        .tenant = replica_tenant(question.replica),
        .shard = self->env->self.shard,
        .code = err == ERR_OK        ? CODE_OK
                : err == ERR_CORRUPT ? CODE_CORRUPT
                                     : CODE_UNAVAILABLE,
        .took_ms = took_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)took_ms,
    };
    msg_difference_t listed[REBUILD_DIFFERENCE_COUNT_MAX];
    if (err != ERR_OK) {
        reply.message = slice_text(errbuf->text);
    } else {
        const rebuild_result_t *result = &self->result;
        reply.different = result->different;
        reply.event_count = result->event_count;
        reply.voided_count = result->voided_count;
        memcpy(reply.found, result->found, sizeof(reply.found));
        memcpy(reply.rebuilt, result->rebuilt, sizeof(reply.rebuilt));
        reply.difference_count = result->difference_count;
        reply.listed_count = result->listed_count;
        reply.listed = listed;
        for (uint32_t i = 0; i < result->listed_count; i++) {
            listed[i] = (msg_difference_t){.key = slice_text(result->listed[i].key),
                                           .found = slice_text(result->listed[i].found),
                                           .expected = slice_text(result->listed[i].expected)};
        }
    }
    s_answer(self, question.reply_to, &reply);
}

/* The rebuild is over. True when its base is to be written. */
static bool s_end(node_repair_t *self, err_t err, bool replaces, errbuf_t *errbuf, now_t now)
{
    s_count(self, err, replaces);
    s_tell(self, err, errbuf, now);
    if (!self->questions[0].wants_base) {
        return false;
    }
    if (err == ERR_OK && !self->result.different) {
        err = rebuild_begin_base(self->rebuild, now.wall_ns, &self->writer, errbuf);
    } else {
        err = ERR_CONFLICT; /* of a state that was wrong no base is made: the next one is */
    }
    if (err != ERR_OK) {
        self->counters.bases_failed++;
        replica_take_base(self->questions[0].replica, NULL);
    }
    return err == ERR_OK;
}

/* Writes a piece of the base. True when there is more. */
static bool s_write(node_repair_t *self)
{
    errbuf_t errbuf = {{0}};
    err_t err = base_writer_step(self->writer, &errbuf);
    if (err == ERR_AGAIN) {
        return true;
    }
    self->counters.bases_failed += err == ERR_OK ? 0 : 1;
    if (err != ERR_OK && base_writer_is_renamed(self->writer)) {
        replica_fail(self->questions[0].replica, err, &errbuf);
    }
    replica_take_base(self->questions[0].replica,
                      err == ERR_OK ? base_writer_head(self->writer) : NULL);
    return false;
}

bool node_repair_turn(node_repair_t *self, bool may_replace, now_t now)
{
    if (self->count == 0) {
        return false;
    }
    const replica_t *first = self->questions[0].replica;
    bool has_begun = self->rebuild != NULL || self->writer != NULL;
    if (replica_is_joining(first) ||
        (has_begun && replica_base_number(first) != self->base_number)) {
        errbuf_t errbuf = {{0}};
        errbuf_set(&errbuf, "another region's base was put in place meanwhile; ask again later");
        self->questions[0].wants_base = false; /* it brings one */
        (void)s_end(self, ERR_AGAIN, false, &errbuf, now);
        s_drop_first(self);
        return self->count > 0;
    }
    if (self->writer == NULL) {
        if (self->rebuild == NULL) {
            self->rebuild = rebuild_new(self->questions[0].replica);
            self->base_number = replica_base_number(first);
        }
        errbuf_t errbuf = {{0}};
        bool replaces = s_replaces(self);
        err_t err = rebuild_step(self->rebuild, may_replace, replaces, &self->result, &errbuf);
        if (err == ERR_AGAIN || err == ERR_FULL) {
            return err == ERR_AGAIN;
        }
        if (s_end(self, err, replaces, &errbuf, now)) {
            rebuild_destroy(&self->rebuild);
            return true;
        }
    } else if (s_write(self)) {
        return true;
    }
    s_drop_first(self);
    return self->count > 0;
}

node_repair_counters_t node_repair_counters(const node_repair_t *self)
{
    return self->counters;
}
