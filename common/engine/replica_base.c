/* A replica and its base: begins with it where the checkpoint does not reach it, knows when the
 * next one is due, and what may be truncated below it. */
#include "common/base/check.h"
#include "common/base/mutant.h"
#include "common/engine/replica_state.h"

#include <stdlib.h>
#include <string.h>

err_t replica_base_path(const replica_t *self, wal_path_t *ret_path, errbuf_t *errbuf)
{
    wal_path_t tenants;
    err_t err = wal_files_tenants_path(
        self->env->data_folder, topology_place_name(self->env->topology, self->env->self.region),
        self->shard, &tenants, errbuf);
    return err != ERR_OK
               ? err
               : base_path(tenants.text, self->tenant, self->tenant_name, ret_path, errbuf);
}

/* -- loading ----------------------------------------------------------------------------------- */

static err_t s_load_entry(void *context, slice_t key, slice_t value, errbuf_t *errbuf)
{
    return replica_load_entry(context, key, value, errbuf);
}

/* What was loaded must be at the vector that the head names, and have its digest. */
static err_t s_check_loaded(replica_t *self, const base_head_t *head, errbuf_t *errbuf)
{
    uint8_t digest[MSG_HASH_SIZE];
    bool fits = self->applied.count == head->position_count;
    for (uint32_t i = 0; fits && i < head->position_count; i++) {
        const base_position_t *position = &head->positions[i];
        fits = stream_id_equal(self->applied.entries[i].stream, position->stream) &&
               self->applied.entries[i].seq == position->seq;
        bool is_own = position->stream.origin.region.value == self->env->self.region.value;
        replica_require_stream(self, position->stream, is_own)->last_hash = position->hash;
    }
    if (!fits) {
        errbuf_set(errbuf, "base: its entries stand at another vector than its head says");
        return ERR_CORRUPT;
    }
    static_assert((int)BASE_DIGEST_SIZE == (int)MSG_HASH_SIZE, "one digest");
    replica_digest(self, digest);
    if (memcmp(digest, head->digest, sizeof(digest)) != 0 && !MUTANT(BELIEVE_SNAPSHOT)) {
        errbuf_set(errbuf, "base: its state does not have the digest that its head says");
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

err_t replica_load_base_piece(replica_t *self, base_reader_t *reader, errbuf_t *errbuf)
{
    err_t err = base_reader_step(reader, s_load_entry, self, errbuf);
    return err == ERR_OK ? s_check_loaded(self, base_reader_head(reader), errbuf) : err;
}

void replica_keep_base(replica_t *self, const base_head_t *head)
{
    base_head_t copy = *head;
    copy.positions = calloc((size_t)head->position_count + 1, sizeof(*copy.positions));
    CHECK(copy.positions != NULL);
    for (uint32_t i = 0; i < head->position_count; i++) {
        copy.positions[i] = head->positions[i];
        const wal_base_t *join = &head->positions[i].join;
        if (join->seq > 0) {
            (void)version_vector_raise(&self->forgotten, head->positions[i].stream, join->seq);
        }
    }
    base_head_done(&self->base);
    self->base = copy;
    self->base_is_lost = false;
    self->base_number++;
}

void replica_forget_joins(replica_t *self)
{
    for (uint32_t i = 0; i < self->base.position_count; i++) {
        const base_position_t *position = &self->base.positions[i];
        if (position->join.seq > 0) {
            dedup_forget_stable(self->dedup, position->stream, position->join.seq);
        }
    }
}

void replica_lose_base(replica_t *self)
{
    self->base_is_lost = true;
}

uint64_t replica_base_number(const replica_t *self)
{
    return self->base_number;
}

bool replica_base_is_lost(const replica_t *self)
{
    return self->base_is_lost;
}

/* A base that was flipped or removed under the node is wanted for its state, and for the region's
 * next start: better noticed now. */
void replica_review_base(replica_t *self)
{
    wal_path_t path;
    base_head_t head;
    if (self->base.position_count == 0 || self->base_is_lost ||
        replica_base_path(self, &path, NULL) != ERR_OK) {
        return;
    }
    err_t err = base_read_head(self->env->disk, path.text, self->tenant, self->shard, &head, NULL);
    if (err == ERR_OK) {
        base_head_done(&head);
    } else if (err != ERR_IO) {
        replica_lose_base(self);
    }
}

bool replica_covers_base(const replica_t *self, const base_head_t *head)
{
    bool covers = true;
    for (uint32_t i = 0; i < head->position_count; i++) {
        covers = covers &&
                 replica_applied_seq(self, head->positions[i].stream) >= head->positions[i].seq;
    }
    return covers;
}

/* What the checkpoint had beyond the base was shown, and is in the files or comes again: a goal. */
static void s_keep_goals(replica_t *self, const base_head_t *head)
{
    for (uint32_t i = 0; i < self->applied.count; i++) {
        stream_position_t had = self->applied.entries[i];
        const base_position_t *base = base_head_find(head, had.stream);
        if (had.seq > (base == NULL ? 0 : base->seq)) {
            bool is_own = had.stream.origin.region.value == self->env->self.region.value;
            replica_stream_t *at = replica_require_stream(self, had.stream, is_own);
            at->told_seqs[self->env->self.region.value] = had.seq;
            self->has_goals = true;
        }
    }
}

/* The base's state becomes that of self, whose checkpoint is older in some stream, or lost. */
static err_t s_begin_with_base(replica_t *self, const char *path, errbuf_t *errbuf)
{
    base_reader_t *reader = base_reader_new(self->env->disk, path, self->tenant, self->shard);
    hlc_t hlc; /* what it says of time is believed when all of it is */
    hlc_init(&hlc, self->hlc->node);
    replica_t *loaded =
        replica_new(&(replica_node_t){self->env, &hlc}, self->tenant, self->tenant_name);
    err_t err = ERR_AGAIN;
    while (err == ERR_AGAIN) {
        err = replica_load_base_piece(loaded, reader, errbuf);
    }
    const base_head_t *head = base_reader_head(reader);
    for (uint32_t i = 0; err == ERR_OK && i < head->position_count; i++) {
        stream_id_t stream = head->positions[i].stream;
        (void)replica_require_stream(self, stream,
                                     stream.origin.region.value == self->env->self.region.value);
    }
    if (err == ERR_OK) {
        hlc_observe(self->hlc, hlc.last);
        s_keep_goals(self, head);
        version_vector_t applied = self->applied;
        self->applied = loaded->applied;
        loaded->applied = applied;
        replica_exchange_state(self, loaded);
        self->files = REPLICA_FILES_AWAITED;
    }
    base_reader_destroy(&reader);
    replica_close(&loaded);
    return err;
}

/* All that the base held was shown here in an earlier life: nothing is before it has come again. */
static void s_begin_without(replica_t *self)
{
    self->files = REPLICA_FILES_BASELESS;
    self->has_goals = self->has_goals || self->base.position_count > 0;
    for (uint32_t i = 0; i < self->base.position_count; i++) {
        const base_position_t *position = &self->base.positions[i];
        bool is_own = position->stream.origin.region.value == self->env->self.region.value;
        replica_require_stream(self, position->stream, is_own)
            ->told_seqs[self->env->self.region.value] = position->seq;
    }
}

static void s_add_size(void *context, const char *name, uint64_t size_bytes)
{
    uint64_t first_seq = 0;
    if (wal_files_parse_segment(name, &first_seq) == ERR_OK && size_bytes != UINT64_MAX) {
        *(uint64_t *)context += size_bytes;
    }
}

typedef struct {
    const replica_t *self;
    uint64_t size_bytes;
    uint64_t count;
} s_sizes_t;

static err_t s_add_stream(void *context, const wal_stream_name_t *name, const char *folder)
{
    s_sizes_t *sizes = context;
    const disk_t *disk = sizes->self->env->disk;
    if (name->tenant.value == sizes->self->tenant.value) {
        sizes->count++;
        (void)disk->list(disk->context, folder, s_add_size, &sizes->size_bytes, NULL);
    }
    return ERR_OK;
}

/* What was logged since the last base is not written down. More log than every stream may retain,
 * and once more, asks for a new base. */
static void s_estimate_log(replica_t *self, const char *tenants)
{
    uint64_t retain = self->env->topology->log.retain_bytes;
    s_sizes_t sizes = {.self = self};
    if (retain != 0 &&
        wal_files_list_streams(self->env->disk, tenants, s_add_stream, &sizes, NULL) == ERR_OK &&
        sizes.size_bytes > (sizes.count + 1) * retain) {
        self->bytes_since_base = retain;
    }
}

/* What an earlier life was about to load when it ended. */
static void s_remove_loading(const replica_t *self, const wal_path_t *path)
{
    wal_path_t loading;
    if (base_stage_path(path, BASE_STAGE_LOADING, &loading, NULL) == ERR_OK) {
        /* Mostly there is none; one that stays is replaced by the next one. */
        (void)self->env->disk->unlink(self->env->disk->context, loading.text, NULL);
    }
}

/* Where streams' files begin, against what the checkpoint holds. */
typedef struct {
    const replica_t *self;
    errbuf_t *errbuf;
    bool begin_later; /* some stream's files, than with event 1 */
    bool fit;         /* the files hold all that is applied next and all places of pairs, and the
                         checkpoint has forgotten what they lack: a base let it go, no accident */
} s_beginnings_t;

static bool s_fits(const replica_t *self, stream_id_t stream, uint64_t first_seq)
{
    uint64_t applied = replica_applied_seq(self, stream);
    uint64_t first_place = dedup_first_place(self->dedup, stream);
    if (first_seq == 0) {
        return applied == 0; /* what was held of it is not known */
    }
    return first_seq <= applied + 1 && (first_place == 0 || first_seq <= first_place) &&
           first_seq <= dedup_stable_seq(self->dedup, stream) + 1;
}

static err_t s_look_at_stream(void *context, const wal_stream_name_t *name, const char *folder)
{
    s_beginnings_t *beginnings = context;
    const replica_t *self = beginnings->self;
    const topology_region_t *region =
        topology_find_region_name(self->env->topology, name->region_name);
    if (name->tenant.value != self->tenant.value || region == NULL) {
        return ERR_OK;
    }
    wal_segment_list_t files = {NULL, 0, 0};
    err_t err = wal_files_list_segments(self->env->disk, folder, &files, NULL, beginnings->errbuf);
    uint64_t first_seq = files.count > 0 ? files.items[0].first_seq : 0;
    wal_segment_list_done(&files);
    stream_id_t stream = {name->tenant, name->incarnation, {region->id, self->shard}};
    beginnings->begin_later = beginnings->begin_later || first_seq > 1;
    beginnings->fit = beginnings->fit && s_fits(self, stream, first_seq);
    return err;
}

/* The base is damaged (ERR_CORRUPT) or not there (ERR_NOT_FOUND). Where nothing was truncated, none
 * is needed, and the next one replaces it. Where the checkpoint suffices, it was lost. Else a
 * damaged one leaves no state to begin with; and where there is none, nothing says that there was.
 * errs as given: nobody else has a base · of listing the files */
static err_t s_go_on_without(replica_t *self,
                             const wal_path_t *tenants,
                             err_t why,
                             errbuf_t *errbuf)
{
    errbuf_t reason = *errbuf;
    s_beginnings_t beginnings = {.self = self, .errbuf = errbuf, .fit = true};
    err_t err = wal_files_list_streams(self->env->disk, tenants->text, s_look_at_stream,
                                       &beginnings, errbuf);
    if (err != ERR_OK && err != ERR_NOT_FOUND) {
        return err;
    }
    *errbuf = reason;
    bool is_lost = beginnings.begin_later && (beginnings.fit || why == ERR_CORRUPT);
    if (is_lost && !beginnings.fit && self->env->topology->region_count == 1) {
        return why;
    }
    version_vector_done(&self->forgotten); /* it was that base which said so */
    if (!is_lost) {
        base_head_done(&self->base);
        return ERR_OK;
    }
    replica_lose_base(self);
    if (!beginnings.fit) {
        s_begin_without(self);
    }
    return ERR_OK;
}

err_t replica_open_base(replica_t *self, errbuf_t *errbuf)
{
    wal_path_t path;
    base_head_t head;
    err_t err = replica_base_path(self, &path, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    wal_path_t tenants = path;
    *strrchr(tenants.text, '/') = '\0';
    *strrchr(tenants.text, '/') = '\0';
    s_remove_loading(self, &path);
    err = base_read_head(self->env->disk, path.text, self->tenant, self->shard, &head, errbuf);
    if (err == ERR_OK) {
        replica_keep_base(self, &head);
        base_head_done(&head);
        if (replica_covers_base(self, &self->base)) {
            replica_forget_joins(self);
        } else {
            err = s_begin_with_base(self, path.text, errbuf);
        }
    }
    if (err == ERR_CORRUPT || err == ERR_NOT_FOUND) {
        err = s_go_on_without(self, &tenants, err, errbuf);
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf,
                      "begin with the base, for the log is truncated (put it back from a copy)");
        return err;
    }
    s_estimate_log(self, tenants.text);
    return ERR_OK;
}

/* -- the next one ------------------------------------------------------------------------------ */

bool replica_wants_base(const replica_t *self)
{
    uint64_t retain = self->env->topology->log.retain_bytes;
    return retain != 0 && self->bytes_since_base >= retain && self->is_recovered &&
           !self->base_is_lost && self->files == REPLICA_FILES_FIT &&
           applier_caught_up(self->applier);
}

void replica_take_base(replica_t *self, const base_head_t *head)
{
    self->bytes_since_base = 0;
    if (head != NULL) {
        replica_keep_base(self, head);
        self->counters.bases++;
    }
}

void replica_fail(replica_t *self, err_t err, const errbuf_t *errbuf)
{
    CHECK(err != ERR_OK);
    self->fatal = err;
    self->fatal_text = *errbuf;
}

err_t replica_find_join(const replica_t *self,
                        stream_position_t forgotten,
                        wal_base_t *ret_join,
                        errbuf_t *errbuf)
{
    wal_base_t join = base_head_join(&self->base, forgotten.stream);
    wal_path_t folder;
    wal_segment_list_t files = {NULL, 0, 0};
    err_t err = replica_stream_folder(self, forgotten.stream, &folder, errbuf);
    if (err == ERR_OK) {
        err = wal_files_list_segments(self->env->disk, folder.text, &files, NULL, errbuf);
    }
    uint64_t first_seq = 0;
    for (size_t i = 0; err == ERR_OK && i < files.count; i++) {
        first_seq =
            files.items[i].first_seq <= forgotten.seq + 1 ? files.items[i].first_seq : first_seq;
    }
    wal_segment_list_done(&files);
    if (err == ERR_OK && first_seq > join.seq + 1) {
        join.seq = first_seq - 1;
        err = base_hash_before(self->env->disk, folder.text, first_seq, &join.hash, errbuf);
    }
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        *ret_join = join;
        err = ERR_OK;
    }
    return err;
}

/* -- truncation -------------------------------------------------------------------------------- */

uint32_t replica_base_stream_count(const replica_t *self)
{
    return self->base.position_count;
}

uint32_t replica_floors(const replica_t *self, stream_position_t *ret_floors, uint32_t count_max)
{
    uint32_t count = 0;
    for (uint32_t i = 0; !self->base_is_lost && i < self->base.position_count && count < count_max;
         i++) {
        uint64_t seq = self->base.positions[i].join.seq;
        if (seq > 0) {
            ret_floors[count++] = (stream_position_t){self->base.positions[i].stream, seq};
        }
    }
    return count;
}

void replica_truncate(replica_t *self)
{
    uint64_t floor =
        self->log == NULL ? 0 : base_head_join(&self->base, wal_log_stream(self->log)).seq;
    if (floor == 0 || self->base_is_lost) {
        return;
    }
    size_t count = 0;
    /* What stays for lack of an unlink is tried again. */
    err_t err =
        wal_log_truncate(self->log, floor, self->env->topology->log.retain_bytes, &count, NULL);
    self->counters.truncate_failed += err == ERR_OK ? 0 : 1;
    self->counters.truncated_segments += count;
}
