/* Replies to the mesh ops. */
#include "common/base/check.h"
#include "common/wire/client_reply_fields.h"

enum { PROTOCOL_VERSION = 1 };

/* -- hello and ping ---------------------------------------------------------------------------- */

static void s_put_hello_signal(pack_writer_t *writer, const client_hello_signal_t *signal)
{
    pack_open_map(writer);
    pack_put_u64(writer, "id", signal->id);
    pack_put_str(writer, "name", signal->name);
    pack_put_i64(writer, "half_life_s", signal->half_life_s);
    pack_put_array(writer, "windows");
    for (uint32_t window = 0; window < WINDOW_COUNT; window++) {
        if ((signal->windows_mask >> window & 1) != 0) {
            pack_item(writer);
            pack_write_str(writer, slice_text(client_window_name((uint8_t)window)));
        }
    }
    pack_close(writer);
    pack_close(writer);
}

void client_reply_hello(buffer_t *out, slice_t id, const client_hello_t *hello)
{
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, NULL);
    pack_put_text(&writer, "server", "tidalmesh");
    pack_put_str(&writer, "version", hello->version);
    pack_put_u64(&writer, "protocol", PROTOCOL_VERSION);
    pack_put_str(&writer, "region", hello->region);
    pack_put_array(&writer, "signals");
    for (uint32_t i = 0; i < hello->signal_count; i++) {
        pack_item(&writer);
        s_put_hello_signal(&writer, &hello->signals[i]);
    }
    pack_close(&writer);
    pack_key(&writer, "profiles");
    pack_write_map(&writer, hello->profile_count);
    for (uint32_t i = 0; i < hello->profile_count; i++) {
        pack_write_str(&writer, hello->profiles[i].name);
        pack_write_str(&writer, hello->profiles[i].formula);
    }
    pack_put_map(&writer, "limits");
    pack_put_u64(&writer, "max_request_bytes", CLIENT_REQUEST_SIZE_MAX);
    pack_put_u64(&writer, "max_rows", REQUEST_ROW_COUNT_MAX);
    pack_put_u64(&writer, "max_candidates", CANDIDATE_COUNT_MAX);
    pack_put_u64(&writer, "max_limit", RETRIEVE_LIMIT_MAX);
    pack_close(&writer);
    client_reply_end(&writer);
}

void client_reply_ping(buffer_t *out, slice_t id)
{
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, NULL);
    pack_put_bool(&writer, "pong", true);
    client_reply_end(&writer);
}

/* -- topology ---------------------------------------------------------------------------------- */

static void s_put_shard_fields(pack_writer_t *writer, const client_topology_shard_t *shard)
{
    pack_put_u64(writer, "shard", shard->shard.value);
    pack_put_u64(writer, "epoch", shard->epoch);
    if (shard->leader.size > 0) {
        pack_put_str(writer, "leader", shard->leader);
    } else {
        pack_put_nil(writer, "leader");
    }
    client_put_names(writer, "in_sync", shard->in_sync_count, shard->in_sync);
    client_put_names(writer, "regions", shard->region_count, shard->regions);
}

static void s_put_topology_shard(pack_writer_t *writer, const client_topology_shard_t *shard)
{
    pack_open_map(writer);
    s_put_shard_fields(writer, shard);
    pack_close(writer);
}

static void s_put_topology(pack_writer_t *writer, const client_topology_t *topology)
{
    pack_put_u64(writer, "version", topology->version);
    client_put_names(writer, "regions", topology->region_count, topology->regions);
    pack_put_array(writer, "shards");
    for (uint32_t i = 0; i < topology->shard_count; i++) {
        pack_item(writer);
        s_put_topology_shard(writer, &topology->shards[i]);
    }
    pack_close(writer);
    client_put_names(writer, "tenants", topology->tenant_count, topology->tenants);
}

void client_reply_topology(buffer_t *out, slice_t id, const client_topology_t *topology)
{
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, NULL);
    s_put_topology(&writer, topology);
    client_reply_end(&writer);
}

/* -- decisions of the control plane ------------------------------------------------------------ */

