/* The routing table: which tenants there are, where they are placed, and for every (tenant, shard)
 * the record that says who leads it and who must hold its writes (design sections 1 and 5).
 *
 * A table that was handed out is a snapshot: nobody changes it, it is replaced by a newer one. Only
 * the control plane makes new ones, by table_next and the functions under "changing". Tables travel
 * whole, and every process keeps the last one on its disk.
 *
 * Encoded, version 1, all numbers little-endian:
 *
 *   offset size
 *   0      4    magic "TMT1"
 *   4      2    format version 1
 *   6      2    shard count, 1..SHARD_COUNT_MAX
 *   8      8    table version, >= 1
 *   16     8    size of the whole, hash included
 *   24     4    tenant count, 1..TENANT_COUNT_MAX
 *   28     4    zero
 *   32     -    tenants by ascending id, each:
 *     0    8      id, >= 1
 *     8    1      island policy: 0 reject, 1 accept
 *     9    1      name size n, 1..NAME_LENGTH_MAX
 *     10   2      zero
 *     12   4      full regions, bit i = region i
 *     16   4      preparing regions
 *     20   4      leaving regions
 *     24   n      name
 *     24+n -      one record per shard, each:
 *       0    8      epoch, >= 1
 *       8    8      version, >= 1
 *       16   2      leader region, 0 none
 *       18   2      zero
 *       20   4      in-sync regions
 *       24   4      placed regions
 *       28   8 m    disk ids of the m placed regions by ascending region, 0 not known (reserved)
 *   end    32   BLAKE3 of everything before it
 *
 * Invariants, checked when a table is changed and again when one is decoded
 *   1. tenant ids and names are unique; tenant 1 exists and is `default`.
 *   2. full, preparing and leaving regions are disjoint, at least one is full.
 *   3. placed regions of a record are regions of the tenant; in-sync ones are placed and not none;
 *      the leader, where there is one, is in sync.
 *   4. an encoded table has one form: encoding what was decoded gives the same bytes. */
#ifndef TIDAL_COMMON_TOPOLOGY_TABLE_H
#define TIDAL_COMMON_TOPOLOGY_TABLE_H

#include "common/base/bounds.h"
#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/ids.h"
#include "common/base/seam.h"
#include "common/topology/topology.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    TABLE_HASH_SIZE = 32,
    TABLE_HEADER_SIZE = 32,
    TABLE_TENANT_SIZE = 24, /* without the name */
    TABLE_RECORD_SIZE = 28, /* without disk ids */
    TABLE_RECORD_SIZE_MAX = TABLE_RECORD_SIZE + 8 * REGION_COUNT_MAX,
    TABLE_SIZE_MAX = TABLE_HEADER_SIZE + TABLE_HASH_SIZE +
                     TENANT_COUNT_MAX * (TABLE_TENANT_SIZE + NAME_LENGTH_MAX +
                                         SHARD_COUNT_MAX * TABLE_RECORD_SIZE_MAX)
};
static_assert((int)TABLE_SIZE_MAX < (int)INTERNAL_MESSAGE_SIZE_MAX, "a table fits one message");

/* The generation of `default`. */
#define TENANT_DEFAULT ((tenant_id_t){1})

/* What a follower does that is cut off from its leader (design section 5). */
typedef enum { ISLAND_REJECT = 0, ISLAND_ACCEPT = 1 } island_policy_t;

typedef struct {
    tenant_id_t id;                 /* its generation, >= 1 */
    char name[NAME_LENGTH_MAX + 1]; /* of A-Z a-z 0-9 _ . -, beginning with a letter or digit */
    island_policy_t island;
    region_set_t full;      /* not empty */
    region_set_t preparing; /* a move fills them */
    region_set_t leaving;   /* a move drains them */
} table_tenant_t;

