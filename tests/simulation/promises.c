#include "tests/simulation/promises.h"

#include "common/base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the log of its home shard has of a request. */
typedef struct {
    bool is_there;
    hlc_stamp_t hlc; /* of the copy that counts, else of any */
} s_logged_t;

typedef struct {
    ledger_t *ledger;
    session_book_t *sessions;
} s_state_t;

struct promises {
    const history_t *history;
    uint32_t shard_count;
    s_logged_t *logged; /* by request */
    uint32_t *
        by_pair; /* requests that carry one: those of client 0 in the order of seq, of client 1 .. */
    uint32_t *first; /* of each client, in by_pair; one more: the end */
    uint32_t client_count;
    s_state_t *states; /* by shard */
};

/* -- life -------------------------------------------------------------------------------------- */

/* Seqs of a client count the requests that have one. Returns where the client's end. */
static uint32_t s_index_client(promises_t *self, uint32_t client, uint32_t end)
{
    self->first[client] = end;
    for (uint32_t i = 0; i < history_request_count(self->history); i++) {
        const history_request_t *request = history_request(self->history, i);
        if (request->client == client && request->has_producer) {
            self->by_pair[end++] = i;
            CHECK(request->seq == end - self->first[client]);
        }
    }
    return end;
}

static void s_index_pairs(promises_t *self)
{
    uint32_t count = history_request_count(self->history);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t clients = history_request(self->history, i)->client + 1U;
        self->client_count = clients > self->client_count ? clients : self->client_count;
    }
    self->by_pair = calloc((size_t)count + 1, sizeof(*self->by_pair));
    self->first = calloc((size_t)self->client_count + 1, sizeof(*self->first));
    CHECK(self->by_pair != NULL && self->first != NULL);
    uint32_t end = 0;
    for (uint32_t client = 0; client < self->client_count; client++) {
        end = s_index_client(self, client, end);
    }
    self->first[self->client_count] = end;
}

promises_t *promises_new(const history_t *history, uint32_t shard_count)
{
    promises_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->history = history;
    self->shard_count = shard_count;
    self->logged = calloc((size_t)history_request_count(history) + 1, sizeof(*self->logged));
    self->states = calloc(shard_count, sizeof(*self->states));
    CHECK(self->logged != NULL && self->states != NULL);
    s_index_pairs(self);
    return self;
}

void promises_destroy(promises_t **self_p)
{
    promises_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->shard_count; i++) {
        ledger_destroy(&self->states[i].ledger);
        session_book_destroy(&self->states[i].sessions);
    }
    free(self->states);
    free(self->logged);
    free(self->by_pair);
    free(self->first);
    free(self);
    *self_p = NULL;
}

/* -- logs -------------------------------------------------------------------------------------- */

/* The request that carries the pair of the batch; the count when it has none. */
static uint32_t s_find_by_pair(const promises_t *self, const wal_batch_t *batch)
{
    char name[HISTORY_PRODUCER_SIZE];
    for (uint32_t client = 0; batch->has_producer && client < self->client_count; client++) {
        (void)snprintf(name, sizeof(name), "client-%u", (unsigned)client);
        uint64_t count = self->first[client + 1] - self->first[client];
        if (slice_equal(batch->producer, slice_text(name)) && batch->producer_seq >= 1 &&
            batch->producer_seq <= count) {
            return self->by_pair[self->first[client] + batch->producer_seq - 1];
        }
    }
    return history_request_count(self->history);
}

/* The request whose answer named this place. */
static uint32_t s_find_by_place(const promises_t *self,
                                shard_id_t shard,
                                const wal_batch_t *batch,
                                uint64_t origin)
{
    uint32_t count = history_request_count(self->history);
    for (uint32_t i = 0; i < count; i++) {
        const history_request_t *request = history_request(self->history, i);
        if (!request->has_producer && request->write.origin == origin &&
            request->write.seq == batch->first_seq &&
            history_home(request, self->shard_count).value == shard.value) {
            return i;
        }
    }
    return count;
}

static bool s_is_relation(const history_write_t *write, const record_t *record)
{
    return record->type == RECORD_RELATION && record->as.relation.action == write->action &&
           record->as.relation.user.value == write->user.value &&
           record->as.relation.target == write->target && record->as.relation.set == write->is_set;
}

