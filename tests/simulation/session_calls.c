#include "tests/simulation/session_calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { S_VIEW = 1, S_CONVERGE_MS = 10000 };

static const user_id_t s_user = {77};

user_id_t session_calls_user(void)
{
    return s_user;
}

session_id_t session_calls_id(uint64_t n)
{
    return session_id_derive((tenant_id_t){1}, s_user, slice_text("test"), n);
}

node_id_t session_calls_home(const simulated_cluster_t *cluster)
{
    return simulated_cluster_leader(cluster, simulated_cluster_home_of(cluster, s_user));
}

hlc_stamp_t session_calls_now(const simulated_cluster_t *cluster)
{
    return (hlc_stamp_t){simulated_cluster_now_ns(cluster), 0, 0x1ffff};
}

simulated_write_t session_calls_write(simulated_cluster_t *cluster,
                                      node_id_t node,
                                      const record_t *record,
                                      hlc_stamp_t hlc,
                                      simulated_form_t form)
{
    buffer_t payload;
    buffer_init(&payload);
    record_append(&payload, record);
    msg_write_t write = {.level = form.level,
                         .has_producer = form.producer != NULL,
                         .hlc = hlc,
                         .hlc_is_explicit = true,
                         .event_count = 1,
                         .payload = buffer_slice(&payload)};
    if (form.producer != NULL) {
        write.producer = slice_text(form.producer);
        write.producer_seq = form.producer_seq;
        write.content_hash[0] = (uint8_t)record->type;
    }
    simulated_write_t result = simulated_cluster_write_form(cluster, node, &write);
    buffer_done(&payload);
    return result;
}

simulated_write_t session_calls_start(simulated_cluster_t *cluster,
                                      const session_id_t *id,
                                      simulated_form_t form)
{
    hlc_stamp_t now = session_calls_now(cluster);
    record_t record = {.type = RECORD_SESSION_START, .event_count = 1};
    record.as.session_start.session = *id;
    record.as.session_start.hlc = now;
    record.as.session_start.agent = slice_text("web");
    record.as.session_start.meta = slice_make(NULL, 0);
    return session_calls_write(cluster, session_calls_home(cluster), &record, now, form);
}

simulated_write_t session_calls_signal(simulated_cluster_t *cluster,
                                       node_id_t node,
                                       const session_id_t *id,
                                       uint64_t item,
                                       simulated_form_t form)
{
    hlc_stamp_t now = session_calls_now(cluster);
    record_t record = {.type = RECORD_SESSION_SIGNAL, .event_count = 1};
    record.as.session_signal.session = *id;
    record.as.session_signal.hlc = now;
    record.as.session_signal.session_seq = 0;
    record.as.session_signal.item.value = item;
    record.as.session_signal.ts_ns = simulated_cluster_now_ns(cluster);
    record.as.session_signal.weight = 1.0;
    record.as.session_signal.signal = S_VIEW;
    return session_calls_write(cluster, node, &record, now, form);
}

simulated_write_t session_calls_close(simulated_cluster_t *cluster,
                                      node_id_t node,
                                      const session_id_t *id,
                                      ack_level_t level)
{
    hlc_stamp_t now = session_calls_now(cluster);
    record_t record = {.type = RECORD_SESSION_CLOSE, .event_count = 1};
    record.as.session_close.session = *id;
    record.as.session_close.hlc = now;
    record.as.session_close.is_auto = false;
    return session_calls_write(cluster, node, &record, now, (simulated_form_t){level, NULL, 0});
}

simulated_write_t session_calls_hide(simulated_cluster_t *cluster,
                                     node_id_t node,
                                     uint64_t item,
                                     int64_t wall_ns,
                                     bool set,
                                     ack_level_t level)
{
    record_t record = {.type = RECORD_RELATION, .event_count = 1};
    record.as.relation.user = s_user;
    record.as.relation.target = item;
    record.as.relation.hlc = (hlc_stamp_t){wall_ns, 0, 1};
    record.as.relation.action = RELATION_HIDE;
    record.as.relation.set = set;
    return session_calls_write(cluster, node, &record, record.as.relation.hlc,
                               (simulated_form_t){level, NULL, 0});
}

bool session_calls_is_hidden(simulated_cluster_t *cluster, uint16_t region, uint64_t item)
{
    msg_read_t read = {.kind = READ_RELATION, .at_ns = simulated_cluster_now_ns(cluster)};
    const msg_read_reply_t *reply = NULL;
    node_id_t node = {{region}, simulated_cluster_shard_of(cluster, (item_id_t){item})};
    read.as.relation.user = s_user;
    read.as.relation.item.value = item;
    assert_int_equal(simulated_cluster_read(cluster, node, &read, &reply), ERR_OK);
    assert_int_equal(reply->code, CODE_OK);
    return reply->as.relation.hidden;
}

const msg_read_reply_t *session_calls_get(simulated_cluster_t *cluster,
                                          uint16_t region,
                                          const session_id_t *id)
{
    msg_read_t read = {.kind = READ_SESSION, .at_ns = simulated_cluster_now_ns(cluster)};
    const msg_read_reply_t *reply = NULL;
    node_id_t node = {{region}, simulated_cluster_home_of(cluster, s_user)};
    read.as.session = *id;
    assert_int_equal(simulated_cluster_read(cluster, node, &read, &reply), ERR_OK);
    assert_int_equal(reply->code, CODE_OK);
    return reply;
}

void session_calls_converge(simulated_cluster_t *cluster)
{
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, S_CONVERGE_MS, NULL),
                     ERR_OK);
}
