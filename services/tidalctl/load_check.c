#include "services/tidalctl/load_check.h"

#include "common/base/check.h"
#include "common/env/env_clock.h"
#include "common/wire/client_reply.h"
#include "services/tidalctl/reply_rows.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { ITEMS_PER_REQUEST = 1000, RELATIONS_PER_ROUND = 256, RETRY_MS = 20 };

static const double s_score_error_max = 1e-9; /* units of 2^-40 and doubles: far below it */
static const char *const s_windows[WINDOW_COUNT] = {"1h", "24h", "7d", "30d", "all"};

/* -- asking ------------------------------------------------------------------------------------ */

static void s_put_read(const load_check_t *check, pack_writer_t *writer)
{
    if (check->tenant != NULL) {
        pack_put_text(writer, "tenant", check->tenant);
    }
}

static err_t s_ask(
    const load_check_t *check, uint64_t id, slice_t request, buffer_t *ret_reply, errbuf_t *errbuf)
{
    enum { TIMEOUT_MS = 10000 };
    ctl_ask_t ask = {.to = check->gateway, .id = id, .request = request, .repeatable = true};
    client_answer_t answer = {0};
    err_t err = ctl_client_ask_one(check->client, &ask, TIMEOUT_MS, ret_reply, errbuf);
    if (err == ERR_OK) {
        err = client_answer_read(buffer_slice(ret_reply), &answer, errbuf);
    }
    if (err == ERR_OK && !answer.ok) {
        errbuf_set(errbuf, "%s: %.*s", code_name(answer.code), (int)answer.message.size,
                   (const char *)answer.message.data);
        err = ERR_INVALID;
    }
    return err;
}

/* -- cells ------------------------------------------------------------------------------------- */

/* Cells [first, end) of whole items, at most ITEMS_PER_REQUEST of them. */
typedef struct {
    const load_cell_t *cells;
    size_t first;
    size_t end;
    uint32_t item_count;
    uint64_t items[ITEMS_PER_REQUEST];
} piece_t;

static void s_cut_piece(piece_t *piece, const load_cell_t *cells, size_t first, size_t count)
{
    piece->cells = cells;
    piece->first = first;
    piece->end = first;
    piece->item_count = 0;
    while (piece->end < count) {
        uint64_t item = cells[piece->end].item;
        bool new_item = piece->item_count == 0 || piece->items[piece->item_count - 1] != item;
        if (new_item && piece->item_count == ITEMS_PER_REQUEST) {
            break;
        }
        if (new_item) {
            piece->items[piece->item_count++] = item;
        }
        piece->end++;
    }
}

static void s_write_cells_request(const load_check_t *check,
                                  const piece_t *piece,
                                  uint64_t id,
                                  buffer_t *out)
{
    pack_writer_t writer;
    client_request_begin(&writer, out, "cells", id);
    s_put_read(check, &writer);
    pack_put_i64(&writer, "at", check->at_ns);
    pack_put_array(&writer, "items");
    for (uint32_t i = 0; i < piece->item_count; i++) {
        pack_item(&writer);
        pack_write_u64(&writer, piece->items[i]);
    }
    pack_close(&writer);
    pack_put_array(&writer, "signals");
    for (int type = 0; type < LOAD_SIGNAL_TYPE_COUNT; type++) {
        pack_item(&writer);
        pack_write_str(&writer, slice_text(load_type_name((load_type_t)type)));
    }
    pack_close(&writer);
    pack_put_array(&writer, "windows");
    for (int window = 0; window < WINDOW_COUNT; window++) {
        pack_item(&writer);
        pack_write_str(&writer, slice_text(s_windows[window]));
    }
    pack_close(&writer);
    client_request_end(&writer);
}

