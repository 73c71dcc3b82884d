/* call: any op of the client protocol, its fields as key=value or as one JSON object. */
#include "common/topology/process.h"
#include "services/tidalctl/ask.h"
#include "services/tidalctl/call_fields.h"
#include "services/tidalctl/command.h"

#include <string.h>

/* Who answers an op: the gateway where it can. */
static err_t s_address(
    ctl_t *ctl, const char *op, const char *to, process_address_t *ret_address, errbuf_t *errbuf)
{
    const topology_t *topology = NULL;
    err_t err = ctl_topology(ctl, &topology, errbuf);
    if (err == ERR_OK && to != NULL) {
        err = process_parse(topology, to, ret_address);
        errbuf_set(errbuf, "--to: expected the name of a process, found '%s'", to);
        return err;
    }
    for (uint32_t i = CLIENT_OP_NONE + 1; err == ERR_OK && i < CLIENT_OP_END; i++) {
        client_op_t kind = (client_op_t)i;
        bool at_gateway = client_op_is_served(kind, PROCESS_GATEWAY, NULL);
        if (strcmp(client_op_name(kind), op) != 0 || at_gateway) {
            continue;
        }
        bool at_proxy = client_op_is_served(kind, PROCESS_PROXY, NULL);
        *ret_address = (process_address_t){.kind = at_proxy ? PROCESS_PROXY : PROCESS_CONTROL};
        return ERR_OK;
    }
    return err == ERR_OK ? ctl_gateway(ctl, ret_address, errbuf) : err;
}

static int s_call(ctl_t *ctl, const ctl_words_t *words, const char *to)
{
    char op[NAME_LENGTH_MAX + 1];
    buffer_t fields;
    ask_t ask = {0};
    errbuf_t errbuf;
    process_address_t address;
    buffer_init(&fields);
    err_t err = call_fields_parse(words->count, words->texts, op, &fields, &errbuf);
    if (err == ERR_OK) {
        err = s_address(ctl, op, to, &address, &errbuf);
    }
    if (err == ERR_OK) {
        bool has_tenant = pack_get(buffer_slice(&fields), "tenant").kind != PACK_BAD;
        ctl->tenant = has_tenant ? NULL : ctl->tenant; /* no key twice */
        err = ask_begin(&ask, ctl, op, address, &errbuf);
    }
    if (err == ERR_OK) {
        call_fields_put(&ask.writer, buffer_slice(&fields));
        pack_value_t timeout = pack_get(buffer_slice(&fields), "timeout_ms");
        uint64_t timeout_ms = ctl->timeout_ms > 0 ? ctl->timeout_ms : CLIENT_TIMEOUT_MS_DEFAULT;
        (void)pack_as_u64(&timeout, &timeout_ms);
        timeout_ms = timeout_ms < TIMEOUT_MS_MAX ? timeout_ms : TIMEOUT_MS_MAX;
        /* A write without a pair must not be sent twice. */
        ask.ask.repeatable = false;
        err = ask_send(&ask, ctl, (int64_t)timeout_ms + 1000, &errbuf);
    }
    int status = err == ERR_OK ? ask_print(ctl, buffer_slice(&ask.reply)) : ctl_fail(ctl, &errbuf);
    ask_done(&ask);
    buffer_done(&fields);
    return status;
}

static int s_run_call(ctl_t *ctl, int word_count, char **line)
{
    const char *to = NULL;
    const argument_t options[] = {
        {"to", ARGUMENT_TEXT, &to, "PROCESS", "ask this process (default: who answers the op)", 0,
         0},
    };
    ctl_words_t words = {.min = 1, .max = 256};
    if (!ctl_parse(ctl, options, 1, word_count, line, &words)) {
        return words.status;
    }
    return s_call(ctl, &words, to);
}

ctl_command_list_t command_call_list(void)
{
    static const ctl_command_t s_commands[] = {
        {"call", "clients", "OP [KEY=VALUE ...] | '{\"op\": ..}'",
         "any request of the client protocol",
         "A value that is JSON (a number, true, a list, a text in quotation marks) is taken as "
         "such,\n"
         "any other as text. Bytes are written hex:0a1b.. in both directions.\n"
         "  tidalctl call score item=42 signal=view\n"
         "  tidalctl call --json '{\"op\": \"cells\", \"items\": [1, 2], \"signals\": "
         "[\"view\"]}'\n",
         s_run_call},
    };
    return (ctl_command_list_t){s_commands, 1};
}
