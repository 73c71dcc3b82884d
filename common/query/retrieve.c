#include "common/query/retrieve.h"

#include "common/base/check.h"
#include "common/query/retrieve_session.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct retrieve {
    msg_ranked_t *heap; /* RETRIEVE_LIMIT_MAX; the worst of the best on top */
    uint32_t count;
    retrieve_session_t session;
};

/* One request being answered. */
typedef struct {
    const ledger_t *ledger;
    const msg_read_retrieve_t *request;
    const retrieve_session_t *session;
    int64_t at_ns;
    uint32_t user_row;
    uint32_t cohort;                               /* 0: not known, or none was asked for */
    cell_reader_t readers[PROFILE_TERM_COUNT_MAX]; /* of the decay terms */
    uint32_t category_hashes[FILTER_CATEGORY_COUNT_MAX];
    retrieve_result_t result;
} s_run_t;

retrieve_t *retrieve_new(void)
{
    retrieve_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->heap = malloc(RETRIEVE_LIMIT_MAX * sizeof(*self->heap));
    CHECK(self->heap != NULL);
    return self;
}

void retrieve_destroy(retrieve_t **self_p)
{
    retrieve_t *self = *self_p;
    if (self != NULL) {
        free(self->heap);
        retrieve_session_done(&self->session);
        free(self);
        *self_p = NULL;
    }
}

/* -- the best so far --------------------------------------------------------------------------- */

/* Whether (score, item) ranks before the other. */
static bool s_is_before(double score, item_id_t item, double other_score, item_id_t other)
{
    if (score != other_score) {
        return score > other_score;
    }
    return item.value < other.value;
}

static bool s_ranked_is_before(const msg_ranked_t *a, const msg_ranked_t *b)
{
    return s_is_before(a->score, a->item, b->score, b->item);
}

static void s_swap(msg_ranked_t *a, msg_ranked_t *b)
{
    msg_ranked_t kept = *a;
    *a = *b;
    *b = kept;
}

static void s_sift_up(retrieve_t *self, uint32_t at)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (!s_ranked_is_before(&self->heap[parent], &self->heap[at])) {
            return;
        }
        s_swap(&self->heap[parent], &self->heap[at]);
        at = parent;
    }
}

/* The worst of an entry and its two children. */
static uint32_t s_worst_of(const retrieve_t *self, uint32_t at)
{
    uint32_t worst = at;
    for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < self->count; child++) {
        if (s_ranked_is_before(&self->heap[worst], &self->heap[child])) {
            worst = child;
        }
    }
    return worst;
}

static void s_sift_down(retrieve_t *self)
{
    uint32_t at = 0;
    uint32_t worst = s_worst_of(self, at);
    while (worst != at) {
        s_swap(&self->heap[worst], &self->heap[at]);
        at = worst;
        worst = s_worst_of(self, at);
    }
}

static void s_offer(retrieve_t *self, const msg_ranked_t *ranked, uint32_t limit)
{
    if (self->count < limit) {
        self->heap[self->count] = *ranked;
        self->count++;
        s_sift_up(self, self->count - 1);
    } else if (s_ranked_is_before(ranked, &self->heap[0])) {
        self->heap[0] = *ranked;
        s_sift_down(self);
    }
}

static int s_compare_ranked(const void *a, const void *b)
{
    return s_ranked_is_before(a, b) ? -1 : 1;
}

/* -- filters ----------------------------------------------------------------------------------- */

/* The value of a field; empty when the item has none. */
static slice_t s_field(const ledger_t *ledger, item_id_t item, item_field_t field)
{
    ledger_fields_t fields;
    if (ledger_get_item(ledger, item, &fields) != ERR_OK || !fields.has[field]) {
        return slice_make(NULL, 0);
    }
    return fields.fields[field].value;
}

static bool s_fits_category(const s_run_t *run, const ledger_item_t *item)
{
    const msg_read_retrieve_t *request = run->request;
    if (request->category_count == 0) {
        return true;
    }
    if (item == NULL || item->category_hash == 0) {
        return false;
    }
    for (uint32_t i = 0; i < request->category_count; i++) {
        if (run->category_hashes[i] == item->category_hash &&
            slice_equal(request->categories[i],
                        s_field(run->ledger, item->item, ITEM_FIELD_CATEGORY))) {
            return true;
        }
    }
    return false;
}

