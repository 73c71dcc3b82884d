/* Decoder of the read ops. */
#include "common/base/check.h"
#include "common/wire/client_fields.h"

#include <stdio.h>

enum { WINDOW_ALL_INDEX = WINDOW_COUNT - 1 };

/* -- one cell ---------------------------------------------------------------------------------- */

static bool s_take_cohort(client_decoder_t *self, bool *ret_has, slice_t *ret_cohort)
{
    *ret_has = client_has(&self->map, CLIENT_KEY_COHORT);
    return client_take_text(self, &self->map, CLIENT_KEY_COHORT, 1, TEXT_SIZE_MAX, ret_cohort);
}

static bool s_refuse_all(client_decoder_t *self)
{
    return client_refuse(self, CODE_BAD_REQUEST, "window",
                         "expected one of `1h` `24h` `7d` `30d`, found `all`: a velocity needs a "
                         "length");
}

static bool s_decode_cell(client_decoder_t *self)
{
    const client_map_t *map = &self->map;
    client_request_t *request = &self->request;
    if (!client_need(self, map, CLIENT_KEY_ITEM) || !client_need(self, map, CLIENT_KEY_SIGNAL) ||
        !client_take_u64(self, map, CLIENT_KEY_ITEM, 1, UINT64_MAX, &request->as.cell.item.value) ||
        !client_take_signal(self, map, CLIENT_KEY_SIGNAL, &request->as.cell.signal) ||
        !s_take_cohort(self, &request->as.cell.has_cohort, &request->as.cell.cohort)) {
        return false;
    }
    if (request->op == CLIENT_OP_SCORE) {
        return true;
    }
    if (!client_need(self, map, CLIENT_KEY_WINDOW) ||
        !client_take_choice(self, map, CLIENT_KEY_WINDOW, client_windows(),
                            &request->as.cell.window)) {
        return false;
    }
    bool has_length = request->as.cell.window != WINDOW_ALL_INDEX;
    return request->op != CLIENT_OP_VELOCITY || has_length || s_refuse_all(self);
}

/* -- many cells -------------------------------------------------------------------------------- */

/* An array of ids into self->numbers. */
static bool s_take_ids(client_decoder_t *self,
                       client_key_t key,
                       uint32_t count_max,
                       uint32_t *ret_count)
{
    pack_reader_t reader;
    uint32_t count = 0;
    if (!client_open_array(self, &self->map, key, count_max, &count, &reader)) {
        return false;
    }
    buffer_clear(&self->numbers);
    void *memory = buffer_extend(&self->numbers, count * sizeof(uint64_t));
    uint64_t *numbers = memory;
    for (uint32_t i = 0; i < count; i++) {
        client_at_index(self, client_key_name(key), i);
        if (!client_next_id(self, &reader, &numbers[i])) {
            return false;
        }
    }
    client_at(self, NULL);
    *ret_count = count;
    return true;
}

static bool s_take_signals(client_decoder_t *self)
{
    pack_reader_t reader;
    uint32_t *count = &self->request.as.cells.signal_count;
    if (!client_open_array(self, &self->map, CLIENT_KEY_SIGNALS, SIGNAL_TYPE_COUNT_MAX, count,
                           &reader)) {
        return false;
    }
    for (uint32_t i = 0; i < *count; i++) {
        client_at_index(self, "signals", i);
        if (!client_next_signal(self, &reader, &self->request.as.cells.signals[i])) {
            return false;
        }
    }
    client_at(self, NULL);
    return true;
}

/* A window in an array. */
static bool s_next_window(client_decoder_t *self, pack_reader_t *reader, uint8_t *ret_window)
{
    slice_t name;
    if (!client_next_text(self, reader, "", 0, TEXT_SIZE_MAX, &name)) {
        return false;
    }
    const char *const *windows = client_windows();
    for (uint32_t window = 0; window < WINDOW_COUNT; window++) {
        if (slice_equal(slice_text(windows[window]), name)) {
            *ret_window = (uint8_t)window;
            return true;
        }
    }
    pack_value_t value = {.kind = PACK_STR, .as.bytes = name};
    return client_refuse_value(self, "", "one of `1h` `24h` `7d` `30d` `all`", &value);
}

static bool s_take_windows(client_decoder_t *self)
{
    pack_reader_t reader;
    uint32_t *count = &self->request.as.cells.window_count;
    if (!client_open_array(self, &self->map, CLIENT_KEY_WINDOWS, WINDOW_COUNT, count, &reader)) {
        return false;
    }
    for (uint32_t i = 0; i < *count; i++) {
        client_at_index(self, "windows", i);
        if (!s_next_window(self, &reader, &self->request.as.cells.windows[i])) {
            return false;
        }
    }
    client_at(self, NULL);
    return true;
}

