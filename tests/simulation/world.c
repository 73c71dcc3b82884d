#include "tests/simulation/world.h"

#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/topology/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    S_PLACE_COUNT = REGION_COUNT_MAX + 1,
    S_RESTART_MS = 200, /* of a process that ended by itself */
    S_MONO_ZERO_S_MAX = 1000000
};

/* The wall clock of a place: base + rate * (world time - since). */
typedef struct {
    int64_t base_ns;
    int64_t since_ns;
    int64_t rate_ppm;
} s_clock_t;

typedef struct {
    world_t *world;
    net_t net;
} s_tool_t;

struct world {
    topology_t topology;
    prng_t prng;
    sim_network_t *network;
    sim_disk_t *disks[S_PLACE_COUNT];
    int64_t cut_restart_ms[S_PLACE_COUNT]; /* of a power cut that is planned */
    attic_t *attic;
    s_clock_t clocks[S_PLACE_COUNT];
    s_tool_t tools[S_PLACE_COUNT];
    uint32_t process_count;
    world_process_t *processes;
    int64_t now_ns;
    uint64_t step_count;
    uint64_t trace_hash;
    world_losses_t losses; /* of disks: those that are gone */
    buffer_t out;
    world_reply_fn on_reply;
    void *reply_context;
    world_turn_fn on_turn;
    void *turn_context;
};

static int64_t s_wall_ns(const world_t *self, region_id_t place)
{
    const s_clock_t *clock = &self->clocks[place.value];
    int64_t passed_ns = self->now_ns - clock->since_ns;
    return clock->base_ns + passed_ns + passed_ns / 1000000 * clock->rate_ppm;
}

static now_t s_now(const world_process_t *process)
{
    const world_t *self = process->world;
    return (now_t){self->now_ns + process->mono_zero, s_wall_ns(self, process->address.region)};
}

static void s_note(world_t *self, uint64_t what)
{
    self->trace_hash = (self->trace_hash ^ what ^ (uint64_t)self->now_ns) * UINT64_C(0x100000001b3);
}

/* -- processes --------------------------------------------------------------------------------- */

static void s_on_message(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size)
{
    world_process_t *process = context;
    world_t *self = process->world;
    self->now_ns = sim_network_now_ns(self->network);
    process->has_input = true;
    world_process_message(process, sim_network_sender(self->network), reply_to,
                          slice_make(bytes, size), s_now(process));
}

static void s_on_published(void *context, const char *topic, const uint8_t *bytes, size_t size)
{
    (void)topic;
    world_process_t *process = context;
    world_t *self = process->world;
    self->now_ns = sim_network_now_ns(self->network);
    process->has_input = true;
    world_process_published(process, slice_make(bytes, size), s_now(process));
}

static void s_listen(const world_process_t *process, process_address_t publisher, const char *topic)
{
    const world_t *self = process->world;
    if (topology_has_process(&self->topology, publisher)) {
        sim_network_subscribe(self->network, process->address, publisher, topic);
    }
}

static void s_listen_as_node(const world_process_t *process)
{
    char topic[ENGINE_TOPIC_SIZE];
    shard_id_t shard = process->address.shard;
    process_address_t receiver = {PROCESS_RECEIVER, process->address.region, {0}};
    process_address_t shipper = {PROCESS_SHIPPER, process->address.region, {0}};
    s_listen(process, receiver, ENGINE_TOPIC_AVAILABLE ENGINE_TOPIC_ALL);
    s_listen(process, receiver, engine_shard_topic(ENGINE_TOPIC_AVAILABLE, shard, topic));
    s_listen(process, shipper, ENGINE_TOPIC_CONFIRMED ENGINE_TOPIC_ALL);
    s_listen(process, shipper, engine_shard_topic(ENGINE_TOPIC_CONFIRMED, shard, topic));
}

