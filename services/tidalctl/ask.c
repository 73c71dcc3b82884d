#include "services/tidalctl/ask.h"

#include "common/base/check.h"
#include "services/tidalctl/json.h"
#include "services/tidalctl/render.h"

#include <string.h>

err_t ask_begin(ask_t *self, ctl_t *ctl, const char *op, process_address_t to, errbuf_t *errbuf)
{
    memset(self, 0, sizeof(*self));
    buffer_init(&self->body);
    buffer_init(&self->reply);
    err_t err = ctl_connect(ctl, &self->client, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    self->ask.to = to;
    self->ask.id = ctl_client_next_id(self->client);
    self->ask.repeatable = true;
    client_request_begin(&self->writer, &self->body, op, self->ask.id);
    if (ctl->tenant != NULL) {
        pack_put_text(&self->writer, "tenant", ctl->tenant);
    }
    return ERR_OK;
}

err_t ask_send(ask_t *self, ctl_t *ctl, int64_t timeout_ms, errbuf_t *errbuf)
{
    client_request_end(&self->writer);
    self->ask.request = buffer_slice(&self->body);
    int64_t wait_ms = timeout_ms;
    if (wait_ms == 0) {
        wait_ms = ctl->timeout_ms > 0 ? (int64_t)ctl->timeout_ms
                                      : (int64_t)ctl->topology->timing.command_timeout_ms;
    }
    err_t err = ctl_client_ask_one(self->client, &self->ask, wait_ms, &self->reply, errbuf);
    client_answer_t answer;
    if (err == ERR_OK) {
        err = client_answer_read(buffer_slice(&self->reply), &answer, errbuf);
    }
    return err;
}

void ask_done(ask_t *self)
{
    buffer_done(&self->body);
    buffer_done(&self->reply);
}

int ask_check(const ctl_t *ctl, slice_t reply)
{
    client_answer_t answer;
    errbuf_t errbuf;
    if (client_answer_read(reply, &answer, &errbuf) != ERR_OK) {
        return ctl_fail(ctl, &errbuf);
    }
    if (answer.ok) {
        return CTL_OK;
    }
    pack_value_t code = pack_get(reply, "error.code");
    pack_value_t leader = pack_get(reply, "error.leader");
    bool has_leader = leader.kind == PACK_STR;
    return ctl_fail_text(ctl, "%.*s: %.*s%s%.*s", (int)code.as.bytes.size,
                         (const char *)code.as.bytes.data, (int)answer.message.size,
                         (const char *)answer.message.data, has_leader ? "; leader: " : "",
                         has_leader ? (int)leader.as.bytes.size : 0,
                         has_leader ? (const char *)leader.as.bytes.data : "");
}

int ask_print(const ctl_t *ctl, slice_t reply)
{
    buffer_t text;
    buffer_init(&text);
    if (ctl->json) {
        json_write(reply, &text);
        buffer_append(&text, "\n", 1);
    } else {
        render_reply(reply, &text);
    }
    render_flush(&text);
    buffer_done(&text);
    return ask_check(ctl, reply);
}

int ask_simple(ctl_t *ctl, const char *op, process_address_t to)
{
    ask_t ask;
    errbuf_t errbuf;
    err_t err = ask_begin(&ask, ctl, op, to, &errbuf);
    if (err == ERR_OK) {
        err = ask_send(&ask, ctl, 0, &errbuf);
    }
    int status = err == ERR_OK ? ask_print(ctl, buffer_slice(&ask.reply)) : ctl_fail(ctl, &errbuf);
    ask_done(&ask);
    return status;
}