static bool s_decode_cells(client_decoder_t *self)
{
    const client_map_t *map = &self->map;
    client_request_t *request = &self->request;
    if (!client_need(self, map, CLIENT_KEY_ITEMS) || !client_need(self, map, CLIENT_KEY_SIGNALS) ||
        !client_need(self, map, CLIENT_KEY_WINDOWS) ||
        !s_take_ids(self, CLIENT_KEY_ITEMS, CELLS_ITEM_COUNT_MAX, &request->as.cells.item_count) ||
        !s_take_signals(self) || !s_take_windows(self) ||
        !s_take_cohort(self, &request->as.cells.has_cohort, &request->as.cells.cohort)) {
        return false;
    }
    uint64_t items = request->as.cells.item_count;
    uint64_t signals = request->as.cells.signal_count;
    uint64_t windows = request->as.cells.window_count;
    if (items == 0 || signals == 0) {
        return client_refuse(self, CODE_BAD_REQUEST, items == 0 ? "items" : "signals",
                             "expected at least one, found none");
    }
    uint64_t results = items * signals * (windows == 0 ? 1 : windows);
    if (results > CELLS_RESULT_COUNT_MAX) {
        return client_refuse(self, CODE_TOO_LARGE, "",
                             "cells: expected items x signals x windows of at most %d, found %llu: "
                             "split the request",
                             CELLS_RESULT_COUNT_MAX, (unsigned long long)results);
    }
    void *memory = self->numbers.data;
    request->as.cells.items = memory;
    return true;
}

/* -- relation ---------------------------------------------------------------------------------- */

static bool s_decode_relation(client_decoder_t *self)
{
    const client_map_t *map = &self->map;
    client_request_t *request = &self->request;
    bool has_item = client_has(map, CLIENT_KEY_ITEM);
    if (!client_need(self, map, CLIENT_KEY_USER)) {
        return false;
    }
    if (has_item == client_has(map, CLIENT_KEY_CREATOR)) {
        return client_refuse(self, CODE_BAD_REQUEST, "",
                             "relation: expected either item or creator, found %s",
                             has_item ? "both" : "neither");
    }
    return client_take_u64(self, map, CLIENT_KEY_USER, 1, UINT64_MAX,
                           &request->as.relation_read.user.value) &&
           client_take_u64(self, map, CLIENT_KEY_ITEM, 1, UINT64_MAX,
                           &request->as.relation_read.item.value) &&
           client_take_u64(self, map, CLIENT_KEY_CREATOR, 1, UINT64_MAX,
                           &request->as.relation_read.creator.value);
}

/* -- retrieve ---------------------------------------------------------------------------------- */

/* One map of `terms`. */
static bool s_take_term(client_decoder_t *self, const client_map_t *map, msg_term_t *term)
{
    static const char *const s_kinds[] = {"decay", "count", "velocity", NULL};
    enum { KIND_DECAY = 0, KIND_VELOCITY = 2 };
    *term = (msg_term_t){.window = WINDOW_ALL_INDEX};
    if (!client_need(self, map, CLIENT_KEY_SIGNAL) || !client_need(self, map, CLIENT_KEY_AGG) ||
        !client_need(self, map, CLIENT_KEY_WEIGHT) ||
        !client_take_signal(self, map, CLIENT_KEY_SIGNAL, &term->signal_id) ||
        !client_take_choice(self, map, CLIENT_KEY_AGG, s_kinds, &term->kind) ||
        !client_take_choice(self, map, CLIENT_KEY_WINDOW, client_windows(), &term->window) ||
        !client_take_f64(self, map, CLIENT_KEY_WEIGHT, -CLIENT_WEIGHT_MAX, CLIENT_WEIGHT_MAX,
                         &term->weight)) {
        return false;
    }
    if (term->kind == KIND_DECAY) {
        term->window = 0;
        return true;
    }
    if (!client_need(self, map, CLIENT_KEY_WINDOW)) {
        return false;
    }
    return term->kind != KIND_VELOCITY || term->window != WINDOW_ALL_INDEX || s_refuse_all(self);
}

