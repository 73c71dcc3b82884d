/* health, ping, metrics, topology, lag, digest: questions to processes of the mesh. */
#include "common/base/check.h"
#include "common/env/env_clock.h"
#include "common/topology/process.h"
#include "services/tidalctl/ask.h"
#include "services/tidalctl/command.h"
#include "services/tidalctl/json.h"
#include "services/tidalctl/render.h"
#include "services/tidalctl/reply_rows.h"

#include <stdlib.h>
#include <string.h>

/* -- health ------------------------------------------------------------------------------------ */

/* One process, as it answered last. */
typedef struct {
    process_address_t address;
    bool ready;
    errbuf_t reason; /* why not */
} health_t;

enum { HEALTH_ROUND_MS = 1000, HEALTH_PAUSE_MS = 50 };

static void s_judge(const ctl_client_t *client, const ctl_ask_t *ask, health_t *health)
{
    slice_t reply = buffer_slice(&ask->reply);
    health->ready = false;
    if (ask->state != CTL_ASK_ANSWERED) {
        ctl_client_describe(client, ask, &health->reason);
        return;
    }
    health->ready = reply_bool(reply, "ok") && reply_bool(reply, "ready");
    errbuf_set(&health->reason, "%s", health->ready ? "" : "not ready, without a reason");
    pack_value_t reasons = pack_get(reply, "reasons");
    if (reasons.kind == PACK_ARRAY && reasons.as.count > 0) {
        slice_t reason = reply_text(reply, "reasons.0");
        errbuf_set(&health->reason, "%.*s", (int)reason.size, (const char *)reason.data);
    }
}

/* Asks all of them once. Returns how many are ready. */
static uint32_t s_ask_health(ctl_client_t *client,
                             health_t *healths,
                             uint32_t count,
                             int64_t timeout_ms)
{
    ctl_ask_t *asks = calloc(count, sizeof(*asks));
    buffer_t *bodies = calloc(count, sizeof(*bodies));
    CHECK(asks != NULL && bodies != NULL);
    for (uint32_t i = 0; i < count; i++) {
        pack_writer_t writer;
        asks[i].to = healths[i].address;
        asks[i].id = ctl_client_next_id(client);
        asks[i].repeatable = true;
        client_request_begin(&writer, &bodies[i], "health", asks[i].id);
        client_request_end(&writer);
        asks[i].request = buffer_slice(&bodies[i]);
    }
    ctl_client_ask(client, asks, count, timeout_ms);
    uint32_t ready = 0;
    for (uint32_t i = 0; i < count; i++) {
        s_judge(client, &asks[i], &healths[i]);
        ready += healths[i].ready ? 1 : 0;
        buffer_done(&asks[i].reply);
        buffer_done(&bodies[i]);
    }
    free(asks);
    free(bodies);
    return ready;
}

static void s_print_health_json(const topology_t *topology,
                                const health_t *healths,
                                uint32_t count,
                                uint32_t ready)
{
    char name[PROCESS_NAME_SIZE];
    buffer_t pack;
    buffer_t text;
    buffer_init(&pack);
    buffer_init(&text);
    pack_writer_t writer;
    pack_writer_init(&writer, &pack);
    pack_open_map(&writer);
    pack_put_bool(&writer, "ready", ready == count);
    pack_put_array(&writer, "processes");
    for (uint32_t i = 0; i < count; i++) {
        pack_item(&writer);
        pack_open_map(&writer);
        pack_put_text(&writer, "name", process_name(topology, healths[i].address, name));
        pack_put_bool(&writer, "ready", healths[i].ready);
        pack_put_text(&writer, "reason", healths[i].reason.text);
        pack_close(&writer);
    }
    pack_close(&writer);
    pack_close(&writer);
    pack_writer_done(&writer);
    json_write(buffer_slice(&pack), &text);
    render_format(&text, "\n");
    render_flush(&text);
    buffer_done(&pack);
    buffer_done(&text);
}

static void s_print_health(const topology_t *topology,
                           const health_t *healths,
                           uint32_t count,
                           uint32_t ready)
{
    char name[PROCESS_NAME_SIZE];
    for (uint32_t i = 0; i < count; i++) {
        if (!healths[i].ready) {
            (void)printf("not ready: %s: %s\n", process_name(topology, healths[i].address, name),
                         healths[i].reason.text);
        }
    }
    (void)printf("%u of %u processes are ready\n", ready, count);
}

/* The processes that the words name. errs ERR_NOT_FOUND */
static err_t s_choose(const topology_t *topology,
                      const char *name,
                      health_t **ret_healths,
                      uint32_t *ret_count,
                      errbuf_t *errbuf)
{
    process_address_t one;
    if (name != NULL && process_parse(topology, name, &one) != ERR_OK) {
        errbuf_set(errbuf,
                   "expected a process of the topology, found '%s': tidalctl health lists "
                   "all that are not ready, scripts/mesh status all of them",
                   name);
        return ERR_NOT_FOUND;
    }
    uint32_t count = name != NULL ? 1 : topology_process_count(topology);
    health_t *healths = calloc(count, sizeof(*healths));
    CHECK(healths != NULL);
    for (uint32_t i = 0; i < count; i++) {
        healths[i].address = name != NULL ? one : topology_process(topology, i);
    }
    *ret_healths = healths;
    *ret_count = count;
    return ERR_OK;
}

