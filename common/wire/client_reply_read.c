/* Replies to the read ops. */
#include "common/base/check.h"
#include "common/wire/client_reply_fields.h"

void client_put_ms(pack_writer_t *writer, const char *key, uint32_t ms)
{
    pack_put_i64(writer, key, ms == UINT32_MAX ? -1 : (int64_t)ms);
}

void client_put_read(pack_writer_t *writer, const client_read_reply_t *read)
{
    pack_put_i64(writer, "as_of", read->as_of_ns);
    pack_put_bin(writer, "token", read->token);
}

static void s_begin(pack_writer_t *writer,
                    buffer_t *out,
                    slice_t id,
                    const client_read_reply_t *read)
{
    client_reply_begin(writer, out, id, NULL);
    client_put_read(writer, read);
}

void client_reply_cell(buffer_t *out,
                       slice_t id,
                       const client_read_reply_t *read,
                       const client_cell_reply_t *cell)
{
    pack_writer_t writer;
    s_begin(&writer, out, id, read);
    if (cell->op == CLIENT_OP_COUNT) {
        pack_put_u64(&writer, "count", cell->count);
    } else {
        bool is_score = cell->op == CLIENT_OP_SCORE;
        CHECK(is_score || cell->op == CLIENT_OP_VELOCITY);
        pack_put_f64(&writer, is_score ? "score" : "velocity", cell->score);
    }
    if (cell->clipped) {
        pack_put_bool(&writer, "clipped", true);
    }
    client_reply_end(&writer);
}

void client_reply_cells(buffer_t *out,
                        slice_t id,
                        const client_read_reply_t *read,
                        uint32_t row_count,
                        client_cell_row_fn row_fn,
                        void *context)
{
    pack_writer_t writer;
    s_begin(&writer, out, id, read);
    pack_key(&writer, "rows");
    pack_write_array(&writer, row_count);
    for (uint32_t i = 0; i < row_count; i++) {
        client_cell_row_t row;
        row_fn(context, i, &row);
        CHECK(row.window_count <= WINDOW_COUNT);
        pack_write_array(&writer, 4);
        pack_write_u64(&writer, row.item.value);
        pack_write_str(&writer, row.signal);
        pack_write_f64(&writer, row.cell->score);
        pack_write_array(&writer, row.window_count);
        for (uint32_t j = 0; j < row.window_count; j++) {
            pack_write_u64(&writer, row.cell->counts[j]);
        }
    }
    client_reply_end(&writer);
}

void client_reply_item(buffer_t *out,
                       slice_t id,
                       const client_read_reply_t *read,
                       const client_item_t *item)
{
    pack_writer_t writer;
    s_begin(&writer, out, id, read);
    pack_put_u64(&writer, "item", item->item.value);
    pack_put_map(&writer, "fields");
    if (item->present & CLIENT_ITEM_TITLE) {
        pack_put_str(&writer, "title", item->title);
    }
    if (item->present & CLIENT_ITEM_TEXT) {
        pack_put_str(&writer, "text", item->text);
    }
    if (item->present & CLIENT_ITEM_CATEGORY) {
        pack_put_str(&writer, "category", item->category);
    }
    if (item->present & CLIENT_ITEM_CREATOR) {
        pack_put_u64(&writer, "creator", item->creator.value);
    }
    if (item->present & CLIENT_ITEM_TAGS) {
        client_put_names(&writer, "tags", item->tag_count, item->tags);
    }
    if (item->present & CLIENT_ITEM_CREATED) {
        pack_put_i64(&writer, "created", item->created_ns);
    }
    pack_close(&writer);
    client_reply_end(&writer);
}

void client_reply_user(buffer_t *out,
                       slice_t id,
                       const client_read_reply_t *read,
                       const client_user_reply_t *user)
{
    pack_writer_t writer;
    s_begin(&writer, out, id, read);
    pack_put_u64(&writer, "user", user->user.value);
    pack_key(&writer, "attrs");
    pack_write_map(&writer, user->attribute_count);
    for (uint32_t i = 0; i < user->attribute_count; i++) {
        pack_write_str(&writer, user->attributes[i].name);
        pack_write_str(&writer, user->attributes[i].value);
    }
    client_reply_end(&writer);
}