static bool s_is_user(const history_write_t *write, const record_t *record)
{
    return record->type == RECORD_USER_PUT && record->as.user.user.value == write->user.value &&
           record->as.user.attribute_count == 1 &&
           slice_equal(record->as.user.attributes[0].value,
                       slice_text(history_locale(write->value)));
}

/* Whether the record is what was sent. out ret_hlc its stamp */
static bool s_is_sent(const history_request_t *request,
                      const record_t *record,
                      hlc_stamp_t *ret_hlc)
{
    const history_write_t *write = &request->write;
    if (request->kind == HISTORY_RELATION) {
        *ret_hlc = record->as.relation.hlc;
        return s_is_relation(write, record);
    }
    if (request->kind == HISTORY_USER) {
        *ret_hlc = record->as.user.hlc;
        return s_is_user(write, record);
    }
    if (request->kind == HISTORY_ITEM) {
        *ret_hlc = record->as.item.hlc;
        return record->type == RECORD_ITEM_PUT && record->as.item.item.value == write->target;
    }
    CHECK(request->kind == HISTORY_SESSION);
    *ret_hlc = (hlc_stamp_t){0};
    return record->type == (write->op == HISTORY_SESSION_START    ? RECORD_SESSION_START
                            : write->op == HISTORY_SESSION_SIGNAL ? RECORD_SESSION_SIGNAL
                                                                  : RECORD_SESSION_CLOSE);
}

bool promises_take_batch(promises_t *self,
                         shard_id_t shard,
                         const wal_batch_t *batch,
                         uint64_t origin,
                         bool is_void,
                         errbuf_t *ret_text)
{
    uint32_t count = history_request_count(self->history);
    uint32_t number = s_find_by_pair(self, batch);
    number = number == count && !batch->has_producer ? s_find_by_place(self, shard, batch, origin)
                                                     : number;
    const history_request_t *request =
        number == count ? NULL : history_request(self->history, number);
    if (request == NULL || request->kind == HISTORY_SIGNALS ||
        history_home(request, self->shard_count).value != shard.value) {
        return true;
    }
    size_t offset = 0;
    record_t record;
    hlc_stamp_t hlc = {0};
    err_t err = record_next(batch->payload, &offset, &record, NULL);
    if (err != ERR_OK || !s_is_sent(request, &record, &hlc)) {
        errbuf_set(ret_text, "request %u is logged as something else than was sent", number);
        return false;
    }
    s_logged_t *logged = &self->logged[number];
    if (!logged->is_there || !is_void) { /* the copy that counts tells */
        *logged = (s_logged_t){true, hlc};
    }
    return true;
}

void promises_take_state(promises_t *self,
                         shard_id_t shard,
                         ledger_t **ledger_p,
                         session_book_t **sessions_p)
{
    s_state_t *state = &self->states[shard.value];
    CHECK(state->ledger == NULL && state->sessions == NULL);
    *state = (s_state_t){*ledger_p, *sessions_p};
    *ledger_p = NULL;
    *sessions_p = NULL;
}

/* -- promises ---------------------------------------------------------------------------------- */

/* What a register of a shard holds. */
typedef struct {
    hlc_stamp_t hlc;
    bool is_same; /* as what was written: to be so where the stamps are equal */
} s_found_t;

static s_found_t s_find_attribute(const ledger_t *ledger, const history_write_t *write)
{
    const registers_t *attributes = NULL;
    register_view_t view;
    if (ledger_get_user(ledger, write->user, &attributes) != ERR_OK ||
        !registers_find(attributes, slice_text("locale"), &view)) {
        return (s_found_t){{0}, false};
    }
    return (s_found_t){view.hlc, slice_equal(view.value, slice_text(history_locale(write->value)))};
}

static s_found_t s_find_creator(const ledger_t *ledger, const history_write_t *write)
{
    ledger_fields_t fields;
    if (ledger_get_item(ledger, (item_id_t){write->target}, &fields) != ERR_OK ||
        !fields.has[ITEM_FIELD_CREATOR]) {
        return (s_found_t){{0}, false};
    }
    const register_view_t *view = &fields.fields[ITEM_FIELD_CREATOR];
    return (s_found_t){view->hlc, bytes_get_u64(view->value.data) == write->value};
}

