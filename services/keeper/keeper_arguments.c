#include "services/keeper/keeper_arguments.h"

#include "services/keeper/keeper_socket.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char s_usage[] = "usage: tidal_keeper --name NAME --run DIR [--log FILE] "
                              "[--die-with-parent] -- COMMAND [ARG...]\n"
                              "       tidal_keeper status [NAME] --run DIR\n"
                              "       tidal_keeper kill NAME --run DIR [--signal S] [--hold]\n"
                              "       tidal_keeper release NAME --run DIR\n"
                              "       tidal_keeper stop NAME --run DIR\n";

typedef struct {
    keeper_options_t options;
    const char *signal;
    bool hold;
    const char *words[2]; /* verb, name */
    unsigned word_count;
} words_t;

static int s_refuse(const char *expected, const char *found)
{
    (void)fprintf(stderr, "tidal_keeper: expected %s, found %s\n%s", expected, found, s_usage);
    return KEEPER_EXIT_USAGE;
}

/* Where the value of this option goes; NULL when it takes none. */
static const char **s_value_of(words_t *self, const char *option)
{
    const struct {
        const char *option;
        const char **value;
    } values[] = {{"--name", &self->options.name},
                  {"--run", &self->options.run},
                  {"--log", &self->options.log_path},
                  {"--signal", &self->signal}};
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        if (strcmp(option, values[i].option) == 0) {
            return values[i].value;
        }
    }
    return NULL;
}

/* 0, or an exit status. */
static int s_parse(words_t *self, char **words)
{
    for (; *words != NULL; words++) {
        const char **value = s_value_of(self, *words);
        if (value != NULL && words[1] == NULL) {
            return s_refuse("a value after the option", *words);
        }
        if (value != NULL) {
            words++;
            *value = *words;
        } else if (strcmp(*words, "--") == 0) {
            self->options.command = words + 1;
            return 0;
        } else if (strcmp(*words, "--hold") == 0) {
            self->hold = true;
        } else if (strcmp(*words, "--die-with-parent") == 0) {
            self->options.die_with_parent = true;
        } else if ((*words)[0] == '-' || self->word_count == 2) {
            return s_refuse("an option or a verb", *words);
        } else {
            self->words[self->word_count] = *words;
            self->word_count++;
        }
    }
    return 0;
}

static int s_check_options(const words_t *self, keeper_arguments_t *ret_arguments)
{
    const keeper_options_t *options = &self->options;
    if (options->name == NULL || !keeper_name_is_valid(options->name)) {
        return s_refuse("--name with 1..64 letters, digits, `_`, `-` or `.`",
                        options->name == NULL ? "none" : options->name);
    }
    if (options->command == NULL || options->command[0] == NULL) {
        return s_refuse("a command after --", "none");
    }
    *ret_arguments = (keeper_arguments_t){.is_order = false, .options = *options};
    return 0;
}

static int s_check_order(const words_t *self, keeper_arguments_t *ret_arguments)
{
    static const char *const s_verbs[] = {"status", "kill", "release", "stop"};
    keeper_order_t order = {.run = self->options.run,
                            .name = self->words[1],
                            .signal_number = SIGKILL,
                            .hold = self->hold};
    unsigned verb = 0;
    while (verb < 4 && strcmp(self->words[0], s_verbs[verb]) != 0) {
        verb++;
    }
    if (verb == 4) {
        return s_refuse("status, kill, release or stop", self->words[0]);
    }
    order.verb = (keeper_verb_t)verb;
    if (order.name == NULL ? order.verb != KEEPER_VERB_STATUS : !keeper_name_is_valid(order.name)) {
        return s_refuse("the name of a process", order.name == NULL ? "none" : order.name);
    }
    if (self->signal != NULL && keeper_signal_parse(self->signal, &order.signal_number) != ERR_OK) {
        return s_refuse("a signal like KILL, STOP or 9", self->signal);
    }
    *ret_arguments = (keeper_arguments_t){.is_order = true, .order = order};
    return 0;
}

int keeper_arguments_parse(char **words, keeper_arguments_t *ret_arguments)
{
    words_t self = {.word_count = 0};
    int status = s_parse(&self, words);
    if (status != 0) {
        return status;
    }
    if (self.options.run == NULL) {
        return s_refuse("--run with the run folder", "none");
    }
    return self.word_count == 0 ? s_check_options(&self, ret_arguments)
                                : s_check_order(&self, ret_arguments);
}
