/* The replicas' files of a receiver: found at the start, opened with the first block, flushed at
 * the end of a turn; and what is done about damage, about files that are gone, and about streams
 * that a node of this region has given up. */
#include "common/engine/receiver_state.h"

#include "common/base/check.h"
#include "common/engine/base_file.h"
#include "common/wal/wal_files.h"
#include "common/wal/wal_handover.h"
#include "common/wal/wal_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

receiver_replica_t *receiver_files_find(receiver_engine_t *self, stream_id_t stream)
{
    for (uint32_t i = 0; i < self->replica_count; i++) {
        if (stream_id_equal(self->replicas[i].stream, stream)) {
            return &self->replicas[i];
        }
    }
    return NULL;
}

receiver_replica_t *receiver_files_add(receiver_engine_t *self,
                                       stream_id_t stream,
                                       slice_t tenant_name)
{
    CHECK(tenant_name.size <= NAME_LENGTH_MAX);
    if (self->replica_count == self->replica_capacity) {
        self->replica_capacity = self->replica_capacity == 0 ? 16 : self->replica_capacity * 2;
        self->replicas = realloc(self->replicas, self->replica_capacity * sizeof(*self->replicas));
        CHECK(self->replicas != NULL);
    }
    receiver_replica_t *replica = &self->replicas[self->replica_count++];
    *replica = (receiver_replica_t){.stream = stream};
    memcpy(replica->tenant_name, tenant_name.data, tenant_name.size);
    return replica;
}

static err_t s_folder(const receiver_engine_t *self,
                      const receiver_replica_t *replica,
                      wal_path_t *ret_folder,
                      errbuf_t *errbuf)
{
    const topology_t *topology = self->env.topology;
    wal_stream_name_t name = {.tenant = replica->stream.tenant,
                              .incarnation = replica->stream.incarnation};
    (void)snprintf(name.tenant_name, sizeof(name.tenant_name), "%s", replica->tenant_name);
    (void)snprintf(name.region_name, sizeof(name.region_name), "%s",
                   topology_place_name(topology, replica->stream.origin.region));
    wal_path_t tenants;
    err_t err = wal_files_tenants_path(self->env.data_folder,
                                       topology_place_name(topology, self->env.self.region),
                                       replica->stream.origin.shard, &tenants, errbuf);
    return err == ERR_OK ? wal_files_stream_path(tenants.text, &name, ret_folder, errbuf) : err;
}

/* Finds out whether the stream is this receiver's to write. */
static err_t s_find_handover(receiver_engine_t *self, receiver_replica_t *replica, errbuf_t *errbuf)
{
    replica->is_handed = false;
    if (replica->stream.origin.region.value != self->env.self.region.value) {
        return ERR_OK;
    }
    wal_path_t folder;
    err_t err = s_folder(self, replica, &folder, errbuf);
    return err == ERR_OK
               ? wal_handover_find(self->env.disk, folder.text, &replica->is_handed, errbuf)
               : err;
}

/* Where the stream's files may begin, and where they begin when there are none. Beside a base whose
 * head is damaged: where they do begin. errs ERR_NOT_FOUND no base says so */
static err_t s_find_join(const receiver_engine_t *self,
                         const receiver_replica_t *replica,
                         wal_base_t *ret_join,
                         errbuf_t *errbuf)
{
    wal_path_t path;
    err_t err = wal_files_tenants_path(
        self->env.data_folder, topology_place_name(self->env.topology, self->env.self.region),
        replica->stream.origin.shard, &path, errbuf);
    if (err == ERR_OK) {
        err = base_join_of_stream(self->env.disk, path.text, replica->tenant_name, replica->stream,
                                  ret_join, errbuf);
    }
    if (err == ERR_CORRUPT) { /* the node fetches another one: snapshot_load.h */
        err = s_folder(self, replica, &path, errbuf);
        if (err == ERR_OK) {
            err = base_of_files(self->env.disk, path.text, ret_join, errbuf);
        }
        if (err == ERR_CORRUPT) { /* then they are damaged, which is dealt with like any damage */
            *ret_join = (wal_base_t){.seq = 0};
            err = ERR_OK;
        }
    }
    return err;
}

