#include "tests/unit/link_rules_support.h"

#include "common/base/check.h"

#include <stdio.h>

void proxy_init(proxy_t *self, uint64_t seed)
{
    (void)memset(self, 0, sizeof(*self));
    self->rules = link_rules_new(seed);
    self->link = (link_id_t){{1}, {2}};
    self->traced_ms = -1;
}

void proxy_done(proxy_t *self)
{
    link_rules_destroy(&self->rules);
}

static void s_append(proxy_t *self, const char *word)
{
    size_t used = strlen(self->trace);
    CHECK(used + strlen(word) < sizeof(self->trace));
    (void)memcpy(self->trace + used, word, strlen(word) + 1);
}

static void s_write_effect(proxy_t *self, const link_effect_t *effect)
{
    static const char *const s_letters[] = {"F", "C", "D", "R"};
    static const char *const s_reasons[LINK_DROP_COUNT] = {"chance", "mode", "cut", "full"};
    char word[64];
    if (self->traced_ms != self->now_ms) {
        (void)snprintf(word, sizeof(word), " @%lld", (long long)self->now_ms);
        s_append(self, word);
        self->traced_ms = self->now_ms;
    }
    if (effect->kind == LINK_EFFECT_RESET) {
        s_append(self, " R");
        return;
    }
    bool is_drop = effect->kind == LINK_EFFECT_DROP;
    (void)snprintf(word, sizeof(word), " %s%llu%s%s", s_letters[effect->kind],
                   (unsigned long long)effect->ticket, is_drop ? ":" : "",
                   is_drop ? s_reasons[effect->reason] : "");
    s_append(self, word);
}

static void s_write_effects(proxy_t *self)
{
    for (uint32_t i = 0; i < self->effects.count; i++) {
        s_write_effect(self, &self->effects.list[i]);
    }
}

/* All that is due now, however many calls it takes. */
static void s_drain(proxy_t *self)
{
    s_write_effects(self);
    while (self->effects.has_more) {
        link_rules_due(self->rules, self->now_ms * NS_PER_MS, &self->effects);
        s_write_effects(self);
    }
}

void proxy_set(proxy_t *self, link_rule_t rule)
{
    errbuf_t errbuf;
    err_t err = link_rules_set(self->rules, self->link, &rule, self->now_ms * NS_PER_MS,
                               &self->effects, &errbuf);
    CHECK(err == ERR_OK);
    s_drain(self);
}

void proxy_offer_size(proxy_t *self, uint64_t ticket, uint32_t lane, uint32_t size_bytes)
{
    link_message_t message = {
        .link = self->link, .lane = lane, .size_bytes = size_bytes, .ticket = ticket};
    link_rules_offer(self->rules, &message, self->now_ms * NS_PER_MS, &self->effects);
    s_drain(self);
}

void proxy_offer(proxy_t *self, uint64_t ticket, uint32_t lane)
{
    proxy_offer_size(self, ticket, lane, 100);
}

void proxy_run_to(proxy_t *self, int64_t now_ms)
{
    for (;;) {
        int64_t due_ns = link_rules_deadline_ns(self->rules);
        if (due_ns > now_ms * NS_PER_MS) {
            break;
        }
        /* Up to the next whole millisecond, so that traces stay short. */
        self->now_ms = (due_ns + NS_PER_MS - 1) / NS_PER_MS;
        link_rules_due(self->rules, self->now_ms * NS_PER_MS, &self->effects);
        s_drain(self);
    }
    self->now_ms = now_ms;
}

const char *proxy_trace(const proxy_t *self)
{
    return self->trace[0] == ' ' ? self->trace + 1 : self->trace;
}

const link_counters_t *proxy_counters(const proxy_t *self)
{
    return link_rules_counters(self->rules, self->link);
}
