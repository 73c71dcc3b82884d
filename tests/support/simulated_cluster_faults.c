/* What can be done to a simulated cluster: cuts, repeated and damaged messages, processes that
 * stop, files that are lost. */
#include "common/base/check.h"
#include "tests/support/simulated_cluster_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- faults ------------------------------------------------------------------------------------ */

static void s_set_link(simulated_cluster_t *self, region_id_t from, region_id_t to)
{
    link_rule_t rule = {.mode = LINK_MODE_PASS};
    if (self->cut_count[from.value][to.value] > 0) {
        rule.mode = LINK_MODE_CUT;
    }
    errbuf_t errbuf;
    err_t err = sim_network_set_link(self->network, (link_id_t){from, to}, &rule, &errbuf);
    CHECK(err == ERR_OK);
}

static uint64_t s_dropped(const simulated_cluster_t *self, region_id_t a, region_id_t b)
{
    const link_rules_t *links = sim_network_links(self->network);
    return link_counters_dropped(link_rules_counters(links, (link_id_t){a, b})) +
           link_counters_dropped(link_rules_counters(links, (link_id_t){b, a}));
}

static void s_change_cut(simulated_cluster_t *self, region_id_t a, region_id_t b, bool cut)
{
    uint32_t *there = &self->cut_count[a.value][b.value];
    uint32_t *back = &self->cut_count[b.value][a.value];
    CHECK(cut || (*there > 0 && *back > 0));
    *there = cut ? *there + 1 : *there - 1;
    *back = cut ? *back + 1 : *back - 1;
    s_set_link(self, a, b);
    s_set_link(self, b, a);
}

simulated_partition_t *simulated_cluster_inject_partition(simulated_cluster_t *self,
                                                          region_id_t a,
                                                          region_id_t b)
{
    simulated_partition_t *partition = calloc(1, sizeof(*partition));
    CHECK(partition != NULL && a.value != b.value);
    *partition = (simulated_partition_t){.cluster = self,
                                         .a = a,
                                         .b = b,
                                         .dropped_before = s_dropped(self, a, b),
                                         .next = self->partitions};
    self->partitions = partition;
    s_change_cut(self, a, b, true);
    return partition;
}

static void s_heal(simulated_partition_t *partition)
{
    if (!partition->is_healed) {
        partition->is_healed = true;
        partition->dropped =
            s_dropped(partition->cluster, partition->a, partition->b) - partition->dropped_before;
        s_change_cut(partition->cluster, partition->a, partition->b, false);
    }
}

uint64_t simulated_partition_dropped_count(const simulated_partition_t *self)
{
    return self->is_healed ? self->dropped
                           : s_dropped(self->cluster, self->a, self->b) - self->dropped_before;
}

void simulated_partition_destroy(simulated_partition_t **self_p)
{
    simulated_partition_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    s_heal(self);
    simulated_partition_t **at = &self->cluster->partitions;
    while (*at != self) {
        at = &(*at)->next;
    }
    *at = self->next;
    free(self);
    *self_p = NULL;
}

void simulated_cluster_heal_all_partitions(simulated_cluster_t *self)
{
    for (simulated_partition_t *at = self->partitions; at != NULL; at = at->next) {
        s_heal(at);
    }
}

static void s_corrupt_piece(simulated_cluster_t *self, uint8_t *bytes, size_t size)
{
    msg_t msg;
    errbuf_t errbuf;
    if (msg_decode(self->codec, slice_make(bytes, size), &msg, &errbuf) == ERR_OK &&
        msg.type == MSG_SNAPSHOT_PIECE && msg.as.snapshot_piece.bytes.size > 0) {
        slice_t piece = msg.as.snapshot_piece.bytes;
        uint64_t bit = self->corrupt_bit % (piece.size * 8);
        bytes[(size_t)(piece.data - bytes) + bit / 8] ^= (uint8_t)(1u << (bit % 8));
        self->corrupt_piece_to = (region_id_t){0};
    }
}

/* Sees what shippers send: keeps the last blocks of each link, and damages those asked for. */
void simulated_cluster_tap(
    void *context, process_address_t from, process_address_t to, uint8_t *bytes, size_t size)
{
    simulated_cluster_t *self = context;
    if (from.kind == PROCESS_RECONCILER && to.kind == PROCESS_RECONCILER &&
        to.region.value == self->corrupt_piece_to.value) {
        s_corrupt_piece(self, bytes, size);
    }
    if (from.kind != PROCESS_SHIPPER || to.kind != PROCESS_RECEIVER) {
        return;
    }
    msg_t msg;
    errbuf_t errbuf;
    err_t err = msg_decode(self->codec, slice_make(bytes, size), &msg, &errbuf);
    if (err != ERR_OK || msg.type != MSG_SHIP_BLOCKS) {
        return;
    }
    buffer_t *kept = &self->shipped[from.region.value][to.region.value].bytes;
    buffer_clear(kept);
    buffer_append(kept, bytes, size);
    if (self->corrupts && to.region.value == self->corrupt_to.value) {
        size_t offset = (size_t)(msg.as.ship_blocks.blocks.data - bytes);
        uint64_t bit = self->corrupt_bit % (msg.as.ship_blocks.blocks.size * 8);
        bytes[offset + bit / 8] ^= (uint8_t)(1u << (bit % 8));
        self->corrupts = false;
    }
}

