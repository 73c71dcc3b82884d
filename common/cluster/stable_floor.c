#include "common/cluster/stable_floor.h"

#include "common/base/check.h"
#include "common/base/mutant.h"

#include <stdlib.h>
#include <string.h>

/* One (tenant, shard). */
typedef struct {
    tenant_id_t tenant;
    shard_id_t shard;
    bool is_collecting;
    region_set_t placed; /* of the candidate */
    region_set_t told;   /* placed nodes whose heartbeat is in `heads` */
    uint64_t told_boots[REGION_COUNT_MAX + 1];
    version_vector_t candidate; /* V */
    version_vector_t heads;     /* H */
    version_vector_t stable;
} s_shard_t;

struct stable_floor {
    uint32_t count;
    uint32_t capacity;
    s_shard_t *shards; /* by (tenant, shard) */
    version_vector_t floor;
};

stable_floor_t *stable_floor_new(void)
{
    stable_floor_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    return self;
}

static void s_shard_done(s_shard_t *shard)
{
    version_vector_done(&shard->candidate);
    version_vector_done(&shard->heads);
    version_vector_done(&shard->stable);
}

void stable_floor_destroy(stable_floor_t **self_p)
{
    stable_floor_t *self = *self_p;
    if (self != NULL) {
        for (uint32_t i = 0; i < self->count; i++) {
            s_shard_done(&self->shards[i]);
        }
        free(self->shards);
        version_vector_done(&self->floor);
        free(self);
        *self_p = NULL;
    }
}

/* -- one shard --------------------------------------------------------------------------------- */

/* What a placed node told last; NULL: nothing of this tenant. */
static const mesh_view_state_t *s_state(const mesh_view_t *view,
                                        const s_shard_t *shard,
                                        uint16_t region,
                                        const mesh_view_process_t **ret_process)
{
    process_address_t address = {PROCESS_NODE, {region}, shard->shard};
    *ret_process = mesh_view_find(view, address);
    return *ret_process == NULL ? NULL : mesh_view_find_state(*ret_process, shard->tenant);
}

/* Empty while a placed node has told nothing. */
static void s_find_floor(const mesh_view_t *view,
                         const s_shard_t *shard,
                         region_set_t placed,
                         version_vector_t *ret_floor)
{
    static const version_vector_t s_nothing = {0, 0, NULL};
    bool is_first = true;
    version_vector_clear(ret_floor);
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        if (!region_set_has(placed, (region_id_t){region})) {
            continue;
        }
        const mesh_view_process_t *process = NULL;
        const mesh_view_state_t *state = s_state(view, shard, region, &process);
        const version_vector_t *applied = state == NULL ? &s_nothing : &state->applied;
        if (is_first) {
            version_vector_merge(ret_floor, applied);
        } else {
            version_vector_floor(ret_floor, applied);
        }
        is_first = false;
    }
}

static void s_begin(s_shard_t *shard, region_set_t placed, const version_vector_t *floor)
{
    shard->is_collecting = true;
    shard->placed = placed;
    shard->told = (region_set_t){0};
    version_vector_clear(&shard->candidate);
    version_vector_merge(&shard->candidate, floor);
    version_vector_clear(&shard->heads);
}

/* Takes what the nodes tell that have not told yet, or have started again since. */
static void s_collect(const mesh_view_t *view, s_shard_t *shard)
{
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        region_id_t id = {region};
        if (!region_set_has(shard->placed, id)) {
            continue;
        }
        const mesh_view_process_t *process = NULL;
        const mesh_view_state_t *state = s_state(view, shard, region, &process);
        bool has_told = region_set_has(shard->told, id) && process != NULL &&
                        shard->told_boots[region] == process->boot;
        if (has_told) {
            continue;
        }
        shard->told = region_set_remove(shard->told, id);
        if (state != NULL && process->ready &&
            version_vector_covers(&state->applied, &shard->candidate)) {
            version_vector_merge(&shard->heads, &state->applied);
            shard->told = region_set_add(shard->told, id);
            shard->told_boots[region] = process->boot;
        }
    }
}

static void s_review(stable_floor_t *self,
                     const mesh_view_t *view,
                     s_shard_t *shard,
                     region_set_t placed)
{
    s_find_floor(view, shard, placed, &self->floor);
    bool is_done = true;
    while (is_done) {
        bool is_same = shard->is_collecting && shard->placed.bits == placed.bits;
        if (!is_same && version_vector_covers(&shard->stable, &self->floor)) {
            shard->is_collecting = false;
            return;
        }
        if (!is_same) {
            s_begin(shard, placed, &self->floor);
        }
        s_collect(view, shard);
        is_done = region_set_covers(shard->told, placed) &&
                  version_vector_covers(&self->floor, &shard->candidate) &&
                  (version_vector_covers(&self->floor, &shard->heads) || MUTANT(STABLE_TOO_EARLY));
        if (is_done) { /* the next candidate is the floor itself: at most one more round */
            version_vector_merge(&shard->stable, &shard->candidate);
            shard->is_collecting = false;
        }
    }
}

/* -- all shards -------------------------------------------------------------------------------- */

static int s_order(const s_shard_t *shard, tenant_id_t tenant, shard_id_t number)
{
    if (shard->tenant.value != tenant.value) {
        return shard->tenant.value < tenant.value ? -1 : 1;
    }
    return (shard->shard.value > number.value) - (shard->shard.value < number.value);
}

static s_shard_t *s_require(stable_floor_t *self, tenant_id_t tenant, shard_id_t number)
{
    uint32_t place = 0;
    uint32_t end = self->count;
    while (place < end) {
        uint32_t middle = place + (end - place) / 2;
        if (s_order(&self->shards[middle], tenant, number) < 0) {
            place = middle + 1;
        } else {
            end = middle;
        }
    }
    if (place < self->count && s_order(&self->shards[place], tenant, number) == 0) {
        return &self->shards[place];
    }
    if (self->count == self->capacity) {
        self->capacity = self->capacity == 0 ? SHARD_COUNT_MAX : self->capacity * 2;
        self->shards = realloc(self->shards, self->capacity * sizeof(*self->shards));
        CHECK(self->shards != NULL);
    }
    memmove(&self->shards[place + 1], &self->shards[place],
            (self->count - place) * sizeof(*self->shards));
    self->shards[place] = (s_shard_t){.tenant = tenant, .shard = number};
    self->count++;
    return &self->shards[place];
}

static void s_forget_missing(stable_floor_t *self, const table_t *table)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        s_shard_t *shard = &self->shards[i];
        if (table_find_record(table, shard->tenant, shard->shard) == NULL) {
            s_shard_done(shard);
        } else {
            self->shards[kept++] = *shard;
        }
    }
    self->count = kept;
}

uint32_t stable_floor_review(stable_floor_t *self,
                             const mesh_view_t *view,
                             const table_t *table,
                             stream_position_t *ret_positions,
                             uint32_t count_max)
{
    s_forget_missing(self, table);
    for (uint32_t t = 0; t < table_tenant_count(table); t++) {
        tenant_id_t tenant = table_tenant_at(table, t)->id;
        for (uint16_t shard = 0; shard < table_shard_count(table); shard++) {
            const table_record_t *record = table_find_record(table, tenant, (shard_id_t){shard});
            CHECK(record != NULL);
            s_review(self, view, s_require(self, tenant, (shard_id_t){shard}), record->placed);
        }
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        const version_vector_t *stable = &self->shards[i].stable;
        for (uint32_t s = 0; s < stable->count && count < count_max; s++) {
            ret_positions[count++] = stable->entries[s];
        }
    }
    return count;
}
