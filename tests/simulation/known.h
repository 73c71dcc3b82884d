/* What one client of a simulated mesh was told, and may rely on as long as it carries its token along:
 * nothing of it ever goes back, whichever region answers.
 *   - an item's count is at least what it was shown before, and what the client had acknowledged
 *     itself; and where the count is the same, the score at one moment is the same, bit for bit;
 *   - the stamp of a register (hide, mute, block) is at least the one shown before, or acknowledged;
 *     with an equal stamp what was set stays set;
 *   - a session has every signal that it was shown with or that was acknowledged, each once, as the
 *     copy that was acknowledged, those of the same copy in the same order; once closed it stays so. */
#ifndef TIDAL_TESTS_SIMULATION_KNOWN_H
#define TIDAL_TESTS_SIMULATION_KNOWN_H

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/hlc.h"
#include "common/base/ids.h"
#include "common/wal/record.h"

#include <stdbool.h>

enum {
    KNOWN_SIGNAL_COUNT = 4, /* of the default schema */
    KNOWN_PAIR_COUNT = 8,   /* items that a client hides and unhides */
    KNOWN_CREATOR_COUNT = 3,
    KNOWN_REGISTER_COUNT = KNOWN_PAIR_COUNT + 2 * KNOWN_CREATOR_COUNT
};

typedef enum {
    KNOWN_READ_PAIR, /* retrieve, with an item that this client may have hidden */
    KNOWN_READ_COUNT,
    KNOWN_READ_SCORE,
    KNOWN_READ_CELLS, /* of all signals of an item */
    KNOWN_READ_RELATION,
    KNOWN_READ_SESSION
} known_read_kind_t;

/* Of one (item, signal). */
typedef struct {
    uint32_t acked; /* events that this client was told are logged */
    uint32_t shown;
    uint32_t score_count; /* that the score belongs to; 0: there is none */
    uint64_t score_bits;
    uint32_t single_count; /* known before a score alone was asked for; 0: there is none */
    uint64_t single_bits;
} known_cell_t;

typedef struct {
    hlc_stamp_t hlc;
    bool is_set;
} known_register_t;

/* One signal of a session. */
typedef struct {
    uint32_t event; /* number in the history */
    uint32_t session_seq;
    uint64_t origin; /* a hash; 0: not told */
    bool is_named;   /* acknowledged for good: this is the copy, whoever is asked */
    bool is_ordered; /* was shown behind the ordered ones in front of it */
} known_row_t;

/* A read that is asked, and what was known when it was. */
typedef struct {
    known_read_kind_t kind;
    uint32_t item;  /* index: COUNT, SCORE, CELLS */
    uint8_t signal; /* COUNT, SCORE; 1.. */
    uint32_t index; /* RELATION: of the register, that of a mute for both of its creator */
    session_id_t session;
    bool is_hidden; /* PAIR: it must not be shown */
    bool is_closed; /* SESSION */
    known_cell_t cells[KNOWN_SIGNAL_COUNT];
    known_register_t registers[2];
    buffer_t rows; /* known_row_t; owned */
} known_read_t;

typedef struct {
    uint32_t item_count;
    known_cell_t *cells; /* (item, signal) */
    known_register_t registers[KNOWN_REGISTER_COUNT];
    bool has_session;
    session_id_t session; /* that the rows are of */
    bool is_closed;
    buffer_t rows; /* known_row_t, in the order in which they were shown */
} known_t;

void known_init(known_t *self, uint32_t item_count);
void known_done(known_t *self);
/* The token was given up: nothing is known any more. */
void known_clear(known_t *self);

/* Of a client's register: hides come first, then mutes, then blocks. */
relation_action_t known_action(uint32_t index);

/* What was acknowledged, under the token that is carried. in item  index */
void known_note_event(known_t *self, uint32_t item, uint8_t signal);
void known_note_register(known_t *self, uint32_t index, known_register_t written);
/* A session is started: the next rows are of it. */
void known_note_session(known_t *self, const session_id_t *session);
void known_note_row(known_t *self, const session_id_t *session, known_row_t row);
void known_note_closed(known_t *self, const session_id_t *session);

/* Fills in what is known of what is asked; kind, item, signal, index and session are there. */
void known_begin(const known_t *self, known_read_t *read);
/* Holds the answer against it. in reply  ok. ret false: out ret_text the violation */
bool known_judge(const known_read_t *read, slice_t reply, errbuf_t *ret_text);
/* Takes over what was shown, and held: the token carries it from now on. */
void known_keep(known_t *self, const known_read_t *read, slice_t reply);

/* [wall_ns, logical, node] at a path of a reply; the zero stamp where there is nil or nothing. */
hlc_stamp_t known_read_hlc(slice_t reply, const char *path);

#endif