static bool s_fits_fields(const s_run_t *run, const ledger_item_t *item)
{
    const msg_read_retrieve_t *request = run->request;
    uint64_t creator = item == NULL ? 0 : item->creator.value;
    if (request->creator.value != 0 && creator != request->creator.value) {
        return false;
    }
    bool is_bounded = request->created_after != INT64_MIN || request->created_before != INT64_MAX;
    if (is_bounded) {
        slice_t created = item == NULL ? slice_make(NULL, 0)
                                       : s_field(run->ledger, item->item, ITEM_FIELD_CREATED);
        if (created.size == 0 || item->created_ns <= request->created_after ||
            item->created_ns >= request->created_before) {
            return false;
        }
    }
    return s_fits_category(run, item);
}

/* Whether the user may see it: not hidden, its creator neither muted nor blocked. */
static bool s_fits_user(const s_run_t *run, item_id_t item_id, uint32_t row)
{
    if (run->request->unseen && run->request->session_count > 0 &&
        retrieve_session_has(run->session, item_id)) {
        return false;
    }
    if (run->request->user.value == 0) {
        return true;
    }
    if (row == 0) {
        ledger_relation_t hide;
        err_t err = ledger_get_relation(run->ledger, run->request->user, RELATION_HIDE,
                                        item_id.value, &hide);
        return err != ERR_OK || !hide.set;
    }
    if (ledger_is_suppressed(run->ledger, run->user_row, ledger_item(run->ledger, row))) {
        return false;
    }
    return !run->request->unseen || !ledger_has_seen(run->ledger, run->user_row, row);
}

/* -- scores ------------------------------------------------------------------------------------ */

/* The cell of the cohort that was asked for, or of all users. */
static const cell_t *s_cell(const ledger_t *ledger,
                            const slice_t *name,
                            uint32_t cohort,
                            const ledger_item_t *item,
                            uint8_t signal)
{
    return name->size > 0 ? ledger_cohort_cell(ledger, cohort, item->item, signal)
                          : ledger_item_cell(ledger, item, signal);
}

static double s_cell_term(s_run_t *run, uint32_t index, const cell_t *cell)
{
    const msg_term_t *term = &run->request->terms[index];
    if (cell == NULL) {
        return 0.0;
    }
    if (term->kind == TERM_DECAY) {
        return cell_score(cell, &run->readers[index], NULL);
    }
    double count = (double)cell_window_count(cell, (window_t)term->window, run->at_ns, NULL);
    return term->kind == TERM_COUNT ? count
                                    : count / (double)window_seconds((window_t)term->window);
}

/* Of the item's cell and of the session's. in item  NULL: nothing is known of it */
static double s_term(s_run_t *run, uint32_t index, item_id_t item_id, const ledger_item_t *item)
{
    uint8_t signal = run->request->terms[index].signal_id;
    double value = 0.0;
    if (item != NULL) {
        value = s_cell_term(run, index,
                            s_cell(run->ledger, &run->request->cohort, run->cohort, item, signal));
    }
    if (run->request->session_count > 0) {
        value += s_cell_term(run, index, retrieve_session_cell(run->session, item_id, signal));
    }
    return value;
}

static double s_bounded(double value)
{
    if (isnan(value)) {
        return 0.0;
    }
    double high = value > DBL_MAX ? DBL_MAX : value;
    double bounded = high < -DBL_MAX ? -DBL_MAX : high;
    return bounded + 0.0; /* -0 becomes 0, so that equal scores have equal bits */
}

static bool s_is_after_cursor(const s_run_t *run, const msg_ranked_t *ranked)
{
    const msg_read_retrieve_t *request = run->request;
    return !request->has_cursor ||
           s_is_before(request->cursor_score, request->cursor_item, ranked->score, ranked->item);
}