void simulated_cluster_replay_last_batch(simulated_cluster_t *self, region_id_t region)
{
    const simulated_process_t *shipper =
        simulated_process_find(self, simulated_address(PROCESS_SHIPPER, region));
    for (uint16_t to = 1; to <= REGION_COUNT_MAX; to++) {
        buffer_t copy;
        buffer_init(&copy);
        buffer_append(&copy, self->shipped[region.value][to].bytes.data,
                      self->shipped[region.value][to].bytes.size);
        if (copy.size > 0) {
            (void)shipper->net.send(shipper->net.context,
                                    simulated_address(PROCESS_RECEIVER, (region_id_t){to}),
                                    copy.data, copy.size);
        }
        buffer_done(&copy);
    }
}

void simulated_cluster_corrupt_next_blocks(simulated_cluster_t *self, region_id_t to, uint64_t bit)
{
    self->corrupts = true;
    self->corrupt_to = to;
    self->corrupt_bit = bit;
}

void simulated_cluster_corrupt_next_piece(simulated_cluster_t *self, region_id_t to, uint64_t bit)
{
    self->corrupt_piece_to = to;
    self->corrupt_bit = bit;
}

void simulated_cluster_stop(simulated_cluster_t *self, process_address_t process)
{
    simulated_process_t *at = simulated_process_find(self, process);
    CHECK(at->is_up);
    simulated_process_stop(at);
}

void simulated_cluster_start(simulated_cluster_t *self, process_address_t process)
{
    simulated_process_start(simulated_process_find(self, process));
}

static process_address_t s_node_process(node_id_t node)
{
    return (process_address_t){PROCESS_NODE, node.region, node.shard};
}

simulated_crash_t *simulated_cluster_inject_shard_crash(simulated_cluster_t *self, node_id_t node)
{
    simulated_crash_t *crash = calloc(1, sizeof(*crash));
    CHECK(crash != NULL);
    *crash = (simulated_crash_t){.cluster = self, .process = s_node_process(node)};
    simulated_cluster_stop(self, crash->process);
    self->crash_count++;
    return crash;
}

void simulated_crash_destroy(simulated_crash_t **self_p)
{
    simulated_crash_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    simulated_cluster_start(self->cluster, self->process);
    self->cluster->crash_count--;
    free(self);
    *self_p = NULL;
}

void simulated_cluster_lose_announcements(simulated_cluster_t *self, node_id_t node, bool lost)
{
    simulated_process_find(self, s_node_process(node))->is_deaf = lost;
}

store_t simulated_cluster_store(const simulated_cluster_t *self, node_id_t node)
{
    simulated_process_t *at = simulated_process_find(self, s_node_process(node));
    CHECK(!at->is_up);
    return store_memory_store(at->memory);
}

const reconcile_report_t *simulated_cluster_report(const simulated_cluster_t *self,
                                                   region_id_t region)
{
    return reconcile_engine_report(
        simulated_process_find(self, simulated_address(PROCESS_RECONCILER, region))->reconciler);
}

static void s_wipe(simulated_cluster_t *self, region_id_t region, const char *below)
{
    char folder[128];
    (void)snprintf(folder, sizeof(folder), SIMULATED_DATA "/%s%s",
                   topology_place_name(&self->topology, region), below);
    sim_disk_wipe(self->disks[region.value], folder);
}

static void s_wipe_store(simulated_process_t *process)
{
    CHECK(!process->is_up);
    store_memory_destroy(&process->memory);
    process->memory = store_memory_new();
}

void simulated_cluster_lose_checkpoint(simulated_cluster_t *self, node_id_t node)
{
    s_wipe_store(simulated_process_find(self, s_node_process(node)));
}

void simulated_cluster_wipe_node(simulated_cluster_t *self, node_id_t node)
{
    char below[32];
    (void)snprintf(below, sizeof(below), "/shard-%u", (unsigned)node.shard.value);
    s_wipe_store(simulated_process_find(self, s_node_process(node)));
    s_wipe(self, node.region, below);
}

/* The region's processes are down; what they kept in stores is gone. */
static void s_wipe_stores(simulated_cluster_t *self, region_id_t region)
{
    for (uint32_t i = 0; i < self->process_count; i++) {
        simulated_process_t *process = &self->processes[i];
        bool is_there = process->address.region.value == region.value;
        CHECK_IMPLIES(is_there, !process->is_up);
        if (is_there && process->memory != NULL) {
            s_wipe_store(process);
        }
    }
}

void simulated_cluster_wipe_region(simulated_cluster_t *self, region_id_t region)
{
    s_wipe_stores(self, region);
    s_wipe(self, region, "");
}

sim_disk_t *simulated_cluster_disk(const simulated_cluster_t *self, region_id_t region)
{
    return self->disks[region.value];
}

sim_disk_t *simulated_cluster_copy_disk(const simulated_cluster_t *self, region_id_t region)
{
    return sim_disk_clone(self->disks[region.value]);
}

void simulated_cluster_set_back(simulated_cluster_t *self, region_id_t region, sim_disk_t **disk_p)
{
    s_wipe_stores(self, region);
    sim_disk_destroy(&self->disks[region.value]);
    self->disks[region.value] = *disk_p;
    *disk_p = NULL;
}

bool simulated_cluster_tell_to_stop(simulated_cluster_t *self, node_id_t node)
{
    simulated_process_t *process =
        simulated_process_find(self, (process_address_t){PROCESS_NODE, node.region, node.shard});
    CHECK(process->node != NULL);
    return node_engine_stop(process->node);
}

const char *simulated_cluster_unready(const simulated_cluster_t *self, node_id_t node)
{
    const simulated_process_t *process = simulated_process_find(self, s_node_process(node));
    const char *reason = "";
    CHECK(process->node != NULL);
    (void)node_engine_is_ready(process->node, &reason);
    return reason;
}
