/* What clients do: one command per op of the protocol that writes or reads data. A row of s_ops
 * says which words and options an op has; everything else follows from the table. */
#include "common/base/check.h"
#include "services/tidalctl/ask.h"
#include "services/tidalctl/command.h"
#include "services/tidalctl/data_fields.h"

#include <stdlib.h>
#include <string.h>

enum { WORD_COUNT_MAX = 3, OPTION_COUNT_MAX = 14, CLASS_OPTION_COUNT = 5 };

typedef struct {
    const char *command;
    const char *op;
    client_class_t kind;
    uint32_t required; /* words that must be there */
    data_field_t words[WORD_COUNT_MAX];
    data_field_t options[OPTION_COUNT_MAX]; /* up to the first without a word */
} data_op_t;

#define WORD(name, field, type)       \
    {                                 \
        (name), (field), (type), NULL \
    }
#define OPTION(name, field, type, text) \
    {                                   \
        (name), (field), (type), (text) \
    }
#define OPTION_AT     OPTION("at", "at", DATA_TIME, "event time to ask for (default now)")
#define OPTION_COHORT OPTION("cohort", "cohort", DATA_TEXT, "locale:EU and so on")
#define OPTION_HLC    OPTION("hlc", "hlc", DATA_HLC, "WALL_NS,LOGICAL,NODE of this write")
#define RELATION_OP(name, op, target, field)                                     \
    {                                                                            \
        (name), (op), CLIENT_CLASS_WRITE, 2,                                     \
            {WORD("USER", "user", DATA_U64), WORD((target), (field), DATA_U64)}, \
        {                                                                        \
            OPTION_HLC                                                           \
        }                                                                        \
    }

static const data_op_t s_ops[] = {
    {"signal",
     "signal",
     CLIENT_CLASS_WRITE,
     2,
     {WORD("SIGNAL", "signal", DATA_TEXT), WORD("ITEM", "item", DATA_U64),
      WORD("USER", "user", DATA_U64)},
     {OPTION("weight", "weight", DATA_F64, "default 1"),
      OPTION("ts", "ts", DATA_TIME, "event time (default now)")}},
    {"put-item",
     "put_item",
     CLIENT_CLASS_WRITE,
     1,
     {WORD("ITEM", "item", DATA_U64)},
     {OPTION("title", "title", DATA_TEXT, ""), OPTION("text", "text", DATA_TEXT, ""),
      OPTION("category", "category", DATA_TEXT, ""), OPTION("creator", "creator", DATA_U64, ""),
      OPTION("tag", "tags", DATA_TEXT_LIST, "several with commas, or several times"),
      OPTION("created", "created", DATA_TIME, "")}},
    {"delete-item", "delete_item", CLIENT_CLASS_WRITE, 1, {WORD("ITEM", "item", DATA_U64)}, {{0}}},
    {"get-item", "get_item", CLIENT_CLASS_READ, 1, {WORD("ITEM", "item", DATA_U64)}, {{0}}},
    {"put-user",
     "put_user",
     CLIENT_CLASS_WRITE,
     1,
     {WORD("USER", "user", DATA_U64), WORD("NAME=VALUE", "attrs", DATA_ATTRIBUTES)},
     {{0}}},
    {"get-user", "get_user", CLIENT_CLASS_READ, 1, {WORD("USER", "user", DATA_U64)}, {{0}}},
    RELATION_OP("hide", "hide", "ITEM", "item"),
    RELATION_OP("unhide", "unhide", "ITEM", "item"),
    RELATION_OP("mute", "mute", "CREATOR", "creator"),
    RELATION_OP("unmute", "unmute", "CREATOR", "creator"),
    RELATION_OP("block", "block", "CREATOR", "creator"),
    RELATION_OP("unblock", "unblock", "CREATOR", "creator"),
    {"relation",
     "relation",
     CLIENT_CLASS_READ,
     1,
     {WORD("USER", "user", DATA_U64)},
     {OPTION("item", "item", DATA_U64, "whether the user hid it"),
      OPTION("creator", "creator", DATA_U64, "whether the user muted or blocked it")}},
    {"score",
     "score",
     CLIENT_CLASS_READ,
     2,
     {WORD("ITEM", "item", DATA_U64), WORD("SIGNAL", "signal", DATA_TEXT)},
     {OPTION_AT, OPTION_COHORT}},
    {"count",
     "count",
     CLIENT_CLASS_READ,
     3,
     {WORD("ITEM", "item", DATA_U64), WORD("SIGNAL", "signal", DATA_TEXT),
      WORD("WINDOW", "window", DATA_TEXT)},
     {OPTION_AT, OPTION_COHORT}},
    {"velocity",
     "velocity",
     CLIENT_CLASS_READ,
     3,
     {WORD("ITEM", "item", DATA_U64), WORD("SIGNAL", "signal", DATA_TEXT),
      WORD("WINDOW", "window", DATA_TEXT)},
     {OPTION_AT, OPTION_COHORT}},
    {"cells",
     "cells",
     CLIENT_CLASS_READ,
     2,
     {WORD("ITEMS", "items", DATA_U64_LIST), WORD("SIGNALS", "signals", DATA_TEXT_LIST),
      WORD("WINDOWS", "windows", DATA_TEXT_LIST)},
     {OPTION_AT, OPTION_COHORT}},
    {"retrieve",
     "retrieve",
     CLIENT_CLASS_READ,
     0,
     {{0}},
     {OPTION("user", "user", DATA_U64, "leave out what this user hid, muted or blocked"),
      OPTION("profile", "profile", DATA_TEXT, "default, top, hot, trending .."),
      OPTION("term", "terms", DATA_TERM_LIST, "view:decay:1, like:count:24h:5; several times"),
      OPTION("candidates", "candidates", DATA_U64_LIST, "rank these items alone"),
      OPTION("limit", "limit", DATA_U64, "default 50"),
      OPTION("cursor", "cursor", DATA_BYTES, "of the page before"),
      OPTION("explain", "explain", DATA_BOOL, "with each item's terms"), OPTION_AT, OPTION_COHORT,
      OPTION("category", "filter.category", DATA_TEXT_LIST, "only these"),
      OPTION("creator", "filter.creator", DATA_U64, "only of this creator"),
      OPTION("created-after", "filter.created_after", DATA_TIME, ""),
      OPTION("created-before", "filter.created_before", DATA_TIME, ""),
      OPTION("unseen", "filter.unseen", DATA_BOOL, "without what --user has signals for")}},
};
enum { OP_COUNT = sizeof(s_ops) / sizeof(s_ops[0]) };