static void s_listen_as_shipper(const world_process_t *process)
{
    const world_t *self = process->world;
    process_address_t receiver = {PROCESS_RECEIVER, process->address.region, {0}};
    s_listen(process, receiver, ENGINE_TOPIC_AVAILABLE);
    for (uint16_t shard = 0; shard < self->topology.shard_count; shard++) {
        process_address_t node = {PROCESS_NODE, process->address.region, {shard}};
        s_listen(process, node, ENGINE_TOPIC_POSITIONS);
    }
}

static void s_listen_as_control(const world_process_t *process)
{
    const world_t *self = process->world;
    for (uint32_t i = 0; i < self->process_count; i++) {
        if (self->processes[i].address.kind != PROCESS_CONTROL) {
            s_listen(process, self->processes[i].address, ENGINE_TOPIC_HEARTBEAT);
        }
    }
}

/* As the shells of the services do. */
static void s_subscribe(const world_process_t *process)
{
    if (process->address.kind != PROCESS_CONTROL) {
        s_listen(process, (process_address_t){PROCESS_CONTROL, {0}, {0}}, ENGINE_TOPIC_TABLE);
    }
    if (process->address.kind == PROCESS_NODE) {
        s_listen_as_node(process);
    } else if (process->address.kind == PROCESS_SHIPPER) {
        s_listen_as_shipper(process);
    } else if (process->address.kind == PROCESS_CONTROL) {
        s_listen_as_control(process);
    }
}

/* World time of what the process's own clock calls deadline. */
static void s_refresh_deadline(world_process_t *process)
{
    int64_t deadline = INT64_MAX;
    if (process->is_up) {
        deadline = world_process_deadline_ns(process);
        if (deadline != INT64_MAX && deadline != INT64_MIN) {
            deadline -= process->mono_zero;
        }
        if (process->next_heartbeat_ns < deadline) {
            deadline = process->next_heartbeat_ns;
        }
    } else if (!process->is_held) {
        deadline = process->restart_ns;
    }
    process->deadline_ns = deadline;
}

static void s_end(world_process_t *process, int64_t restart_ms, sim_network_sent_t sent)
{
    world_t *self = process->world;
    if (process->is_up) {
        world_process_close(process);
        sim_network_detach(self->network, process->address, sent);
        if (process->memory != NULL) {
            store_memory_crash(process->memory);
        }
        process->is_up = false;
        s_note(self, 1);
    }
    process->is_held = restart_ms < 0;
    process->restart_ns = restart_ms < 0 ? INT64_MAX : self->now_ns + restart_ms * WORLD_MS;
    s_refresh_deadline(process);
}

static void s_start(world_process_t *process)
{
    world_t *self = process->world;
    CHECK(!process->is_up);
    process->life++;
    process->is_held = false;
    process->mono_zero = (int64_t)prng_below(&self->prng, S_MONO_ZERO_S_MAX) * 1000 * WORLD_MS;
    sim_network_receiver_t receiver = {process, s_on_message, s_on_published};
    process->net = sim_network_attach(self->network, process->address, receiver);
    process->env = (engine_env_t){
        .topology = &self->topology,
        .self = process->address,
        .boot = prng_next(&self->prng),
        .seed = prng_next(&self->prng),
        .disk = sim_disk_disk(self->disks[process->address.region.value]),
        .net = &process->net,
        .data_folder = WORLD_DATA_FOLDER,
    };
    errbuf_t errbuf = {{0}};
    err_t err = world_process_open(process, s_now(process), &errbuf);
    process->is_up = true;
    process->has_input = true;
    process->heartbeat_number = 0;
    process->next_heartbeat_ns = self->now_ns;
    if (err != ERR_OK) {
        s_note(self, 2);
        process->ended_with = errbuf;
        self->losses.ended++;
        s_end(process, S_RESTART_MS, SIM_NETWORK_SENT_VANISHES);
        return;
    }
    s_note(self, 3);
    s_subscribe(process);
    s_refresh_deadline(process);
}

