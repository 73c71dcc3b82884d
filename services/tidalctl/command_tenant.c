/* tenant, promote: decisions of the control plane. */
#include "common/base/bounds.h"
#include "services/tidalctl/ask.h"
#include "services/tidalctl/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int s_finish(ctl_t *ctl, ask_t *ask, err_t err, errbuf_t *errbuf)
{
    if (err == ERR_OK) {
        err = ask_send(ask, ctl, 0, errbuf);
    }
    int status = err == ERR_OK ? ask_print(ctl, buffer_slice(&ask->reply)) : ctl_fail(ctl, errbuf);
    ask_done(ask);
    return status;
}

/* Names with commas between them, as an array. */
static void s_put_regions(pack_writer_t *writer, const char *text)
{
    pack_put_array(writer, "regions");
    while (*text != '\0') {
        size_t size = strcspn(text, ",");
        pack_item(writer);
        pack_write_str(writer, slice_make(text, size));
        text += size;
        text += *text == ',' ? 1 : 0;
    }
    pack_close(writer);
}

static int s_run_tenant(ctl_t *ctl, int word_count, char **line)
{
    const char *regions = NULL;
    const char *island = NULL;
    const argument_t options[] = {
        {"regions", ARGUMENT_TEXT, &regions, "A,B", "regions that hold it (default all)", 0, 0},
        {"island", ARGUMENT_TEXT, &island, "POLICY",
         "accept or reject writes in a region that is cut off (default reject)", 0, 0},
    };
    ctl_words_t words = {.min = 2, .max = 2};
    if (!ctl_parse(ctl, options, 2, word_count, line, &words)) {
        return words.status;
    }
    if (strcmp(words.texts[0], "create") != 0) {
        return ctl_fail_usage(ctl, "expected create, found '%s'", words.texts[0]);
    }
    errbuf_t errbuf;
    ask_t ask = {0};
    ctl->tenant = words.texts[1];
    process_address_t control = {.kind = PROCESS_CONTROL};
    err_t err = ask_begin(&ask, ctl, "create_tenant", control, &errbuf);
    if (err == ERR_OK && regions != NULL) {
        s_put_regions(&ask.writer, regions);
    }
    if (err == ERR_OK && island != NULL) {
        pack_put_text(&ask.writer, "island", island);
    }
    return s_finish(ctl, &ask, err, &errbuf);
}

static int s_run_promote(ctl_t *ctl, int word_count, char **line)
{
    ctl_words_t words = {.min = 2, .max = 2};
    if (!ctl_parse(ctl, NULL, 0, word_count, line, &words)) {
        return words.status;
    }
    errbuf_t errbuf;
    ask_t ask = {0};
    process_address_t control = {.kind = PROCESS_CONTROL};
    err_t err = ask_begin(&ask, ctl, "promote", control, &errbuf);
    if (err == ERR_OK) {
        pack_put_text(&ask.writer, "shard", words.texts[0]); /* as a decimal str */
        pack_put_text(&ask.writer, "region", words.texts[1]);
    }
    return s_finish(ctl, &ask, err, &errbuf);
}

ctl_command_list_t command_tenant_list(void)
{
    static const ctl_command_t s_commands[] = {
        {"tenant", "decisions", "create NAME [--regions A,B] [--island POLICY]",
         "creates a tenant: an isolated key space with its own placement",
         "Repeated with the same fields it answers the tenant that there is. `topology --tenant "
         "NAME`\n"
         "shows where its shards lie.\n",
         s_run_tenant},
        {"promote", "decisions", "SHARD REGION [--tenant NAME]",
         "makes a member of the in-sync set the leader of a shard",
         "Writes that the old leader has not acknowledged end by what the regions hold; repeated "
         "with\n"
         "producer and seq they count once.\n",
         s_run_promote},
    };
    return (ctl_command_list_t){s_commands, sizeof(s_commands) / sizeof(s_commands[0])};
}
