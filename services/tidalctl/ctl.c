#include "services/tidalctl/ctl.h"

#include "common/base/check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { COMMON_OPTION_COUNT = 6 };

static void s_common_options(ctl_t *ctl, argument_t ret_options[COMMON_OPTION_COUNT])
{
    const argument_t options[COMMON_OPTION_COUNT] = {
        {.name = "topology",
         .kind = ARGUMENT_TEXT,
         .ret_value = &ctl->topology_path,
         .parameter = "FILE",
         .help = "the deployment (TIDAL_TOPOLOGY, else topology/three_region.yaml)"},
        {.name = "region",
         .kind = ARGUMENT_TEXT,
         .ret_value = &ctl->region,
         .parameter = "NAME",
         .help = "ask the gateway of this region (default: the first one)"},
        {.name = "tenant",
         .kind = ARGUMENT_TEXT,
         .ret_value = &ctl->tenant,
         .parameter = "NAME",
         .help = "tenant of the request (default: default)"},
        {.name = "timeout-ms",
         .kind = ARGUMENT_U64,
         .ret_value = &ctl->timeout_ms,
         .parameter = "N",
         .help = "wait this long for an answer",
         .min = 1,
         .max = TIMEOUT_MS_MAX},
        {.name = "json", .kind = ARGUMENT_FLAG, .ret_value = &ctl->json, .help = "print JSON"},
        {.name = "help", .kind = ARGUMENT_FLAG, .ret_value = &ctl->help, .help = "this text"},
    };
    memcpy(ret_options, options, sizeof(options));
}

/* -- errors ------------------------------------------------------------------------------------ */

static void s_print_error(const ctl_t *ctl, const char *text)
{
    const char *name = ctl->command == NULL ? "" : ctl->command->name;
    (void)fflush(stdout);
    (void)fprintf(stderr, "tidalctl%s%s: %s\n", *name == '\0' ? "" : " ", name, text);
}

int ctl_fail(const ctl_t *ctl, const errbuf_t *errbuf)
{
    s_print_error(ctl, errbuf->text);
    return CTL_FAILED;
}

static void s_fail_list(const ctl_t *ctl, const char *format, va_list list)
    __attribute__((format(printf, 2, 0)));

static void s_fail_list(const ctl_t *ctl, const char *format, va_list list)
{
    char text[2048];
    (void)vsnprintf(text, sizeof(text), format, list);
    s_print_error(ctl, text);
}

int ctl_fail_text(const ctl_t *ctl, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    s_fail_list(ctl, format, list);
    va_end(list);
    return CTL_FAILED;
}

int ctl_fail_usage(const ctl_t *ctl, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    s_fail_list(ctl, format, list);
    va_end(list);
    if (ctl->command != NULL) {
        (void)fprintf(stderr, "usage: tidalctl %s %s\n", ctl->command->name, ctl->command->words);
    }
    return CTL_USAGE;
}

/* -- words ------------------------------------------------------------------------------------- */

static void s_print_help(const ctl_t *ctl,
                         const argument_t *options,
                         uint32_t option_count,
                         const argument_t *common)
{
    const ctl_command_t *command = ctl->command;
    (void)printf("usage: tidalctl %s %s\n\n%s\n", command->name, command->words, command->summary);
    if (command->help != NULL) {
        (void)printf("\n%s", command->help);
    }
    if (option_count > 0) {
        (void)printf("\noptions:\n");
        arguments_print_help(options, option_count, stdout);
    }
    (void)printf("\noptions of every command:\n");
    arguments_print_help(common, COMMON_OPTION_COUNT, stdout);
}

static bool s_check_words(const ctl_t *ctl, const ctl_words_t *words)
{
    if (words->count >= words->min && words->count <= words->max) {
        return true;
    }
    if (words->min == words->max) {
        (void)ctl_fail_usage(ctl, "expected %d words after it, found %d", words->min, words->count);
    } else {
        (void)ctl_fail_usage(ctl, "expected %d to %d words after it, found %d", words->min,
                             words->max, words->count);
    }
    return false;
}

bool ctl_parse(ctl_t *ctl,
               const argument_t *options,
               uint32_t option_count,
               int word_count,
               char **words,
               ctl_words_t *ret_words)
{
    argument_t all[ARGUMENTS_OPTION_COUNT_MAX];
    CHECK(option_count + COMMON_OPTION_COUNT <= ARGUMENTS_OPTION_COUNT_MAX);
    if (option_count > 0) {
        memcpy(all, options, option_count * sizeof(all[0]));
    }
    s_common_options(ctl, all + option_count);
    errbuf_t errbuf;
    arguments_line_t line = {
        .word_count = word_count, .words = words, .stop_at_word = ctl->command == NULL};
    if (arguments_parse(all, option_count + COMMON_OPTION_COUNT, &line, &errbuf) != ERR_OK) {
        ret_words->status = ctl_fail_usage(ctl, "%s", errbuf.text);
        return false;
    }
    if (ctl->help && ctl->command != NULL) {
        s_print_help(ctl, options, option_count, all + option_count);
        ret_words->status = CTL_OK;
        return false;
    }
    ret_words->texts = words + line.first;
    ret_words->count = word_count - line.first;
    ret_words->status = CTL_USAGE;
    return s_check_words(ctl, ret_words);
}

/* -- the mesh ---------------------------------------------------------------------------------- */

err_t ctl_topology(ctl_t *ctl, const topology_t **ret_topology, errbuf_t *errbuf)
{
    if (ctl->topology == NULL) {
        topology_t *topology = calloc(1, sizeof(*topology));
        CHECK(topology != NULL);
        err_t err = topology_load(ctl->topology_path, topology, errbuf);
        if (err != ERR_OK) {
            free(topology);
            return err;
        }
        ctl->topology = topology;
    }
    *ret_topology = ctl->topology;
    return ERR_OK;
}

err_t ctl_connect(ctl_t *ctl, ctl_client_t **ret_client, errbuf_t *errbuf)
{
    const topology_t *topology = NULL;
    err_t err = ctl_topology(ctl, &topology, errbuf);
    if (err == ERR_OK && ctl->client == NULL) {
        err = ctl_client_new(topology, &ctl->client, errbuf);
    }
    if (err == ERR_OK) {
        *ret_client = ctl->client;
    }
    return err;
}

err_t ctl_gateway(ctl_t *ctl, process_address_t *ret_gateway, errbuf_t *errbuf)
{
    const topology_t *topology = NULL;
    err_t err = ctl_topology(ctl, &topology, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    const topology_region_t *region = ctl->region == NULL
                                          ? &topology->regions[0]
                                          : topology_find_region_name(topology, ctl->region);
    if (region == NULL) {
        errbuf_set(errbuf, "--region: expected a region of %s, found '%s': the first one is %s",
                   ctl->topology_path, ctl->region, topology->regions[0].name);
        return ERR_NOT_FOUND;
    }
    *ret_gateway = (process_address_t){.kind = PROCESS_GATEWAY, .region = region->id};
    return ERR_OK;
}

void ctl_done(ctl_t *ctl)
{
    ctl_client_destroy(&ctl->client);
    free(ctl->topology);
    ctl->topology = NULL;
}