void client_reply_tenant(buffer_t *out, slice_t id, const client_tenant_t *tenant)
{
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, NULL);
    pack_put_str(&writer, "tenant", tenant->tenant);
    pack_put_u64(&writer, "generation", tenant->generation);
    client_put_names(&writer, "regions", tenant->region_count, tenant->regions);
    pack_put_text(&writer, "island", tenant->accepts_islands ? "accept" : "reject");
    pack_put_u64(&writer, "version", tenant->version);
    client_reply_end(&writer);
}

void client_reply_record(buffer_t *out, slice_t id, const client_record_t *record)
{
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, NULL);
    pack_put_str(&writer, "tenant", record->tenant);
    s_put_shard_fields(&writer, &record->shard);
    pack_put_u64(&writer, "record_version", record->record_version);
    pack_put_u64(&writer, "version", record->version);
    client_reply_end(&writer);
}

/* -- lag and digest ---------------------------------------------------------------------------- */

void client_put_lag(pack_writer_t *writer,
                    const char *key,
                    uint32_t count,
                    const client_lag_t *rows)
{
    pack_put_array(writer, key);
    for (uint32_t i = 0; i < count; i++) {
        const client_lag_t *row = &rows[i];
        bool behind = row->leader_seq > row->applied_seq;
        pack_item(writer);
        pack_open_map(writer);
        pack_put_str(writer, "region", row->region);
        pack_put_u64(writer, "shard", row->shard.value);
        pack_put_str(writer, "tenant", row->tenant);
        pack_put_str(writer, "origin", row->origin);
        pack_put_u64(writer, "leader_seq", row->leader_seq);
        pack_put_u64(writer, "applied_seq", row->applied_seq);
        pack_put_u64(writer, "lag_seq", behind ? row->leader_seq - row->applied_seq : 0);
        client_put_ms(writer, "lag_ms", row->lag_ms);
        pack_close(writer);
    }
    pack_close(writer);
}

void client_reply_lag(buffer_t *out, slice_t id, uint32_t count, const client_lag_t *rows)
{
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, NULL);
    client_put_lag(&writer, "nodes", count, rows);
    client_reply_end(&writer);
}

static void s_put_digest(pack_writer_t *writer, const client_digest_t *row)
{
    CHECK(row->applied_count <= MSGPACK_MAP_COUNT_MAX);
    pack_open_map(writer);
    pack_put_str(writer, "region", row->region);
    pack_put_u64(writer, "shard", row->shard.value);
    pack_put_str(writer, "tenant", row->tenant);
    pack_key(writer, "applied");
    pack_write_map(writer, row->applied_count);
    for (uint32_t i = 0; i < row->applied_count; i++) {
        pack_write_str(writer, row->applied[i].origin);
        pack_write_u64(writer, row->applied[i].seq);
    }
    if (row->answered) {
        char hex[2 * MSG_HASH_SIZE + 1];
        bytes_to_hex(row->digest, MSG_HASH_SIZE, hex);
        pack_put_text(writer, "digest", hex);
        pack_put_u64(writer, "signal_count", row->signal_count);
    } else {
        pack_put_nil(writer, "digest");
    }
    pack_close(writer);
}

void client_reply_digest(buffer_t *out, slice_t id, uint32_t count, const client_digest_t *rows)
{
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, NULL);
    pack_put_array(&writer, "nodes");
    for (uint32_t i = 0; i < count; i++) {
        pack_item(&writer);
        s_put_digest(&writer, &rows[i]);
    }
    pack_close(&writer);
    client_reply_end(&writer);
}

/* -- links ------------------------------------------------------------------------------------- */

static void s_put_link(pack_writer_t *writer, const client_link_t *link)
{
    CHECK(link->counter_count <= MSGPACK_MAP_COUNT_MAX);
    pack_open_map(writer);
    pack_put_str(writer, "from", link->from);
    pack_put_str(writer, "to", link->to);
    pack_put_text(writer, "mode", client_link_mode_name(link->rule.mode));
    pack_put_u64(writer, "delay_ms", link->rule.delay_ms);
    pack_put_u64(writer, "jitter_ms", link->rule.jitter_ms);
    pack_put_f64(writer, "drop", link->rule.drop);
    pack_put_f64(writer, "duplicate", link->rule.duplicate);
    pack_put_f64(writer, "reorder", link->rule.reorder);
    pack_put_u64(writer, "rate_bytes_s", link->rule.rate_bytes_s);
    pack_key(writer, "counters");
    pack_write_map(writer, link->counter_count);
    for (uint32_t i = 0; i < link->counter_count; i++) {
        pack_write_str(writer, link->counters[i].name);
        pack_write_u64(writer, link->counters[i].value);
    }
    pack_close(writer);
}

