/* A disk in memory that may lose what was not synced.
 *
 * It implements the disk seam, and remembers for every file the writes and truncations since its
 * last sync, and for every folder the creations, renames and removals since its last sync_folder. A
 * power cut (sim_disk_crash) then decides by its seed:
 *
 *   each write       kept, lost, or torn: of its 512-byte sectors any may be old or new; the file
 *                    may have grown all the same, with zeros where data was lost
 *   each truncation  kept or lost
 *   names            what happened up to some moment is kept, what came later is lost
 *
 * Until then, everybody sees everything, as with a page cache; a process that dies alone loses
 * nothing (sim_disk_restart, or close its files and go on). Faults can be planned: full, a failing
 * write or sync, power that goes at the n-th change, flipped bits. Same seed and same calls, same
 * bytes.
 *
 * Memory is linear in the data: one copy of every file, and twice what is not synced. */
#ifndef TIDAL_TESTS_SUPPORT_SIM_DISK_H
#define TIDAL_TESTS_SUPPORT_SIM_DISK_H

#include "common/base/seam.h"

#include <stdbool.h>

typedef struct sim_disk sim_disk_t;

typedef struct {
    uint64_t change_count; /* every call that changes something: what sim_disk_stop_at counts */
    uint64_t write_count;
    uint64_t sync_count; /* of files */
    uint64_t sync_folder_count;
    uint64_t read_count;
    uint64_t read_bytes;
    uint64_t written_bytes;
    uint64_t lost_count;   /* writes lost by crashes */
    uint64_t torn_count;   /* writes torn by crashes */
    uint64_t undone_count; /* names lost by crashes */
    uint64_t full_count;   /* writes that did not fit */
} sim_disk_stats_t;

/* in seed  for the parts of failed writes */
sim_disk_t *sim_disk_new(uint64_t seed);
/* All of its files must be closed. Accepts null. */
void sim_disk_destroy(sim_disk_t **self_p);
/* Borrowed; lives as long as self. */
const disk_t *sim_disk_disk(const sim_disk_t *self);

/* Power cut, and power again: open files are dead (closing them is all that is allowed, everything
 * else gives ERR_IO), planned faults are forgotten. */
void sim_disk_crash(sim_disk_t *self, uint64_t seed);
/* The processes die and begin again, the power stays: as a crash that loses nothing and makes
 * nothing durable. */
void sim_disk_restart(sim_disk_t *self);
/* As if everything had been synced this moment. */
void sim_disk_settle(sim_disk_t *self);

/* Bytes of all files together that fit; a write beyond fails with ERR_DISK_FULL after a part of it
 * went in. UINT64_MAX, as at first: no limit. */
void sim_disk_set_capacity(sim_disk_t *self, uint64_t capacity_bytes);
/* Where a power cut may tear or lose: on by default. Off, a crash loses all that was not synced. */
void sim_disk_set_tearing(sim_disk_t *self, bool tearing);

/* The n-th write from now (1 the next one) fails with ERR_IO, after a part of it went in. 0 none.
 */
void sim_disk_fail_write(sim_disk_t *self, uint64_t n);
/* The n-th sync of a file from now fails with ERR_IO; what it was for stays unsynced. 0 none. */
void sim_disk_fail_sync(sim_disk_t *self, uint64_t n);
/* The power goes at the n-th change from now (1 the next one): it happens in part, and everything
 * fails with ERR_IO until sim_disk_crash. 0 never. */
void sim_disk_stop_at(sim_disk_t *self, uint64_t n);
bool sim_disk_stopped(const sim_disk_t *self);

/* Damage and inspection, past the page cache's rules: at once durable. errs ERR_NOT_FOUND,
 * ERR_INVALID behind the end of the file */
err_t sim_disk_flip_bit(sim_disk_t *self, const char *path, uint64_t bit_offset);
/* The bytes of a file as everybody sees them; borrowed until the next call that changes it. */
err_t sim_disk_peek(const sim_disk_t *self,
                    const char *path,
                    const uint8_t **ret_bytes,
                    uint64_t *ret_size);
/* Puts a whole file there, replacing one, folders included; durable. */
void sim_disk_put(sim_disk_t *self, const char *path, const void *bytes, size_t size);
/* Removes a folder with all that is below it, for good. Open files stay open, as they do. */
void sim_disk_wipe(sim_disk_t *self, const char *folder);
/* Called with each file that is about to be unlinked through the seam; bytes
 * live during the call. */
typedef void (*sim_disk_unlink_fn)(void *context,
                                   const char *path,
                                   const uint8_t *bytes,
                                   uint64_t size);
void sim_disk_watch_unlink(sim_disk_t *self, sim_disk_unlink_fn on_unlink, void *context);
/* A copy of everything, without what is planned and without open files; owned by the caller. */
sim_disk_t *sim_disk_clone(const sim_disk_t *self);
/* The same as a power cut now would leave it, if nothing is kept that was not synced. */
sim_disk_t *sim_disk_clone_synced(const sim_disk_t *self);
/* Whether both hold the same names with the same bytes; prints the first difference. */
bool sim_disk_equal(const sim_disk_t *a, const sim_disk_t *b);

uint64_t sim_disk_used_bytes(const sim_disk_t *self);
sim_disk_stats_t sim_disk_stats(const sim_disk_t *self);

#endif