/* Looks at one candidate; row 0: nothing is known of it. */
static void s_consider(retrieve_t *self, s_run_t *run, item_id_t item_id, uint32_t row)
{
    const ledger_item_t *item = row == 0 ? NULL : ledger_item(run->ledger, row);
    run->result.candidate_count++;
    bool deleted = item != NULL && (item->flags & LEDGER_ITEM_DELETED) != 0;
    if (deleted || !s_fits_fields(run, item) || !s_fits_user(run, item_id, row)) {
        run->result.filtered_count++;
        return;
    }
    msg_ranked_t ranked = {.item = item_id};
    bool is_known = item != NULL || run->request->session_count > 0;
    for (uint32_t i = 0; is_known && i < run->request->term_count; i++) {
        double value = s_bounded(run->request->terms[i].weight * s_term(run, i, item_id, item));
        ranked.terms[i] = value;
        ranked.score += value;
    }
    ranked.score = s_bounded(ranked.score);
    if (s_is_after_cursor(run, &ranked)) {
        s_offer(self, &ranked, run->request->limit);
    }
}

static void s_consider_candidates(retrieve_t *self, s_run_t *run)
{
    slice_t candidates = run->request->candidates;
    for (size_t offset = 0; offset + 8 <= candidates.size; offset += 8) {
        item_id_t item = {bytes_get_u64(candidates.data + offset)};
        s_consider(self, run, item, ledger_find_item(run->ledger, item));
    }
}

static bool s_is_candidate(const ledger_item_t *item)
{
    return (item->flags & (LEDGER_ITEM_PUT | LEDGER_ITEM_CELLS)) != 0;
}

/* Items that the ledger would not name, but the session does. */
static void s_consider_session(retrieve_t *self, s_run_t *run)
{
    item_id_t last = {0};
    for (uint32_t i = 0; i < retrieve_session_count(run->session); i++) {
        item_id_t item = retrieve_session_at(run->session, i)->item;
        uint32_t row = ledger_find_item(run->ledger, item);
        bool is_told =
            item.value == last.value || (row != 0 && s_is_candidate(ledger_item(run->ledger, row)));
        if (!is_told) {
            s_consider(self, run, item, row);
        }
        last = item;
    }
}

static void s_consider_all(retrieve_t *self, s_run_t *run)
{
    uint32_t count = ledger_item_count(run->ledger);
    for (uint32_t row = 1; row <= count; row++) {
        const ledger_item_t *item = ledger_item(run->ledger, row);
        if (s_is_candidate(item)) {
            s_consider(self, run, item->item, row);
        }
    }
    s_consider_session(self, run);
}

static err_t s_prepare(s_run_t *run, errbuf_t *errbuf)
{
    const msg_read_retrieve_t *request = run->request;
    if (request->limit < 1 || request->limit > RETRIEVE_LIMIT_MAX || request->term_count < 1 ||
        request->term_count > PROFILE_TERM_COUNT_MAX) {
        errbuf_set(errbuf, "retrieve: expected limit 1..%d and 1..%d terms, found %u and %u",
                   RETRIEVE_LIMIT_MAX, PROFILE_TERM_COUNT_MAX, request->limit, request->term_count);
        return ERR_INVALID;
    }
    for (uint32_t i = 0; i < request->term_count; i++) {
        const msg_term_t *term = &request->terms[i];
        bool windowed = term->kind == TERM_COUNT || term->kind == TERM_VELOCITY;
        bool fits =
            term->kind == TERM_DECAY || (windowed && term->window <= WINDOW_ALL &&
                                         (term->kind == TERM_COUNT || term->window != WINDOW_ALL));
        if (!fits) {
            errbuf_set(errbuf,
                       "terms: expected decay, or count or velocity with a window that it "
                       "has, found kind %u with window %u in term %u",
                       (unsigned)term->kind, (unsigned)term->window, i);
            return ERR_INVALID;
        }
        if (ledger_reader(run->ledger, term->signal_id, run->at_ns, &run->readers[i]) != ERR_OK) {
            errbuf_set(errbuf, "terms: expected a signal id of the schema, found %u in term %u",
                       (unsigned)term->signal_id, i);
            return ERR_NOT_FOUND;
        }
    }
    for (uint32_t i = 0; i < request->category_count; i++) {
        run->category_hashes[i] = ledger_category_hash(request->categories[i]);
    }
    run->user_row = ledger_find_user(run->ledger, request->user);
    run->cohort = ledger_find_cohort(run->ledger, request->cohort);
    return ERR_OK;
}

