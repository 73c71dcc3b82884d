#include "tests/simulation/known.h"

#include "common/base/check.h"
#include "common/wire/pack.h"
#include "tests/simulation/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void known_init(known_t *self, uint32_t item_count)
{
    *self = (known_t){.item_count = item_count};
    self->cells = calloc((size_t)item_count * KNOWN_SIGNAL_COUNT, sizeof(*self->cells));
    CHECK(self->cells != NULL);
    buffer_init(&self->rows);
}

void known_done(known_t *self)
{
    free(self->cells);
    self->cells = NULL;
    buffer_done(&self->rows);
}

void known_clear(known_t *self)
{
    memset(self->cells, 0, (size_t)self->item_count * KNOWN_SIGNAL_COUNT * sizeof(*self->cells));
    memset(self->registers, 0, sizeof(self->registers));
    self->has_session = false;
    self->is_closed = false;
    buffer_clear(&self->rows);
}

relation_action_t known_action(uint32_t index)
{
    CHECK(index < KNOWN_REGISTER_COUNT);
    return index < KNOWN_PAIR_COUNT                         ? RELATION_HIDE
           : index < KNOWN_PAIR_COUNT + KNOWN_CREATOR_COUNT ? RELATION_MUTE
                                                            : RELATION_BLOCK;
}

hlc_stamp_t known_read_hlc(slice_t reply, const char *path)
{
    pack_reader_t at;
    pack_value_t value;
    hlc_stamp_t hlc = {0};
    uint64_t logical = 0;
    uint64_t node = 0;
    if (!pack_find(pack_reader(reply), path, &at) || !pack_next(&at, &value) ||
        value.kind != PACK_ARRAY) {
        return hlc;
    }
    bool is_sound = value.as.count == 3 && pack_next(&at, &value) &&
                    pack_as_i64(&value, &hlc.wall_ns) && pack_next(&at, &value) &&
                    pack_as_u64(&value, &logical) && pack_next(&at, &value) &&
                    pack_as_u64(&value, &node);
    CHECK(is_sound);
    hlc.logical = (uint32_t)logical;
    hlc.node = (uint32_t)node;
    return hlc;
}

/* -- what is known ----------------------------------------------------------------------------- */

static known_cell_t *s_cell(const known_t *self, uint32_t item, uint8_t signal)
{
    CHECK(item < self->item_count && signal >= 1 && signal <= KNOWN_SIGNAL_COUNT);
    return &self->cells[(size_t)item * KNOWN_SIGNAL_COUNT + signal - 1U];
}

/* Events that a read must count. */
static uint32_t s_least(const known_cell_t *cell)
{
    return cell->acked > cell->shown ? cell->acked : cell->shown;
}

static bool s_is_of(const known_t *self, const session_id_t *session)
{
    return self->has_session && memcmp(self->session.bytes, session->bytes, SESSION_ID_SIZE) == 0;
}

void known_note_event(known_t *self, uint32_t item, uint8_t signal)
{
    s_cell(self, item, signal)->acked++;
}

void known_note_register(known_t *self, uint32_t index, known_register_t written)
{
    CHECK(index < KNOWN_REGISTER_COUNT);
    known_register_t *known = &self->registers[index];
    int order = hlc_compare(written.hlc, known->hlc);
    if (order > 0) {
        *known = written;
    } else if (order == 0) {
        known->is_set = known->is_set || written.is_set;
    }
}

void known_note_session(known_t *self, const session_id_t *session)
{
    self->has_session = true;
    self->session = *session;
    self->is_closed = false;
    buffer_clear(&self->rows);
}

/* Row of an event; NULL when there is none. */
static known_row_t *s_find_row(const buffer_t *rows, uint32_t event)
{
    known_row_t *list = (known_row_t *)(void *)rows->data;
    for (size_t i = 0; i < rows->size / sizeof(*list); i++) {
        if (list[i].event == event) {
            return &list[i];
        }
    }
    return NULL;
}

/* From now on it is this copy. */
static void s_name(known_row_t *known, const known_row_t *copy)
{
    bool is_same_copy = known->origin == copy->origin && known->session_seq == copy->session_seq;
    known->is_ordered = known->is_ordered && is_same_copy;
    known->origin = copy->origin;
    known->session_seq = copy->session_seq;
    known->is_named = true;
}

