/* Where what verify finds goes: problems, each one line, counted. */
#ifndef TIDAL_SERVICES_TIDALCTL_VERIFY_REPORT_H
#define TIDAL_SERVICES_TIDALCTL_VERIFY_REPORT_H

#include <stdint.h>

typedef void (*verify_problem_fn)(void *context, const char *text);

typedef struct {
    verify_problem_fn on_problem;
    void *context;
    uint64_t problem_count;
} verify_report_t;

void verify_problem(verify_report_t *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
