/* links, link, heal: what the partition proxy does to the links between places. */
#include "services/tidalctl/ask.h"
#include "services/tidalctl/command.h"
#include "services/tidalctl/json.h"
#include "services/tidalctl/render.h"
#include "services/tidalctl/reply_rows.h"

#include <string.h>

/* errs ERR_NOT_FOUND the topology has no proxy */
static err_t s_proxy(ctl_t *ctl, process_address_t *ret_proxy, errbuf_t *errbuf)
{
    const topology_t *topology = NULL;
    err_t err = ctl_topology(ctl, &topology, errbuf);
    if (err == ERR_OK && !topology->has_proxy) {
        errbuf_set(errbuf,
                   "expected a topology with a partition proxy, found none in %s: its places are "
                   "connected directly",
                   ctl->topology_path);
        err = ERR_NOT_FOUND;
    }
    *ret_proxy = (process_address_t){.kind = PROCESS_PROXY};
    return err;
}

static const char *const s_columns[] = {"from", "to",        "mode",    "delay_ms",    "jitter_ms",
                                        "drop", "duplicate", "reorder", "rate_bytes_s"};
enum { RULE_COUNT = sizeof(s_columns) / sizeof(s_columns[0]) };

static void s_add_rule(slice_t link, render_table_t *table)
{
    buffer_t cell;
    buffer_init(&cell);
    for (uint32_t i = 0; i < RULE_COUNT; i++) {
        pack_reader_t value;
        buffer_clear(&cell);
        if (pack_find(pack_reader(link), s_columns[i], &value)) {
            json_write_next(&value, true, &cell);
        }
        render_table_add_slice(table, buffer_slice(&cell));
    }
    buffer_done(&cell);
}

/* Only those that are not 0. */
static void s_add_counters(slice_t link, render_table_t *table)
{
    buffer_t cell;
    pack_reader_t counters;
    pack_value_t head = {.kind = PACK_NIL};
    buffer_init(&cell);
    bool found = pack_find(pack_reader(link), "counters", &counters) &&
                 pack_next(&counters, &head) && head.kind == PACK_MAP;
    for (uint32_t i = 0; found && i < head.as.count; i++) {
        pack_value_t name;
        pack_value_t value;
        (void)pack_next(&counters, &name);
        (void)pack_next(&counters, &value);
        if (value.kind == PACK_UINT && value.as.uint > 0) {
            render_format(&cell, "%s%.*s=%llu", cell.size > 0 ? " " : "", (int)name.as.bytes.size,
                          (const char *)name.as.bytes.data, (unsigned long long)value.as.uint);
        }
    }
    render_table_add_slice(table, buffer_slice(&cell));
    buffer_done(&cell);
}

/* One line per link. */
static void s_render_links(slice_t reply, buffer_t *out)
{
    render_table_t table;
    render_table_init(&table, RULE_COUNT + 1);
    for (uint32_t i = 0; i < RULE_COUNT; i++) {
        render_table_add(&table, "%s", s_columns[i]);
    }
    render_table_add(&table, "counters");
    reply_rows_t rows = reply_rows(reply, "links");
    slice_t row;
    while (reply_rows_next(&rows, &row)) {
        s_add_rule(row, &table);
        s_add_counters(row, &table);
    }
    render_table_print(&table, 0, out);
    render_table_done(&table);
}

static int s_finish(ctl_t *ctl, ask_t *ask, err_t err, errbuf_t *errbuf)
{
    int status = CTL_FAILED;
    if (err == ERR_OK) {
        err = ask_send(ask, ctl, 0, errbuf);
    }
    if (err != ERR_OK) {
        status = ctl_fail(ctl, errbuf);
    } else if (ctl->json) {
        status = ask_print(ctl, buffer_slice(&ask->reply));
    } else {
        status = ask_check(ctl, buffer_slice(&ask->reply));
        if (status == CTL_OK) {
            buffer_t text;
            buffer_init(&text);
            s_render_links(buffer_slice(&ask->reply), &text);
            render_flush(&text);
            buffer_done(&text);
        }
    }
    ask_done(ask);
    return status;
}