/* Creator and category of what is given back. */
static void s_describe(retrieve_t *self, const ledger_t *ledger)
{
    for (uint32_t i = 0; i < self->count; i++) {
        msg_ranked_t *ranked = &self->heap[i];
        uint32_t row = ledger_find_item(ledger, ranked->item);
        if (row != 0) {
            ranked->creator = ledger_item(ledger, row)->creator;
            ranked->category = s_field(ledger, ranked->item, ITEM_FIELD_CATEGORY);
        }
    }
}

err_t retrieve_run(retrieve_t *self,
                   const ledger_t *ledger,
                   const msg_read_retrieve_t *request,
                   int64_t at_ns,
                   retrieve_result_t *ret_result,
                   errbuf_t *errbuf)
{
    s_run_t run = {.ledger = ledger, .request = request, .session = &self->session, .at_ns = at_ns};
    err_t err = s_prepare(&run, errbuf);
    if (err == ERR_OK) {
        err = retrieve_session_begin(&self->session, ledger, request, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    self->count = 0;
    if (request->has_candidates) {
        s_consider_candidates(self, &run);
    } else {
        s_consider_all(self, &run);
    }
    if (self->count > 1) {
        qsort(self->heap, self->count, sizeof(*self->heap), s_compare_ranked);
    }
    s_describe(self, ledger);
    run.result.ranked_count = self->count;
    run.result.ranked = self->heap;
    *ret_result = run.result;
    return ERR_OK;
}

/* -- cells ------------------------------------------------------------------------------------- */

static void s_read_cell(const cell_t *cell,
                        const msg_read_cells_t *request,
                        cell_reader_t *reader,
                        msg_cell_t *ret_cell)
{
    *ret_cell = (msg_cell_t){.score = 0.0};
    if (cell == NULL) {
        return;
    }
    ret_cell->score = cell_score(cell, reader, &ret_cell->score_is_clipped);
    for (size_t w = 0; w < request->windows.size; w++) {
        ret_cell->counts[w] = cell_window_count(cell, (window_t)request->windows.data[w],
                                                reader->at_ns, &ret_cell->count_is_clipped[w]);
    }
}

err_t retrieve_cells(const ledger_t *ledger,
                     const msg_read_cells_t *request,
                     int64_t at_ns,
                     msg_cell_t *ret_cells,
                     errbuf_t *errbuf)
{
    cell_reader_t readers[SIGNAL_TYPE_COUNT_MAX];
    CHECK(request->signals.size <= SIGNAL_TYPE_COUNT_MAX);
    for (size_t s = 0; s < request->signals.size; s++) {
        if (ledger_reader(ledger, request->signals.data[s], at_ns, &readers[s]) != ERR_OK) {
            errbuf_set(errbuf, "signals: expected an id of the schema, found %u",
                       (unsigned)request->signals.data[s]);
            return ERR_NOT_FOUND;
        }
    }
    for (size_t w = 0; w < request->windows.size; w++) {
        if (request->windows.size > WINDOW_COUNT || request->windows.data[w] > WINDOW_ALL) {
            errbuf_set(errbuf, "windows: expected at most %d of 0..%d, found %u", WINDOW_COUNT,
                       WINDOW_ALL, (unsigned)request->windows.data[w]);
            return ERR_INVALID;
        }
    }
    uint32_t cohort = ledger_find_cohort(ledger, request->cohort);
    size_t place = 0;
    for (size_t offset = 0; offset + 8 <= request->items.size; offset += 8) {
        uint32_t row =
            ledger_find_item(ledger, (item_id_t){bytes_get_u64(request->items.data + offset)});
        const ledger_item_t *item = row == 0 ? NULL : ledger_item(ledger, row);
        for (size_t s = 0; s < request->signals.size; s++) {
            const cell_t *cell = item == NULL ? NULL
                                              : s_cell(ledger, &request->cohort, cohort, item,
                                                       request->signals.data[s]);
            s_read_cell(cell, request, &readers[s], &ret_cells[place++]);
        }
    }
    return ERR_OK;
}