static void s_put_links(pack_writer_t *writer,
                        const char *key,
                        uint32_t count,
                        const client_link_t *links)
{
    pack_put_array(writer, key);
    for (uint32_t i = 0; i < count; i++) {
        pack_item(writer);
        s_put_link(writer, &links[i]);
    }
    pack_close(writer);
}

void client_reply_links(buffer_t *out, slice_t id, uint32_t count, const client_link_t *links)
{
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, NULL);
    s_put_links(&writer, "links", count, links);
    client_reply_end(&writer);
}

/* -- health and metrics ------------------------------------------------------------------------ */

void client_reply_health(
    buffer_t *out, slice_t id, bool ready, uint32_t reason_count, const slice_t *reasons)
{
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, NULL);
    pack_put_bool(&writer, "live", true);
    pack_put_bool(&writer, "ready", ready);
    client_put_names(&writer, "reasons", reason_count, reasons);
    client_reply_end(&writer);
}

void client_reply_metrics(buffer_t *out, slice_t id, uint32_t count, const msg_metric_t *metrics)
{
    static const double s_two_53 = 9007199254740992.0;
    CHECK(count <= MSGPACK_MAP_COUNT_MAX);
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, NULL);
    pack_key(&writer, "metrics");
    pack_write_map(&writer, count);
    for (uint32_t i = 0; i < count; i++) {
        double value = metrics[i].value;
        bool small = value > -s_two_53 && value < s_two_53;
        pack_write_str(&writer, metrics[i].name);
        if (small && (double)(int64_t)value == value) {
            pack_write_i64(&writer, (int64_t)value);
        } else {
            pack_write_f64(&writer, value);
        }
    }
    client_reply_end(&writer);
}

/* -- status ------------------------------------------------------------------------------------ */

static void s_put_process(pack_writer_t *writer, const client_process_t *process)
{
    pack_open_map(writer);
    pack_put_str(writer, "name", process->name);
    pack_put_str(writer, "kind", process->kind);
    pack_put_str(writer, "region", process->region);
    if (process->has_shard) {
        pack_put_u64(writer, "shard", process->shard.value);
    }
    pack_put_bool(writer, "alive", process->alive);
    pack_put_bool(writer, "ready", process->ready);
    client_put_people_text(writer, "reason", process->reason);
    pack_put_u64(writer, "boot", process->boot);
    client_put_ms(writer, "silent_ms", process->silent_ms);
    pack_put_u64(writer, "table_version", process->table_version);
    pack_close(writer);
}

static void s_put_usage(pack_writer_t *writer, const client_usage_t *usage)
{
    pack_open_map(writer);
    pack_put_str(writer, "tenant", usage->tenant);
    pack_put_i64(writer, "signals", usage->signals);
    pack_put_i64(writer, "bytes", usage->bytes);
    pack_close(writer);
}

void client_reply_status(buffer_t *out, slice_t id, const client_status_t *status)
{
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, NULL);
    pack_put_bool(&writer, "converged", status->converged);
    client_put_people_text(&writer, "summary", status->summary);
    s_put_topology(&writer, &status->topology);
    pack_put_array(&writer, "processes");
    for (uint32_t i = 0; i < status->process_count; i++) {
        pack_item(&writer);
        s_put_process(&writer, &status->processes[i]);
    }
    pack_close(&writer);
    client_put_lag(&writer, "lag", status->lag_count, status->lag);
    s_put_links(&writer, "links", status->link_count, status->links);
    pack_put_array(&writer, "usage");
    for (uint32_t i = 0; i < status->usage_count; i++) {
        pack_item(&writer);
        s_put_usage(&writer, &status->usage[i]);
    }
    pack_close(&writer);
    client_put_names(&writer, "migrations", 0, NULL);
    client_reply_end(&writer);
}
