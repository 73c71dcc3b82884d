/* Ranked answers: one question to every shard, one list from what they rank. */
#include "common/gateway/gateway_state.h"

#include "common/base/check.h"
#include "common/session/session_id.h"

/* -- the question ------------------------------------------------------------------------------ */

static code_t s_unknown_profile(const gateway_engine_t *self, slice_t name, errbuf_t *errbuf)
{
    const schema_t *schema = &self->env.topology->schema;
    char names[ERRBUF_SIZE_BYTES / 2] = "";
    size_t size = 0;
    for (uint32_t i = 0; i < schema->profile_count; i++) {
        const char *known = schema->profiles[i].name;
        if (size + strlen(known) + 4 < sizeof(names)) {
            memcpy(names + size, " `", 2);
            memcpy(names + size + 2, known, strlen(known));
            size += strlen(known) + 2;
            names[size++] = '`';
            names[size] = '\0';
        }
    }
    errbuf_set(errbuf, "profile: expected one of%s, found `%.*s`", names, (int)name.size,
               (const char *)name.data);
    return CODE_BAD_REQUEST;
}

static code_t s_add_term(const gateway_engine_t *self,
                         gateway_request_t *request,
                         msg_term_t term,
                         errbuf_t *errbuf)
{
    msg_read_retrieve_t *read = &request->read.msg.as.retrieve;
    const schema_signal_t *signal =
        schema_find_signal_id(&self->env.topology->schema, term.signal_id);
    CHECK(signal != NULL);
    if (term.kind != TERM_DECAY && !schema_signal_has_window(signal, (window_t)term.window)) {
        errbuf_set(errbuf,
                   "terms: expected a window that is kept for `%s` (hello lists them), found `%s`",
                   signal->name, window_name((window_t)term.window));
        return CODE_BAD_REQUEST;
    }
    if (read->term_count == PROFILE_TERM_COUNT_MAX) {
        errbuf_set(errbuf, "terms: expected at most %d, those of the profile included, found more",
                   PROFILE_TERM_COUNT_MAX);
        return CODE_BAD_REQUEST;
    }
    read->terms[read->term_count++] = term;
    return CODE_OK;
}

/* The profile's terms and then the client's own; terms alone replace the default profile. */
static code_t s_take_terms(const gateway_engine_t *self,
                           gateway_request_t *request,
                           const client_retrieve_t *retrieve,
                           errbuf_t *errbuf)
{
    const schema_t *schema = &self->env.topology->schema;
    const schema_profile_t *profile = NULL;
    if (retrieve->has_profile) {
        profile = schema_find_profile_slice(schema, retrieve->profile);
        if (profile == NULL) {
            return s_unknown_profile(self, retrieve->profile, errbuf);
        }
    } else if (retrieve->term_count == 0) {
        profile = schema_default_profile(schema);
    }
    code_t code = CODE_OK;
    for (uint32_t i = 0; profile != NULL && i < profile->term_count && code == CODE_OK; i++) {
        const profile_term_t *term = &profile->terms[i];
        msg_term_t taken = {term->signal_id, (uint8_t)term->kind, (uint8_t)term->window,
                            term->weight};
        code = s_add_term(self, request, taken, errbuf);
    }
    for (uint32_t i = 0; i < retrieve->term_count && code == CODE_OK; i++) {
        code = s_add_term(self, request, retrieve->terms[i], errbuf);
    }
    request->read.term_count = request->read.msg.as.retrieve.term_count;
    return code;
}

code_t gateway_retrieve_begin(gateway_engine_t *self,
                              gateway_request_t *request,
                              const client_request_t *client,
                              errbuf_t *errbuf)
{
    const client_retrieve_t *retrieve = &client->as.retrieve;
    msg_read_t *msg = &request->read.msg;
    msg->kind = READ_RETRIEVE;
    code_t code = s_take_terms(self, request, retrieve, errbuf);
    if (code != CODE_OK) {
        return code;
    }
    msg_read_retrieve_t *read = &msg->as.retrieve;
    read->user = retrieve->user;
    if (!retrieve->has_user && retrieve->has_session) {
        read->user = session_id_user(&retrieve->session); /* what that user hid stays hidden */
    }
    read->has_candidates = retrieve->has_candidates;
    read->category_count = retrieve->category_count;
    for (uint32_t i = 0; i < retrieve->category_count; i++) {
        read->categories[i] = gateway_request_hold(request, retrieve->categories[i]);
    }
    read->creator = retrieve->creator;
    read->created_after = retrieve->created_after;
    read->created_before = retrieve->created_before;
    read->unseen = retrieve->unseen;
    read->cohort = gateway_request_hold(request, retrieve->cohort);
    read->has_cursor = retrieve->has_cursor;
    if (retrieve->has_cursor) {
        read->cursor_score = retrieve->cursor.score;
        read->cursor_item = retrieve->cursor.item;
        msg->at_ns = retrieve->cursor.at_ns; /* all pages rank by one time */
    }
    read->explain = retrieve->explain;
    request->read.limit = retrieve->limit;
    request->read.max_per_creator = retrieve->max_per_creator;
    request->read.max_per_category = retrieve->max_per_category;
    /* Caps leave out some of what the shards rank best: they are asked for all that they may name.
     */
    bool has_caps = retrieve->max_per_creator > 0 || retrieve->max_per_category > 0;
    read->limit = has_caps ? RETRIEVE_LIMIT_MAX : retrieve->limit;
    return CODE_OK;
}

