#include "common/env/env_log.h"

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/env/env_clock.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { FIELD_COUNT_MAX = 32, EVENT_SIZE_MAX = 48, PROCESS_SIZE_MAX = 96 };

/* A line under construction. One that was cut stays cut, so that a long field does not let a later
 * short one in: what is missing is always the end. */
typedef struct {
    char text[ENV_LOG_LINE_SIZE_MAX];
    size_t size;
    size_t reserved; /* bytes at the end that only s_finish_fields gives free */
    bool is_cut;
} log_line_t;

enum { LINE_RESERVED_SIZE = 80 }; /* line break, repeated= and lost= */

/* What was said lately. */
typedef struct {
    uint64_t key; /* 0: free */
    int64_t written_ns;
    uint64_t repeated_count; /* not written since */
    env_log_level_t level;
    char event[EVENT_SIZE_MAX];
} log_recent_t;

static struct {
    char process[PROCESS_SIZE_MAX];
    int fd;
    env_log_level_t level;
    now_t (*clock)(void);
    uint64_t lost_count;
    log_recent_t recent[ENV_LOG_RECENT_COUNT_MAX];
} s_log = {
    .process = "unknown", .fd = STDOUT_FILENO, .level = ENV_LOG_INFO, .clock = env_clock_now};

/* -- building a line --------------------------------------------------------------------------- */

static log_line_t s_line_make(void)
{
    return (log_line_t){.size = 0, .reserved = LINE_RESERVED_SIZE};
}

static void s_finish_fields(log_line_t *line)
{
    line->reserved = 1;
    line->is_cut = false;
}

static void s_put(log_line_t *line, const char *bytes, size_t size)
{
    if (line->is_cut || size > sizeof(line->text) - line->reserved - line->size) {
        line->is_cut = true;
        return;
    }
    memcpy(line->text + line->size, bytes, size);
    line->size += size;
}

static void s_put_text(log_line_t *line, const char *text)
{
    s_put(line, text, strlen(text));
}

static bool s_is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("_-.,:/@+%()[]*#", c) != NULL);
}

/* Writes one byte of a quoted value into `out`; returns its size there, 1..4. */
static size_t s_escape(char c, bool is_utf8, char out[5])
{
    static const char s_special[] = "\"\\\n\r\t";
    static const char s_letters[] = "\"\\nrt";
    const char *found = c == '\0' ? NULL : strchr(s_special, c);
    if (found != NULL) {
        out[0] = '\\';
        out[1] = s_letters[found - s_special];
        return 2;
    }
    unsigned char byte = (unsigned char)c;
    if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !is_utf8)) {
        (void)snprintf(out, 5, "\\x%02x", (unsigned)byte);
        return 4;
    }
    out[0] = c;
    return 1;
}

static void s_put_quoted(log_line_t *line, const char *value, size_t size)
{
    char out[ENV_LOG_VALUE_SIZE_MAX + 8];
    size_t out_size = 0;
    bool is_utf8 = bytes_are_utf8(slice_make(value, size));
    out[out_size++] = '"';
    for (size_t i = 0; i < size; i++) {
        char escaped[5];
        size_t escaped_size = s_escape(value[i], is_utf8, escaped);
        if (out_size + escaped_size > ENV_LOG_VALUE_SIZE_MAX - 4) {
            memset(out + out_size, '.', 3);
            out_size += 3;
            break;
        }
        memcpy(out + out_size, escaped, escaped_size);
        out_size += escaped_size;
    }
    out[out_size++] = '"';
    s_put(line, out, out_size);
}

static void s_put_value(log_line_t *line, const char *value)
{
    size_t size = strnlen(value, ENV_LOG_VALUE_SIZE_MAX + 1);
    bool is_plain = size > 0 && size <= ENV_LOG_VALUE_SIZE_MAX;
    for (size_t i = 0; i < size && is_plain; i++) {
        is_plain = s_is_plain(value[i]);
    }
    if (is_plain) {
        s_put(line, value, size);
    } else {
        s_put_quoted(line, value, size);
    }
}