/* links and heal: ops without fields. */
static int s_run_plain(ctl_t *ctl, int word_count, char **line)
{
    ctl_words_t words = {0};
    if (!ctl_parse(ctl, NULL, 0, word_count, line, &words)) {
        return words.status;
    }
    process_address_t proxy;
    errbuf_t errbuf;
    ask_t ask = {0};
    err_t err = s_proxy(ctl, &proxy, &errbuf);
    if (err == ERR_OK) {
        err = ask_begin(&ask, ctl, ctl->command->name, proxy, &errbuf);
    }
    return s_finish(ctl, &ask, err, &errbuf);
}

static int s_run_link(ctl_t *ctl, int word_count, char **line)
{
    const char *mode = NULL;
    uint64_t delay_ms = 0;
    uint64_t jitter_ms = 0;
    uint64_t rate_bytes_s = 0;
    double drop = 0;
    double duplicate = 0;
    double reorder = 0;
    const argument_t options[] = {
        {"mode", ARGUMENT_TEXT, &mode, "MODE", "pass, drop, hold or cut (default pass)", 0, 0},
        {"delay-ms", ARGUMENT_U64, &delay_ms, "N", "every message is late by this", 0, WAIT_MS_MAX},
        {"jitter-ms", ARGUMENT_U64, &jitter_ms, "N", "and by up to this more", 0, WAIT_MS_MAX},
        {"drop", ARGUMENT_F64, &drop, "P", "probability 0..1 that a message vanishes", 0, 0},
        {"duplicate", ARGUMENT_F64, &duplicate, "P", "that it comes twice", 0, 0},
        {"reorder", ARGUMENT_F64, &reorder, "P", "that it overtakes others", 0, 0},
        {"rate-bytes-s", ARGUMENT_U64, &rate_bytes_s, "N", "bandwidth; 0 unlimited", 0, UINT64_MAX},
    };
    ctl_words_t words = {.min = 2, .max = 2};
    if (!ctl_parse(ctl, options, sizeof(options) / sizeof(options[0]), word_count, line, &words)) {
        return words.status;
    }
    process_address_t proxy;
    errbuf_t errbuf;
    ask_t ask = {0};
    err_t err = s_proxy(ctl, &proxy, &errbuf);
    if (err == ERR_OK) {
        err = ask_begin(&ask, ctl, "link", proxy, &errbuf);
    }
    if (err == ERR_OK) {
        pack_put_text(&ask.writer, "from", words.texts[0]);
        pack_put_text(&ask.writer, "to", words.texts[1]);
        pack_put_text(&ask.writer, "mode", mode != NULL ? mode : "pass");
        pack_put_u64(&ask.writer, "delay_ms", delay_ms);
        pack_put_u64(&ask.writer, "jitter_ms", jitter_ms);
        pack_put_f64(&ask.writer, "drop", drop);
        pack_put_f64(&ask.writer, "duplicate", duplicate);
        pack_put_f64(&ask.writer, "reorder", reorder);
        pack_put_u64(&ask.writer, "rate_bytes_s", rate_bytes_s);
    }
    return s_finish(ctl, &ask, err, &errbuf);
}

ctl_command_list_t command_links_list(void)
{
    static const ctl_command_t s_commands[] = {
        {"links", "links between places", "", "rules and counters of every directed link", NULL,
         s_run_plain},
        {"link", "links between places", "FROM TO [--mode MODE] [--delay-ms N] ...",
         "replaces the rule of one directed link",
         "FROM and TO are regions, or control. The rule is replaced as a whole: what is not given "
         "is\n"
         "as at the start. drop: messages vanish; hold: they wait for the heal; cut: connections "
         "are\n"
         "reset.\n",
         s_run_link},
        {"heal", "links between places", "", "all links back to pass", NULL, s_run_plain},
    };
    return (ctl_command_list_t){s_commands, sizeof(s_commands) / sizeof(s_commands[0])};
}