/* -- the answers ------------------------------------------------------------------------------- */

static bool s_is_ordered(const msg_ranked_t *a, const msg_ranked_t *b)
{
    return a->score > b->score || (a->score == b->score && a->item.value < b->item.value);
}

code_t gateway_retrieve_keep(gateway_request_t *request,
                             gateway_part_t *part,
                             const msg_read_reply_t *answer)
{
    uint32_t count = answer->as.retrieve.ranked_count;
    uint32_t term_count = answer->as.retrieve.term_count;
    bool explain = request->read.msg.as.retrieve.explain;
    if (count > request->read.msg.as.retrieve.limit ||
        (explain && count > 0 && term_count != request->read.term_count)) {
        return CODE_INTERNAL;
    }
    for (uint32_t i = 1; i < count; i++) {
        if (!s_is_ordered(&answer->as.retrieve.ranked[i - 1], &answer->as.retrieve.ranked[i])) {
            return CODE_INTERNAL;
        }
    }
    part->answer.offset = (uint32_t)(request->ranked.size / sizeof(gateway_ranked_t));
    part->answer.size = count;
    for (uint32_t i = 0; i < count; i++) {
        const msg_ranked_t *from = &answer->as.retrieve.ranked[i];
        gateway_ranked_t item = {
            .score = from->score,
            .item = from->item,
            .creator = from->creator,
            .category = gateway_request_note(request, from->category),
            .terms = (uint32_t)(request->terms.size / sizeof(double)),
        };
        buffer_append(&request->ranked, &item, sizeof(item));
        if (explain) {
            buffer_append(&request->terms, from->terms, term_count * sizeof(double));
        }
    }
    request->read.candidate_count += answer->as.retrieve.candidate_count;
    request->read.filtered_count += answer->as.retrieve.filtered_count;
    return CODE_OK;
}

/* -- stats ------------------------------------------------------------------------------------- */

typedef struct {
    client_stats_t stats;
    slice_t reasons[4];
    client_missing_shard_t missing[SHARD_COUNT_MAX];
    client_staleness_t staleness[REGION_COUNT_MAX];
} stats_t;

/* Whether a region that holds the tenant is cut off from this one: it was not heard of, or its data
 * has not been for longer than a living link lets pass. */
static bool s_is_cut_off(const gateway_engine_t *self,
                         const gateway_request_t *request,
                         region_id_t region,
                         now_t now)
{
    uint32_t staleness_ms = request->read.staleness_ms[region.value];
    bool is_silent = !gateway_peers_is_reachable(&self->peers, region, now.mono_ns);
    bool is_old = region.value != self->region.value && staleness_ms != UINT32_MAX &&
                  gateway_ms(staleness_ms) >= 2 * self->peers.silent_ns;
    return is_silent || is_old;
}

