/* A gateway engine between scripted clients and nodes: the network is a list of what was sent. */
#ifndef TIDAL_TESTS_UNIT_GATEWAY_SUPPORT_H
#define TIDAL_TESTS_UNIT_GATEWAY_SUPPORT_H

#include "common/gateway/gateway_engine.h"
#include "common/topology/route.h"
#include "common/topology/table.h"
#include "common/wire/client_reply.h"
#include "tests/support/sim_disk.h"

enum { GATEWAY_SENT_COUNT_MAX = 4096, GATEWAY_REPLY_COUNT_MAX = 4096 };

#define GATEWAY_TEST_WALL_NS (INT64_C(1700000000) * 1000000000)

/* A message to a process. */
typedef struct {
    process_address_t to;
    buffer_t bytes;
} gateway_sent_t;

typedef struct {
    topology_t topology;
    sim_disk_t *disk;
    net_t net;
    engine_env_t env;
    uint64_t held_size_max; /* for the next start; 0 the default */
    gateway_engine_t *engine;
    now_t now;
    uint32_t sent_count;
    gateway_sent_t sent[GATEWAY_SENT_COUNT_MAX];
    uint32_t taken_count; /* of sent, by gateway_test_next */
    bool
        takes_pairs; /* gateway_test_next gives questions about pairs; else no shard has seen one */
    buffer_t replies[GATEWAY_REPLY_COUNT_MAX]; /* by handle - 1 */
    uint32_t reply_counts[GATEWAY_REPLY_COUNT_MAX];
    uint32_t forget_counts[GATEWAY_REPLY_COUNT_MAX];
    uint64_t handle_count;
    err_t send_errors[REGION_COUNT_MAX + 1]; /* what send to nodes of a region returns */
    msg_codec_t *codec;
    pack_writer_t writer;
    buffer_t request;
    buffer_t scratch;
} gateway_test_t;

/* Gateway of region 1 of a default topology, with the default table. */
gateway_test_t *gateway_test_new(uint32_t region_count, uint32_t shard_count);
/* The same before any table was heard. */
gateway_test_t *gateway_test_new_bare(uint32_t region_count, uint32_t shard_count);
void gateway_test_destroy(gateway_test_t **self_p);
/* The engine ends and starts again over the same disk. */
void gateway_test_restart(gateway_test_t *self);
/* The control plane publishes this table. */
void gateway_test_publish(gateway_test_t *self,
                          const table_t *table,
                          const stream_position_t *stable,
                          uint32_t stable_count);

/* Opens a request with `op` and `id` 7; fields are put with the returned writer. */
pack_writer_t *gateway_test_request(gateway_test_t *self, const char *op);
/* Closes it and hands it in; returns the handle. */
uint64_t gateway_test_ask(gateway_test_t *self);
/* Any bytes. */
uint64_t gateway_test_ask_bytes(gateway_test_t *self, slice_t bytes);

/* The reply to a handle; fails the test when there is not exactly one. */
slice_t gateway_test_reply(gateway_test_t *self, uint64_t handle);
bool gateway_test_has_reply(const gateway_test_t *self, uint64_t handle);
/* The value in a reply. */
pack_value_t gateway_test_value(gateway_test_t *self, uint64_t handle, const char *path);
uint64_t gateway_test_u64(gateway_test_t *self, uint64_t handle, const char *path);
/* Fails the test unless the reply has this code; CODE_OK: ok. */
void gateway_test_expect_code(gateway_test_t *self, uint64_t handle, code_t code);
/* Fails the test unless the text at the path is this one. */
void gateway_test_expect_text(gateway_test_t *self,
                              uint64_t handle,
                              const char *path,
                              const char *text);

void gateway_test_decode(gateway_test_t *self, const gateway_sent_t *sent, msg_t *ret_msg);
/* The next message to a node that nobody has taken yet, probes left out; false when there is none.
 * Borrows until the next call. */
bool gateway_test_next(gateway_test_t *self, node_id_t *ret_to, msg_t *ret_msg);
/* Fails the test when there is none. */
node_id_t gateway_test_take(gateway_test_t *self, msg_t *ret_msg);
/* Fails the test when there is one. */
void gateway_test_expect_silence(gateway_test_t *self);

void gateway_test_answer(gateway_test_t *self, node_id_t from, const msg_t *msg);
/* A good answer to a write: logged as events 1..n of the node's stream, held by all regions. */
msg_t gateway_test_write_ok(const gateway_test_t *self, node_id_t from, const msg_write_t *write);
msg_t gateway_test_write_refused(const msg_write_t *write, code_t code, region_id_t leader);
msg_t gateway_test_read_reply(const msg_read_t *read, code_t code);
/* The same without cells, ranking or rows. */
stream_id_t gateway_test_stream(node_id_t node);

/* Time goes on in steps of 10 ms; probes are answered but those of `cut` regions. */
void gateway_test_run_ms(gateway_test_t *self, int64_t ms, region_set_t cut);

/* An item, or user, of that shard of tenant `default`; each n another one. */
uint64_t gateway_test_entity(const gateway_test_t *self, uint16_t shard, uint32_t n);

#endif
