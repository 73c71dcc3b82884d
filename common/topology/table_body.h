/* What a table is made of; for table.c and table_codec.c alone. */
#ifndef TIDAL_COMMON_TOPOLOGY_TABLE_BODY_H
#define TIDAL_COMMON_TOPOLOGY_TABLE_BODY_H

#include "common/topology/table.h"

/* At most half full. */
enum { TABLE_SLOT_COUNT = 2 * TENANT_COUNT_MAX };
static_assert((TABLE_SLOT_COUNT & (TABLE_SLOT_COUNT - 1)) == 0, "slots are picked by a mask");

struct table {
    uint64_t version;
    uint32_t shard_count;
    uint32_t tenant_count;
    uint32_t tenant_capacity;
    table_tenant_t *tenants; /* by ascending id */
    table_record_t *records; /* tenant by tenant, shard by shard */
    /* Open addressing; place of the tenant + 1, 0 empty. */
    uint16_t slots_by_id[TABLE_SLOT_COUNT];
    uint16_t slots_by_name[TABLE_SLOT_COUNT];
};

/* Without tenants: breaks invariant 1 until `default` is there. */
table_t *table_new_empty(uint32_t shard_count, uint64_t version);

#endif
