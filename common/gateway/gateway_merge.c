#include "common/gateway/gateway_merge.h"

#include "common/base/check.h"

static bool s_is_before(const gateway_ranked_t *a, const gateway_ranked_t *b)
{
    if (a->score != b->score) {
        return a->score > b->score;
    }
    return a->item.value < b->item.value;
}

static slice_t s_category(const gateway_merge_options_t *options, const gateway_ranked_t *item)
{
    return item->category.size == 0
               ? slice_make(NULL, 0)
               : slice_make(options->text.data + item->category.offset, item->category.size);
}

/* Whether the caps leave room for one more of this kind. */
static bool s_has_room(const gateway_merged_t *merged,
                       const gateway_merge_options_t *options,
                       const gateway_ranked_t *item)
{
    uint32_t creator_count = 0;
    uint32_t category_count = 0;
    slice_t category = s_category(options, item);
    for (uint32_t i = 0; i < merged->count; i++) {
        const gateway_ranked_t *taken = merged->items[i];
        creator_count += taken->creator.value == item->creator.value ? 1 : 0;
        if (options->max_per_category > 0) {
            category_count += slice_equal(s_category(options, taken), category) ? 1 : 0;
        }
    }
    bool is_creator_full = options->max_per_creator > 0 && item->creator.value != 0 &&
                           creator_count >= options->max_per_creator;
    bool is_category_full = options->max_per_category > 0 && category.size > 0 &&
                            category_count >= options->max_per_category;
    return !is_creator_full && !is_category_full;
}

/* The list whose next item is the best; list_count when all have ended. */
static uint32_t s_best(const gateway_list_t *lists, uint32_t list_count, const uint32_t *next)
{
    uint32_t best = list_count;
    for (uint32_t i = 0; i < list_count; i++) {
        if (next[i] < lists[i].count &&
            (best == list_count ||
             s_is_before(&lists[i].items[next[i]], &lists[best].items[next[best]]))) {
            best = i;
        }
    }
    return best;
}

void gateway_merge(const gateway_list_t *lists,
                   uint32_t list_count,
                   const gateway_merge_options_t *options,
                   gateway_merged_t *ret_merged)
{
    CHECK(list_count <= SHARD_COUNT_MAX);
    CHECK(options->limit >= 1 && options->limit <= RETRIEVE_LIMIT_MAX);
    uint32_t next[SHARD_COUNT_MAX] = {0};
    bool has_caps = options->max_per_creator > 0 || options->max_per_category > 0;
    ret_merged->count = 0;
    ret_merged->has_more = false;
    ret_merged->last = NULL;
    for (;;) {
        uint32_t best = s_best(lists, list_count, next);
        if (best == list_count) {
            break;
        }
        if (ret_merged->count == options->limit) {
            ret_merged->has_more = true;
            return;
        }
        const gateway_ranked_t *item = &lists[best].items[next[best]++];
        ret_merged->last = item;
        if (!has_caps || s_has_room(ret_merged, options, item)) {
            ret_merged->items[ret_merged->count++] = item;
        }
        if (next[best] == lists[best].count && lists[best].is_cut) {
            ret_merged->has_more = true;
            return;
        }
    }
}
