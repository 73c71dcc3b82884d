#include "tests/simulation/faults.h"

#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/engine/base_file.h"
#include "common/topology/table.h"
#include "common/wal/wal_files.h"
#include "common/wire/pack.h"

#include <stdio.h>
#include <string.h>

enum {
    S_RESTART_MS_MAX = 1500,
    S_LASTING_MS_MAX = 2500,
    S_FLAP_MS = 300,
    S_LEFT_SIZE_MAX = 40000,
    S_ADMITTED_SIZE_MAX = 100000,
    S_CHANGE_COUNT_MAX = 12
};

const char *fault_name(fault_kind_t kind)
{
#define FAULTS_NAME(name, text, weight) text,
    static const char *const s_names[] = {FAULTS_LIST(FAULTS_NAME)};
#undef FAULTS_NAME
    CHECK((int)kind < FAULT_KIND_COUNT);
    return s_names[kind];
}

const char *fault_effect_name(fault_effect_t effect)
{
#define FAULTS_NAME(name, text) text,
    static const char *const s_names[] = {FAULTS_EFFECTS(FAULTS_NAME)};
#undef FAULTS_NAME
    CHECK((int)effect < FAULT_EFFECT_COUNT);
    return s_names[effect];
}

/* -- the plan ---------------------------------------------------------------------------------- */

static fault_kind_t s_draw_kind(prng_t *prng)
{
#define FAULTS_WEIGHT(name, text, weight) weight,
    static const uint32_t s_weights[] = {FAULTS_LIST(FAULTS_WEIGHT)};
#undef FAULTS_WEIGHT
    uint32_t total = 0;
    for (uint32_t i = 0; i < FAULT_KIND_COUNT; i++) {
        total += s_weights[i];
    }
    uint64_t lot = prng_below(prng, total);
    uint32_t kind = 0;
    while (lot >= s_weights[kind]) {
        lot -= s_weights[kind++];
    }
    return (fault_kind_t)kind;
}

/* The version of the table, which every decision raises by one. */
static uint64_t s_decision_count(world_t *world)
{
    const world_process_t *control =
        world_find(world, (process_address_t){PROCESS_CONTROL, {0}, {0}});
    return control->is_up ? control_engine_table_version(control->control) : 0;
}

void faults_plan(faults_t *self, world_t *world, const faults_options_t *options)
{
    CHECK(options->count <= FAULTS_COUNT_MAX);
    prng_t prng;
    prng_init(&prng, options->seed);
    uint64_t duration_ns = (uint64_t)options->duration_ns;
    *self = (faults_t){.world = world, .decision_count = s_decision_count(world)};
    for (uint32_t i = 0; i < options->count; i++, self->count++) {
        bool lost_before = faults_lose_disk(self);
        self->list[i] = (fault_t){
            .at_ns = world_now_ns(world) + (int64_t)prng_below(&prng, duration_ns),
            .kind = s_draw_kind(&prng),
            .lot = prng_next(&prng),
            .duration_ns = (100 + (int64_t)prng_below(&prng, S_LASTING_MS_MAX)) * WORLD_MS,
        };
        fault_kind_t kind = self->list[i].kind;
        bool lost_now = kind == FAULT_LOSE_DISK;
        if ((options->keeps_disks && lost_now) ||
            (lost_before && (lost_now || kind == FAULT_BIT_FLIP)) ||
            (lost_now && self->flip_count > 0)) {
            self->list[i].kind = FAULT_KILL; /* more might be of the last copy that is whole */
        }
        self->flip_count += self->list[i].kind == FAULT_BIT_FLIP ? 1 : 0;
    }
}

bool faults_lose_disk(const faults_t *self)
{
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->list[i].kind == FAULT_LOSE_DISK) {
            return true;
        }
    }
    return false;
}

/* -- links ------------------------------------------------------------------------------------- */

static void s_set_link(faults_t *self, uint16_t from, uint16_t to)
{
    link_rule_t rule = self->base[from][to];
    if (self->blocked[from][to] > 0) {
        rule.mode = self->mode[from][to];
    }
    errbuf_t errbuf;
    err_t err =
        sim_network_set_link(world_network(self->world), (link_id_t){{from}, {to}}, &rule, &errbuf);
    CHECK(err == ERR_OK);
}