typedef struct {
    uint64_t epoch;       /* >= 1; rises only when the leader changes */
    uint64_t version;     /* >= 1; rises with every change of this record */
    region_id_t leader;   /* 0 none */
    region_set_t in_sync; /* not empty, all placed */
    region_set_t placed;  /* regions that hold this shard of the tenant */
    uint64_t
        disk_ids[REGION_COUNT_MAX + 1]; /* by region id; 0 not known, or not placed. Reserved */
} table_record_t;

typedef struct table table_t;

/* -- making ------------------------------------------------------------------------------------ */

/* Version 1: tenant `default` in every region, leaders as the topology places them, epoch 1,
 * everybody in sync. out owned by the caller */
table_t *table_new_default(const topology_t *topology);
/* A copy with the next version, to be changed and then handed out. out owned by the caller */
table_t *table_next(const table_t *self);
void table_destroy(table_t **self_p);

/* -- finding ----------------------------------------------------------------------------------- */

uint64_t table_version(const table_t *self);
uint32_t table_shard_count(const table_t *self);
uint32_t table_tenant_count(const table_t *self);
/* By ascending id. in index < count. Borrowed from self. */
const table_tenant_t *table_tenant_at(const table_t *self, uint32_t index);
/* NULL when there is none. Borrowed from self. cost one hash, whatever the number of tenants */
const table_tenant_t *table_find_tenant(const table_t *self, tenant_id_t id);
const table_tenant_t *table_find_tenant_name(const table_t *self, slice_t name);
/* NULL when there is no such tenant or shard. Borrowed from self. */
const table_record_t *table_find_record(const table_t *self, tenant_id_t id, shard_id_t shard);

/* Full, preparing and leaving ones. */
region_set_t table_tenant_regions(const table_tenant_t *tenant);
/* Whether streams of this tenant may be written in this region. */
bool table_is_placed(const table_t *self, tenant_id_t id, region_id_t region);

/* Whether `candidate` replaces `current`, which may be NULL. A table of a lower or the same version
 * never does. */
bool table_is_newer(const table_t *candidate, const table_t *current);
/* Whether the table belongs to this topology: shard count, regions. errs ERR_CONFLICT */
err_t table_check_topology(const table_t *self, const topology_t *topology, errbuf_t *errbuf);

/* -- changing: only what table_next returned and nobody else has seen yet ---------------------- */

/* in records one per shard
 * errs ERR_EXISTS id or name · ERR_FULL · ERR_INVALID an invariant would break */
err_t table_add_tenant(table_t *self,
                       const table_tenant_t *tenant,
                       const table_record_t *records,
                       errbuf_t *errbuf);
/* Policy and placement of a tenant that there is; its id and name stay. For tests.
 * errs ERR_NOT_FOUND · ERR_INVALID */
err_t table_set_tenant(table_t *self, const table_tenant_t *tenant, errbuf_t *errbuf);
/* errs ERR_NOT_FOUND · ERR_INVALID */
err_t table_set_record(table_t *self,
                       tenant_id_t id,
                       shard_id_t shard,
                       const table_record_t *record,
                       errbuf_t *errbuf);

/* -- bytes ------------------------------------------------------------------------------------- */

/* Appends the encoded table. */
void table_encode(const table_t *self, buffer_t *out);
/* out ret_table owned by the caller
 * errs ERR_CORRUPT anything that table_encode does not write · ERR_UNSUPPORTED a later format */
err_t table_decode(slice_t bytes, table_t **ret_table, errbuf_t *errbuf);

/* Durable at `path` when ERR_OK; before that, the file that was there stays. The folder is made
 * when it is missing. errs those of the disk */
err_t table_cache_save(const table_t *self, const disk_t *disk, const char *path, errbuf_t *errbuf);
/* errs ERR_NOT_FOUND · ERR_CORRUPT the control plane has a good one · ERR_UNSUPPORTED · ERR_IO */
err_t table_cache_load(const disk_t *disk, const char *path, table_t **ret_table, errbuf_t *errbuf);

#endif
