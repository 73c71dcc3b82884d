/* How far a load is, on standard error: a bar that is drawn over itself at a terminal, a line every
 * other second elsewhere. */
#ifndef TIDAL_SERVICES_TIDALCTL_LOAD_PROGRESS_H
#define TIDAL_SERVICES_TIDALCTL_LOAD_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const char *name; /* of the file; borrowed */
    uint64_t total;   /* events */
    bool is_terminal;
    bool is_drawn;
    int64_t start_ns;
    int64_t last_ns; /* of the last drawing */
    uint64_t last_done;
    double rate; /* events per second, smoothed */
} load_progress_t;

enum { LOAD_PROGRESS_SIZE = 256 };

void load_progress_start(load_progress_t *self, const char *name, uint64_t total, int64_t now_ns);
/* Draws when it is time. in trouble  why it does not go on; may be empty */
void load_progress_show(load_progress_t *self, uint64_t done, const char *trouble, int64_t now_ns);
/* Ends the bar's line. */
void load_progress_end(load_progress_t *self);

/* The line itself: "[####......]  40 %  59,000 of 148,550 events  35,120/s  ETA 3 s". */
void load_progress_text(const load_progress_t *self,
                        uint64_t done,
                        char ret_text[LOAD_PROGRESS_SIZE]);
/* "1,234,567"; returns ret_text. */
const char *load_progress_number(uint64_t number, char ret_text[32]);

#endif
