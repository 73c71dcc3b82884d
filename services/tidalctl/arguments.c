#include "services/tidalctl/arguments.h"

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/env/env_clock.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* -- values ------------------------------------------------------------------------------------ */

err_t arguments_parse_f64(const char *text, double *ret_value)
{
    char *end = NULL;
    errno = 0;
    double value = strtod(text, &end);
    bool blank = text[0] == '\0' || text[0] == ' ' || text[0] == '\t';
    if (blank || *end != '\0' || errno != 0 || !isfinite(value)) {
        return ERR_INVALID;
    }
    *ret_value = value;
    return ERR_OK;
}

/* Days since 1970-01-01 of a date of the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level
 * Date Algorithms"). */
static int64_t s_days(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2 ? 1 : 0;
    int64_t era = year / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* "YYYY-MM-DDTHH:MM:SSZ", every digit in its place. */
static err_t s_parse_date(const char *text, int64_t *ret_ns)
{
    static const char s_form[] = "dddd-dd-ddTdd:dd:ddZ";
    int64_t parts[6] = {0};
    uint32_t part = 0;
    if (strlen(text) != sizeof(s_form) - 1) {
        return ERR_INVALID;
    }
    for (size_t i = 0; s_form[i] != '\0'; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (s_form[i] == 'd' ? !digit : text[i] != s_form[i]) {
            return ERR_INVALID;
        }
        if (s_form[i] == 'd') {
            parts[part] = parts[part] * 10 + (text[i] - '0');
        } else {
            part++;
        }
    }
    bool in_range = parts[0] >= 1970 && parts[0] <= 2200 && parts[1] >= 1 && parts[1] <= 12 &&
                    parts[2] >= 1 && parts[2] <= 31 && parts[3] <= 23 && parts[4] <= 59 &&
                    parts[5] <= 59;
    if (!in_range) {
        return ERR_INVALID;
    }
    int64_t seconds =
        s_days(parts[0], parts[1], parts[2]) * 86400 + parts[3] * 3600 + parts[4] * 60 + parts[5];
    *ret_ns = seconds * ENV_NS_PER_S;
    return ERR_OK;
}

err_t arguments_parse_time(const char *text, int64_t *ret_ns)
{
    static const struct {
        const char *name;
        int64_t ns;
    } s_units[] = {{"", 1}, {"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", ENV_NS_PER_S}};
    if (strcmp(text, "now") == 0) {
        *ret_ns = env_clock_now().wall_ns;
        return ERR_OK;
    }
    size_t digits = strspn(text, "0123456789");
    char number[24];
    uint64_t value = 0;
    if (digits == 0 || digits >= sizeof(number)) {
        return ERR_INVALID;
    }
    memcpy(number, text, digits);
    number[digits] = '\0';
    for (size_t i = 0; i < sizeof(s_units) / sizeof(s_units[0]); i++) {
        if (strcmp(text + digits, s_units[i].name) != 0) {
            continue;
        }
        uint64_t max = (uint64_t)(INT64_MAX / s_units[i].ns);
        if (text_to_u64(number, 0, max, &value) != ERR_OK) {
            return ERR_INVALID;
        }
        *ret_ns = (int64_t)value * s_units[i].ns;
        return ERR_OK;
    }
    return s_parse_date(text, ret_ns);
}

static err_t s_take_value(const argument_t *option, const char *text, errbuf_t *errbuf)
{
    arguments_list_t *list = option->ret_value;
    err_t err = ERR_OK;
    switch (option->kind) {
    case ARGUMENT_FLAG:
        *(bool *)option->ret_value = true;
        break;
    case ARGUMENT_TEXT:
        *(const char **)option->ret_value = text;
        break;
    case ARGUMENT_U64:
        err = text_to_u64(text, option->min, option->max, option->ret_value);
        errbuf_set(errbuf, "--%s: expected a number of %llu..%llu, found '%s'", option->name,
                   (unsigned long long)option->min, (unsigned long long)option->max, text);
        break;
    case ARGUMENT_F64:
        err = arguments_parse_f64(text, option->ret_value);
        errbuf_set(errbuf, "--%s: expected a number, found '%s'", option->name, text);
        break;
    case ARGUMENT_TIME:
        err = arguments_parse_time(text, option->ret_value);
        errbuf_set(errbuf,
                   "--%s: expected a time (now, ns since 1970, 1787400069s, "
                   "2026-08-22T12:01:09Z), found '%s'",
                   option->name, text);
        break;
    case ARGUMENT_LIST:
        if (list->count == ARGUMENTS_LIST_COUNT_MAX) {
            errbuf_set(errbuf, "--%s: expected it at most %d times, found more", option->name,
                       ARGUMENTS_LIST_COUNT_MAX);
            return ERR_INVALID;
        }
        list->texts[list->count++] = text;
        break;
    }
    return err;
}

/* -- the line ---------------------------------------------------------------------------------- */

static void s_fill_long_options(const argument_t *options,
                                uint32_t option_count,
                                struct option *ret_options)
{
    for (uint32_t i = 0; i < option_count; i++) {
        bool flag = options[i].kind == ARGUMENT_FLAG;
        ret_options[i] = (struct option){.name = options[i].name,
                                         .has_arg = flag ? no_argument : required_argument};
    }
    ret_options[option_count] = (struct option){0};
}

/* in found  what getopt_long made of the word */
static err_t s_refuse_word(int found, const char *word, errbuf_t *errbuf)
{
    if (found == ':') {
        errbuf_set(errbuf, "%s: expected a value after it, found the end of the line", word);
    } else {
        errbuf_set(errbuf, "expected an option of this command, found '%s': see --help", word);
    }
    return ERR_INVALID;
}

err_t arguments_parse(const argument_t *options,
                      uint32_t option_count,
                      arguments_line_t *line,
                      errbuf_t *errbuf)
{
    struct option long_options[ARGUMENTS_OPTION_COUNT_MAX + 1];
    CHECK(option_count <= ARGUMENTS_OPTION_COUNT_MAX);
    s_fill_long_options(options, option_count, long_options);
    const char *letters = line->stop_at_word ? "+:" : ":";
    opterr = 0;
    optind = 0; /* glibc: begin anew, also with another list of words */
    err_t err = ERR_OK;
    while (err == ERR_OK) {
        int index = -1;
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
        int found = getopt_long(line->word_count, line->words, letters, long_options, &index);
        if (found == -1) {
            break;
        }
        bool has_word = optind > 0 && optind <= line->word_count;
        err = found == 0 ? s_take_value(&options[index], optarg, errbuf)
                         : s_refuse_word(found, has_word ? line->words[optind - 1] : "", errbuf);
    }
    line->first = optind;
    return err;
}

void arguments_print_help(const argument_t *options, uint32_t option_count, FILE *out)
{
    enum { COLUMN = 24 };
    for (uint32_t i = 0; i < option_count; i++) {
        char left[64];
        const char *parameter = options[i].parameter == NULL ? "" : options[i].parameter;
        (void)snprintf(left, sizeof(left), "--%s%s%s", options[i].name,
                       *parameter == '\0' ? "" : " ", parameter);
        (void)fprintf(out, "  %-*s %s\n", COLUMN, left, options[i].help);
    }
}
