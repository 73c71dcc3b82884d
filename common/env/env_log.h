/* Log lines of a process: one line, one write, to standard output, where the process manager puts
 * them together.
 *
 *   ts=2024-05-01T12:00:00.123456Z level=info process=control event=ready after_ms=12
 *
 * A value that is empty or holds anything but letters, digits and _-.,:/@+%()[]*# is quoted. Within
 * quotes, quote and backslash get a backslash before them, line breaks and tabs become \n \r \t,
 * other control bytes and bytes that are not UTF-8 become \xNN. So a line is always one line and
 * always parses.
 *
 * Repetition: an error or warning that says again what was said less than a second ago (same event,
 * same err) is counted and not written; a debug or info line only when its whole text is the same.
 * The next line of that kind, or env_log_flush, carries repeated=<count>. At most
 * ENV_LOG_RECENT_COUNT_MAX kinds are remembered, the one seen longest ago gives way.
 *
 * A reader that does not read must not stop the mesh: when the pipe has no room the line is
 * dropped, and the next one that is written carries lost=<count>.
 *
 * State is of the process: for the thread of the loop only. Libraries and cores return errors and
 * log nothing; a shell logs each failure once, with the decision that it took. */
#ifndef TIDAL_COMMON_ENV_ENV_LOG_H
#define TIDAL_COMMON_ENV_ENV_LOG_H

#include "common/base/err.h"
#include "common/base/seam.h"

#include <stdint.h>

enum {
    ENV_LOG_LINE_SIZE_MAX = 4096,  /* PIPE_BUF: one write of a pipe stays whole */
    ENV_LOG_VALUE_SIZE_MAX = 1024, /* as written; a longer one ends in ... */
    ENV_LOG_RECENT_COUNT_MAX = 64
};

typedef enum {
    ENV_LOG_DEBUG = 0,
    ENV_LOG_INFO = 1,
    ENV_LOG_WARNING = 2,
    ENV_LOG_ERROR = 3
} env_log_level_t;

typedef enum { ENV_LOG_FIELD_TEXT, ENV_LOG_FIELD_U64, ENV_LOG_FIELD_I64 } env_log_field_kind_t;

/* One key=value; made by the functions below. */
typedef struct {
    const char *key; /* [a-z0-9_]+, a constant */
    env_log_field_kind_t kind;
    const char *text;
    uint64_t u64;
    int64_t i64;
} env_log_field_t;

static inline env_log_field_t env_log_text(const char *key, const char *value)
{
    return (env_log_field_t){.key = key, .kind = ENV_LOG_FIELD_TEXT, .text = value};
}

static inline env_log_field_t env_log_u64(const char *key, uint64_t value)
{
    return (env_log_field_t){.key = key, .kind = ENV_LOG_FIELD_U64, .u64 = value};
}

static inline env_log_field_t env_log_i64(const char *key, int64_t value)
{
    return (env_log_field_t){.key = key, .kind = ENV_LOG_FIELD_I64, .i64 = value};
}

/* err="<text of the code>", which is part of what makes two lines the same. */
static inline env_log_field_t env_log_err(err_t err)
{
    return env_log_text("err", err_text(err));
}

/* Names the process and takes the level from the environment variable TIDAL_LOG (debug, info,
 * warning, error; anything else is info and is said so). fd stays the caller's; usually 1. May be
 * called again. Before the first call lines go to standard output with process=unknown. */
void env_log_open(const char *process_name, int fd);

/* Replaces the clock; NULL gives back the real one. For tests. */
void env_log_set_clock(now_t (*clock)(void));

/* in fields  borrowed, 0..32; a line that grows too long is cut after the last field that fits */
void env_log_write(env_log_level_t level,
                   const char *event,
                   const env_log_field_t *fields,
                   size_t field_count);

/* Writes the counts of repeated lines whose second is over; with `all` also of the others. Cheap
 * when there are none. */
void env_log_flush(bool all);

/* ENV_LOG(ENV_LOG_INFO, "ready", env_log_text("endpoint", endpoint), env_log_u64("boot", boot)); at
 * least one field. */
#define ENV_LOG(level, event, ...)                                          \
    env_log_write((level), (event), (const env_log_field_t[]){__VA_ARGS__}, \
                  sizeof((const env_log_field_t[]){__VA_ARGS__}) / sizeof(env_log_field_t))

#endif