/* Opens the file and nothing else. out ret_damaged  whether it may hold less than it did */
static err_t s_recover_file(receiver_engine_t *self,
                            receiver_replica_t *replica,
                            now_t now,
                            bool *ret_damaged,
                            errbuf_t *errbuf)
{
    CHECK(replica->file == NULL);
    CHECK_IMPLIES(replica->stream.origin.region.value == self->env.self.region.value,
                  replica->is_handed);
    wal_path_t folder;
    wal_base_t join;
    err_t err = s_folder(self, replica, &folder, errbuf);
    if (err == ERR_OK) {
        err = s_find_join(self, replica, &join, errbuf);
    }
    if (err == ERR_NOT_FOUND) {
        join = (wal_base_t){.seq = 0};
        err = ERR_OK;
    }
    if (err != ERR_OK) {
        return err;
    }
    wal_replica_options_t options = {
        .place = {.disk = self->env.disk,
                  .folder = folder.text,
                  .stream = replica->stream,
                  .tenant_name = replica->tenant_name,
                  .region_name =
                      topology_place_name(self->env.topology, replica->stream.origin.region),
                  .base = join},
        .verify_all = false,
    };
    wal_replica_report_t report;
    err = wal_replica_open(&options, now, &replica->file, &report, errbuf);
    if (err == ERR_OK) {
        self->set_aside_at_open_count += report.set_aside_count;
        *ret_damaged = report.is_incomplete;
    }
    return err;
}