/* One row [item, signal, score, [counts]] against what it must be. */
static err_t s_check_row(slice_t row,
                         const load_cell_t *expected,
                         load_checked_t *checked,
                         errbuf_t *errbuf)
{
    pack_value_t item = pack_get(row, "0");
    pack_value_t score = pack_get(row, "2");
    uint64_t found_item = 0;
    double found = 0;
    if (!pack_as_u64(&item, &found_item) || found_item != expected->item ||
        !pack_as_f64(&score, &found)) {
        errbuf_set(errbuf, "expected the row of item %" PRIu64 ", found item %" PRIu64,
                   expected->item, found_item);
        return ERR_CONFLICT;
    }
    double size = fabs(expected->score) > 1 ? fabs(expected->score) : 1;
    double error = fabs(found - expected->score) / size;
    checked->worst_error = error > checked->worst_error ? error : checked->worst_error;
    if (!(error <= s_score_error_max)) {
        errbuf_set(errbuf, "item %" PRIu64 ", score of %s: expected %.12g, found %.12g",
                   expected->item, load_type_name(expected->type), expected->score, found);
        return ERR_CONFLICT;
    }
    for (int window = 0; window < WINDOW_COUNT; window++) {
        char path[8] = "3.0";
        path[2] = (char)('0' + window);
        pack_value_t count = pack_get(row, path);
        uint64_t found_count = 0;
        if (!pack_as_u64(&count, &found_count) || found_count != expected->counts[window]) {
            errbuf_set(errbuf,
                       "item %" PRIu64 ", count of %s in %s: expected %" PRIu64 ", found %" PRIu64,
                       expected->item, load_type_name(expected->type), s_windows[window],
                       expected->counts[window], found_count);
            return ERR_CONFLICT;
        }
        checked->counts++;
    }
    checked->cells++;
    return ERR_OK;
}

/* Row i of the answer, item-major: the truth's cell, or an empty one. in next_p  cells passed */
static load_cell_t s_expected_cell(const piece_t *piece, uint32_t i, size_t *next_p)
{
    load_cell_t expected = {.item = piece->items[i / LOAD_SIGNAL_TYPE_COUNT],
                            .type = (load_type_t)(i % LOAD_SIGNAL_TYPE_COUNT)};
    if (*next_p < piece->end && piece->cells[*next_p].item == expected.item &&
        piece->cells[*next_p].type == expected.type) {
        expected = piece->cells[(*next_p)++];
    }
    return expected;
}

static err_t s_check_rows(const piece_t *piece,
                          slice_t reply,
                          load_checked_t *checked,
                          errbuf_t *errbuf)
{
    reply_rows_t rows = reply_rows(reply, "rows");
    size_t next = piece->first;
    err_t err = ERR_OK;
    for (uint32_t i = 0; i < piece->item_count * LOAD_SIGNAL_TYPE_COUNT && err == ERR_OK; i++) {
        load_cell_t expected = s_expected_cell(piece, i, &next);
        slice_t row;
        if (!reply_rows_next(&rows, &row)) {
            errbuf_set(errbuf, "expected a row for every item and signal, found fewer");
            return ERR_CONFLICT;
        }
        err = s_check_row(row, &expected, checked, errbuf);
    }
    return err;
}

static err_t s_check_piece(const load_check_t *check,
                           const piece_t *piece,
                           load_checked_t *checked,
                           errbuf_t *errbuf)
{
    buffer_t request;
    buffer_t reply;
    buffer_init(&request);
    buffer_init(&reply);
    uint64_t id = ctl_client_next_id(check->client);
    load_checked_t now = *checked;
    s_write_cells_request(check, piece, id, &request);
    err_t err = s_ask(check, id, buffer_slice(&request), &reply, errbuf);
    if (err == ERR_OK) {
        err = s_check_rows(piece, buffer_slice(&reply), &now, errbuf);
    }
    if (err == ERR_OK) {
        *checked = now;
    }
    buffer_done(&request);
    buffer_done(&reply);
    return err;
}

/* -- relations --------------------------------------------------------------------------------- */

typedef struct {
    uint64_t user;
    uint64_t item;
    bool is_hidden;
} relation_t;

static void s_collect(void *context, uint64_t user, uint64_t item, bool is_hidden)
{
    relation_t relation;
    memset(&relation, 0, sizeof(relation));
    relation.user = user;
    relation.item = item;
    relation.is_hidden = is_hidden;
    buffer_append(context, &relation, sizeof(relation));
}

static void s_write_relation_request(const load_check_t *check,
                                     const relation_t *relation,
                                     uint64_t id,
                                     buffer_t *out)
{
    pack_writer_t writer;
    client_request_begin(&writer, out, "relation", id);
    s_put_read(check, &writer);
    pack_put_u64(&writer, "user", relation->user);
    pack_put_u64(&writer, "item", relation->item);
    client_request_end(&writer);
}