static bool s_take_terms(client_decoder_t *self)
{
    client_retrieve_t *retrieve = &self->request.as.retrieve;
    pack_reader_t reader;
    if (!client_has(&self->map, CLIENT_KEY_TERMS)) {
        return true;
    }
    if (!client_open_array(self, &self->map, CLIENT_KEY_TERMS, PROFILE_TERM_COUNT_MAX,
                           &retrieve->term_count, &reader)) {
        return false;
    }
    if (retrieve->term_count == 0) {
        return client_refuse(self, CODE_BAD_REQUEST, "terms", "expected at least one, found none");
    }
    for (uint32_t i = 0; i < retrieve->term_count; i++) {
        client_map_t map;
        pack_value_t value;
        client_at_index(self, "terms", i);
        (void)pack_next(&reader, &value); /* kind says whether it could */
        if (value.kind != PACK_MAP) {
            return client_refuse_value(self, "", "map", &value);
        }
        if (!client_map_read(self, &reader, value.as.count, &map) ||
            !s_take_term(self, &map, &retrieve->terms[i])) {
            return false;
        }
    }
    client_at(self, NULL);
    return true;
}

/* Leaves each candidate once, at its first place. */
static uint32_t s_keep_once(client_decoder_t *self, uint32_t count)
{
    uint32_t slot_count = client_places_clear(self, count);
    void *numbers_memory = self->numbers.data;
    void *places_memory = self->places.data;
    uint64_t *numbers = numbers_memory;
    uint32_t *places = places_memory;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = client_places_first(self, numbers[i], slot_count);
        while (places[slot] != 0 && numbers[places[slot] - 1] != numbers[i]) {
            slot = (slot + 1) & (slot_count - 1);
        }
        if (places[slot] == 0) {
            numbers[kept++] = numbers[i];
            places[slot] = kept;
        }
    }
    return kept;
}

static bool s_take_candidates(client_decoder_t *self)
{
    client_retrieve_t *retrieve = &self->request.as.retrieve;
    retrieve->has_candidates = client_has(&self->map, CLIENT_KEY_CANDIDATES);
    if (!retrieve->has_candidates) {
        return true;
    }
    uint32_t count = 0;
    if (!s_take_ids(self, CLIENT_KEY_CANDIDATES, CANDIDATE_COUNT_MAX, &count)) {
        return false;
    }
    retrieve->candidate_count = s_keep_once(self, count);
    void *memory = self->numbers.data;
    retrieve->candidates = memory;
    return true;
}

static bool s_take_categories(client_decoder_t *self, const client_map_t *map)
{
    client_retrieve_t *retrieve = &self->request.as.retrieve;
    pack_reader_t reader;
    if (!client_has(map, CLIENT_KEY_CATEGORY)) {
        return true;
    }
    if (!client_open_array(self, map, CLIENT_KEY_CATEGORY, FILTER_CATEGORY_COUNT_MAX,
                           &retrieve->category_count, &reader)) {
        return false;
    }
    for (uint32_t i = 0; i < retrieve->category_count; i++) {
        client_at_index(self, "filter.category", i);
        if (!client_next_text(self, &reader, "", 0, TEXT_SIZE_MAX, &retrieve->categories[i])) {
            return false;
        }
    }
    client_at(self, "filter");
    return true;
}

static bool s_take_filter(client_decoder_t *self)
{
    client_retrieve_t *retrieve = &self->request.as.retrieve;
    client_map_t map;
    retrieve->created_after = INT64_MIN;
    retrieve->created_before = INT64_MAX;
    if (!client_has(&self->map, CLIENT_KEY_FILTER)) {
        return true;
    }
    client_at(self, "filter");
    if (!client_open_map(self, &self->map, CLIENT_KEY_FILTER, &map) ||
        !s_take_categories(self, &map) ||
        !client_take_u64(self, &map, CLIENT_KEY_CREATOR, 0, UINT64_MAX, &retrieve->creator.value) ||
        !client_take_time(self, &map, CLIENT_KEY_CREATED_AFTER, &retrieve->created_after) ||
        !client_take_time(self, &map, CLIENT_KEY_CREATED_BEFORE, &retrieve->created_before) ||
        !client_take_bool(self, &map, CLIENT_KEY_UNSEEN, &retrieve->unseen)) {
        return false;
    }
    if (retrieve->unseen && retrieve->user.value == 0 && !retrieve->has_session) {
        return client_refuse(self, CODE_BAD_REQUEST, "unseen",
                             "expected a `user` or a `session` beside it");
    }
    client_at(self, NULL);
    return true;
}

