/* Whether LMDB can walk one of its files without leaving it.
 *
 * LMDB trusts its pages: a truncated file ends in SIGBUS, a damaged page in a wild read. This reads
 * the pages of one snapshot with pread, before LMDB does, and checks what LMDB would follow: both
 * kinds of trees, every page number, every node within its page, every page used at most once, the
 * depth and the number of entries of each tree, and that no page in use is listed as free. Damage
 * inside a value is not seen here; the checksums of store_lmdb find that. */
#ifndef TIDAL_COMMON_STORE_STORE_LMDB_CHECK_H
#define TIDAL_COMMON_STORE_STORE_LMDB_CHECK_H

#include "common/base/err.h"

#include <stdint.h>

/* in   fd    of data.mdb, readable
 *      txn_id  the snapshot, held by an open read transaction for as long as this runs
 * errs ERR_CORRUPT says which page and what is wrong · ERR_STALE the writer has meanwhile
 *      overwritten where the snapshot begins: try again with a newer one · ERR_IO
 * cost reads every page in use once */
err_t store_lmdb_check(int fd, uint64_t txn_id, errbuf_t *errbuf);

/* Whether the first two pages are those of an LMDB file that this knows, before LMDB opens it.
 * errs ERR_CORRUPT · ERR_UNSUPPORTED another version of LMDB's format · ERR_IO */
err_t store_lmdb_check_header(int fd, errbuf_t *errbuf);

#endif