static err_t s_judge_relation(const load_check_t *check,
                              const relation_t *relation,
                              const ctl_ask_t *ask,
                              errbuf_t *errbuf)
{
    slice_t reply = buffer_slice(&ask->reply);
    if (ask->state != CTL_ASK_ANSWERED) {
        ctl_client_describe(check->client, ask, errbuf);
        return ask->state == CTL_ASK_NO_ANSWER ? ERR_TIMEOUT : ERR_UNREACHABLE;
    }
    if (!reply_bool(reply, "ok") || reply_bool(reply, "hidden") != relation->is_hidden) {
        errbuf_set(errbuf, "user %" PRIu64 ", item %" PRIu64 ": expected %s, found it is not so",
                   relation->user, relation->item, relation->is_hidden ? "hidden" : "not hidden");
        return ERR_CONFLICT;
    }
    return ERR_OK;
}

static err_t s_check_relations(const load_check_t *check,
                               const relation_t *relations,
                               uint32_t count,
                               errbuf_t *errbuf)
{
    enum { TIMEOUT_MS = 10000 };
    ctl_ask_t *asks = calloc(count, sizeof(*asks));
    buffer_t *bodies = calloc(count, sizeof(*bodies));
    CHECK(asks != NULL && bodies != NULL);
    for (uint32_t i = 0; i < count; i++) {
        asks[i].to = check->gateway;
        asks[i].id = ctl_client_next_id(check->client);
        asks[i].repeatable = true;
        s_write_relation_request(check, &relations[i], asks[i].id, &bodies[i]);
        asks[i].request = buffer_slice(&bodies[i]);
    }
    ctl_client_ask(check->client, asks, count, TIMEOUT_MS);
    err_t err = ERR_OK;
    for (uint32_t i = 0; i < count; i++) {
        if (err == ERR_OK) {
            err = s_judge_relation(check, &relations[i], &asks[i], errbuf);
        }
        buffer_done(&asks[i].reply);
        buffer_done(&bodies[i]);
    }
    free(asks);
    free(bodies);
    return err;
}

/* -- the whole --------------------------------------------------------------------------------- */

/* Whether to look again: the region may not have it yet. */
static bool s_again(const load_check_t *check, err_t err, int64_t end_ns)
{
    if (err != ERR_CONFLICT || env_clock_now().mono_ns >= end_ns) {
        return false;
    }
    (void)ctl_client_turn(check->client, RETRY_MS);
    return true;
}

static err_t s_check_all_cells(const load_check_t *check,
                               int64_t end_ns,
                               load_checked_t *checked,
                               errbuf_t *errbuf)
{
    size_t count = 0;
    const load_cell_t *cells = load_truth_cells(check->truth, &count);
    piece_t *piece = calloc(1, sizeof(*piece));
    CHECK(piece != NULL);
    err_t err = ERR_OK;
    for (size_t first = 0; first < count && err == ERR_OK; first = piece->end) {
        s_cut_piece(piece, cells, first, count);
        do {
            err = s_check_piece(check, piece, checked, errbuf);
        } while (s_again(check, err, end_ns));
    }
    free(piece);
    return err;
}

err_t load_check(const load_check_t *check, load_checked_t *ret_checked, errbuf_t *errbuf)
{
    load_checked_t checked = {0};
    int64_t end_ns = env_clock_now().mono_ns + check->wait_ms * ENV_NS_PER_MS;
    err_t err = s_check_all_cells(check, end_ns, &checked, errbuf);
    buffer_t relations;
    buffer_init(&relations);
    load_plan_walk_hidden(check->plan, s_collect, &relations);
    size_t count = relations.size / sizeof(relation_t);
    for (size_t first = 0; first < count && err == ERR_OK; first += RELATIONS_PER_ROUND) {
        size_t left = count - first;
        uint32_t part = left < RELATIONS_PER_ROUND ? (uint32_t)left : RELATIONS_PER_ROUND;
        relation_t some[RELATIONS_PER_ROUND];
        memcpy(some, relations.data + first * sizeof(relation_t), part * sizeof(relation_t));
        do {
            err = s_check_relations(check, some, part, errbuf);
        } while (s_again(check, err, end_ns));
        checked.relations += part;
    }
    buffer_done(&relations);
    if (err == ERR_OK) {
        *ret_checked = checked;
    }
    return err;
}
