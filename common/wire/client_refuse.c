/* The texts of refusals: where, what was expected, what was found. */
#include "common/wire/client_fields.h"

#include <stdarg.h>
#include <stdio.h>

void client_at(client_decoder_t *self, const char *place)
{
    self->place = place;
    self->place_has_index = false;
}

void client_at_index(client_decoder_t *self, const char *place, uint32_t index)
{
    self->place = place;
    self->place_has_index = true;
    self->place_index = index;
}

/* "rows[17].weight" before the text. */
static void s_prefix_place(client_decoder_t *self, const char *key)
{
    char index[16] = "";
    if (self->place != NULL && self->place_has_index) {
        (void)snprintf(index, sizeof(index), "[%u]", self->place_index);
    }
    const char *place = self->place == NULL ? "" : self->place;
    const char *dot = self->place != NULL && key[0] != '\0' ? "." : "";
    errbuf_prefix(self->errbuf, "%s%s%s%s", place, index, dot, key);
}

bool client_refuse_value(client_decoder_t *self,
                         const char *key,
                         const char *expected,
                         const pack_value_t *value)
{
    char found[PACK_DESCRIPTION_SIZE];
    pack_describe(value, found);
    errbuf_set(self->errbuf, "expected %s, found %s", expected, found);
    s_prefix_place(self, key);
    self->code = CODE_BAD_REQUEST;
    return false;
}

bool client_refuse(client_decoder_t *self, code_t code, const char *key, const char *format, ...)
{
    char text[ERRBUF_SIZE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    errbuf_set(self->errbuf, "%s", text);
    if (self->place != NULL || key[0] != '\0') {
        s_prefix_place(self, key);
    }
    self->code = code;
    return false;
}