void known_note_row(known_t *self, const session_id_t *session, known_row_t row)
{
    known_row_t *known = s_find_row(&self->rows, row.event);
    if (!s_is_of(self, session)) {
        return;
    }
    if (known == NULL) {
        buffer_append(&self->rows, &row, sizeof(row));
    } else if (row.is_named) {
        s_name(known, &row);
    }
}

void known_note_closed(known_t *self, const session_id_t *session)
{
    self->is_closed = self->is_closed || s_is_of(self, session);
}

void known_begin(const known_t *self, known_read_t *read)
{
    buffer_clear(&read->rows);
    if (read->kind == KNOWN_READ_CELLS) {
        memcpy(read->cells, s_cell(self, read->item, 1), sizeof(read->cells));
    } else if (read->kind == KNOWN_READ_COUNT || read->kind == KNOWN_READ_SCORE) {
        read->cells[0] = *s_cell(self, read->item, read->signal);
    } else if (read->kind == KNOWN_READ_RELATION) {
        bool is_hide = known_action(read->index) == RELATION_HIDE;
        read->registers[0] = self->registers[read->index];
        read->registers[1] = self->registers[read->index + (is_hide ? 0 : KNOWN_CREATOR_COUNT)];
    } else if (read->kind == KNOWN_READ_SESSION && s_is_of(self, &read->session)) {
        read->is_closed = self->is_closed;
        buffer_append(&read->rows, self->rows.data, self->rows.size);
    }
}

/* -- answers ----------------------------------------------------------------------------------- */

static bool s_read_u64(slice_t reply, const char *path, uint64_t *ret_number)
{
    pack_value_t value = pack_get(reply, path);
    return pack_as_u64(&value, ret_number);
}

/* The bits of a score; false when there is none. */
static bool s_read_bits(slice_t reply, const char *path, uint64_t *ret_bits)
{
    pack_value_t value = pack_get(reply, path);
    double score = 0;
    bool is_number = pack_as_f64(&value, &score);
    memcpy(ret_bits, &score, sizeof(score));
    return is_number;
}

static bool s_judge_count(const known_read_t *read,
                          uint8_t signal,
                          const known_cell_t *known,
                          bool is_there,
                          uint64_t found,
                          errbuf_t *ret_text)
{
    if (is_there && found >= s_least(known)) {
        return true;
    }
    errbuf_set(ret_text,
               "item %u signal %u: expected a count of at least %u with this token, found %" PRIu64,
               read->item + 1, (unsigned)signal, s_least(known), found);
    return false;
}

/* The path of row i of a `cells` answer, and its field. */
typedef struct {
    char text[32];
} s_path_t;

static s_path_t s_cells_path(uint32_t i, const char *field)
{
    s_path_t path;
    (void)snprintf(path.text, sizeof(path.text), "rows.%u.%s", (unsigned)i, field);
    return path;
}

/* Two scores of the same events. */
static bool s_is_same_score(const known_read_t *read,
                            uint32_t signal,
                            uint64_t count,
                            uint64_t before,
                            uint64_t found,
                            errbuf_t *ret_text)
{
    if (before == found) {
        return true;
    }
    errbuf_set(ret_text,
               "item %u signal %u with %" PRIu64 " events: expected the score with bits %016" PRIx64
               " as before, found %016" PRIx64,
               read->item + 1, (unsigned)signal, count, before, found);
    return false;
}

static bool s_judge_cells(const known_read_t *read, slice_t reply, errbuf_t *ret_text)
{
    bool ok = true;
    for (uint32_t i = 0; ok && i < KNOWN_SIGNAL_COUNT; i++) {
        const known_cell_t *known = &read->cells[i];
        uint64_t found = 0;
        uint64_t bits = 0;
        bool is_there = s_read_u64(reply, s_cells_path(i, "3.0").text, &found) &&
                        s_read_bits(reply, s_cells_path(i, "2").text, &bits);
        ok = s_judge_count(read, (uint8_t)(i + 1), known, is_there, found, ret_text);
        if (ok && known->score_count != 0 && known->score_count == found) {
            ok = s_is_same_score(read, i + 1, found, known->score_bits, bits, ret_text);
        }
        if (ok && known->single_count != 0 && known->single_count == found) {
            ok = s_is_same_score(read, i + 1, found, known->single_bits, bits, ret_text);
        }
    }
    return ok;
}