static void s_block(faults_t *self, uint16_t from, uint16_t to, link_mode_t mode, bool begins)
{
    if (from == to) {
        return;
    }
    CHECK(begins || self->blocked[from][to] > 0);
    if (!begins) {
        const link_rules_t *links = sim_network_links(world_network(self->world));
        const link_counters_t *counters = link_rules_counters(links, (link_id_t){{from}, {to}});
        bool is_held = self->mode[from][to] == LINK_MODE_HOLD;
        self->held_count += is_held ? counters->waiting_count : 0;
    }
    self->blocked[from][to] = begins ? self->blocked[from][to] + 1 : self->blocked[from][to] - 1;
    if (begins) {
        self->mode[from][to] = mode;
    }
    s_set_link(self, from, to);
}

/* The choices of a fault, the same at its beginning and at its end. */
typedef struct {
    uint16_t a;
    uint16_t b; /* another place */
    link_mode_t mode;
} s_choice_t;

static s_choice_t s_choose(const faults_t *self, const fault_t *fault, prng_t *ret_prng)
{
    prng_init(ret_prng, fault->lot);
    uint32_t regions = world_topology(self->world)->region_count;
    static const link_mode_t s_modes[] = {LINK_MODE_CUT, LINK_MODE_DROP, LINK_MODE_HOLD};
    s_choice_t choice;
    choice.a = (uint16_t)(1 + prng_below(ret_prng, regions));
    choice.b = (uint16_t)((choice.a + 1 + prng_below(ret_prng, regions)) % (regions + 1));
    choice.mode = s_modes[prng_below(ret_prng, 3)];
    return choice;
}

static void s_isolate(faults_t *self, const s_choice_t *choice, bool begins)
{
    for (uint16_t other = 0; other <= world_topology(self->world)->region_count; other++) {
        s_block(self, choice->a, other, choice->mode, begins);
        s_block(self, other, choice->a, choice->mode, begins);
    }
}

static link_rule_t s_draw_noise(prng_t *prng)
{
    link_rule_t rule = {.mode = LINK_MODE_PASS};
    rule.drop = prng_unit(prng) * prng_unit(prng) * 0.3;
    rule.duplicate = prng_unit(prng) * 0.3;
    rule.reorder = prng_unit(prng) * 0.3;
    rule.delay_ms = (uint32_t)prng_below(prng, 60);
    rule.jitter_ms = (uint32_t)prng_below(prng, 60);
    return rule;
}

static void s_noise(faults_t *self, prng_t *prng, bool begins)
{
    uint16_t places = (uint16_t)(world_topology(self->world)->region_count + 1);
    for (uint16_t link = 0; link < places * places; link++) {
        uint16_t from = link / places;
        uint16_t to = link % places;
        if (from != to) {
            self->base[from][to] =
                begins ? s_draw_noise(prng) : (link_rule_t){.mode = LINK_MODE_PASS};
            s_set_link(self, from, to);
        }
    }
}

/* -- disks ------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t skip; /* streams to pass over */
    wal_path_t folder;
    wal_stream_name_t name;
    bool found;
} s_search_t;

static err_t s_find_replica_stream(void *context, const wal_stream_name_t *name, const char *folder)
{
    s_search_t *search = context;
    if (search->skip == 0) {
        search->name = *name;
        (void)snprintf(search->folder.text, sizeof(search->folder.text), "%s", folder);
        search->found = true;
        return ERR_END;
    }
    search->skip--;
    return ERR_OK;
}

static bool s_flip(faults_t *self, region_id_t region, const char *path, prng_t *prng)
{
    sim_disk_t *disk = world_disk(self->world, region);
    uint64_t size = 0;
    const uint8_t *bytes = NULL;
    bool is_flipped = sim_disk_peek(disk, path, &bytes, &size) == ERR_OK && size > 0 &&
                      sim_disk_flip_bit(disk, path, prng_below(prng, size * 8)) == ERR_OK;
    self->bit_count += is_flipped ? 1 : 0;
    return is_flipped;
}

/* Damages the region's base, if it has one. One in a history: with all of a shard gone there is none to
 * come back by. */
