#include "tests/unit/reconcile_support.h"

#include "common/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { S_FIRST_SEQ = 100, S_SECOND_SEQ = 50 };

stream_id_t reconcile_model_stream(uint64_t tenant, uint16_t shard, uint16_t origin)
{
    return (stream_id_t){
        .tenant = {tenant}, .incarnation = 0xab00U + origin, .origin = {{origin}, {shard}}};
}

static void s_add_row(reconcile_model_t *self, uint16_t region, uint64_t tenant, uint16_t shard)
{
    uint32_t at = self->row_counts[region]++;
    CHECK(at < RECONCILE_MODEL_ROW_COUNT);
    stream_position_t *applied = self->applied[region][at];
    applied[0] = (stream_position_t){reconcile_model_stream(tenant, shard, 1), S_FIRST_SEQ};
    applied[1] = (stream_position_t){reconcile_model_stream(tenant, shard, 2), S_SECOND_SEQ};
    msg_reconcile_row_t *row = &self->rows[region][at];
    *row = (msg_reconcile_row_t){.node = {{region}, {shard}},
                                 .tenant = {tenant},
                                 .answered = true,
                                 .applied_count = RECONCILE_MODEL_STREAM_COUNT,
                                 .applied = applied};
    memset(row->digest, 0x10 + shard, sizeof(row->digest));
}

static void s_add_rows(reconcile_model_t *self, uint64_t tenant, region_set_t placed)
{
    for (uint16_t region = 1; region <= self->topology.region_count; region++) {
        for (uint16_t shard = 0;
             region_set_has(placed, (region_id_t){region}) && shard < self->topology.shard_count;
             shard++) {
            s_add_row(self, region, tenant, shard);
        }
    }
}

reconcile_model_t *reconcile_model_new(uint32_t region_count, uint32_t shard_count)
{
    reconcile_model_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    topology_init_default(&self->topology, region_count, shard_count);
    self->table = table_new_default(&self->topology);
    s_add_rows(self, TENANT_DEFAULT.value, topology_regions(&self->topology));
    return self;
}

void reconcile_model_destroy(reconcile_model_t **self_p)
{
    if (*self_p != NULL) {
        table_destroy(&(*self_p)->table);
        free(*self_p);
        *self_p = NULL;
    }
}

void reconcile_model_add_tenant(reconcile_model_t *self,
                                uint64_t id,
                                const char *name,
                                region_set_t placed)
{
    table_tenant_t tenant = {.id = {id}, .full = placed};
    (void)snprintf(tenant.name, sizeof(tenant.name), "%s", name);
    table_record_t records[SHARD_COUNT_MAX];
    for (uint32_t i = 0; i < SHARD_COUNT_MAX; i++) {
        records[i] =
            (table_record_t){.epoch = 1, .version = 1, .in_sync = placed, .placed = placed};
        records[i].leader.value = (uint16_t)__builtin_ctz(placed.bits);
    }
    table_t *next = table_next(self->table);
    errbuf_t errbuf;
    CHECK(table_add_tenant(next, &tenant, records, &errbuf) == ERR_OK);
    table_destroy(&self->table);
    self->table = next;
    s_add_rows(self, id, placed);
}

msg_reconcile_row_t *reconcile_model_row(reconcile_model_t *self,
                                         uint16_t region,
                                         uint64_t tenant,
                                         uint16_t shard)
{
    uint32_t i = 0;
    while (i < self->row_counts[region] && (self->rows[region][i].tenant.value != tenant ||
                                            self->rows[region][i].node.shard.value != shard)) {
        i++;
    }
    CHECK(i < self->row_counts[region]);
    return &self->rows[region][i];
}

void reconcile_model_set_seq(
    reconcile_model_t *self, node_id_t node, uint64_t tenant, uint16_t origin, uint64_t seq)
{
    const msg_reconcile_row_t *row =
        reconcile_model_row(self, node.region.value, tenant, node.shard.value);
    uint32_t at = (uint32_t)(row - self->rows[node.region.value]);
    CHECK(origin == 1 || origin == 2);
    self->applied[node.region.value][at][origin - 1].seq = seq;
}

void reconcile_model_set_digest(reconcile_model_t *self,
                                node_id_t node,
                                uint64_t tenant,
                                uint8_t byte)
{
    msg_reconcile_row_t *row =
        reconcile_model_row(self, node.region.value, tenant, node.shard.value);
    memset(row->digest, byte, sizeof(row->digest));
}

reconcile_state_t reconcile_model_state(reconcile_model_t *self, uint16_t region)
{
    return (reconcile_state_t){{region}, self->row_counts[region], self->rows[region]};
}

void reconcile_model_compare(reconcile_model_t *self,
                             const uint16_t *regions,
                             uint32_t region_count,
                             reconcile_report_t *report)
{
    reconcile_state_t states[REGION_COUNT_MAX];
    for (uint32_t i = 0; i < region_count; i++) {
        states[i] = reconcile_model_state(self, regions[i]);
    }
    reconcile_compare(self->table, topology_regions(&self->topology), states, region_count, report);
}

const reconcile_line_t *reconcile_line(const reconcile_report_t *report,
                                       uint64_t tenant,
                                       uint16_t region,
                                       uint16_t shard)
{
    const reconcile_line_t *found = NULL;
    for (uint32_t i = 0; i < report->line_count; i++) {
        const reconcile_line_t *line = &report->lines[i];
        bool is_it = line->tenant.value == tenant && line->node.region.value == region &&
                     line->node.shard.value == shard;
        found = is_it ? line : found;
    }
    CHECK(found != NULL);
    return found;
}
