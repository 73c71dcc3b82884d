/* One ranking from those of the shards.
 *
 * Each shard's list is ordered by score, best first, equal scores by ascending item, and no item is
 * in two. So is the merged list, whatever the order in which the shards answered. */
#ifndef TIDAL_COMMON_GATEWAY_GATEWAY_MERGE_H
#define TIDAL_COMMON_GATEWAY_GATEWAY_MERGE_H

#include "common/gateway/gateway_request.h"

/* A shard's list. */
typedef struct {
    const gateway_ranked_t *items;
    uint32_t count;
    bool is_cut; /* the shard may have more after these */
} gateway_list_t;

typedef struct {
    uint32_t limit;            /* 1..RETRIEVE_LIMIT_MAX */
    uint32_t max_per_creator;  /* 0: any; items whose creator is not known are not limited */
    uint32_t max_per_category; /* 0: any; the same */
    slice_t text;              /* what the items' categories point into */
} gateway_merge_options_t;

typedef struct {
    uint32_t count;                                    /* 0..limit */
    const gateway_ranked_t *items[RETRIEVE_LIMIT_MAX]; /* best first; borrowed from the lists */
    bool has_more;                                     /* something may follow */
    const gateway_ranked_t *last; /* looked at last, taken or not; NULL: nothing was */
} gateway_merged_t;

/* Takes items best first, leaving out those over a cap, until `limit` are taken or a cut list ends:
 * what would follow there is not known.
 * in lists  1..SHARD_COUNT_MAX, each ordered as above
 * cost one comparison per list and item looked at, and with caps one per item taken */
void gateway_merge(const gateway_list_t *lists,
                   uint32_t list_count,
                   const gateway_merge_options_t *options,
                   gateway_merged_t *ret_merged);

#endif