static void s_flip_base(faults_t *self, region_id_t region, const wal_path_t *tenants, prng_t *prng)
{
    wal_path_t path;
    if (!self->has_flipped_base &&
        base_path(tenants->text, TENANT_DEFAULT, "default", &path, NULL) == ERR_OK) {
        self->has_flipped_base = s_flip(self, region, path.text, prng);
    }
}

/* The first segment of a stream that the region has from somebody else; false when it was found to be
 * one of its own, or has no file. */
static bool s_find_segment(faults_t *self,
                           const s_search_t *search,
                           region_id_t region,
                           wal_path_t *ret_path)
{
    const char *own = topology_place_name(world_topology(self->world), region);
    const disk_t *disk = sim_disk_disk(world_disk(self->world, region));
    wal_segment_list_t list = {0};
    bool is_found =
        search->found && strcmp(search->name.region_name, own) != 0 &&
        wal_files_list_segments(disk, search->folder.text, &list, NULL, NULL) == ERR_OK &&
        list.count > 0 &&
        wal_files_segment_path(search->folder.text, list.items[0].first_seq, ret_path, NULL) ==
            ERR_OK;
    wal_segment_list_done(&list);
    return is_found;
}

/* Damages a replica's first segment; where the lot fell on one of the region's own streams, the base. */
static void s_flip_bit(faults_t *self, region_id_t region, prng_t *prng)
{
    const topology_t *topology = world_topology(self->world);
    sim_disk_t *disk = world_disk(self->world, region);
    s_search_t search = {.skip = prng_below(prng, 3)};
    wal_path_t tenants;
    wal_path_t path;
    shard_id_t shard = {(uint16_t)prng_below(prng, topology->shard_count)};
    (void)wal_files_tenants_path(WORLD_DATA_FOLDER, topology_place_name(topology, region), shard,
                                 &tenants, NULL);
    (void)wal_files_list_streams(sim_disk_disk(disk), tenants.text, s_find_replica_stream, &search,
                                 NULL);
    if (!s_find_segment(self, &search, region, &path) || !s_flip(self, region, path.text, prng)) {
        s_flip_base(self, region, &tenants, prng);
        return;
    }
    const topology_region_t *origin = topology_find_region_name(topology, search.name.region_name);
    CHECK(origin != NULL && self->flipped_count < FAULTS_COUNT_MAX);
    self->flipped[self->flipped_count++] =
        (fault_flip_t){.region = region,
                       .stream = {.tenant = search.name.tenant,
                                  .incarnation = search.name.incarnation,
                                  .origin = {origin->id, shard}}};
}

/* -- doing it ---------------------------------------------------------------------------------- */

static void s_kill_one(faults_t *self, prng_t *prng)
{
    uint64_t index = prng_below(prng, world_process_count(self->world));
    int64_t restart_ms = 1 + (int64_t)prng_below(prng, S_RESTART_MS_MAX);
    world_kill(self->world, world_process(self->world, (uint32_t)index), restart_ms);
}

/* Between two turns everything that was written is synced: most cuts come in the middle of a turn. */
static void s_cut_power(faults_t *self, region_id_t region, int64_t restart_ms, prng_t *prng)
{
    if (prng_chance(prng, 0.2)) {
        world_power_cut(self->world, region, restart_ms);
    } else {
        world_power_cut_at(self->world, region, 1 + prng_below(prng, S_CHANGE_COUNT_MAX),
                           restart_ms);
    }
}

static void s_jump(faults_t *self, uint16_t place, prng_t *prng)
{
    static const int64_t s_jumps_ms[] = {-3600000, -2000, -150, 150, 2000, 600000};
    int64_t jump_ms = s_jumps_ms[prng_below(prng, 6)];
    int64_t rate_ppm = (int64_t)prng_below(prng, 2001) - 1000;
    world_change_clock(self->world, (region_id_t){place}, jump_ms * WORLD_MS, rate_ppm);
}