static void s_publish_heartbeat(world_process_t *process)
{
    world_t *self = process->world;
    int64_t periods = process->address.kind == PROCESS_NODE ? 2 : 4;
    process->next_heartbeat_ns =
        self->now_ns + periods * (int64_t)self->topology.timing.heartbeat_ms * WORLD_MS;
    msg_t msg;
    world_process_heartbeat(process, s_now(process), &msg);
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
    process->net.publish(process->net.context, ENGINE_TOPIC_HEARTBEAT, self->out.data,
                         self->out.size);
}

static void s_turn(world_process_t *process)
{
    world_t *self = process->world;
    if (!process->is_up) {
        s_start(process);
        return;
    }
    bool is_due = process->deadline_ns <= self->now_ns;
    process->has_input = false;
    errbuf_t errbuf = {{0}};
    err_t err = world_process_turn(process, is_due, s_now(process), &errbuf);
    if (err != ERR_OK) {
        process->ended_with = errbuf;
        self->losses.ended++;
        s_end(process, S_RESTART_MS, SIM_NETWORK_SENT_ARRIVES);
        return;
    }
    if (process->next_heartbeat_ns <= self->now_ns) {
        s_publish_heartbeat(process);
    }
    s_refresh_deadline(process);
    if (self->on_turn != NULL) {
        self->on_turn(self->turn_context, process);
    }
}

/* -- time -------------------------------------------------------------------------------------- */

int64_t world_now_ns(const world_t *self)
{
    return self->now_ns;
}

int64_t world_wall_ns(const world_t *self)
{
    return WORLD_START_WALL_NS + self->now_ns;
}

static int64_t s_next_ns(const world_t *self)
{
    int64_t next = sim_network_deadline_ns(self->network);
    for (uint32_t i = 0; i < self->process_count; i++) {
        int64_t deadline = self->processes[i].deadline_ns;
        next = deadline < next ? deadline : next;
    }
    return next < self->now_ns ? self->now_ns : next;
}

/* Whoever met the end of the power goes with all others of the region, before anybody sees more. */
static void s_cut_power(world_t *self, region_id_t region)
{
    if (sim_disk_stopped(self->disks[region.value])) {
        world_power_cut(self, region, self->cut_restart_ms[region.value]);
    }
}

void world_step(world_t *self, int64_t until_ns)
{
    int64_t next = s_next_ns(self);
    self->now_ns = next < until_ns ? next : until_ns;
    self->step_count++;
    (void)sim_network_deliver_due(self->network, self->now_ns);
    for (uint16_t region = 1; region <= self->topology.region_count; region++) {
        s_cut_power(self, (region_id_t){region});
    }
    for (uint32_t i = 0; i < self->process_count; i++) {
        world_process_t *process = &self->processes[i];
        if ((process->is_up && process->has_input) || process->deadline_ns <= self->now_ns) {
            s_turn(process);
            s_cut_power(self, process->address.region);
        }
    }
}

uint64_t world_trace_hash(const world_t *self)
{
    return self->trace_hash ^ sim_network_trace_hash(self->network);
}

uint64_t world_step_count(const world_t *self)
{
    return self->step_count;
}

static void s_add_losses(world_losses_t *losses, const sim_disk_t *disk)
{
    sim_disk_stats_t stats = sim_disk_stats(disk);
    losses->writes_lost += stats.lost_count;
    losses->writes_torn += stats.torn_count;
    losses->writes_cut += stats.full_count;
}

world_losses_t world_losses(const world_t *self)
{
    world_losses_t losses = self->losses;
    for (uint32_t place = 0; place < S_PLACE_COUNT && self->disks[place] != NULL; place++) {
        s_add_losses(&losses, self->disks[place]);
    }
    return losses;
}

/* -- looking ----------------------------------------------------------------------------------- */

const topology_t *world_topology(const world_t *self)
{
    return &self->topology;
}

uint32_t world_process_count(const world_t *self)
{
    return self->process_count;
}

