/* A report in words, as far as every reader of it needs the same ones. */
#include "common/base/check.h"
#include "common/cluster/reconcile.h"
#include "common/topology/process.h"

#include <stdio.h>

const char *reconcile_found_name(reconcile_found_t found)
{
#define RECONCILE_FOUND_TEXT(name, text) [RECONCILE_FOUND_##name] = (text),
    static const char *const s_names[] = {RECONCILE_FOUND_LIST(RECONCILE_FOUND_TEXT)};
#undef RECONCILE_FOUND_TEXT
    CHECK(found < RECONCILE_FOUND_COUNT);
    return s_names[found];
}

static const char *s_node_name(const reconcile_view_t *view,
                               node_id_t node,
                               char ret_name[PROCESS_NAME_SIZE])
{
    return process_name(view->topology, (process_address_t){PROCESS_NODE, node.region, node.shard},
                        ret_name);
}

static const char *s_tenant_name(const reconcile_view_t *view, tenant_id_t tenant)
{
    const table_tenant_t *row = table_find_tenant(view->table, tenant);
    return row == NULL ? "?" : row->name;
}

void reconcile_summary(const reconcile_report_t *self,
                       const reconcile_view_t *view,
                       char ret_text[RECONCILE_SUMMARY_SIZE])
{
    const uint32_t *counts = self->found_counts;
    const reconcile_line_t *lagging = NULL;
    uint32_t lagging_count = 0;
    for (uint32_t i = 0; i < self->line_count; i++) {
        bool counted = self->lines[i].found == RECONCILE_FOUND_LAGGING && self->lines[i].is_listed;
        lagging = counted && lagging == NULL ? &self->lines[i] : lagging;
        lagging_count += counted ? 1 : 0;
    }
    char name[PROCESS_NAME_SIZE];
    if (counts[RECONCILE_FOUND_DIVERGED] > 0) {
        const reconcile_line_t *worst = &self->lines[0];
        (void)snprintf(ret_text, RECONCILE_SUMMARY_SIZE,
                       "DIVERGED: %u of %u replicas compared have another digest at an equal "
                       "vector, first %s, tenant %s",
                       counts[RECONCILE_FOUND_DIVERGED], self->compared_count,
                       s_node_name(view, worst->node, name), s_tenant_name(view, worst->tenant));
    } else if (self->silent.bits != 0 || counts[RECONCILE_FOUND_UNANSWERED] > 0) {
        (void)snprintf(ret_text, RECONCILE_SUMMARY_SIZE,
                       "incomplete: %u of %u other regions silent, %u replicas gave no answer; of "
                       "%u compared %u equal, none diverged",
                       region_set_count(self->silent), view->topology->region_count - 1,
                       counts[RECONCILE_FOUND_UNANSWERED], self->compared_count,
                       counts[RECONCILE_FOUND_EQUAL]);
    } else if (lagging != NULL) {
        (void)snprintf(ret_text, RECONCILE_SUMMARY_SIZE,
                       "lagging: %u of %u replicas compared stay behind, first %s, tenant %s",
                       lagging_count, self->compared_count, s_node_name(view, lagging->node, name),
                       s_tenant_name(view, lagging->tenant));
    } else {
        (void)snprintf(ret_text, RECONCILE_SUMMARY_SIZE,
                       "no difference: %u replicas compared, %u equal, %u still moving",
                       self->compared_count, counts[RECONCILE_FOUND_EQUAL],
                       self->compared_count - counts[RECONCILE_FOUND_EQUAL]);
    }
}

void reconcile_lost_bases(const reconcile_report_t *self,
                          const reconcile_view_t *view,
                          char ret_text[RECONCILE_SUMMARY_SIZE])
{
    char name[PROCESS_NAME_SIZE];
    node_id_t node = {view->self, self->lost_base_shard};
    (void)snprintf(
        ret_text, RECONCILE_SUMMARY_SIZE,
        "%u bases (state.base) are damaged or gone, first that of %s, tenant %s: nothing is "
        "truncated there until another region's base is in place",
        self->lost_base_count, s_node_name(view, node, name),
        s_tenant_name(view, self->lost_base_tenant));
}