void client_reply_relation(buffer_t *out,
                           slice_t id,
                           const client_read_reply_t *read,
                           const client_relation_reply_t *relation)
{
    pack_writer_t writer;
    s_begin(&writer, out, id, read);
    bool of_creator = relation->of_creator;
    pack_put_bool(&writer, of_creator ? "muted" : "hidden", relation->hidden);
    client_put_hlc(&writer, of_creator ? "muted_hlc" : "hidden_hlc", relation->hidden_hlc);
    if (of_creator) {
        pack_put_bool(&writer, "blocked", relation->blocked);
        client_put_hlc(&writer, "blocked_hlc", relation->blocked_hlc);
    }
    client_reply_end(&writer);
}

/* -- retrieve ---------------------------------------------------------------------------------- */

static void s_put_stats(pack_writer_t *writer, const client_stats_t *stats)
{
    pack_put_map(writer, "stats");
    pack_put_bool(writer, "degraded", stats->reason_count > 0);
    client_put_names(writer, "reasons", stats->reason_count, stats->reasons);
    pack_put_u64(writer, "shards_total", stats->shards_total);
    pack_put_u64(writer, "shards_answered", stats->shards_answered);
    pack_put_array(writer, "missing");
    for (uint32_t i = 0; i < stats->missing_count; i++) {
        pack_item(writer);
        pack_open_map(writer);
        pack_put_u64(writer, "shard", stats->missing[i].shard.value);
        pack_put_str(writer, "region", stats->missing[i].region);
        pack_close(writer);
    }
    pack_close(writer);
    pack_key(writer, "staleness_ms");
    pack_write_map(writer, stats->staleness_count);
    for (uint32_t i = 0; i < stats->staleness_count; i++) {
        uint32_t ms = stats->staleness[i].staleness_ms;
        pack_write_str(writer, stats->staleness[i].region);
        pack_write_i64(writer, ms == UINT32_MAX ? -1 : (int64_t)ms);
    }
    pack_put_u64(writer, "candidates", stats->candidates);
    pack_put_u64(writer, "filtered", stats->filtered);
    pack_put_u64(writer, "took_us", stats->took_us);
    pack_close(writer);
}

/* `terms` of one item: what each term of the formula gave. */
static void s_put_terms(pack_writer_t *writer,
                        const client_retrieve_reply_t *retrieve,
                        const msg_ranked_t *item)
{
    static const char *const s_kinds[] = {"decay", "count", "velocity"};
    pack_put_array(writer, "terms");
    for (uint32_t i = 0; i < retrieve->term_count; i++) {
        const client_term_t *term = &retrieve->terms[i];
        CHECK(term->kind < sizeof(s_kinds) / sizeof(s_kinds[0]));
        pack_item(writer);
        pack_open_map(writer);
        pack_put_str(writer, "signal", term->signal);
        pack_put_text(writer, "agg", s_kinds[term->kind]);
        if (term->kind > 0) {
            pack_put_text(writer, "window", client_window_name(term->window));
        }
        pack_put_f64(writer, "weight", term->weight);
        pack_put_f64(writer, "score", item->terms[i]);
        pack_close(writer);
    }
    pack_close(writer);
}

void client_reply_retrieve(buffer_t *out,
                           slice_t id,
                           const client_read_reply_t *read,
                           const client_retrieve_reply_t *retrieve)
{
    CHECK(retrieve->term_count <= PROFILE_TERM_COUNT_MAX);
    pack_writer_t writer;
    s_begin(&writer, out, id, read);
    pack_put_array(&writer, "items");
    for (uint32_t i = 0; i < retrieve->item_count; i++) {
        pack_item(&writer);
        pack_open_map(&writer);
        pack_put_u64(&writer, "item", retrieve->items[i].item.value);
        pack_put_f64(&writer, "score", retrieve->items[i].score);
        if (retrieve->term_count > 0) {
            s_put_terms(&writer, retrieve, &retrieve->items[i]);
        }
        pack_close(&writer);
    }
    pack_close(&writer);
    if (retrieve->has_cursor) {
        uint8_t cursor[CLIENT_CURSOR_SIZE];
        client_cursor_encode(&retrieve->cursor, cursor);
        pack_put_bin(&writer, "cursor", slice_make(cursor, sizeof(cursor)));
    } else {
        pack_put_nil(&writer, "cursor");
    }
    s_put_stats(&writer, &retrieve->stats);
    client_reply_end(&writer);
}