static s_found_t s_find(const ledger_t *ledger, const history_request_t *request)
{
    const history_write_t *write = &request->write;
    if (request->kind == HISTORY_USER) {
        return s_find_attribute(ledger, write);
    }
    if (request->kind == HISTORY_ITEM) {
        return s_find_creator(ledger, write);
    }
    ledger_relation_t relation = {0};
    (void)ledger_get_relation(ledger, write->user, write->action, write->target, &relation);
    return (s_found_t){relation.hlc, relation.set || !write->is_set};
}

static bool s_has_reached(s_found_t found, hlc_stamp_t promised)
{
    int order = hlc_compare(found.hlc, promised);
    return order > 0 || (order == 0 && found.is_same);
}

static bool s_check_shard(const promises_t *self,
                          uint32_t number,
                          uint32_t shard,
                          errbuf_t *ret_text)
{
    const history_request_t *request = history_request(self->history, number);
    s_found_t found = s_find(self->states[shard].ledger, request);
    bool is_told = request->write.hlc.wall_ns != 0;
    if (s_has_reached(found, self->logged[number].hlc) &&
        (!is_told || s_has_reached(found, request->write.hlc))) {
        return true;
    }
    errbuf_set(ret_text,
               "request %u was acknowledged with stamp %" PRId64
               ", and shard %u has another write of "
               "stamp %" PRId64,
               number, self->logged[number].hlc.wall_ns, shard, found.hlc.wall_ns);
    return false;
}

static bool s_check_session(const promises_t *self, uint32_t number, errbuf_t *ret_text)
{
    const history_request_t *request = history_request(self->history, number);
    shard_id_t home = history_home(request, self->shard_count);
    const session_book_t *book = self->states[home.value].sessions;
    uint32_t row = session_book_find(book, &request->write.session);
    session_view_t view = {.is_started = false};
    if (row != 0) {
        session_book_view(book, row, &view);
    }
    bool is_kept = request->write.op == HISTORY_SESSION_CLOSE ? view.is_closed : view.is_started;
    if (!is_kept) {
        errbuf_set(ret_text, "request %u was acknowledged, and its session is not %s", number,
                   request->write.op == HISTORY_SESSION_CLOSE ? "closed" : "started");
    }
    return is_kept;
}

static bool s_check_request(const promises_t *self, uint32_t number, errbuf_t *ret_text)
{
    const history_request_t *request = history_request(self->history, number);
    bool is_for_all = history_is_for_all(request);
    if (!self->logged[number].is_there) {
        errbuf_set(ret_text, "request %u was acknowledged, and is in no log of its home shard",
                   number);
        return false;
    }
    if (request->kind == HISTORY_SESSION) {
        return s_check_session(self, number, ret_text);
    }
    bool ok = true;
    for (uint32_t shard = 0; ok && shard < self->shard_count; shard++) {
        ok = (!is_for_all && history_home(request, self->shard_count).value != shard) ||
             s_check_shard(self, number, shard, ret_text);
    }
    return ok;
}

/* Of any request, acknowledged or not: all shards have one state of the register. */
static bool s_check_equal(const promises_t *self, uint32_t number, errbuf_t *ret_text)
{
    const history_request_t *request = history_request(self->history, number);
    uint16_t home = history_home(request, self->shard_count).value;
    s_found_t expected = s_find(self->states[home].ledger, request);
    for (uint32_t shard = 0; shard < self->shard_count; shard++) {
        s_found_t found = s_find(self->states[shard].ledger, request);
        if (hlc_compare(found.hlc, expected.hlc) != 0 || found.is_same != expected.is_same) {
            errbuf_set(ret_text,
                       "what request %u wrote is of stamp %" PRId64 " in its home shard, and of "
                       "stamp %" PRId64 " in shard %u",
                       number, expected.hlc.wall_ns, found.hlc.wall_ns, shard);
            return false;
        }
    }
    return true;
}

bool promises_check(const promises_t *self, errbuf_t *ret_text)
{
    bool ok = true;
    for (uint32_t i = 0; ok && i < history_request_count(self->history); i++) {
        const history_request_t *request = history_request(self->history, i);
        bool is_write = request->kind != HISTORY_SIGNALS && request->kind != HISTORY_READ;
        ok = !is_write || !request->is_acked || s_check_request(self, i, ret_text);
        ok = ok && (!history_is_for_all(request) || s_check_equal(self, i, ret_text));
    }
    return ok;
}