static bool s_judge_register(const char *what,
                             const known_register_t *known,
                             const known_register_t *found,
                             errbuf_t *ret_text)
{
    int order = hlc_compare(found->hlc, known->hlc);
    if (order > 0 || (order == 0 && (found->is_set || !known->is_set))) {
        return true;
    }
    errbuf_set(ret_text,
               "%s: expected a stamp of at least %" PRId64 ".%u%s with this token, found %" PRId64
               ".%u%s",
               what, known->hlc.wall_ns, known->hlc.logical, known->is_set ? " (set)" : "",
               found->hlc.wall_ns, found->hlc.logical, found->is_set ? " (set)" : "");
    return false;
}

/* What the answer says of register 0 or 1 of the read. */
static known_register_t s_found_register(const known_read_t *read, slice_t reply, uint32_t i)
{
    static const char *const s_names[] = {"hidden", "muted", "blocked"};
    static const char *const s_hlc_names[] = {"hidden_hlc", "muted_hlc", "blocked_hlc"};
    uint32_t name = known_action(read->index) == RELATION_HIDE ? 0 : 1 + i;
    pack_value_t value = pack_get(reply, s_names[name]);
    CHECK(value.kind == PACK_BOOL);
    return (known_register_t){known_read_hlc(reply, s_hlc_names[name]), value.as.boolean};
}

static uint32_t s_register_count(const known_read_t *read)
{
    return known_action(read->index) == RELATION_HIDE ? 1 : 2;
}

static bool s_judge_relation(const known_read_t *read, slice_t reply, errbuf_t *ret_text)
{
    bool ok = true;
    for (uint32_t i = 0; ok && i < s_register_count(read); i++) {
        known_register_t found = s_found_register(read, reply, i);
        ok = s_judge_register("a relation", &read->registers[i], &found, ret_text);
    }
    return ok;
}

/* The rows of an answer to session_get, appended as known_row_t. */
static void s_read_rows(slice_t reply, buffer_t *rows)
{
    pack_reader_t at;
    pack_value_t value = {.kind = PACK_BAD};
    bool is_sound = pack_find(pack_reader(reply), "signals", &at) && pack_next(&at, &value) &&
                    value.kind == PACK_ARRAY;
    uint32_t count = is_sound ? value.as.count : 0;
    for (uint32_t i = 0; is_sound && i < count; i++) {
        uint64_t session_seq = 0;
        uint64_t ts_ns = 0;
        is_sound = pack_next(&at, &value) && value.kind == PACK_ARRAY && value.as.count == 6 &&
                   pack_next(&at, &value) && pack_as_u64(&value, &session_seq) && pack_skip(&at) &&
                   pack_skip(&at) && pack_skip(&at) && pack_next(&at, &value) &&
                   pack_as_u64(&value, &ts_ns) && pack_next(&at, &value) && value.kind == PACK_STR;
        known_row_t row = {.event = (uint32_t)(ts_ns % HISTORY_EVENT_COUNT_MAX),
                           .session_seq = (uint32_t)session_seq,
                           .origin = is_sound ? history_origin(value.as.bytes) : 0,
                           .is_ordered = true};
        buffer_append(rows, &row, sizeof(row));
    }
    CHECK(is_sound);
}

/* Each event at most once; all that are known are there; those of the same copy in the same order. */
static bool s_judge_rows(const known_read_t *read, const buffer_t *found, errbuf_t *ret_text)
{
    const known_row_t *known = (const void *)read->rows.data;
    const known_row_t *rows = (const void *)found->data;
    const known_row_t *last = NULL;
    for (size_t i = 0; i < found->size / sizeof(*rows); i++) {
        if (s_find_row(found, rows[i].event) != &rows[i]) {
            errbuf_set(ret_text, "a session has event %u twice", rows[i].event);
            return false;
        }
    }
    for (size_t i = 0; i < read->rows.size / sizeof(*known); i++) {
        const known_row_t *at = s_find_row(found, known[i].event);
        if (at == NULL) {
            errbuf_set(ret_text, "a session lacks event %u, which was acknowledged or shown before",
                       known[i].event);
            return false;
        }
        bool is_same_copy =
            known[i].origin == at->origin && known[i].session_seq == at->session_seq;
        if (known[i].is_named && !is_same_copy) {
            errbuf_set(ret_text, "a session has event %u as another copy than was acknowledged",
                       known[i].event);
            return false;
        }
        bool is_ordered = is_same_copy && known[i].is_ordered;
        if (is_ordered && last != NULL && at < last) {
            errbuf_set(ret_text, "a session has event %u in front of one that it was shown behind",
                       known[i].event);
            return false;
        }
        last = is_ordered ? at : last;
    }
    return true;
}

