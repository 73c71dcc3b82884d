#include "services/tidalctl/load_progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_SIZE = 24 };

static const int64_t s_bar_ns = 100000000;
static const int64_t s_line_ns = 2000000000;

const char *load_progress_number(uint64_t number, char ret_text[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%" PRIu64, number);
    int out = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            ret_text[out++] = ',';
        }
        ret_text[out++] = digits[i];
    }
    ret_text[out] = '\0';
    return ret_text;
}

void load_progress_start(load_progress_t *self, const char *name, uint64_t total, int64_t now_ns)
{
    const char *slash = strrchr(name, '/');
    *self = (load_progress_t){.name = slash == NULL ? name : slash + 1,
                              .total = total,
                              .is_terminal = isatty(STDERR_FILENO) == 1,
                              .start_ns = now_ns,
                              .last_ns = now_ns};
}

void load_progress_text(const load_progress_t *self,
                        uint64_t done,
                        char ret_text[LOAD_PROGRESS_SIZE])
{
    char bar[BAR_SIZE + 1];
    char numbers[3][32];
    char eta[32] = "";
    double part = self->total == 0 ? 1.0 : (double)done / (double)self->total;
    for (int i = 0; i < BAR_SIZE; i++) {
        bar[i] = (double)i < part * BAR_SIZE ? '#' : '.';
    }
    bar[BAR_SIZE] = '\0';
    if (self->rate >= 1 && done < self->total) {
        uint64_t seconds = (uint64_t)((double)(self->total - done) / self->rate) + 1;
        (void)snprintf(eta, sizeof(eta), "  ETA %" PRIu64 " s", seconds);
    }
    (void)snprintf(ret_text, LOAD_PROGRESS_SIZE, "[%s] %3.0f %%  %s of %s events  %s/s%s", bar,
                   100 * part, load_progress_number(done, numbers[0]),
                   load_progress_number(self->total, numbers[1]),
                   load_progress_number((uint64_t)self->rate, numbers[2]), eta);
}

void load_progress_show(load_progress_t *self, uint64_t done, const char *trouble, int64_t now_ns)
{
    char text[LOAD_PROGRESS_SIZE];
    int64_t passed_ns = now_ns - self->last_ns;
    if (passed_ns < (self->is_terminal ? s_bar_ns : s_line_ns)) {
        return;
    }
    double now = (double)(done - self->last_done) / ((double)passed_ns / 1e9);
    self->rate = self->rate == 0 ? now : 0.7 * self->rate + 0.3 * now;
    self->last_ns = now_ns;
    self->last_done = done;
    load_progress_text(self, done, text);
    if (self->is_terminal) {
        (void)fprintf(stderr, "\r\033[K%s  %.60s", text, trouble);
        self->is_drawn = true;
    } else {
        (void)fprintf(stderr, "%s  %s  %s\n", self->name, text, trouble);
    }
    (void)fflush(stderr);
}

void load_progress_end(load_progress_t *self)
{
    if (self->is_drawn) {
        (void)fprintf(stderr, "\r\033[K");
        self->is_drawn = false;
    }
}