static void s_put_key(log_line_t *line, const char *key)
{
    s_put_text(line, " ");
    s_put_text(line, key);
    s_put_text(line, "=");
}

static void s_put_u64(log_line_t *line, const char *key, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    s_put_key(line, key);
    s_put_text(line, text);
}

static void s_put_field(log_line_t *line, const env_log_field_t *field)
{
    size_t size_before = line->size;
    char text[24];
    switch (field->kind) {
    case ENV_LOG_FIELD_TEXT:
        s_put_key(line, field->key);
        s_put_value(line, field->text != NULL ? field->text : "");
        break;
    case ENV_LOG_FIELD_U64:
        s_put_u64(line, field->key, field->u64);
        break;
    case ENV_LOG_FIELD_I64:
        (void)snprintf(text, sizeof(text), "%" PRId64, field->i64);
        s_put_key(line, field->key);
        s_put_text(line, text);
        break;
    }
    if (line->is_cut) {
        line->size = size_before; /* no half fields */
    }
}

static const char *s_level_name(env_log_level_t level)
{
    static const char *const s_names[] = {"debug", "info", "warning", "error"};
    CHECK(level <= ENV_LOG_ERROR);
    return s_names[level];
}

static void s_put_head(log_line_t *line, int64_t wall_ns, env_log_level_t level, const char *event)
{
    time_t seconds = (time_t)(wall_ns / ENV_NS_PER_S);
    int64_t micros = wall_ns % ENV_NS_PER_S / 1000;
    struct tm utc;
    char text[64];
    if (gmtime_r(&seconds, &utc) == NULL) {
        utc = (struct tm){.tm_year = 70, .tm_mday = 1};
    }
    size_t size = strftime(text, sizeof(text), "ts=%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(text + size, sizeof(text) - size, ".%06dZ level=%s", (int)micros,
                   s_level_name(level));
    s_put_text(line, text);
    s_put_key(line, "process");
    s_put_value(line, s_log.process);
    s_put_key(line, "event");
    s_put_value(line, event);
}

/* -- writing ----------------------------------------------------------------------------------- */

static bool s_has_room(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
    /* A pipe is writable when it takes PIPE_BUF bytes, which is the longest line. */
    return poll(&pollfd, 1, 0) == 1 && (pollfd.revents & POLLOUT) != 0;
}

static void s_write(log_line_t *line)
{
    if (s_log.lost_count > 0) {
        s_put_u64(line, "lost", s_log.lost_count);
    }
    line->text[line->size++] = '\n';
    ssize_t written = -1;
    if (s_has_room(s_log.fd)) {
        do {
            written = write(s_log.fd, line->text, line->size);
        } while (written < 0 && errno == EINTR);
    }
    if (written < 0) {
        s_log.lost_count++;
    } else {
        s_log.lost_count = 0;
    }
}

/* -- repetition -------------------------------------------------------------------------------- */

/* FNV-1a, chained over several texts; never 0. */
static uint64_t s_hash(uint64_t hash, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    }
    return hash == 0 ? 1 : hash;
}

static uint64_t s_key(env_log_level_t level,
                      const char *event,
                      const env_log_field_t *fields,
                      size_t field_count)
{
    uint64_t key = s_hash(UINT64_C(0xcbf29ce484222325), event, strlen(event) + 1);
    for (size_t i = 0; i < field_count; i++) {
        const env_log_field_t *field = &fields[i];
        bool is_err = strcmp(field->key, "err") == 0;
        if (level >= ENV_LOG_WARNING && !is_err) {
            continue;
        }
        key = s_hash(key, field->key, strlen(field->key) + 1);
        if (field->text != NULL) {
            key = s_hash(key, field->text, strlen(field->text) + 1);
        }
        key = s_hash(key, (const char *)&field->u64, sizeof(field->u64));
        key = s_hash(key, (const char *)&field->i64, sizeof(field->i64));
    }
    return key;
}