static void s_promote(faults_t *self, uint16_t region, prng_t *prng)
{
    const topology_t *topology = world_topology(self->world);
    buffer_t request;
    buffer_init(&request);
    pack_writer_t writer;
    pack_writer_init(&writer, &request);
    pack_open_map(&writer);
    pack_put_text(&writer, "op", "promote");
    pack_put_u64(&writer, "shard", prng_below(prng, topology->shard_count));
    pack_put_text(&writer, "region", topology_place_name(topology, (region_id_t){region}));
    pack_close(&writer);
    pack_writer_done(&writer);
    /* Where the control plane is down nothing happens. */
    (void)world_send(self->world, (process_address_t){PROCESS_CONTROL, {0}, {0}},
                     buffer_slice(&request));
    buffer_done(&request);
}

/* Either nothing is admitted any more, and only what is under way meets the end of the disk; or so little
 * is left above the reserve that admission ends in the middle of what comes. */
static uint64_t s_draw_capacity(const sim_disk_t *disk, prng_t *prng)
{
    uint64_t used = sim_disk_used_bytes(disk);
    bool is_admitting = prng_chance(prng, 0.5);
    return is_admitting ? used + WAL_DISK_RESERVE_SIZE + prng_below(prng, S_ADMITTED_SIZE_MAX)
                        : used + prng_below(prng, S_LEFT_SIZE_MAX);
}

/* Whether the fault lasts; what does not is done when it begins. */
static bool s_switch(faults_t *self, const fault_t *fault, bool begins)
{
    prng_t prng;
    s_choice_t choice = s_choose(self, fault, &prng);
    sim_disk_t *disk = world_disk(self->world, (region_id_t){choice.a});
    int64_t restart_ms = 1 + (int64_t)prng_below(&prng, S_RESTART_MS_MAX);
    switch (fault->kind) {
    case FAULT_KILL:
        s_kill_one(self, &prng);
        return false;
    case FAULT_POWER_CUT:
        s_cut_power(self, (region_id_t){choice.a}, restart_ms, &prng);
        return false;
    case FAULT_PARTITION:
        s_block(self, choice.b, choice.a, choice.mode, begins);
        s_block(self, choice.a, choice.b, choice.mode, begins);
        return true;
    case FAULT_ONE_WAY:
    case FAULT_FLAP:
        s_block(self, choice.a, choice.b, choice.mode, begins);
        return true;
    case FAULT_ISOLATE:
        s_isolate(self, &choice, begins);
        return true;
    case FAULT_NOISE:
        s_noise(self, &prng, begins);
        return true;
    case FAULT_DISK_FULL:
        sim_disk_set_capacity(disk, begins ? s_draw_capacity(disk, &prng) : UINT64_MAX);
        return true;
    case FAULT_SYNC_FAILS:
        sim_disk_fail_sync(disk, 1 + prng_below(&prng, 8));
        return false;
    case FAULT_BIT_FLIP:
        s_flip_bit(self, (region_id_t){choice.a}, &prng);
        return false;
    case FAULT_LOSE_DISK:
        self->lost_region = choice.a;
        world_lose_disk(self->world, (region_id_t){choice.a}, restart_ms);
        return false;
    case FAULT_CLOCK:
        s_jump(self, (uint16_t)prng_below(&prng, world_topology(self->world)->region_count + 1ULL),
               &prng);
        return false;
    case FAULT_PROMOTE:
        s_promote(self, choice.a, &prng);
        return false;
    case FAULT_CONTROL_DOWN:
        world_kill(self->world,
                   world_find(self->world, (process_address_t){PROCESS_CONTROL, {0}, {0}}),
                   restart_ms);
        return false;
    case FAULT_KIND_COUNT:
        break;
    }
    CHECK(false);
    return false;
}

/* Until it ends, or, of a link that flaps, until it comes back for the first time. */
static int64_t s_lasts_ns(const fault_t *fault)
{
    int64_t flap_ns = S_FLAP_MS * WORLD_MS;
    return fault->kind == FAULT_FLAP && fault->duration_ns > flap_ns ? flap_ns : fault->duration_ns;
}

int64_t faults_deadline_ns(const faults_t *self)
{
    int64_t deadline = INT64_MAX;
    for (uint32_t i = 0; i < self->count; i++) {
        const fault_t *fault = &self->list[i];
        int64_t due = fault->has_ended   ? INT64_MAX
                      : fault->has_begun ? fault->at_ns + s_lasts_ns(fault)
                                         : fault->at_ns;
        deadline = due < deadline ? due : deadline;
    }
    return deadline;
}