world_process_t *world_process(world_t *self, uint32_t index)
{
    CHECK(index < self->process_count);
    return &self->processes[index];
}

world_process_t *world_find(world_t *self, process_address_t address)
{
    for (uint32_t i = 0; i < self->process_count; i++) {
        if (process_address_equal(self->processes[i].address, address)) {
            return &self->processes[i];
        }
    }
    CHECK(false);
    return NULL;
}

replica_t *world_replica(world_t *self, node_id_t node, tenant_id_t tenant)
{
    world_process_t *process =
        world_find(self, (process_address_t){PROCESS_NODE, node.region, node.shard});
    return process->is_up ? node_engine_replica(process->node, tenant) : NULL;
}

sim_disk_t *world_disk(world_t *self, region_id_t region)
{
    return self->disks[region.value];
}

const attic_t *world_attic(const world_t *self)
{
    return self->attic;
}

sim_network_t *world_network(world_t *self)
{
    return self->network;
}

void world_set_observer(world_t *self, world_turn_fn on_turn, void *context)
{
    self->on_turn = on_turn;
    self->turn_context = context;
}

/* -- clients ----------------------------------------------------------------------------------- */

static void s_on_reply(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size)
{
    (void)reply_to;
    s_tool_t *tool = context;
    world_t *self = tool->world;
    self->now_ns = sim_network_now_ns(self->network);
    if (self->on_reply != NULL) {
        self->on_reply(self->reply_context, slice_make(bytes, size));
    }
}

void world_set_client(world_t *self, world_reply_fn on_reply, void *context)
{
    self->on_reply = on_reply;
    self->reply_context = context;
}

err_t world_send(world_t *self, process_address_t to, slice_t bytes)
{
    const net_t *net = &self->tools[to.region.value].net;
    return net->send(net->context, to, bytes.data, bytes.size);
}

/* -- faults ------------------------------------------------------------------------------------ */

void world_kill(world_t *self, world_process_t *process, int64_t restart_ms)
{
    bool arrives = prng_chance(&self->prng, 0.5);
    self->losses.killed += process->is_up ? 1 : 0;
    s_end(process, restart_ms, arrives ? SIM_NETWORK_SENT_ARRIVES : SIM_NETWORK_SENT_VANISHES);
}

void world_release(world_t *self, world_process_t *process)
{
    (void)self;
    if (!process->is_up) {
        s_start(process);
    }
}

void world_power_cut(world_t *self, region_id_t region, int64_t restart_ms)
{
    for (uint32_t i = 0; i < self->process_count; i++) {
        if (self->processes[i].address.region.value == region.value) {
            world_kill(self, &self->processes[i], restart_ms);
        }
    }
    sim_disk_crash(self->disks[region.value], prng_next(&self->prng));
}

void world_power_cut_at(world_t *self, region_id_t region, uint64_t n, int64_t restart_ms)
{
    sim_disk_stop_at(self->disks[region.value], n);
    self->cut_restart_ms[region.value] = restart_ms;
}

void world_lose_disk(world_t *self, region_id_t region, int64_t restart_ms)
{
    world_power_cut(self, region, restart_ms);
    s_add_losses(&self->losses, self->disks[region.value]);
    sim_disk_destroy(&self->disks[region.value]);
    self->disks[region.value] = sim_disk_new(prng_next(&self->prng));
    attic_watch(self->attic, self->disks[region.value]);
    for (uint32_t i = 0; i < self->process_count; i++) {
        world_process_t *process = &self->processes[i];
        if (process->memory != NULL && process->address.region.value == region.value) {
            store_memory_destroy(&process->memory);
            process->memory = store_memory_new();
        }
    }
}

void world_change_clock(world_t *self, region_id_t place, int64_t jump_ns, int64_t rate_ppm)
{
    s_clock_t *clock = &self->clocks[place.value];
    clock->base_ns = s_wall_ns(self, place) + jump_ns;
    clock->since_ns = self->now_ns;
    clock->rate_ppm = rate_ppm;
}

