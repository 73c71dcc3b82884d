#include "services/tidalctl/load_truth.h"

#include "common/base/check.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

static const int64_t s_ns_per_s = 1000000000;

typedef struct {
    uint64_t item;
    int64_t ts_ns;
    load_type_t type;
} event_t;

struct load_truth {
    event_t *events;
    size_t event_count;
    size_t event_capacity;
    load_cell_t *cells;
    size_t cell_count;
    int64_t at_ns;
};

load_truth_t *load_truth_new(void)
{
    load_truth_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    return self;
}

void load_truth_destroy(load_truth_t **self_p)
{
    if (*self_p != NULL) {
        free((*self_p)->events);
        free((*self_p)->cells);
        free(*self_p);
        *self_p = NULL;
    }
}

void load_truth_add(load_truth_t *self, const history_event_t *event)
{
    if (self->event_count == self->event_capacity) {
        self->event_capacity = self->event_capacity == 0 ? 4096 : 2 * self->event_capacity;
        self->events = realloc(self->events, self->event_capacity * sizeof(event_t));
        CHECK(self->events != NULL);
    }
    self->events[self->event_count++] =
        (event_t){.item = event->item, .ts_ns = event->ts_ns, .type = load_type(event->action)};
}

/* Oldest first within a cell: the small parts of a sum are added first. */
static int s_compare(const void *a, const void *b)
{
    const event_t *left = a;
    const event_t *right = b;
    if (left->item != right->item) {
        return left->item < right->item ? -1 : 1;
    }
    if (left->type != right->type) {
        return left->type < right->type ? -1 : 1;
    }
    return left->ts_ns < right->ts_ns ? -1 : left->ts_ns > right->ts_ns ? 1 : 0;
}

/* A window is so many buckets of this many seconds, the last one being that of `at`. */
static bool s_is_in_window(int64_t ts_ns, int64_t at_ns, window_t window)
{
    if (window == WINDOW_ALL) {
        return true;
    }
    int64_t bucket_ns = (window == WINDOW_1H ? 60 : 3600) * s_ns_per_s;
    int64_t buckets = window_seconds(window) * s_ns_per_s / bucket_ns;
    int64_t age = at_ns / bucket_ns - ts_ns / bucket_ns;
    return age >= 0 && age < buckets;
}

static void s_count_event(load_cell_t *cell,
                          const event_t *event,
                          int64_t at_ns,
                          double half_life_s)
{
    double age_s = (double)(at_ns - event->ts_ns) / (double)s_ns_per_s;
    cell->score += exp2(-age_s / half_life_s);
    for (int window = 0; window < WINDOW_COUNT; window++) {
        cell->counts[window] += s_is_in_window(event->ts_ns, at_ns, (window_t)window) ? 1 : 0;
    }
}

err_t load_truth_settle(load_truth_t *self, const schema_t *schema, int64_t at_ns, errbuf_t *errbuf)
{
    double half_lives_s[LOAD_SIGNAL_TYPE_COUNT];
    CHECK(self->cells == NULL);
    for (int type = 0; type < LOAD_SIGNAL_TYPE_COUNT; type++) {
        const schema_signal_t *signal =
            schema_find_signal(schema, load_type_name((load_type_t)type));
        if (signal == NULL) {
            errbuf_set(errbuf, "expected the signal type %s in the schema, found none",
                       load_type_name((load_type_t)type));
            return ERR_NOT_FOUND;
        }
        half_lives_s[type] = (double)signal->half_life_s;
    }
    self->at_ns = at_ns;
    self->cells = calloc(self->event_count + 1, sizeof(load_cell_t));
    CHECK(self->cells != NULL);
    if (self->event_count > 0) {
        qsort(self->events, self->event_count, sizeof(event_t), s_compare);
    }
    for (size_t i = 0; i < self->event_count; i++) {
        const event_t *event = &self->events[i];
        load_cell_t *cell = self->cell_count == 0 ? NULL : &self->cells[self->cell_count - 1];
        if (cell == NULL || cell->item != event->item || cell->type != event->type) {
            cell = &self->cells[self->cell_count++];
            cell->item = event->item;
            cell->type = event->type;
        }
        s_count_event(cell, event, at_ns, half_lives_s[event->type]);
    }
    return ERR_OK;
}

const load_cell_t *load_truth_cells(const load_truth_t *self, size_t *ret_count)
{
    *ret_count = self->cell_count;
    return self->cells;
}

/* -- writing ----------------------------------------------------------------------------------- */

typedef struct {
    FILE *out;
    bool again;
} hidden_t;

static void s_write_hidden(void *context, uint64_t user, uint64_t item, bool is_hidden)
{
    hidden_t *hidden = context;
    if (!is_hidden) {
        return;
    }
    (void)fprintf(hidden->out, "%s[%" PRIu64 ", %" PRIu64 "]", hidden->again ? ", " : "", user,
                  item);
    hidden->again = true;
}

err_t load_truth_write(const load_truth_t *self,
                       const load_plan_t *plan,
                       const char *name,
                       FILE *out,
                       errbuf_t *errbuf)
{
    const load_plan_totals_t *totals = load_plan_totals(plan);
    hidden_t hidden = {out, false};
    (void)fprintf(out,
                  "{\"name\": \"%s\", \"at\": %" PRId64 ", \"events\": %" PRIu64
                  ", \"items\": %" PRIu64 ", \"hides\": %" PRIu64 ", \"unhides\": %" PRIu64
                  ",\n\"windows\": [\"1h\", \"24h\", \"7d\", \"30d\", \"all\"],\n\"cells\": [",
                  name, self->at_ns, totals->events, totals->items, totals->hides, totals->unhides);
    for (size_t i = 0; i < self->cell_count; i++) {
        const load_cell_t *cell = &self->cells[i];
        (void)fprintf(out, "%s\n[%" PRIu64 ", \"%s\", %.17g, [", i == 0 ? "" : ",", cell->item,
                      load_type_name(cell->type), cell->score);
        for (int window = 0; window < WINDOW_COUNT; window++) {
            (void)fprintf(out, "%s%" PRIu64, window == 0 ? "" : ", ", cell->counts[window]);
        }
        (void)fprintf(out, "]]");
    }
    (void)fprintf(out, "],\n\"hidden\": [");
    load_plan_walk_hidden(plan, s_write_hidden, &hidden);
    (void)fprintf(out, "]}\n");
    if (fflush(out) != 0 || ferror(out) != 0) {
        errbuf_set(errbuf, "expected to write the truth, found an error of the file");
        return ERR_IO;
    }
    return ERR_OK;
}