static const data_field_t s_write_options[CLASS_OPTION_COUNT] = {
    OPTION("ack", "ack", DATA_TEXT, "local, replicated (default) or all"),
    OPTION("producer", "producer", DATA_TEXT, "with --seq: may be repeated safely"),
    OPTION("seq", "seq", DATA_U64, ""),
    OPTION("token", "token", DATA_BYTES, "of an earlier reply"),
    OPTION("wait-ms", "wait_ms", DATA_U64, "for the token"),
};
static const data_field_t s_read_options[CLASS_OPTION_COUNT] = {
    OPTION("read", "read", DATA_TEXT, "local (default) or leader"),
    OPTION("token", "token", DATA_BYTES, "show no less than this"),
    OPTION("wait-ms", "wait_ms", DATA_U64, "for the token"),
    OPTION("max-staleness-ms", "max_staleness_ms", DATA_U64, "pass over older replicas"),
    {0},
};

/* -- a line ------------------------------------------------------------------------------------ */

/* What stood for one option. */
typedef struct {
    const data_field_t *field;
    const char *text; /* NULL: not given */
    bool flag;
    arguments_list_t list;
} given_t;

typedef struct {
    uint32_t count;
    given_t given[OPTION_COUNT_MAX + CLASS_OPTION_COUNT];
    argument_t arguments[OPTION_COUNT_MAX + CLASS_OPTION_COUNT];
} options_t;

static void s_add_options(options_t *options, const data_field_t *fields, uint32_t count)
{
    for (uint32_t i = 0; i < count && fields[i].word != NULL; i++) {
        given_t *given = &options->given[options->count];
        argument_t *argument = &options->arguments[options->count++];
        data_kind_t kind = fields[i].kind;
        given->field = &fields[i];
        *argument = (argument_t){.name = fields[i].word, .help = fields[i].help};
        if (kind == DATA_BOOL) {
            argument->kind = ARGUMENT_FLAG;
            argument->ret_value = &given->flag;
        } else if (kind == DATA_TEXT_LIST || kind == DATA_TERM_LIST) {
            argument->kind = ARGUMENT_LIST;
            argument->ret_value = &given->list;
            argument->parameter = "V";
        } else {
            argument->kind = ARGUMENT_TEXT;
            argument->ret_value = &given->text;
            argument->parameter = "V";
        }
    }
}

