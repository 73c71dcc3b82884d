#include "common/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *err_text(err_t err)
{
#define ERR_CASE(name, value, text) \
    case name:                      \
        return text;
    switch (err) {
        ERR_LIST(ERR_CASE)
    }
#undef ERR_CASE
    return "unknown error code";
}

void errbuf_set(errbuf_t *errbuf, const char *format, ...)
{
    if (errbuf == NULL) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(errbuf->text, sizeof(errbuf->text), format, arguments);
    va_end(arguments);
}

void errbuf_prefix(errbuf_t *errbuf, const char *format, ...)
{
    if (errbuf == NULL) {
        return;
    }
    char text[ERRBUF_SIZE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (length < 0) {
        return;
    }
    size_t used = strnlen(text, sizeof(text));
    size_t room = sizeof(text) - used;
    (void)snprintf(text + used, room, ": %.*s", (int)room, errbuf->text);
    (void)memcpy(errbuf->text, text, sizeof(text));
}
