#include "common/base/mutant.h"

#ifdef TIDAL_MUTANTS
#include "common/base/check.h"

#include <stdlib.h>
#include <string.h>

static mutant_t s_find(const char *name)
{
#define MUTANT_NAME(name, rule) #name,
    static const char *const s_names[] = {"", MUTANT_LIST(MUTANT_NAME)};
#undef MUTANT_NAME
    for (int i = 1; i < MUTANT_COUNT; i++) {
        if (strcmp(s_names[i], name) == 0) {
            return (mutant_t)i;
        }
    }
    CHECK(name[0] == '\0');
    return MUTANT_NONE;
}

bool mutant_is(mutant_t mutant)
{
    static mutant_t s_active = MUTANT_COUNT;
    if (s_active == MUTANT_COUNT) {
        const char *name = getenv("TIDAL_MUTANT"); /* once, before any thread of a test is there */
        s_active = s_find(name == NULL ? "" : name);
    }
    return mutant == s_active;
}
#endif
