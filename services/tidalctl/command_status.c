/* status: asks the control plane, and the partition proxy for its links. */
#include "services/tidalctl/ask.h"
#include "services/tidalctl/command.h"
#include "services/tidalctl/render.h"
#include "services/tidalctl/status_text.h"

/* Asks a process without fields. errs as ask_send */
static err_t s_ask(
    ctl_t *ctl, const char *op, process_kind_t kind, ask_t *ret_ask, errbuf_t *errbuf)
{
    process_address_t to = {.kind = kind};
    err_t err = ask_begin(ret_ask, ctl, op, to, errbuf);
    return err == ERR_OK ? ask_send(ret_ask, ctl, 0, errbuf) : err;
}

/* The proxy itself knows its rules this moment; where it cannot be asked, what control heard. */
static void s_print_status(ctl_t *ctl, slice_t reply)
{
    buffer_t text;
    ask_t links = {0};
    errbuf_t errbuf;
    buffer_init(&text);
    bool has_links =
        ctl->topology->has_proxy && s_ask(ctl, "links", PROCESS_PROXY, &links, &errbuf) == ERR_OK;
    status_text_write(reply, has_links ? buffer_slice(&links.reply) : reply, &text);
    render_flush(&text);
    buffer_done(&text);
    ask_done(&links);
}

static int s_run_status(ctl_t *ctl, int word_count, char **line)
{
    ctl_words_t words = {0};
    if (!ctl_parse(ctl, NULL, 0, word_count, line, &words)) {
        return words.status;
    }
    ask_t ask = {0};
    errbuf_t errbuf;
    err_t err = s_ask(ctl, "status", PROCESS_CONTROL, &ask, &errbuf);
    int status = CTL_FAILED;
    if (err != ERR_OK) {
        status = ctl_fail_text(ctl, "%s; tidalctl health asks every process itself", errbuf.text);
    } else if (ctl->json) {
        status = ask_print(ctl, buffer_slice(&ask.reply));
    } else {
        status = ask_check(ctl, buffer_slice(&ask.reply));
        if (status == CTL_OK) {
            s_print_status(ctl, buffer_slice(&ask.reply));
        }
    }
    ask_done(&ask);
    return status;
}

ctl_command_list_t command_status_list(void)
{
    static const ctl_command_t s_commands[] = {
        {"status", "the mesh", "", "the whole mesh on one screen: who leads, who lags, what is cut",
         NULL, s_run_status},
    };
    return (ctl_command_list_t){s_commands, 1};
}
