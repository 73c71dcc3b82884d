/* Error codes of expected failures, and the text that travels with them.
 *
 * ERR_OK is zero, everything else negative. A function that fails leaves its ret_ results
 * untouched. Each layer prefixes the errbuf with what it tried, so that the line an operator reads
 * goes from the intention down to the cause. */
#ifndef TIDAL_COMMON_BASE_ERR_H
#define TIDAL_COMMON_BASE_ERR_H

#include <stddef.h>

/*  name                value  text for people */
#define ERR_LIST(X)                                          \
    X(ERR_OK, 0, "ok")                                       \
    X(ERR_INVALID, -1, "invalid argument or input")          \
    X(ERR_CORRUPT, -2, "damaged or malformed bytes")         \
    X(ERR_NOT_FOUND, -3, "not found")                        \
    X(ERR_EXISTS, -4, "exists already")                      \
    X(ERR_FULL, -5, "a bounded queue or table is full")      \
    X(ERR_TOO_LARGE, -6, "larger than the documented limit") \
    X(ERR_DISK_FULL, -7, "no space left on the disk")        \
    X(ERR_IO, -8, "input/output error")                      \
    X(ERR_UNREACHABLE, -9, "peer cannot be reached")         \
    X(ERR_GAP, -10, "events are missing before this one")    \
    X(ERR_STALE, -11, "older than what is held")             \
    X(ERR_CONFLICT, -12, "contradicts what is held")         \
    X(ERR_UNSUPPORTED, -13, "not supported by this version") \
    X(ERR_TIMEOUT, -14, "timed out")                         \
    X(ERR_AGAIN, -15, "not now, try again")                  \
    X(ERR_END, -16, "end reached")                           \
    X(ERR_LOCKED, -17, "held by another process")

#define ERR_ENUM(name, value, text) name = (value),
typedef enum { ERR_LIST(ERR_ENUM) } err_t;
#undef ERR_ENUM

/* The text of a code; never NULL, also for a number that is no code. Lives for ever. */
const char *err_text(err_t err);

enum { ERRBUF_SIZE_BYTES = 512 };

/* Text of one failure, from the outermost intention to the cause; always terminated. */
typedef struct {
    char text[ERRBUF_SIZE_BYTES];
} errbuf_t;

/* Replaces the text. errbuf may be NULL everywhere here: then nothing happens. A text that does not
 * fit is cut. */
void errbuf_set(errbuf_t *errbuf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "<prefix>: " before the text that stands there. */
void errbuf_prefix(errbuf_t *errbuf, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
