/* Requests for a tenant that this gateway's table does not have: it may have been created a moment
 * ago. The control plane is asked for its table before the answer is UNKNOWN_TENANT. */
#include "common/gateway/gateway_state.h"

#include "common/base/check.h"

#include <string.h>

static slice_t s_name(const gateway_stranger_t *stranger)
{
    return slice_make(stranger->tenant, stranger->tenant_size);
}

bool gateway_strangers_keep(
    gateway_engine_t *self, uint64_t reply_to, slice_t tenant, slice_t body, now_t now)
{
    if (self->stranger_count == GATEWAY_STRANGER_COUNT_MAX ||
        self->stranger_bytes + body.size > GATEWAY_STRANGER_SIZE_MAX) {
        return false;
    }
    CHECK(tenant.size <= NAME_LENGTH_MAX);
    gateway_stranger_t *stranger = &self->strangers[self->stranger_count++];
    *stranger = (gateway_stranger_t){
        .reply_to = reply_to, .since_ns = now.mono_ns, .tenant_size = (uint32_t)tenant.size};
    memcpy(stranger->tenant, tenant.data, tenant.size);
    buffer_append(&stranger->body, body.data, body.size);
    self->stranger_bytes += body.size;
    gateway_strangers_tick(self, now);
    return true;
}

/* Takes the index-th out of the list; its body is the caller's. */
static gateway_stranger_t s_take_out(gateway_engine_t *self, uint32_t index)
{
    gateway_stranger_t stranger = self->strangers[index];
    self->stranger_count--;
    self->stranger_bytes -= stranger.body.size;
    memmove(&self->strangers[index], &self->strangers[index + 1],
            (self->stranger_count - index) * sizeof(stranger));
    return stranger;
}

/* How it stands with one that waits. */
static bool s_is_over(const gateway_engine_t *self,
                      const gateway_stranger_t *stranger,
                      bool is_answer,
                      now_t now)
{
    const table_t *table = gateway_table(self);
    bool is_known = table != NULL && table_find_tenant_name(table, s_name(stranger)) != NULL;
    bool was_asked = self->table_asked_ns >= stranger->since_ns;
    return is_known || (is_answer && was_asked) ||
           now.mono_ns - stranger->since_ns >= gateway_ms(GATEWAY_STRANGER_MS);
}

void gateway_strangers_review(gateway_engine_t *self, bool is_answer, now_t now)
{
    uint32_t index = 0;
    while (index < self->stranger_count) {
        if (!s_is_over(self, &self->strangers[index], is_answer, now)) {
            index++;
            continue;
        }
        gateway_stranger_t stranger = s_take_out(self, index);
        gateway_take_again(self, stranger.reply_to, buffer_slice(&stranger.body), now);
        buffer_done(&stranger.body);
    }
}

/* When the control plane is to be asked for those that came after the last question. */
static int64_t s_ask_due_ns(const gateway_engine_t *self)
{
    for (uint32_t i = 0; i < self->stranger_count; i++) {
        if (self->strangers[i].since_ns > self->table_asked_ns) {
            return self->table_asked_ns + gateway_ms(GATEWAY_STRANGER_ASK_MS);
        }
    }
    return INT64_MAX;
}

void gateway_strangers_tick(gateway_engine_t *self, now_t now)
{
    if (s_ask_due_ns(self) <= now.mono_ns) {
        gateway_ask_table(self, now);
    }
    gateway_strangers_review(self, false, now);
}

int64_t gateway_strangers_deadline_ns(const gateway_engine_t *self)
{
    if (self->stranger_count == 0) {
        return INT64_MAX;
    }
    /* They stand in the order in which they came. */
    int64_t over_ns = self->strangers[0].since_ns + gateway_ms(GATEWAY_STRANGER_MS);
    int64_t ask_ns = s_ask_due_ns(self);
    return ask_ns < over_ns ? ask_ns : over_ns;
}

void gateway_strangers_end(gateway_engine_t *self, bool replies, now_t now)
{
    while (self->stranger_count > 0) {
        gateway_stranger_t stranger = s_take_out(self, 0);
        if (replies) {
            gateway_take_again(self, stranger.reply_to, buffer_slice(&stranger.body), now);
        } else {
            self->env.net->forget(self->env.net->context, stranger.reply_to);
        }
        buffer_done(&stranger.body);
    }
}