static bool s_judge_session(const known_read_t *read, slice_t reply, errbuf_t *ret_text)
{
    pack_value_t open = pack_get(reply, "open");
    if (open.kind != PACK_BOOL || (open.as.boolean && read->is_closed)) {
        errbuf_set(ret_text, "a session is open that was closed before");
        return false;
    }
    buffer_t found = {0};
    s_read_rows(reply, &found);
    bool ok = s_judge_rows(read, &found, ret_text);
    buffer_done(&found);
    return ok;
}

bool known_judge(const known_read_t *read, slice_t reply, errbuf_t *ret_text)
{
    uint64_t found = 0;
    bool is_there = false;
    switch (read->kind) {
    case KNOWN_READ_PAIR:
        if (read->is_hidden && pack_get(reply, "items.0").kind == PACK_MAP) {
            errbuf_set(ret_text, "an item is shown to a user who had hidden it, or its creator");
            return false;
        }
        return true;
    case KNOWN_READ_COUNT:
        is_there = s_read_u64(reply, "count", &found);
        return s_judge_count(read, read->signal, &read->cells[0], is_there, found, ret_text);
    case KNOWN_READ_SCORE:
        is_there = s_read_bits(reply, "score", &found);
        CHECK(is_there);
        return true; /* it is held against those of `cells` */
    case KNOWN_READ_CELLS:
        return s_judge_cells(read, reply, ret_text);
    case KNOWN_READ_RELATION:
        return s_judge_relation(read, reply, ret_text);
    case KNOWN_READ_SESSION:
        return s_judge_session(read, reply, ret_text);
    }
    CHECK(false);
    return false;
}

/* -- keeping ----------------------------------------------------------------------------------- */

static void s_raise(known_cell_t *known, uint64_t found)
{
    known->shown = found > known->shown ? (uint32_t)found : known->shown;
}

static void s_keep_cells(known_t *self, const known_read_t *read, slice_t reply)
{
    for (uint32_t i = 0; i < KNOWN_SIGNAL_COUNT; i++) {
        known_cell_t *known = s_cell(self, read->item, (uint8_t)(i + 1));
        uint64_t found = 0;
        uint64_t bits = 0;
        bool is_there = s_read_u64(reply, s_cells_path(i, "3.0").text, &found) &&
                        s_read_bits(reply, s_cells_path(i, "2").text, &bits);
        CHECK(is_there);
        s_raise(known, found);
        if (found > known->score_count) {
            known->score_count = (uint32_t)found;
            known->score_bits = bits;
        }
    }
}

/* The order is that of the latest answer. */
static void s_keep_rows(known_t *self, const known_read_t *read, slice_t reply)
{
    if (!s_is_of(self, &read->session)) {
        return;
    }
    buffer_t found = {0};
    s_read_rows(reply, &found);
    known_row_t *before = (void *)self->rows.data;
    for (size_t i = 0; i < self->rows.size / sizeof(*before); i++) {
        known_row_t *at = s_find_row(&found, before[i].event);
        if (at != NULL && before[i].is_named) {
            s_name(at, &before[i]);
        } else if (at == NULL) { /* told meanwhile */
            before[i].is_ordered = false;
            buffer_append(&found, &before[i], sizeof(before[i]));
        }
    }
    buffer_done(&self->rows);
    self->rows = found;
    self->is_closed = self->is_closed || !pack_get(reply, "open").as.boolean;
}

void known_keep(known_t *self, const known_read_t *read, slice_t reply)
{
    uint64_t found = 0;
    if (read->kind == KNOWN_READ_COUNT) {
        (void)s_read_u64(reply, "count", &found);
        s_raise(s_cell(self, read->item, read->signal), found);
    } else if (read->kind == KNOWN_READ_SCORE) {
        known_cell_t *known = s_cell(self, read->item, read->signal);
        (void)s_read_bits(reply, "score", &known->single_bits);
        known->single_count = s_least(&read->cells[0]);
    } else if (read->kind == KNOWN_READ_CELLS) {
        s_keep_cells(self, read, reply);
    } else if (read->kind == KNOWN_READ_RELATION) {
        for (uint32_t i = 0; i < s_register_count(read); i++) {
            known_note_register(self, read->index + i * KNOWN_CREATOR_COUNT,
                                s_found_register(read, reply, i));
        }
    } else if (read->kind == KNOWN_READ_SESSION) {
        s_keep_rows(self, read, reply);
    }
}