static int s_run_health(ctl_t *ctl, int word_count, char **line)
{
    bool all = false;
    uint64_t wait_s = 0;
    const argument_t options[] = {
        {"all", ARGUMENT_FLAG, &all, NULL, "every process of the topology (the default)", 0, 0},
        {"wait-s", ARGUMENT_U64, &wait_s, "N", "ask again until all are ready, at most N seconds",
         0, 86400},
    };
    ctl_words_t words = {.min = 0, .max = 1};
    if (!ctl_parse(ctl, options, 2, word_count, line, &words)) {
        return words.status;
    }
    errbuf_t errbuf;
    ctl_client_t *client = NULL;
    health_t *healths = NULL;
    uint32_t count = 0;
    err_t err = ctl_connect(ctl, &client, &errbuf);
    if (err == ERR_OK) {
        const char *name = words.count > 0 && !all ? words.texts[0] : NULL;
        err = s_choose(ctl->topology, name, &healths, &count, &errbuf);
    }
    if (err != ERR_OK) {
        return ctl_fail(ctl, &errbuf);
    }
    int64_t round_ms = ctl->timeout_ms > 0 ? (int64_t)ctl->timeout_ms : HEALTH_ROUND_MS;
    int64_t end_ns = env_clock_now().mono_ns + (int64_t)wait_s * ENV_NS_PER_S;
    uint32_t ready = s_ask_health(client, healths, count, round_ms);
    while (ready < count && env_clock_now().mono_ns < end_ns) {
        (void)ctl_client_turn(client, HEALTH_PAUSE_MS);
        ready = s_ask_health(client, healths, count, round_ms);
    }
    if (ctl->json) {
        s_print_health_json(ctl->topology, healths, count, ready);
    } else {
        s_print_health(ctl->topology, healths, count, ready);
    }
    free(healths);
    return ready == count ? CTL_OK : CTL_FAILED;
}

/* -- one question to one process --------------------------------------------------------------- */

/* The process that a word names, else the gateway of --region. errs ERR_NOT_FOUND */
static err_t s_process(ctl_t *ctl,
                       const ctl_words_t *words,
                       process_address_t *ret_address,
                       errbuf_t *errbuf)
{
    const topology_t *topology = NULL;
    if (words->count == 0) {
        return ctl_gateway(ctl, ret_address, errbuf);
    }
    err_t err = ctl_topology(ctl, &topology, errbuf);
    if (err == ERR_OK && process_parse(topology, words->texts[0], ret_address) != ERR_OK) {
        errbuf_set(errbuf,
                   "expected the name of a process (shard-us-east-0, gateway-us-east, control), "
                   "found '%s'",
                   words->texts[0]);
        err = ERR_NOT_FOUND;
    }
    return err;
}

/* The command's name is the op's. */
static int s_run_question(ctl_t *ctl, int word_count, char **line)
{
    ctl_words_t words = {.min = 0, .max = 1};
    if (!ctl_parse(ctl, NULL, 0, word_count, line, &words)) {
        return words.status;
    }
    process_address_t to;
    errbuf_t errbuf;
    if (s_process(ctl, &words, &to, &errbuf) != ERR_OK) {
        return ctl_fail(ctl, &errbuf);
    }
    return ask_simple(ctl, ctl->command->name, to);
}

ctl_command_list_t command_mesh_list(void)
{
    static const ctl_command_t s_commands[] = {
        {"health", "the mesh", "[--all | PROCESS] [--wait-s N]",
         "whether processes are ready; who is not, and why",
         "Asks the processes themselves, around the partition proxy. Exit status 0 when all that "
         "were\n"
         "asked are ready, else 1.\n",
         s_run_health},
        {"ping", "the mesh", "[PROCESS]", "whether a process answers", NULL, s_run_question},
        {"metrics", "the mesh", "[PROCESS]", "counters and gauges of a process", NULL,
         s_run_question},
        {"topology", "the mesh", "[gateway-REGION | control]",
         "regions, shards, leaders and in-sync sets as this process knows them", NULL,
         s_run_question},
        {"lag", "the mesh", "[gateway-REGION | control]",
         "how far each node is behind each stream's origin", NULL, s_run_question},
        {"digest", "the mesh", "[gateway-REGION]",
         "applied positions and state digest of every node", NULL, s_run_question},
        {"hello", "the mesh", "[gateway-REGION]",
         "version, signal types, profiles and limits of a gateway", NULL, s_run_question},
    };
    return (ctl_command_list_t){s_commands, sizeof(s_commands) / sizeof(s_commands[0])};
}
