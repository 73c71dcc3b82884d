#include "services/tidalctl/command.h"

#include "common/base/check.h"

#include <stdlib.h>
#include <string.h>

enum { LIST_COUNT = 9 };

static ctl_command_list_t s_list(uint32_t index)
{
    static ctl_command_list_t (*const s_lists[LIST_COUNT])(void) = {
        command_status_list, command_mesh_list, command_tenant_list,
        command_links_list,  command_data_list, command_call_list,
        command_load_list,   command_wal_list,  command_verify_list,
    };
    CHECK(index < LIST_COUNT);
    return s_lists[index]();
}

/* All commands in a row; NULL at the end. */
static const ctl_command_t *s_command(uint32_t index)
{
    for (uint32_t i = 0; i < LIST_COUNT; i++) {
        ctl_command_list_t list = s_list(i);
        const ctl_command_t *commands = list.commands;
        if (index < list.count) {
            return commands + index;
        }
        index -= list.count;
    }
    return NULL;
}

static const ctl_command_t *s_find(const char *name)
{
    const ctl_command_t *command = s_command(0);
    for (uint32_t i = 1; command != NULL && strcmp(command->name, name) != 0; i++) {
        command = s_command(i);
    }
    return command;
}

static void s_print_commands(FILE *out)
{
    const char *group = "";
    (void)fprintf(out, "usage: tidalctl [--topology FILE] COMMAND ... (tidalctl COMMAND --help)\n");
    const ctl_command_t *command = s_command(0);
    for (uint32_t i = 1; command != NULL; i++) {
        if (strcmp(group, command->group) != 0) {
            group = command->group;
            (void)fprintf(out, "\n%s\n", group);
        }
        (void)fprintf(out, "  %-12s %s\n", command->name, command->summary);
        command = s_command(i);
    }
}

/* `tidalctl help [COMMAND]` is `tidalctl COMMAND --help`. */
static int s_help(ctl_t *ctl, int word_count, char **words)
{
    ctl->command = word_count > 1 ? s_find(words[1]) : NULL;
    if (ctl->command == NULL) {
        s_print_commands(stdout);
        return CTL_OK;
    }
    ctl->help = true;
    return ctl->command->run(ctl, 1, words + 1);
}

static int s_run(ctl_t *ctl, int word_count, char **words)
{
    ctl_words_t rest = {.min = 0, .max = word_count};
    if (!ctl_parse(ctl, NULL, 0, word_count, words, &rest)) {
        return rest.status;
    }
    if (rest.count == 0 || ctl->help) {
        s_print_commands(ctl->help ? stdout : stderr);
        return ctl->help ? CTL_OK : CTL_USAGE;
    }
    if (strcmp(rest.texts[0], "help") == 0) {
        return s_help(ctl, rest.count, rest.texts);
    }
    ctl->command = s_find(rest.texts[0]);
    if (ctl->command == NULL) {
        return ctl_fail_usage(ctl, "expected a command, found '%s': tidalctl help lists them",
                              rest.texts[0]);
    }
    return ctl->command->run(ctl, rest.count, rest.texts);
}

int command_run(int word_count, char **words)
{
    ctl_t ctl = {.topology_path = "topology/three_region.yaml"};
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread, and nobody sets variables */
    const char *from_environment = getenv("TIDAL_TOPOLOGY");
    if (from_environment != NULL && from_environment[0] != '\0') {
        ctl.topology_path = from_environment;
    }
    int status = s_run(&ctl, word_count, words);
    ctl_done(&ctl);
    return status;
}