/* The place of this key, or the one to be used for it: a free one, else the one written longest
 * ago. */
static log_recent_t *s_recent_require(uint64_t key)
{
    log_recent_t *oldest = &s_log.recent[0];
    for (size_t i = 0; i < ENV_LOG_RECENT_COUNT_MAX; i++) {
        log_recent_t *recent = &s_log.recent[i];
        if (recent->key == key) {
            return recent;
        }
        bool is_better = recent->key == 0
                             ? oldest->key != 0
                             : oldest->key != 0 && recent->written_ns < oldest->written_ns;
        if (is_better) {
            oldest = recent;
        }
    }
    return oldest;
}

static void s_write_repeated(log_recent_t *recent, now_t now)
{
    log_line_t line = s_line_make();
    s_put_head(&line, now.wall_ns, recent->level, recent->event);
    s_finish_fields(&line);
    s_put_u64(&line, "repeated", recent->repeated_count);
    recent->repeated_count = 0;
    recent->written_ns = now.mono_ns;
    s_write(&line);
}

/* -- the module -------------------------------------------------------------------------------- */

static bool s_parse_level(const char *text, env_log_level_t *ret_level)
{
    for (env_log_level_t level = ENV_LOG_DEBUG; level <= ENV_LOG_ERROR; level++) {
        if (strcmp(text, s_level_name(level)) == 0) {
            *ret_level = level;
            return true;
        }
    }
    return false;
}

void env_log_open(const char *process_name, int fd)
{
    (void)snprintf(s_log.process, sizeof(s_log.process), "%s", process_name);
    s_log.fd = fd;
    /* Read before any thread starts. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    const char *wanted = getenv("TIDAL_LOG");
    s_log.level = ENV_LOG_INFO;
    if (wanted != NULL && !s_parse_level(wanted, &s_log.level)) {
        ENV_LOG(ENV_LOG_WARNING, "log_level_unknown", env_log_text("variable", "TIDAL_LOG"),
                env_log_text("expected", "debug, info, warning or error"),
                env_log_text("found", wanted), env_log_text("used", "info"));
    }
}

void env_log_set_clock(now_t (*clock)(void))
{
    s_log.clock = clock != NULL ? clock : env_clock_now;
}

void env_log_write(env_log_level_t level,
                   const char *event,
                   const env_log_field_t *fields,
                   size_t field_count)
{
    CHECK(field_count <= FIELD_COUNT_MAX);
    if (level < s_log.level) {
        return;
    }
    now_t now = s_log.clock();
    uint64_t key = s_key(level, event, fields, field_count);
    log_recent_t *recent = s_recent_require(key);
    bool is_known = recent->key == key;
    if (is_known && now.mono_ns - recent->written_ns < ENV_NS_PER_S) {
        recent->repeated_count++;
        return;
    }
    if (!is_known && recent->repeated_count > 0) {
        s_write_repeated(recent, now);
    }
    log_line_t line = s_line_make();
    s_put_head(&line, now.wall_ns, level, event);
    for (size_t i = 0; i < field_count; i++) {
        s_put_field(&line, &fields[i]);
    }
    s_finish_fields(&line);
    if (is_known && recent->repeated_count > 0) {
        s_put_u64(&line, "repeated", recent->repeated_count);
    }
    *recent = (log_recent_t){.key = key, .written_ns = now.mono_ns, .level = level};
    (void)snprintf(recent->event, sizeof(recent->event), "%s", event);
    s_write(&line);
}

void env_log_flush(bool all)
{
    now_t now = s_log.clock();
    for (size_t i = 0; i < ENV_LOG_RECENT_COUNT_MAX; i++) {
        log_recent_t *recent = &s_log.recent[i];
        bool is_due = all || now.mono_ns - recent->written_ns >= ENV_NS_PER_S;
        if (recent->repeated_count > 0 && is_due) {
            s_write_repeated(recent, now);
        }
    }
}
