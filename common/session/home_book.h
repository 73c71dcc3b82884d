/* What the home shard of a user has logged for all shards and is not known to be held by all of
 * them (design section 5): user attributes, mutes and blocks. Whoever leads the shard repeats it
 * until a HELD record says that it is held.
 *
 * The unit is a register: an attribute of a user by its name, a mute or block by its creator. Of
 * each register there is L, the highest stamp written (which the ledger keeps for ever), and H, the
 * highest stamp in a HELD record. (A mute or block with an equal stamp is higher when it sets.)
 *
 *   L > H   it is pending                          kept here
 *   L = H   every shard holds what counts          nothing is kept
 *   L < H   HELD came before the write itself,     kept here until the write comes
 *           which another stream brings
 *
 * Neither the order of records nor a second copy of one leaves a trace, and memory is bounded by
 * what is on its way. (One exception, for the ledger keeps at most USER_ATTRIBUTE_COUNT_MAX
 * attributes of a user: one that is pending while more than so many later ones come stays so until
 * it is found gone.) It is in no digest: what it makes a leader do changes nothing where it was
 * done before.
 *
 * With one shard, and for users whose home is another shard, nothing is ever kept. */
#ifndef TIDAL_COMMON_SESSION_HOME_BOOK_H
#define TIDAL_COMMON_SESSION_HOME_BOOK_H

#include "common/base/store_batch.h"
#include "common/signal/ledger.h"

typedef struct home_book home_book_t;

home_book_t *home_book_new(tenant_id_t tenant, shard_id_t shard, uint32_t shard_count);
/* Nulls; NULL is allowed. */
void home_book_destroy(home_book_t **self_p);

/* Applies a payload to the ledger, and takes note of what of it concerns all shards: the two must
 * see each record together. in, errs  as ledger_apply_payload; of a payload with such records an
 * unsound one may have been applied by half. cost nothing more for any other payload than a look at
 * the heads of its records */
err_t home_book_apply_payload(home_book_t *self,
                              ledger_t *ledger,
                              slice_t payload,
                              ledger_standing_t standing,
                              errbuf_t *errbuf);

/* One register that is pending, written with `held.hlc`; the name borrows until the next change. */
typedef struct {
    uint64_t order; /* rises with every write that became pending here; 1.. */
    record_held_t held;
} home_entry_t;

uint32_t home_book_pending_count(const home_book_t *self);
/* Of whatever was the latest to become pending; 0: nothing ever was. */
uint64_t home_book_last_order(const home_book_t *self);
/* The first pending one behind `order`; false when there is none. cost O(log pending) */
bool home_book_next(const home_book_t *self, uint64_t order, home_entry_t *ret_entry);
/* Appends the write that is pending, as the ledger has it.
 * out false: the register is gone, or another write is in it: nothing is left to be repeated */
bool home_book_append_write(const home_entry_t *entry, const ledger_t *ledger, buffer_t *payload);

/* -- checkpoint -------------------------------------------------------------------------------- */

/* An entry: key XXH3-128 of what names the register (16 bytes, high half first, b.e.: kind u8, user
 * u64, target u64 and the name); value version u8 (1), state u8 (1 pending, 2 held before written),
 * then the body of a HELD record. All numbers little-endian. */
enum { HOME_KEY_SIZE = 16 };

/* Entries that the next checkpoint writes or deletes, some perhaps twice. */
uint64_t home_book_changed_count(const home_book_t *self);
/* Puts and deletes what changed since the last durable checkpoint. in prefix  before each key */
void home_book_checkpoint_write(home_book_t *self, store_batch_t *batch, slice_t prefix);
/* What became of the last one. */
void home_book_checkpoint_settle(home_book_t *self, bool durable);
/* The next checkpoint writes everything; not while one is open. */
void home_book_mark_all(home_book_t *self);
/* One entry into a book that nothing else was done to yet. errs ERR_CORRUPT · ERR_UNSUPPORTED */
err_t home_book_load_entry(home_book_t *self, slice_t key, slice_t value, errbuf_t *errbuf);
/* Whether both hold the same. Attributes that are not in the ledger of a, which is equal to that of
 * b, are left out: see the exception above. */
bool home_book_equal(const home_book_t *a, const home_book_t *b, const ledger_t *ledger);

#endif
