#include "services/tidalctl/load_plan.h"

#include "common/base/check.h"
#include "common/base/hlc.h"
#include "common/wire/client_reply.h"
#include "services/tidalctl/pair_set.h"

#include <blake3.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    uint64_t user;
    uint64_t item;
    hlc_stamp_t hlc;
    uint64_t line;
    bool hide;
} relation_t;

struct load_plan {
    load_plan_options_t options;
    char name[LOAD_NAME_SIZE];
    load_plan_totals_t totals;
    pair_set_t items;  /* (0, item) that were put */
    pair_set_t hidden; /* (user, item): 1 hidden, 0 not any more */
    /* The block that is being gathered. */
    uint64_t first_line;
    uint32_t signal_count;
    buffer_t signals; /* columns */
    buffer_t item_ids;
    buffer_t user_ids;
    buffer_t times;
    buffer_t new_items; /* u64 each */
    buffer_t relations; /* relation_t each */
    buffer_t body;
};

/* -- names ------------------------------------------------------------------------------------- */

load_type_t load_type(history_action_t action)
{
    return action == HISTORY_CHANGED ? LOAD_VIEW : action == HISTORY_ADDED ? LOAD_LIKE : LOAD_SKIP;
}

const char *load_type_name(load_type_t type)
{
    static const char *const s_names[LOAD_SIGNAL_TYPE_COUNT] = {"view", "like", "skip"};
    CHECK(type < LOAD_SIGNAL_TYPE_COUNT);
    return s_names[type];
}

void load_plan_name(const uint8_t hash[HISTORY_HASH_SIZE],
                    const char *tenant,
                    uint32_t signal_count_max,
                    char ret_name[LOAD_NAME_SIZE])
{
    static const uint8_t s_version = 1; /* of the rules that make requests from events */
    const char *of_tenant = tenant == NULL ? "default" : tenant;
    uint8_t name[8];
    char hex[2 * sizeof(name) + 1];
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, &s_version, 1);
    blake3_hasher_update(&hasher, hash, HISTORY_HASH_SIZE);
    blake3_hasher_update(&hasher, of_tenant, strlen(of_tenant));
    blake3_hasher_finalize(&hasher, name, sizeof(name));
    bytes_to_hex(name, sizeof(name), hex);
    (void)snprintf(ret_name, LOAD_NAME_SIZE, "load-%s-%u", hex, signal_count_max);
}

/* -- requests ---------------------------------------------------------------------------------- */

static void s_begin(
    load_plan_t *self, pack_writer_t *writer, const char *op, char producer, uint64_t seq)
{
    char name[LOAD_NAME_SIZE + 2];
    (void)snprintf(name, sizeof(name), "%s.%c", self->name, producer);
    buffer_clear(&self->body);
    client_request_begin(writer, &self->body, op, ++self->totals.requests);
    pack_put_text(writer, "producer", name);
    pack_put_u64(writer, "seq", seq);
    if (self->options.tenant != NULL) {
        pack_put_text(writer, "tenant", self->options.tenant);
    }
    if (self->options.ack != NULL) {
        pack_put_text(writer, "ack", self->options.ack);
    }
    if (self->options.timeout_ms > 0) {
        pack_put_u64(writer, "timeout_ms", self->options.timeout_ms);
    }
}

static void s_end(load_plan_t *self, pack_writer_t *writer, load_request_t *request)
{
    client_request_end(writer);
    request->id = self->totals.requests;
    request->body = buffer_slice(&self->body);
    self->options.on_request(self->options.context, request);
}

static void s_emit_items(load_plan_t *self)
{
    uint32_t count = (uint32_t)(self->new_items.size / 8);
    load_request_t request = {.kind = LOAD_ITEMS,
                              .seq = self->totals.blocks,
                              .count = count,
                              .first_line = self->first_line,
                              .last_line = self->totals.events};
    if (count == 0) {
        return;
    }
    pack_writer_t writer;
    s_begin(self, &writer, "put_items", 'i', request.seq);
    pack_put_array(&writer, "items");
    for (uint32_t i = 0; i < count; i++) {
        history_item_t known;
        uint64_t item = bytes_get_u64(self->new_items.data + 8 * (size_t)i);
        pack_item(&writer);
        pack_open_map(&writer);
        pack_put_u64(&writer, "item", item);
        if (history_items_find(self->options.items, item, &known)) {
            pack_put_str(&writer, "title", known.title);
            pack_put_str(&writer, "category", known.category);
        }
        pack_close(&writer);
    }
    pack_close(&writer);
    s_end(self, &writer, &request);
}

static void s_emit_signals(load_plan_t *self)
{
    load_request_t request = {.kind = LOAD_SIGNALS,
                              .seq = self->totals.blocks,
                              .count = self->signal_count,
                              .first_line = self->first_line,
                              .last_line = self->totals.events};
    pack_writer_t writer;
    s_begin(self, &writer, "signals", 's', request.seq);
    pack_put_map(&writer, "columns");
    pack_put_u64(&writer, "n", self->signal_count);
    pack_put_bin(&writer, "signal", buffer_slice(&self->signals));
    pack_put_bin(&writer, "item", buffer_slice(&self->item_ids));
    pack_put_bin(&writer, "user", buffer_slice(&self->user_ids));
    pack_put_bin(&writer, "ts", buffer_slice(&self->times));
    pack_close(&writer);
    s_end(self, &writer, &request);
}

