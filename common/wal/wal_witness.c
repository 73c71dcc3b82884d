#include "common/wal/wal_witness.h"

#include <inttypes.h>

typedef struct {
    wal_scan_t *scan;
    const wal_witness_case_t *the_case;
    uint64_t hashed_bytes; /* so far */
    bool found;
    errbuf_t *reason;
} search_t;

static err_t s_look_at_batch(search_t *search, uint64_t offset)
{
    const wal_witness_case_t *the_case = search->the_case;
    wal_batch_t batch;
    wal_block_t block;
    slice_t bytes;
    err_t err = wal_scan_view(search->scan, offset, WAL_BATCH_HEADER_SIZE, &bytes, search->reason);
    if (err != ERR_OK) {
        return err;
    }
    if (wal_decode_batch_header(bytes, &batch, NULL) != ERR_OK ||
        !stream_id_equal(batch.stream, the_case->stream) ||
        batch.synced_seq < the_case->damaged_seq) {
        return ERR_OK;
    }
    search->hashed_bytes += batch.block_size;
    if (search->hashed_bytes > WAL_RECOVERY_HASH_SIZE_MAX) {
        search->found = true;
        errbuf_set(search->reason, "too many possible batches behind it to judge it");
        return ERR_OK;
    }
    errbuf_t ignored;
    err = wal_scan_block(search->scan, offset, WAL_SCAN_VERIFY, &block, NULL, &ignored);
    if (err == ERR_OK) {
        search->found = true;
        errbuf_set(search->reason,
                   "the batch at offset %" PRIu64 " says that event %" PRIu64 " was durable",
                   offset, batch.synced_seq);
    }
    if (err == ERR_IO) {
        *search->reason = ignored;
    }
    return err == ERR_IO ? ERR_IO : ERR_OK;
}

static err_t s_look_at_footer(search_t *search, uint64_t offset)
{
    const wal_witness_case_t *the_case = search->the_case;
    wal_block_t block;
    errbuf_t ignored;
    err_t err = wal_scan_block(search->scan, offset, WAL_SCAN_VERIFY, &block, NULL, &ignored);
    if (err == ERR_OK && block.kind == WAL_BLOCK_FOOTER && block.as.footer.offset == offset &&
        block.as.footer.first_seq == the_case->segment_first_seq &&
        block.as.footer.last_seq >= the_case->damaged_seq) {
        search->found = true;
        errbuf_set(search->reason, "the segment is sealed up to event %" PRIu64,
                   block.as.footer.last_seq);
    }
    if (err == ERR_IO) {
        *search->reason = ignored;
    }
    return err == ERR_IO ? ERR_IO : ERR_OK;
}

typedef enum { MAGIC_NONE, MAGIC_BATCH, MAGIC_FOOTER } magic_t;

static magic_t s_magic_at(const uint8_t *at)
{
    if (at[0] != 'T' || at[1] != 'M' || at[3] != '1') {
        return MAGIC_NONE;
    }
    if (at[2] == 'B') {
        return MAGIC_BATCH;
    }
    return at[2] == 'F' ? MAGIC_FOOTER : MAGIC_NONE;
}

/* The next magic at or behind *offset_p, which moves there, or to the end of the file. */
static err_t s_find_magic(search_t *search, uint64_t *offset_p, magic_t *ret_magic)
{
    uint64_t offset = *offset_p;
    magic_t magic = MAGIC_NONE;
    while (offset < search->the_case->file_size && magic == MAGIC_NONE) {
        slice_t bytes;
        err_t err = wal_scan_view(search->scan, offset, 8, &bytes, search->reason);
        if (err != ERR_OK) {
            return err;
        }
        if (bytes.size < 8) {
            break;
        }
        size_t at = 0;
        while (at + 8 <= bytes.size && (magic = s_magic_at(bytes.data + at)) == MAGIC_NONE) {
            at += 8;
        }
        offset += at;
    }
    *offset_p = offset;
    *ret_magic = magic;
    return ERR_OK;
}

err_t wal_witness_find(wal_scan_t *scan,
                       const wal_witness_case_t *the_case,
                       bool *ret_found,
                       errbuf_t *ret_reason)
{
    search_t search = {.scan = scan, .the_case = the_case, .reason = ret_reason};
    uint64_t offset = the_case->offset;
    magic_t magic = MAGIC_BATCH;
    err_t err = ERR_OK;
    while (err == ERR_OK && magic != MAGIC_NONE && !search.found) {
        err = s_find_magic(&search, &offset, &magic);
        if (err == ERR_OK && magic == MAGIC_FOOTER) {
            err = s_look_at_footer(&search, offset);
        } else if (err == ERR_OK && magic == MAGIC_BATCH && offset > the_case->offset) {
            err = s_look_at_batch(&search, offset);
        }
        offset += 8;
    }
    *ret_found = search.found;
    return err;
}
