/* Records of sessions, and books to put them into, for the tests of common/session. */
#ifndef TIDAL_TESTS_UNIT_SESSION_SUPPORT_H
#define TIDAL_TESTS_UNIT_SESSION_SUPPORT_H

#include "common/session/session_book.h"

#define SESSION_TEST_WALL_NS INT64_C(1790000000000000000)

/* Session n of user 7. */
session_id_t session_test_id(uint64_t n);
/* The stream of a region (incarnation 0xa0 + region). */
stream_id_t session_test_stream(uint16_t region);
/* Stamps rise with ms. */
hlc_stamp_t session_test_hlc(int64_t ms);

record_t session_test_start(uint64_t n, int64_t ms, const char *agent);
record_t session_test_signal(uint64_t n, int64_t ms, uint32_t session_seq, uint64_t item);
record_t session_test_close(uint64_t n, int64_t ms, bool is_auto);

session_book_t *session_test_book(void);
/* Records whose first one is event `seq` of the region's stream. in payload  borrowed */
wal_batch_t session_test_batch(uint16_t region, uint64_t seq, slice_t payload);
/* One record as event `seq` of the region's stream. */
void session_test_apply(session_book_t *book,
                        uint16_t region,
                        uint64_t seq,
                        const record_t *record,
                        session_standing_t standing);
void session_test_void(session_book_t *book, uint16_t region, uint64_t seq, const record_t *record);

/* Fails the test unless both have the same digest, entry by entry the same bytes, and digests that
 * stand for what they hold. */
void session_test_expect_equal(session_book_t *a, session_book_t *b);
/* A book made from the checkpoint of another one. */
session_book_t *session_test_reload(session_book_t *book);

#endif