static void s_emit_relations(load_plan_t *self)
{
    for (size_t offset = 0; offset < self->relations.size; offset += sizeof(relation_t)) {
        relation_t relation;
        memcpy(&relation, self->relations.data + offset, sizeof(relation));
        load_request_t request = {.kind = relation.hide ? LOAD_HIDE : LOAD_UNHIDE,
                                  .count = 1,
                                  .first_line = relation.line,
                                  .last_line = relation.line};
        self->totals.hides += relation.hide ? 1 : 0;
        self->totals.unhides += relation.hide ? 0 : 1;
        request.seq = self->totals.hides + self->totals.unhides;
        pack_writer_t writer;
        s_begin(self, &writer, relation.hide ? "hide" : "unhide", 'r', request.seq);
        pack_put_u64(&writer, "user", relation.user);
        pack_put_u64(&writer, "item", relation.item);
        pack_key(&writer, "hlc");
        pack_write_array(&writer, 3);
        pack_write_i64(&writer, relation.hlc.wall_ns);
        pack_write_u64(&writer, relation.hlc.logical);
        pack_write_u64(&writer, relation.hlc.node);
        s_end(self, &writer, &request);
    }
}

void load_plan_finish(load_plan_t *self)
{
    if (self->signal_count == 0) {
        return;
    }
    self->totals.blocks++;
    s_emit_items(self);
    s_emit_signals(self);
    s_emit_relations(self);
    self->signal_count = 0;
    buffer_clear(&self->signals);
    buffer_clear(&self->item_ids);
    buffer_clear(&self->user_ids);
    buffer_clear(&self->times);
    buffer_clear(&self->new_items);
    buffer_clear(&self->relations);
}

/* -- events ------------------------------------------------------------------------------------ */

static void s_add_relation(load_plan_t *self, const history_event_t *event, bool hide)
{
    relation_t relation;
    memset(&relation, 0, sizeof(relation));
    relation.user = event->user;
    relation.item = event->item;
    relation.hide = hide;
    relation.line = self->totals.events;
    relation.hlc = (hlc_stamp_t){.wall_ns = self->totals.last_ts_ns,
                                 .logical = (uint32_t)self->totals.events,
                                 .node = LOAD_HLC_NODE};
    buffer_append(&self->relations, &relation, sizeof(relation));
    *pair_set_require(&self->hidden, event->user, event->item) = hide ? 1 : 0;
}

void load_plan_add(load_plan_t *self, const history_event_t *event)
{
    self->totals.events++;
    CHECK(self->totals.events <= UINT32_MAX); /* the logical part of an HLC */
    if (event->ts_ns > self->totals.last_ts_ns) {
        self->totals.last_ts_ns = event->ts_ns;
    }
    if (self->signal_count == 0) {
        self->first_line = self->totals.events;
    }
    *buffer_extend(&self->signals, 1) = self->options.signal_ids[load_type(event->action)];
    bytes_put_u64(buffer_extend(&self->item_ids, 8), event->item);
    bytes_put_u64(buffer_extend(&self->user_ids, 8), event->user);
    bytes_put_u64(buffer_extend(&self->times, 8), (uint64_t)event->ts_ns);
    self->signal_count++;
    if (event->action == HISTORY_ADDED) {
        uint8_t *was_put = pair_set_require(&self->items, 0, event->item);
        const uint8_t *hidden = pair_set_find(&self->hidden, event->user, event->item);
        if (*was_put == 0) {
            *was_put = 1;
            self->totals.items++;
            bytes_put_u64(buffer_extend(&self->new_items, 8), event->item);
        }
        if (hidden != NULL && *hidden == 1) {
            s_add_relation(self, event, false);
        }
    } else if (event->action == HISTORY_DELETED) {
        s_add_relation(self, event, true);
    }
    if (self->signal_count == self->options.signal_count_max) {
        load_plan_finish(self);
    }
}

/* -- life -------------------------------------------------------------------------------------- */

load_plan_t *load_plan_new(const load_plan_options_t *options)
{
    CHECK(options->signal_count_max >= 1 && options->signal_count_max <= LOAD_SIGNAL_COUNT_MAX);
    static_assert((int)LOAD_SIGNAL_COUNT_MAX <= (int)REQUEST_ITEM_COUNT_MAX, "items of one block");
    CHECK(strlen(options->name) < LOAD_NAME_SIZE);
    static_assert((int)LOAD_NAME_SIZE + 2 <= (int)PRODUCER_SIZE_MAX, "a producer's name");
    load_plan_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->options = *options;
    (void)snprintf(self->name, sizeof(self->name), "%s", options->name);
    self->options.name = self->name;
    return self;
}

void load_plan_destroy(load_plan_t **self_p)
{
    load_plan_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    buffer_t *buffers[] = {&self->signals,   &self->item_ids,  &self->user_ids, &self->times,
                           &self->new_items, &self->relations, &self->body};
    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++) {
        buffer_done(buffers[i]);
    }
    pair_set_done(&self->items);
    pair_set_done(&self->hidden);
    free(self);
    *self_p = NULL;
}

const load_plan_totals_t *load_plan_totals(const load_plan_t *self)
{
    return &self->totals;
}

void load_plan_walk_hidden(const load_plan_t *self, load_hidden_fn callback, void *context)
{
    for (size_t i = 0; i < self->hidden.capacity; i++) {
        const pair_entry_t *entry = &self->hidden.entries[i];
        if (entry->used) {
            callback(context, entry->a, entry->b, entry->value == 1);
        }
    }
}