void world_set_clock_right(world_t *self, region_id_t place)
{
    world_change_clock(self, place, world_wall_ns(self) - s_wall_ns(self, place), 0);
}

void world_release_all(world_t *self)
{
    for (uint32_t i = 0; i < self->process_count; i++) {
        if (!self->processes[i].is_up) {
            s_start(&self->processes[i]);
        }
    }
}

/* -- life -------------------------------------------------------------------------------------- */

static void s_make_network(world_t *self, const world_options_t *options)
{
    sim_network_options_t network = {.seed = prng_next(&self->prng),
                                     .local_jitter_ns = options->local_jitter_ns,
                                     .link_latency_ns = options->link_latency_ns,
                                     .link_jitter_ns = options->link_jitter_ns};
    self->network = sim_network_new(&network);
    for (uint16_t place = 0; place <= options->region_count; place++) {
        self->disks[place] = sim_disk_new(prng_next(&self->prng));
        attic_watch(self->attic, self->disks[place]);
        self->clocks[place] = (s_clock_t){.base_ns = WORLD_START_WALL_NS};
        self->tools[place].world = self;
        sim_network_receiver_t receiver = {&self->tools[place], s_on_reply, NULL};
        self->tools[place].net = sim_network_attach(
            self->network, (process_address_t){PROCESS_TOOL, {place}, {0}}, receiver);
    }
}

/* The control plane finds a table in which tenant default accepts islands. */
static void s_accept_islands(world_t *self)
{
    table_t *first = table_new_default(&self->topology);
    table_t *table = table_next(first);
    table_tenant_t tenant = *table_find_tenant(table, TENANT_DEFAULT);
    tenant.island = ISLAND_ACCEPT;
    errbuf_t errbuf;
    err_t err = table_set_tenant(table, &tenant, &errbuf);
    CHECK(err == ERR_OK);
    err = table_cache_save(table, sim_disk_disk(self->disks[0]), WORLD_DATA_FOLDER "/control/table",
                           &errbuf);
    CHECK(err == ERR_OK);
    table_destroy(&table);
    table_destroy(&first);
}

world_t *world_new(const world_options_t *options)
{
    world_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    prng_init(&self->prng, options->seed);
    topology_init_default(&self->topology, options->region_count, options->shard_count);
    if (options->segment_size_bytes != 0) {
        self->topology.log.segment_size_bytes = options->segment_size_bytes;
    }
    if (options->checkpoint_ms != 0) {
        self->topology.checkpoint.interval_ms = options->checkpoint_ms;
    }
    self->topology.log.retain_bytes = options->retain_bytes;
    self->attic = attic_new();
    s_make_network(self, options);
    if (options->accepts_islands) {
        s_accept_islands(self);
    }
    uint32_t count = topology_process_count(&self->topology);
    self->processes = calloc(count, sizeof(*self->processes));
    CHECK(self->processes != NULL);
    for (uint32_t i = 0; i < count; i++) {
        process_address_t address = topology_process(&self->topology, i);
        if (address.kind != PROCESS_PROXY) {
            world_process_t *process = &self->processes[self->process_count++];
            *process = (world_process_t){.world = self, .address = address};
            process->memory = address.kind == PROCESS_NODE ? store_memory_new() : NULL;
        }
    }
    world_release_all(self);
    return self;
}

void world_destroy(world_t **self_p)
{
    world_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->process_count; i++) {
        world_process_close(&self->processes[i]);
        store_memory_destroy(&self->processes[i].memory);
    }
    free(self->processes);
    sim_network_destroy(&self->network);
    for (uint32_t place = 0; place < S_PLACE_COUNT; place++) {
        sim_disk_destroy(&self->disks[place]);
    }
    attic_destroy(&self->attic);
    buffer_done(&self->out);
    free(self);
    *self_p = NULL;
}
