#include "common/session/forget_gate.h"

#include "common/base/mutant.h"

#include <stddef.h>

void forget_gate_done(forget_gate_t *self)
{
    version_vector_done(&self->before);
    version_vector_done(&self->last);
}

void forget_gate_publish(forget_gate_t *self, uint64_t boot, const version_vector_t *floor)
{
    if (self->boot != boot) {
        self->boot = boot;
        version_vector_clear(&self->before);
        version_vector_clear(&self->last);
    }
    if (version_vector_covers(&self->last, floor)) {
        return; /* the same again, or an older one */
    }
    version_vector_merge(&self->before, &self->last);
    version_vector_merge(&self->last, floor);
}

const version_vector_t *forget_gate_open(const forget_gate_t *self, const version_vector_t *applied)
{
    if (MUTANT(FORGET_AT_ONCE)) {
        return &self->last;
    }
    return version_vector_covers(applied, &self->last) ? &self->before : NULL;
}
