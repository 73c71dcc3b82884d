#include "common/topology/schema.h"

#include "common/base/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const s_window_names[WINDOW_COUNT] = {"1h", "24h", "7d", "30d", "all"};
static const int64_t s_window_seconds[WINDOW_COUNT] = {3600, 86400, 604800, 2592000, 0};

enum { TERM_KIND_COUNT = 3 };
static const char *const s_term_kind_names[TERM_KIND_COUNT] = {"decay", "count", "velocity"};

const char *window_name(window_t window)
{
    CHECK((unsigned)window < WINDOW_COUNT);
    return s_window_names[window];
}

err_t window_parse(const char *text, window_t *ret_window)
{
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        if (strcmp(text, s_window_names[i]) == 0) {
            *ret_window = (window_t)i;
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

int64_t window_seconds(window_t window)
{
    CHECK((unsigned)window < WINDOW_COUNT);
    return s_window_seconds[window];
}

const char *term_kind_name(term_kind_t kind)
{
    CHECK((unsigned)kind < TERM_KIND_COUNT);
    return s_term_kind_names[kind];
}

err_t term_kind_parse(const char *text, term_kind_t *ret_kind)
{
    for (unsigned i = 0; i < TERM_KIND_COUNT; i++) {
        if (strcmp(text, s_term_kind_names[i]) == 0) {
            *ret_kind = (term_kind_t)i;
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

bool schema_signal_has_window(const schema_signal_t *signal, window_t window)
{
    CHECK((unsigned)window < WINDOW_COUNT);
    return (signal->windows_mask >> window & 1) != 0;
}

static void s_add_signal(schema_t *self, const char *name, int64_t half_life_days)
{
    CHECK(self->signal_count < SIGNAL_TYPE_COUNT_MAX);
    schema_signal_t *signal = &self->signals[self->signal_count++];
    signal->id = (uint8_t)self->signal_count;
    (void)snprintf(signal->name, sizeof(signal->name), "%s", name);
    signal->half_life_s = half_life_days * 86400;
    signal->windows_mask = WINDOWS_MASK_ALL;
}

/* The four weights are those of view, like, share and skip; 0 leaves a signal out. */
static void s_add_terms(schema_t *self, term_kind_t kind, window_t window, const double weights[4])
{
    schema_profile_t *profile = &self->profiles[self->profile_count - 1];
    for (unsigned i = 0; i < 4; i++) {
        if (fpclassify(weights[i]) != FP_ZERO) {
            CHECK(profile->term_count < PROFILE_TERM_COUNT_MAX);
            profile_term_t *term = &profile->terms[profile->term_count++];
            *term = (profile_term_t){self->signals[i].id, kind, window, weights[i]};
        }
    }
}

static void s_add_profile(schema_t *self, const char *name)
{
    CHECK(self->profile_count < PROFILE_COUNT_MAX);
    schema_profile_t *profile = &self->profiles[self->profile_count++];
    (void)snprintf(profile->name, sizeof(profile->name), "%s", name);
}

void schema_init_default(schema_t *self)
{
    static const double s_default[4] = {1, 4, 6, -2};
    static const double s_top[4] = {1, 10, 20, -5};
    static const double s_hot_recent[4] = {1, 5, 8, -2};
    static const double s_hot_lasting[4] = {0.1, 0.5, 0.8, -0.2};
    static const double s_trending_now[4] = {1, 5, 8, -2};
    static const double s_trending_before[4] = {-1, -5, -8, 2};

    (void)memset(self, 0, sizeof(*self));
    s_add_signal(self, "view", 7);
    s_add_signal(self, "like", 30);
    s_add_signal(self, "share", 14);
    s_add_signal(self, "skip", 1);

    s_add_profile(self, "default");
    s_add_terms(self, TERM_DECAY, WINDOW_1H, s_default);
    s_add_profile(self, "top");
    s_add_terms(self, TERM_COUNT, WINDOW_ALL, s_top);
    s_add_profile(self, "hot");
    s_add_terms(self, TERM_COUNT, WINDOW_24H, s_hot_recent);
    s_add_terms(self, TERM_DECAY, WINDOW_1H, s_hot_lasting);
    s_add_profile(self, "trending");
    s_add_terms(self, TERM_VELOCITY, WINDOW_1H, s_trending_now);
    s_add_terms(self, TERM_VELOCITY, WINDOW_24H, s_trending_before);
    self->profile_default = 0;
}

const schema_signal_t *schema_find_signal(const schema_t *self, const char *name)
{
    return schema_find_signal_slice(self, slice_make(name, strlen(name)));
}

const schema_signal_t *schema_find_signal_slice(const schema_t *self, slice_t name)
{
    for (uint32_t i = 0; i < self->signal_count; i++) {
        const char *found = self->signals[i].name;
        if (slice_equal(name, slice_make(found, strlen(found)))) {
            return &self->signals[i];
        }
    }
    return NULL;
}

const schema_signal_t *schema_find_signal_id(const schema_t *self, uint8_t id)
{
    for (uint32_t i = 0; i < self->signal_count; i++) {
        if (self->signals[i].id == id) {
            return &self->signals[i];
        }
    }
    return NULL;
}

const schema_profile_t *schema_find_profile(const schema_t *self, const char *name)
{
    return schema_find_profile_slice(self, slice_make(name, strlen(name)));
}

const schema_profile_t *schema_find_profile_slice(const schema_t *self, slice_t name)
{
    for (uint32_t i = 0; i < self->profile_count; i++) {
        const char *found = self->profiles[i].name;
        if (slice_equal(name, slice_make(found, strlen(found)))) {
            return &self->profiles[i];
        }
    }
    return NULL;
}

const schema_profile_t *schema_default_profile(const schema_t *self)
{
    CHECK(self->profile_default < self->profile_count);
    return &self->profiles[self->profile_default];
}

void schema_profile_formula(const schema_t *self,
                            const schema_profile_t *profile,
                            char ret_text[PROFILE_FORMULA_SIZE])
{
    size_t used = 0;
    ret_text[0] = '\0';
    for (uint32_t i = 0; i < profile->term_count; i++) {
        const profile_term_t *term = &profile->terms[i];
        const schema_signal_t *signal = schema_find_signal_id(self, term->signal_id);
        CHECK(signal != NULL);
        bool negative = term->weight < 0;
        const char *sign = i == 0 ? (negative ? "-" : "") : (negative ? " - " : " + ");
        bool windowed = term->kind != TERM_DECAY;
        int length = snprintf(ret_text + used, PROFILE_FORMULA_SIZE - used, "%s%.12g * %s(%s%s%s)",
                              sign, fabs(term->weight), term_kind_name(term->kind), signal->name,
                              windowed ? ", " : "", windowed ? window_name(term->window) : "");
        CHECK(length > 0);
        used += (size_t)length;
        CHECK(used < PROFILE_FORMULA_SIZE);
    }
}