/* Whether the key belongs into the map of this name ("" is the request itself). */
static const char *s_key_in(const char *key, const char *group)
{
    size_t size = strlen(group);
    const char *dot = strchr(key, '.');
    if (size == 0) {
        return dot == NULL ? key : NULL;
    }
    return dot != NULL && strncmp(key, group, size) == 0 && key[size] == '.' ? dot + 1 : NULL;
}

static err_t s_put_given(const given_t *given,
                         const char *key,
                         pack_writer_t *writer,
                         errbuf_t *errbuf)
{
    if (given->text == NULL && !given->flag && given->list.count == 0) {
        return ERR_OK;
    }
    pack_key(writer, key);
    if (given->list.count > 0) {
        return data_field_write_list(given->field, &given->list, writer, errbuf);
    }
    return data_field_write(given->field, given->text, writer, errbuf);
}

static bool s_has_given(const options_t *options, const char *group)
{
    for (uint32_t i = 0; i < options->count; i++) {
        const given_t *given = &options->given[i];
        bool is_given = given->text != NULL || given->flag || given->list.count > 0;
        if (is_given && s_key_in(given->field->key, group) != NULL) {
            return true;
        }
    }
    return false;
}

static err_t s_put_group(const options_t *options,
                         const char *group,
                         pack_writer_t *writer,
                         errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    for (uint32_t i = 0; i < options->count && err == ERR_OK; i++) {
        const char *key = s_key_in(options->given[i].field->key, group);
        if (key != NULL) {
            err = s_put_given(&options->given[i], key, writer, errbuf);
        }
    }
    return err;
}

static err_t s_put_words(const data_op_t *op,
                         const ctl_words_t *words,
                         pack_writer_t *writer,
                         errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    for (uint32_t i = 0; i < WORD_COUNT_MAX && op->words[i].word != NULL && err == ERR_OK; i++) {
        const data_field_t *field = &op->words[i];
        int left = words->count - (int)i;
        if (field->kind == DATA_ATTRIBUTES) {
            pack_key(writer, field->key);
            return data_field_write_attributes(field, left > 0 ? left : 0, words->texts + i, writer,
                                               errbuf);
        }
        if (left > 0) {
            pack_key(writer, field->key);
            err = data_field_write(field, words->texts[i], writer, errbuf);
        }
    }
    return err;
}

static err_t s_put_fields(const data_op_t *op,
                          const ctl_words_t *words,
                          const options_t *options,
                          pack_writer_t *writer,
                          errbuf_t *errbuf)
{
    err_t err = s_put_words(op, words, writer, errbuf);
    if (err == ERR_OK) {
        err = s_put_group(options, "", writer, errbuf);
    }
    if (err == ERR_OK && s_has_given(options, "filter")) {
        pack_put_map(writer, "filter");
        err = s_put_group(options, "filter", writer, errbuf);
        pack_close(writer);
    }
    return err;
}

static bool s_is_given(const options_t *options, const char *key)
{
    for (uint32_t i = 0; i < options->count; i++) {
        if (strcmp(options->given[i].field->key, key) == 0) {
            return options->given[i].text != NULL;
        }
    }
    return false;
}

/* -- running ----------------------------------------------------------------------------------- */

static const data_op_t *s_op(const char *command)
{
    for (uint32_t i = 0; i < OP_COUNT; i++) {
        if (strcmp(s_ops[i].command, command) == 0) {
            return &s_ops[i];
        }
    }
    return NULL;
}

