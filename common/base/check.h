/* Invariant checks that are never compiled out.
 *
 * CHECK is for what this program promises itself. Bytes from a disk or a wire never reach it: they
 * are decoded within limits, or become ERR_CORRUPT. A failed check prints one line and aborts,
 * because a process that has lost its invariant must not acknowledge anything more. */
#ifndef TIDAL_COMMON_BASE_CHECK_H
#define TIDAL_COMMON_BASE_CHECK_H

_Noreturn void check_failed(const char *expression,
                            const char *file,
                            int line,
                            const char *function);

/* Expressions, so that a check adds no nesting to the function that makes it. */
#define CHECK(condition) \
    ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__, __func__))

/* `b` must hold wherever `a` does. */
#define CHECK_IMPLIES(a, b) \
    ((!(a) || (b)) ? (void)0 : check_failed(#a " implies " #b, __FILE__, __LINE__, __func__))

#endif