/* A link that flaps goes and comes until its time is over. */
static void s_flap(fault_t *fault)
{
    int64_t half_ns = S_FLAP_MS * WORLD_MS;
    if (fault->kind == FAULT_FLAP && fault->duration_ns > 2 * half_ns) {
        fault->at_ns += 2 * half_ns;
        fault->duration_ns -= 2 * half_ns;
        fault->has_begun = false;
        fault->has_ended = false;
        fault->is_again = true;
    }
}

void faults_act(faults_t *self)
{
    int64_t now_ns = world_now_ns(self->world);
    for (uint32_t i = 0; i < self->count; i++) {
        fault_t *fault = &self->list[i];
        if (!fault->has_begun && fault->at_ns <= now_ns) {
            fault->has_begun = true;
            fault->has_ended = !s_switch(self, fault, true);
            self->flap_count += fault->is_again ? 1 : 0;
        } else if (fault->has_begun && !fault->has_ended &&
                   fault->at_ns + s_lasts_ns(fault) <= now_ns) {
            fault->has_ended = true;
            (void)s_switch(self, fault, false);
            s_flap(fault);
        }
    }
}

void faults_end(faults_t *self)
{
    for (uint32_t i = 0; i < self->count; i++) {
        fault_t *fault = &self->list[i];
        if (fault->has_begun && !fault->has_ended) {
            (void)s_switch(self, fault, false);
        }
        fault->has_begun = true;
        fault->has_ended = true;
    }
    sim_network_heal_all(world_network(self->world));
    for (uint16_t place = 0; place <= world_topology(self->world)->region_count; place++) {
        sim_disk_set_capacity(world_disk(self->world, (region_id_t){place}), UINT64_MAX);
        sim_disk_fail_sync(world_disk(self->world, (region_id_t){place}), 0);
        sim_disk_stop_at(world_disk(self->world, (region_id_t){place}), 0);
        /* One that stays ahead of the others' would log nothing, rightly. */
        world_set_clock_right(self->world, (region_id_t){place});
    }
    world_release_all(self->world);
}

static void s_add_link(const link_counters_t *counters, uint64_t effects[FAULT_EFFECT_COUNT])
{
    effects[FAULT_EFFECT_DROPPED] += counters->dropped_count[LINK_DROP_CHANCE];
    effects[FAULT_EFFECT_SEVERED] +=
        counters->dropped_count[LINK_DROP_MODE] + counters->dropped_count[LINK_DROP_CUT];
    effects[FAULT_EFFECT_DUPLICATED] += counters->duplicated_count;
    effects[FAULT_EFFECT_REORDERED] += counters->reordered_count;
}

void faults_effects(const faults_t *self,
                    uint64_t refused,
                    uint64_t ret_effects[FAULT_EFFECT_COUNT])
{
    world_losses_t losses = world_losses(self->world);
    uint16_t places = (uint16_t)(world_topology(self->world)->region_count + 1);
    uint64_t decisions = s_decision_count(self->world);
    memset(ret_effects, 0, FAULT_EFFECT_COUNT * sizeof(*ret_effects));
    ret_effects[FAULT_EFFECT_LOST] = losses.writes_lost;
    ret_effects[FAULT_EFFECT_TORN] = losses.writes_torn;
    ret_effects[FAULT_EFFECT_FLIPPED] = self->bit_count;
    ret_effects[FAULT_EFFECT_CUT] = losses.writes_cut;
    ret_effects[FAULT_EFFECT_REFUSED] = refused;
    ret_effects[FAULT_EFFECT_HELD] = self->held_count;
    ret_effects[FAULT_EFFECT_FLAPPED] = self->flap_count;
    ret_effects[FAULT_EFFECT_KILLED] = losses.killed;
    ret_effects[FAULT_EFFECT_ENDED] = losses.ended;
    ret_effects[FAULT_EFFECT_PROMOTED] =
        decisions > self->decision_count ? decisions - self->decision_count : 0;
    for (uint16_t link = 0; link < places * places; link++) {
        link_id_t id = {{(uint16_t)(link / places)}, {(uint16_t)(link % places)}};
        if (id.from.value != id.to.value) {
            s_add_link(link_rules_counters(sim_network_links(world_network(self->world)), id),
                       ret_effects);
        }
    }
}