static int s_ask(ctl_t *ctl,
                 const data_op_t *op,
                 const ctl_words_t *words,
                 const options_t *options)
{
    enum { EXTRA_MS = 1000 };
    ask_t ask = {0};
    errbuf_t errbuf;
    process_address_t gateway;
    err_t err = ctl_gateway(ctl, &gateway, &errbuf);
    if (err == ERR_OK) {
        err = ask_begin(&ask, ctl, op->op, gateway, &errbuf);
    }
    if (err != ERR_OK) {
        ask_done(&ask);
        return ctl_fail(ctl, &errbuf);
    }
    bool is_write = op->kind == CLIENT_CLASS_WRITE;
    int64_t timeout_ms =
        ctl->timeout_ms > 0 ? (int64_t)ctl->timeout_ms : (int64_t)CLIENT_TIMEOUT_MS_DEFAULT;
    if (is_write && ctl->timeout_ms > 0) {
        pack_put_u64(&ask.writer, "timeout_ms", ctl->timeout_ms);
    }
    if (s_put_fields(op, words, options, &ask.writer, &errbuf) != ERR_OK) {
        ask_done(&ask);
        return ctl_fail_usage(ctl, "%s", errbuf.text);
    }
    ask.ask.repeatable = !is_write || s_is_given(options, "producer");
    err = ask_send(&ask, ctl, timeout_ms + EXTRA_MS, &errbuf);
    int status = err == ERR_OK ? ask_print(ctl, buffer_slice(&ask.reply)) : ctl_fail(ctl, &errbuf);
    ask_done(&ask);
    return status;
}

static int s_run(ctl_t *ctl, int word_count, char **line)
{
    const data_op_t *op = s_op(ctl->command->name);
    CHECK(op != NULL);
    options_t *options = calloc(1, sizeof(*options));
    CHECK(options != NULL);
    bool is_write = op->kind == CLIENT_CLASS_WRITE;
    s_add_options(options, op->options, OPTION_COUNT_MAX);
    s_add_options(options, is_write ? s_write_options : s_read_options, CLASS_OPTION_COUNT);
    ctl_words_t words = {.min = (int)op->required};
    for (uint32_t i = 0; i < WORD_COUNT_MAX && op->words[i].word != NULL; i++) {
        words.max =
            op->words[i].kind == DATA_ATTRIBUTES ? USER_ATTRIBUTE_COUNT_MAX + 1 : (int)i + 1;
    }
    int status = CTL_OK;
    if (ctl_parse(ctl, options->arguments, options->count, word_count, line, &words)) {
        status = s_ask(ctl, op, &words, options);
    } else {
        status = words.status;
    }
    free(options);
    return status;
}

ctl_command_list_t command_data_list(void)
{
    static const char s_group[] = "clients";
    static const ctl_command_t s_commands[] = {
        {"signal", s_group, "SIGNAL ITEM [USER] [--weight W] [--ts TIME]", "writes one signal",
         NULL, s_run},
        {"put-item", s_group, "ITEM [--title T] [--category C] ...", "replaces fields of an item",
         NULL, s_run},
        {"delete-item", s_group, "ITEM", "deletes an item", NULL, s_run},
        {"get-item", s_group, "ITEM", "fields of an item", NULL, s_run},
        {"put-user", s_group, "USER [NAME=VALUE ...]", "replaces attributes of a user", NULL,
         s_run},
        {"get-user", s_group, "USER", "attributes of a user", NULL, s_run},
        {"hide", s_group, "USER ITEM", "the user does not want to see the item", NULL, s_run},
        {"unhide", s_group, "USER ITEM", "or does again", NULL, s_run},
        {"mute", s_group, "USER CREATOR", "the user does not want to see the creator", NULL, s_run},
        {"unmute", s_group, "USER CREATOR", "or does again", NULL, s_run},
        {"block", s_group, "USER CREATOR", "the user blocks the creator", NULL, s_run},
        {"unblock", s_group, "USER CREATOR", "or does not any more", NULL, s_run},
        {"relation", s_group, "USER --item N | --creator N", "what a user hid, muted or blocked",
         NULL, s_run},
        {"score", s_group, "ITEM SIGNAL [--at TIME]", "decayed score", NULL, s_run},
        {"count", s_group, "ITEM SIGNAL 1h|24h|7d|30d|all", "events in a window", NULL, s_run},
        {"velocity", s_group, "ITEM SIGNAL 1h|24h|7d|30d", "events per second", NULL, s_run},
        {"cells", s_group, "ITEM,.. SIGNAL,.. [WINDOW,..]", "many scores and counts at once", NULL,
         s_run},
        {"retrieve", s_group, "[--user N] [--profile P | --term view:decay:1 ...] ...",
         "ranked items", NULL, s_run},
    };
    static_assert(sizeof(s_commands) / sizeof(s_commands[0]) == OP_COUNT, "a command for each op");
    return (ctl_command_list_t){s_commands, OP_COUNT};
}
