#include "common/cluster/reconcile_checks.h"

#include "common/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { S_QUIET_SHIFT_MAX = 6 };

/* One own replica that was suspect at least once. */
typedef struct {
    tenant_id_t tenant;
    shard_id_t shard;
    uint64_t awaited_id; /* 0: no answer is awaited */
    uint64_t next_run;   /* first one in which it may be asked */
    uint32_t answers;    /* since it was equal to another one */
} s_check_t;

struct reconcile_checks {
    uint32_t count;
    uint32_t capacity;
    s_check_t *checks; /* in the order in which they were first suspect */
    uint32_t repair_count;
    reconcile_repair_t repairs[RECONCILE_REPAIR_COUNT_MAX];
    reconcile_checks_counters_t counters;
};

reconcile_checks_t *reconcile_checks_new(void)
{
    reconcile_checks_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    return self;
}

void reconcile_checks_destroy(reconcile_checks_t **self_p)
{
    reconcile_checks_t *self = *self_p;
    if (self != NULL) {
        free(self->checks);
        free(self);
        *self_p = NULL;
    }
}

static s_check_t *s_find(reconcile_checks_t *self, tenant_id_t tenant, shard_id_t shard)
{
    for (uint32_t i = 0; i < self->count; i++) {
        s_check_t *check = &self->checks[i];
        if (check->tenant.value == tenant.value && check->shard.value == shard.value) {
            return check;
        }
    }
    return NULL;
}

static s_check_t *s_add(reconcile_checks_t *self, tenant_id_t tenant, shard_id_t shard)
{
    if (self->count == self->capacity) {
        self->capacity = self->capacity == 0 ? 8 : 2 * self->capacity;
        self->checks = realloc(self->checks, self->capacity * sizeof(*self->checks));
        CHECK(self->checks != NULL);
    }
    s_check_t *check = &self->checks[self->count++];
    *check = (s_check_t){.tenant = tenant, .shard = shard};
    return check;
}

bool reconcile_checks_run(reconcile_checks_t *self,
                          const reconcile_line_t *line,
                          uint64_t run,
                          uint64_t request_id)
{
    CHECK(request_id != 0);
    s_check_t *check = s_find(self, line->tenant, line->node.shard);
    if (!line->is_suspect) {
        if (check != NULL && line->found == RECONCILE_FOUND_EQUAL) {
            check->answers = 0;
        }
        return false;
    }
    check = check != NULL ? check : s_add(self, line->tenant, line->node.shard);
    if (check->awaited_id == 0 && run < check->next_run) {
        return false;
    }
    check->awaited_id = request_id;
    self->counters.asked++;
    return true;
}

/* -- answers ----------------------------------------------------------------------------------- */

/* Texts come from another process and go into reports as they are: what a report quotes or cannot
 * show becomes '?'. */
static void s_copy_text(char *ret_text, size_t size_max, slice_t text)
{
    size_t size = text.size < size_max ? text.size : size_max - 1;
    if (size > 0) {
        memcpy(ret_text, text.data, size);
    }
    for (size_t i = 0; i < size; i++) {
        bool plain = text.data[i] >= ' ' && text.data[i] <= '~' && text.data[i] != '"' &&
                     text.data[i] != '\\';
        if (!plain) {
            ret_text[i] = '?';
        }
    }
    ret_text[size] = '\0';
}

static void s_keep(reconcile_checks_t *self,
                   region_id_t region,
                   const msg_rebuild_reply_t *reply,
                   int64_t wall_ns)
{
    if (self->repair_count == RECONCILE_REPAIR_COUNT_MAX) {
        self->repair_count--;
        memmove(&self->repairs[0], &self->repairs[1],
                self->repair_count * sizeof(self->repairs[0]));
    }
    reconcile_repair_t *at = &self->repairs[self->repair_count++];
    *at = (reconcile_repair_t){
        .number = self->counters.answered,
        .tenant = reply->tenant,
        .node = {region, reply->shard},
        .is_failed = reply->code != CODE_OK,
        .different = reply->code == CODE_OK && reply->different,
        .wall_ns = wall_ns,
        .took_ms = reply->took_ms,
        .event_count = reply->event_count,
        .voided_count = reply->voided_count,
        .difference_count = reply->difference_count,
        .listed_count = reply->listed_count,
    };
    s_copy_text(at->problem, sizeof(at->problem), reply->message);
    memcpy(at->found, reply->found, sizeof(at->found));
    memcpy(at->rebuilt, reply->rebuilt, sizeof(at->rebuilt));
    for (uint32_t i = 0; i < reply->listed_count; i++) {
        reconcile_entry_t *entry = &at->listed[i];
        s_copy_text(entry->key, sizeof(entry->key), reply->listed[i].key);
        s_copy_text(entry->found, sizeof(entry->found), reply->listed[i].found);
        s_copy_text(entry->expected, sizeof(entry->expected), reply->listed[i].expected);
    }
}

bool reconcile_checks_answer(reconcile_checks_t *self,
                             region_id_t region,
                             const msg_rebuild_reply_t *reply,
                             uint64_t run,
                             int64_t wall_ns)
{
    s_check_t *check = s_find(self, reply->tenant, reply->shard);
    if (check == NULL || check->awaited_id == 0 || check->awaited_id != reply->request_id) {
        return false;
    }
    uint32_t shift = check->answers < S_QUIET_SHIFT_MAX ? check->answers : S_QUIET_SHIFT_MAX;
    check->awaited_id = 0;
    check->next_run = run + 1 + (UINT64_C(1) << shift);
    check->answers++;
    bool failed = reply->code != CODE_OK;
    self->counters.answered++;
    self->counters.failed += failed ? 1 : 0;
    self->counters.repaired += !failed && reply->different ? 1 : 0;
    self->counters.entries += failed ? 0 : reply->difference_count;
    s_keep(self, region, reply, wall_ns);
    return true;
}

const reconcile_repair_t *reconcile_checks_repairs(const reconcile_checks_t *self,
                                                   uint32_t *ret_count)
{
    *ret_count = self->repair_count;
    return self->repairs;
}

reconcile_checks_counters_t reconcile_checks_counters(const reconcile_checks_t *self)
{
    return self->counters;
}