static void s_fill_stats(gateway_engine_t *self,
                         const gateway_request_t *request,
                         now_t now,
                         stats_t *ret_stats)
{
    client_stats_t *stats = &ret_stats->stats;
    region_set_t placed = gateway_placed(self, request->tenant);
    bool is_cut_off = false;
    *stats = (client_stats_t){
        .reasons = ret_stats->reasons,
        .shards_total = gateway_ranking_count(request),
        .missing = ret_stats->missing,
        .staleness = ret_stats->staleness,
        .candidates = request->read.candidate_count,
        .filtered = request->read.filtered_count,
        .took_us = (uint64_t)(now.mono_ns - request->received_ns) / 1000,
    };
    for (uint32_t i = 0; i < gateway_ranking_count(request); i++) {
        const gateway_part_t *part = &request->parts[i];
        if (part->code == CODE_OK) {
            stats->shards_answered++;
            continue;
        }
        region_id_t region = part->target.value != 0 ? part->target : self->region;
        ret_stats->missing[stats->missing_count++] =
            (client_missing_shard_t){part->shard, gateway_region_name(self, region)};
    }
    for (uint32_t number = 1; number <= REGION_COUNT_MAX; number++) {
        region_id_t region = {(uint16_t)number};
        if (region_set_has(placed, region)) {
            ret_stats->staleness[stats->staleness_count++] = (client_staleness_t){
                gateway_region_name(self, region), request->read.staleness_ms[number]};
            is_cut_off = is_cut_off || s_is_cut_off(self, request, region, now);
        }
    }
    if (is_cut_off) {
        ret_stats->reasons[stats->reason_count++] = slice_text("region_unreachable");
    }
    if (stats->missing_count > 0) {
        ret_stats->reasons[stats->reason_count++] = slice_text("shard_missing");
    }
    if (request->read.has_session && request->parts[request->part_count - 1].code != CODE_OK) {
        ret_stats->reasons[stats->reason_count++] = slice_text("session_missing");
    }
    self->counters.degraded += stats->reason_count > 0 ? 1 : 0;
}

/* -- the reply --------------------------------------------------------------------------------- */

static void s_merge(gateway_engine_t *self, const gateway_request_t *request)
{
    const gateway_ranked_t *ranked = (const gateway_ranked_t *)(const void *)request->ranked.data;
    gateway_list_t lists[SHARD_COUNT_MAX];
    uint32_t list_count = 0;
    for (uint32_t i = 0; i < gateway_ranking_count(request); i++) {
        const gateway_part_t *part = &request->parts[i];
        if (part->code == CODE_OK && part->answer.size > 0) {
            lists[list_count++] =
                (gateway_list_t){ranked + part->answer.offset, part->answer.size,
                                 part->answer.size == request->read.msg.as.retrieve.limit};
        }
    }
    gateway_merge_options_t options = {
        .limit = request->read.limit,
        .max_per_creator = request->read.max_per_creator,
        .max_per_category = request->read.max_per_category,
        .text = buffer_slice(&request->text),
    };
    gateway_merge(lists, list_count, &options, &self->merged);
}

static uint32_t s_name_terms(const gateway_engine_t *self,
                             const gateway_request_t *request,
                             client_term_t ret_terms[PROFILE_TERM_COUNT_MAX])
{
    const msg_read_retrieve_t *read = &request->read.msg.as.retrieve;
    if (!read->explain) {
        return 0;
    }
    for (uint32_t i = 0; i < read->term_count; i++) {
        const schema_signal_t *signal =
            schema_find_signal_id(&self->env.topology->schema, read->terms[i].signal_id);
        ret_terms[i] = (client_term_t){slice_text(signal->name), read->terms[i].kind,
                                       read->terms[i].window, read->terms[i].weight};
    }
    return read->term_count;
}

void gateway_retrieve_finish(gateway_engine_t *self, gateway_request_t *request, now_t now)
{
    stats_t stats;
    client_term_t terms[PROFILE_TERM_COUNT_MAX];
    s_fill_stats(self, request, now, &stats);
    s_merge(self, request);
    client_retrieve_reply_t reply = {.item_count = self->merged.count,
                                     .items = self->ranked,
                                     .terms = terms,
                                     .stats = stats.stats};
    reply.term_count = s_name_terms(self, request, terms);
    const double *values = (const double *)(const void *)request->terms.data;
    for (uint32_t i = 0; i < self->merged.count; i++) {
        const gateway_ranked_t *item = self->merged.items[i];
        msg_ranked_t *to = &self->ranked[i];
        to->item = item->item;
        to->score = item->score;
        to->creator = item->creator;
        to->category = slice_make(NULL, 0);
        for (uint32_t k = 0; k < reply.term_count; k++) {
            to->terms[k] = values[item->terms + k];
        }
    }
    if (self->merged.has_more && self->merged.last != NULL) {
        reply.has_cursor = true;
        reply.cursor = (client_cursor_t){request->read.msg.at_ns, self->merged.last->score,
                                         self->merged.last->item};
    }
    if (request->read.as_of_ns == INT64_MAX) {
        request->read.as_of_ns = request->read.msg.at_ns; /* no shard answered */
    }
    client_read_reply_t read = gateway_read_common(self, request);
    buffer_clear(&self->reply);
    client_reply_retrieve(&self->reply, request->id, &read, &reply);
    gateway_finish(self, request, CODE_OK, now);
}