static bool s_take_diversity(client_decoder_t *self)
{
    client_retrieve_t *retrieve = &self->request.as.retrieve;
    client_map_t map;
    retrieve->has_diversity = client_has(&self->map, CLIENT_KEY_DIVERSITY);
    if (!retrieve->has_diversity) {
        return true;
    }
    client_at(self, "diversity");
    if (!client_open_map(self, &self->map, CLIENT_KEY_DIVERSITY, &map) ||
        !client_take_u32(self, &map, CLIENT_KEY_MAX_PER_CREATOR, 1, UINT32_MAX,
                         &retrieve->max_per_creator) ||
        !client_take_u32(self, &map, CLIENT_KEY_MAX_PER_CATEGORY, 1, UINT32_MAX,
                         &retrieve->max_per_category)) {
        return false;
    }
    client_at(self, NULL);
    return true;
}

/* An optional bin. */
static bool s_take_bin(client_decoder_t *self, client_key_t key, bool *ret_has, slice_t *ret_bytes)
{
    *ret_has = client_has(&self->map, key);
    if (!*ret_has) {
        return true;
    }
    pack_reader_t reader;
    pack_value_t value = client_value(self, &self->map, key, &reader);
    if (value.kind != PACK_BIN) {
        return client_refuse_value(self, client_key_name(key), "bin", &value);
    }
    *ret_bytes = value.as.bytes;
    return true;
}

static bool s_take_cursor(client_decoder_t *self)
{
    client_retrieve_t *retrieve = &self->request.as.retrieve;
    slice_t bytes = {NULL, 0};
    if (!s_take_bin(self, CLIENT_KEY_CURSOR, &retrieve->has_cursor, &bytes)) {
        return false;
    }
    if (retrieve->has_cursor && !client_cursor_decode(bytes, &retrieve->cursor)) {
        return client_refuse(self, CODE_BAD_REQUEST, "cursor",
                             "expected a cursor as a reply gave it, found %zu other bytes",
                             bytes.size);
    }
    return true;
}

static bool s_decode_retrieve(client_decoder_t *self)
{
    client_retrieve_t *retrieve = &self->request.as.retrieve;
    const client_map_t *map = &self->map;
    retrieve->has_profile = client_has(map, CLIENT_KEY_PROFILE);
    retrieve->has_session = client_has(map, CLIENT_KEY_SESSION);
    retrieve->limit = CLIENT_LIMIT_DEFAULT;
    if (!client_take_u64(self, map, CLIENT_KEY_USER, 0, UINT64_MAX, &retrieve->user.value) ||
        !client_take_session(self, map, &retrieve->session) ||
        !client_take_text(self, map, CLIENT_KEY_PROFILE, 1, NAME_LENGTH_MAX, &retrieve->profile) ||
        !s_take_terms(self) || !s_take_candidates(self) || !s_take_filter(self) ||
        !s_take_diversity(self) || !s_take_cursor(self)) {
        return false;
    }
    retrieve->has_user = retrieve->user.value != 0;
    return s_take_cohort(self, &retrieve->has_cohort, &retrieve->cohort) &&
           client_take_u32(self, map, CLIENT_KEY_LIMIT, 1, RETRIEVE_LIMIT_MAX, &retrieve->limit) &&
           client_take_bool(self, map, CLIENT_KEY_EXPLAIN, &retrieve->explain);
}

/* -- all --------------------------------------------------------------------------------------- */

static bool s_decode_one_id(client_decoder_t *self, client_key_t key, uint64_t *ret_id)
{
    return client_need(self, &self->map, key) &&
           client_take_u64(self, &self->map, key, 1, UINT64_MAX, ret_id);
}

bool client_decode_read(client_decoder_t *self)
{
    client_request_t *request = &self->request;
    if (request->op == CLIENT_OP_RETRIEVE) {
        return s_decode_retrieve(self);
    }
    if (request->op == CLIENT_OP_CELLS) {
        return s_decode_cells(self);
    }
    if (request->op == CLIENT_OP_RELATION) {
        return s_decode_relation(self);
    }
    if (request->op == CLIENT_OP_GET_ITEM) {
        return s_decode_one_id(self, CLIENT_KEY_ITEM, &request->as.item.value);
    }
    if (request->op == CLIENT_OP_GET_USER) {
        return s_decode_one_id(self, CLIENT_KEY_USER, &request->as.user.value);
    }
    if (request->op == CLIENT_OP_SESSION_GET) {
        return client_need(self, &self->map, CLIENT_KEY_SESSION) &&
               client_take_session(self, &self->map, &request->as.session);
    }
    return s_decode_cell(self);
}
