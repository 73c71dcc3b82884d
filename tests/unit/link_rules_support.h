/* What the tests of link_rules share: a proxy in virtual milliseconds that writes down what comes
 * out. A trace has one word per effect, with the time at which it came when that has moved:
 *   @5 F1 C2 D3:mode R      at 5 ms: forward 1, forward a copy of 2, drop 3, reset */
#ifndef TIDAL_TESTS_UNIT_LINK_RULES_SUPPORT_H
#define TIDAL_TESTS_UNIT_LINK_RULES_SUPPORT_H

#include "common/base/bytes.h"
#include "common/replication/link_rules.h"

enum { TRACE_SIZE = 16384, NS_PER_MS = 1000000 };

typedef struct {
    link_rules_t *rules;
    link_id_t link; /* where offers go: 1 to 2 unless changed */
    int64_t now_ms;
    int64_t traced_ms; /* time written last; -1 none */
    link_effects_t effects;
    char trace[TRACE_SIZE]; /* without the blank at its beginning from trace_text */
} proxy_t;

void proxy_init(proxy_t *self, uint64_t seed);
void proxy_done(proxy_t *self);

/* Replaces the rule of the link and writes down what comes out. */
void proxy_set(proxy_t *self, link_rule_t rule);
/* One message of 100 bytes. */
void proxy_offer(proxy_t *self, uint64_t ticket, uint32_t lane);
void proxy_offer_size(proxy_t *self, uint64_t ticket, uint32_t lane, uint32_t size_bytes);
/* Goes through all deadlines up to then. */
void proxy_run_to(proxy_t *self, int64_t now_ms);

const char *proxy_trace(const proxy_t *self);
const link_counters_t *proxy_counters(const proxy_t *self);

#endif
