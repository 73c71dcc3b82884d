/* Single signals and single scores: made of what simulated_cluster.h offers. */
#include "common/base/check.h"
#include "tests/support/simulated_cluster.h"

simulated_write_t simulated_cluster_write_signal(simulated_cluster_t *self,
                                                 const signal_event_t *event)
{
    shard_id_t shard = simulated_cluster_shard_of(self, event->item);
    return simulated_cluster_write_to(self, simulated_cluster_leader(self, shard), event, 1,
                                      (simulated_form_t){.level = ACK_REPLICATED});
}

double simulated_cluster_read_decay_score(
    simulated_cluster_t *self, node_id_t node, item_id_t item, uint8_t signal, int64_t at_ns)
{
    uint8_t items[8];
    bytes_put_u64(items, item.value);
    msg_read_t read = {.kind = READ_CELLS, .at_ns = at_ns};
    read.as.cells.items = slice_make(items, sizeof(items));
    read.as.cells.signals = slice_make(&signal, 1);
    const msg_read_reply_t *reply = NULL;
    err_t err = simulated_cluster_read(self, node, &read, &reply);
    CHECK(err == ERR_OK && reply->code == CODE_OK && reply->as.cells.cell_count == 1);
    return reply->as.cells.cells[0].score;
}