/* Opens the file of a replica and tells the core how far it is durable. */
static err_t s_open_file(receiver_engine_t *self,
                         receiver_replica_t *replica,
                         now_t now,
                         errbuf_t *errbuf)
{
    bool is_damaged = false;
    err_t err = s_recover_file(self, replica, now, &is_damaged, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    receiver_effects_t effects;
    receiver_engine_step(self,
                         (receiver_event_t){.kind = RECEIVER_EVENT_RECOVERED,
                                            .now_ns = now.mono_ns,
                                            .stream = replica->stream,
                                            .seq = wal_replica_durable_seq(replica->file),
                                            .outcome = is_damaged ? ERR_CORRUPT : ERR_OK},
                         &effects);
    return ERR_OK;
}

typedef struct {
    receiver_engine_t *self;
    shard_id_t shard;
    now_t now;
    errbuf_t *errbuf;
} s_recovery_t;

/* One stream folder of a shard: a replica, unless a node of this region writes it. */
static err_t s_recover_stream(void *context, const wal_stream_name_t *name, const char *folder)
{
    s_recovery_t *recovery = context;
    receiver_engine_t *self = recovery->self;
    const topology_region_t *origin =
        topology_find_region_name(self->env.topology, name->region_name);
    bool is_own = origin != NULL && origin->id.value == self->env.self.region.value;
    bool is_handed = false;
    err_t err =
        is_own ? wal_handover_find(self->env.disk, folder, &is_handed, recovery->errbuf) : ERR_OK;
    if (err != ERR_OK || origin == NULL || (is_own && !is_handed)) {
        return err;
    }
    stream_id_t stream = {.tenant = name->tenant,
                          .incarnation = name->incarnation,
                          .origin = {origin->id, recovery->shard}};
    receiver_replica_t *replica =
        receiver_files_add(self, stream, slice_make(name->tenant_name, strlen(name->tenant_name)));
    replica->is_handed = is_handed;
    return s_open_file(self, replica, recovery->now, recovery->errbuf);
}

err_t receiver_files_recover(receiver_engine_t *self, errbuf_t *errbuf)
{
    const char *region = topology_place_name(self->env.topology, self->env.self.region);
    for (uint16_t shard = 0; shard < self->env.topology->shard_count; shard++) {
        wal_path_t tenants;
        err_t err = wal_files_tenants_path(self->env.data_folder, region, (shard_id_t){shard},
                                           &tenants, errbuf);
        if (err != ERR_OK) {
            return err;
        }
        s_recovery_t recovery = {self, {shard}, {0, 0}, errbuf};
        err = wal_files_list_streams(self->env.disk, tenants.text, s_recover_stream, &recovery,
                                     errbuf);
        if (err != ERR_OK) {
            errbuf_prefix(errbuf, "recover the replicas of shard %u", (unsigned)shard);
            return err;
        }
    }
    return ERR_OK;
}

/* -- blocks ------------------------------------------------------------------------------------ */

/* What the core knows of a stream; NULL nothing. */
static const receiver_row_t *s_find_row(const receiver_engine_t *self, stream_id_t stream)
{
    for (uint32_t i = 0; i < receiver_stream_count(self->core); i++) {
        const receiver_row_t *row = receiver_row(self->core, i);
        if (stream_id_equal(row->stream, stream)) {
            return row;
        }
    }
    return NULL;
}

uint64_t receiver_files_known_durable(const receiver_engine_t *self, stream_id_t stream)
{
    const receiver_row_t *row = s_find_row(self, stream);
    return row == NULL ? 0 : row->durable_seq;
}

/* The core learns how far the file is durable. */
static void s_tell_flushed(receiver_engine_t *self, const receiver_replica_t *replica, now_t now)
{
    receiver_effects_t effects;
    receiver_engine_step(
        self,
        (receiver_event_t){.kind = RECEIVER_EVENT_FLUSHED,
                           .now_ns = now.mono_ns,
                           .stream = replica->stream,
                           .leader = receiver_answers_other_leader(self, replica->stream),
                           .seq = wal_replica_durable_seq(replica->file)},
        &effects);
}

/* Reads the files anew: they were removed under the receiver, which then wrote into nothing. */
static void s_reopen(receiver_engine_t *self, receiver_replica_t *replica, now_t now)
{
    wal_replica_close(&replica->file);
    err_t err = s_find_handover(self, replica, &self->fatal_text);
    bool is_own = replica->stream.origin.region.value == self->env.self.region.value;
    if (err == ERR_OK && (!is_own || replica->is_handed)) {
        bool is_damaged = false; /* its position goes back, which is told below */
        err = s_recover_file(self, replica, now, &is_damaged, &self->fatal_text);
        if (err ==
            ERR_OK) { /* the mark went with the files, and may have to outlive this process */
            err = wal_replica_mark_incomplete(replica->file, &self->fatal_text);
        }
    }
    if (err != ERR_OK) {
        self->fatal = err;
        return;
    }
    receiver_effects_t effects;
    receiver_engine_step(self,
                         (receiver_event_t){.kind = RECEIVER_EVENT_SET_ASIDE,
                                            .now_ns = now.mono_ns,
                                            .stream = replica->stream,
                                            .seq = replica->file == NULL
                                                       ? 0
                                                       : wal_replica_durable_seq(replica->file)},
                         &effects);
}

static err_t s_flush(receiver_engine_t *self,
                     receiver_replica_t *replica,
                     now_t now,
                     errbuf_t *errbuf)
{
    err_t err = wal_replica_flush(replica->file, errbuf);
    if (err == ERR_OK) {
        self->flush_count++;
        s_tell_flushed(self, replica, now);
    } else if (err == ERR_NOT_FOUND) { /* the folder went; nothing of the group was confirmed */
        s_reopen(self, replica, now);
        err = ERR_OK;
    } else {
        errbuf_prefix(errbuf, "make the replica in %s durable", wal_replica_folder(replica->file));
    }
    return err;
}

err_t receiver_files_offer(receiver_engine_t *self,
                           receiver_replica_t *replica,
                           slice_t blocks,
                           now_t now,
                           errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    if (replica->file == NULL) {
        err = s_open_file(self, replica, now, errbuf);
        if (err != ERR_OK) {
            return err;
        }
    }
    wal_offer_t offer;
    err = wal_replica_offer(replica->file, blocks, &offer, errbuf);
    if (err == ERR_FULL) {
        err = s_flush(self, replica, now, errbuf);
        err = err == ERR_OK && replica->file == NULL ? ERR_GAP : err;
        if (err == ERR_OK) {
            err = wal_replica_offer(replica->file, blocks, &offer, errbuf);
        }
    }
    return err;
}

err_t receiver_files_flush(receiver_engine_t *self, now_t now, errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    for (uint32_t i = 0; i < self->replica_count && err == ERR_OK; i++) {
        receiver_replica_t *replica = &self->replicas[i];
        if (replica->file != NULL && (wal_replica_pending(replica->file) ||
                                      receiver_files_known_durable(self, replica->stream) !=
                                          wal_replica_durable_seq(replica->file))) {
            err = s_flush(self, replica, now, errbuf);
        }
    }
    return err;
}

/* -- gone, given up, damaged ------------------------------------------------------------------- */

/* Keeps the mark while the core waits for what others hold, and takes it away afterwards. */
static void s_review_mark(receiver_engine_t *self, receiver_replica_t *replica)
{
    const receiver_row_t *row = s_find_row(self, replica->stream);
    errbuf_t errbuf = {{0}};
    if (row == NULL || row->is_damaged) {
        (void)wal_replica_mark_incomplete(replica->file, &errbuf); /* no room: at the next look */
    } else {
        (void)wal_replica_settle(replica->file, &errbuf); /* else at the next look */
    }
}

void receiver_files_review(receiver_engine_t *self, now_t now)
{
    for (uint32_t i = 0; i < self->replica_count; i++) {
        receiver_replica_t *replica = &self->replicas[i];
        if (replica->file != NULL && !wal_replica_is_there(replica->file)) {
            s_reopen(self, replica, now);
        } else if (replica->file != NULL && wal_replica_is_incomplete(replica->file)) {
            s_review_mark(self, replica);
        }
    }
}

/* A node has given a stream up; the mark in its folder says so. */
void receiver_files_lost(receiver_engine_t *self, const msg_lost_t *lost, now_t now)
{
    receiver_event_t event = {.peer = self->env.self.region, .stream = lost->stream};
    const table_tenant_t *tenant = NULL;
    receiver_engine_judge(self, &event, &tenant);
    node_id_t node = {lost->from.region, lost->from.shard};
    bool is_from_its_node = lost->from.kind == PROCESS_NODE &&
                            lost->from.region.value == self->env.self.region.value &&
                            node_id_equal(lost->stream.origin, node);
    if (!is_from_its_node || !event.is_placed) {
        self->malformed_count++;
        return;
    }
    receiver_replica_t *replica = receiver_files_find(self, lost->stream);
    receiver_replica_t found = {.stream = lost->stream};
    (void)snprintf(found.tenant_name, sizeof(found.tenant_name), "%s", tenant->name);
    err_t err = s_find_handover(self, replica == NULL ? &found : replica, &self->fatal_text);
    if (err == ERR_OK && replica == NULL && found.is_handed) {
        replica = receiver_files_add(self, lost->stream, slice_text(tenant->name));
        replica->is_handed = true;
    }
    if (err == ERR_OK && (replica == NULL || !replica->is_handed)) {
        self->malformed_count++; /* it says what its disk does not */
    } else if (err == ERR_OK && replica->file == NULL) {
        err = s_open_file(self, replica, now, &self->fatal_text);
    }
    self->fatal = self->fatal == ERR_OK ? err : self->fatal;
}

/* The base may be another one by now: with a later join, where the files may have to begin, or with
 * an earlier one, from which they are needed. */
static void s_take_join(receiver_engine_t *self, receiver_replica_t *replica, now_t now)
{
    wal_base_t join;
    bool joined = false;
    err_t err = s_find_join(self, replica, &join, &self->fatal_text);
    if (err == ERR_OK) {
        err = wal_replica_rebase(replica->file, &join, now, &joined, &self->fatal_text);
    } else if (err == ERR_NOT_FOUND) {
        err = ERR_OK; /* what an earlier one said holds on */
    }
    if (err != ERR_OK) {
        wal_replica_close(&replica->file);
        self->fatal = err == ERR_DISK_FULL ? ERR_OK : err;
        return;
    }
    self->joined_count += joined ? 1 : 0;
    s_tell_flushed(self, replica, now);
}

/* Whether what a node could not read can be read by now: it was set aside for an earlier report,
 * and fetched again. From before that event on, for damage at the end of a segment is met behind
 * it. */
static bool s_is_mended(const receiver_engine_t *self,
                        const receiver_replica_t *replica,
                        uint64_t seq)
{
    uint64_t durable_seq = wal_replica_durable_seq(replica->file);
    wal_reader_options_t options = {.disk = self->env.disk,
                                    .folder = wal_replica_folder(replica->file),
                                    .stream = replica->stream,
                                    .from_seq = seq > 1 ? seq - 1 : 1};
    wal_batch_t batch = {.first_seq = 0};
    err_t err = seq <= durable_seq ? ERR_OK : ERR_END;
    wal_reader_t *reader = wal_reader_new(&options);
    while (err == ERR_OK && (batch.first_seq == 0 || wal_batch_last_seq(&batch) < seq)) {
        err = wal_reader_next_batch(reader, durable_seq, &batch, NULL);
    }
    wal_reader_destroy(&reader);
    return err == ERR_OK;
}

/* Sets the damaged segment aside; what it held is fetched again. */
void receiver_files_damaged(receiver_engine_t *self, const msg_damaged_t *damaged, now_t now)
{
    receiver_replica_t *replica = receiver_files_find(self, damaged->stream);
    if (replica == NULL || replica->file == NULL || damaged->from.kind != PROCESS_NODE ||
        damaged->from.region.value != self->env.self.region.value) {
        self->malformed_count++;
        return;
    }
    if (!wal_replica_is_there(replica->file)) {
        s_reopen(self, replica, now);
        return;
    }
    errbuf_t errbuf;
    wal_replica_report_t report;
    char reason[128];
    s_take_join(self, replica, now);
    if (replica->file == NULL || s_is_mended(self, replica, damaged->seq)) {
        return; /* else what is durable again would be thrown away a second time */
    }
    (void)snprintf(reason, sizeof(reason), "a node found damage at seq %llu while applying",
                   (unsigned long long)damaged->seq);
    err_t err = wal_replica_set_aside(replica->file, damaged->seq, reason, now, &report, &errbuf);
    if (err != ERR_OK) {
        self->fatal = err;
        self->fatal_text = errbuf;
        return;
    }
    receiver_effects_t effects;
    receiver_engine_step(self,
                         (receiver_event_t){.kind = RECEIVER_EVENT_SET_ASIDE,
                                            .now_ns = now.mono_ns,
                                            .stream = replica->stream,
                                            .seq = wal_replica_durable_seq(replica->file)},
                         &effects);
}

/* -- floors ------------------------------------------------------------------------------------ */

/* A stream of which nothing is held that any region could go on with begins at the base's join. */
static void s_join(receiver_engine_t *self,
                   receiver_replica_t *replica,
                   const stream_position_t *floor,
                   now_t now)
{
    if (replica->file != NULL) {
        s_take_join(self, replica, now);
        return;
    }
    err_t err = s_open_file(self, replica, now, &self->fatal_text);
    self->fatal = err == ERR_DISK_FULL ? ERR_OK : err; /* tried again with the next floor */
    self->joined_count +=
        err == ERR_OK && wal_replica_durable_seq(replica->file) >= floor->seq ? 1 : 0;
}

static void s_truncate(receiver_engine_t *self,
                       receiver_replica_t *replica,
                       const stream_position_t *floor,
                       uint64_t retain)
{
    wal_base_t join;
    size_t count = 0;
    err_t err = s_find_join(self, replica, &join, NULL);
    if (err == ERR_NOT_FOUND || (err == ERR_OK && floor->seq > join.seq)) {
        return; /* the base that allows it has gone, or is not the one that the node told of */
    }
    if (err == ERR_OK) {
        err = wal_replica_truncate(replica->file, &join, floor->seq, retain, &count, NULL);
    }
    self->truncate_failed_count += err == ERR_OK ? 0 : 1;
    self->truncated_count += count;
}

/* The replica of a stream that the base names; NULL when it is not this receiver's to write. */
static receiver_replica_t *s_require_replica(receiver_engine_t *self, stream_id_t stream)
{
    receiver_event_t event = {.peer = self->env.self.region, .stream = stream};
    const table_tenant_t *tenant = NULL;
    receiver_engine_judge(self, &event, &tenant);
    receiver_replica_t *replica = receiver_files_find(self, stream);
    if (!event.is_placed || event.is_own) {
        return NULL; /* of a node of this region, which keeps it: or has not given it up yet */
    }
    receiver_replica_t named = {.stream = stream};
    (void)snprintf(named.tenant_name, sizeof(named.tenant_name), "%s", tenant->name);
    wal_base_t join;
    if (replica == NULL && s_find_join(self, &named, &join, NULL) == ERR_OK) {
        replica = receiver_files_add(self, stream, slice_text(tenant->name));
    }
    return replica; /* a floor that no base bears out is no reason to begin a stream */
}

void receiver_files_floor(receiver_engine_t *self, const stream_position_t *floor, now_t now)
{
    receiver_replica_t *replica = s_require_replica(self, floor->stream);
    uint64_t retain = self->env.topology->log.retain_bytes;
    if (replica == NULL || self->fatal != ERR_OK) {
        return;
    }
    if (replica->file == NULL || wal_replica_appended_seq(replica->file) < floor->seq) {
        s_join(self, replica, floor, now);
    } else if (retain != 0 && wal_replica_can_truncate(replica->file, floor->seq, retain)) {
        s_truncate(self, replica, floor, retain);
    }
}
