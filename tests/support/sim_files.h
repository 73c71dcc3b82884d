/* What lies on a simulated disk: names, bytes, and for both what was not made durable yet; and what
 * a power cut makes of it. Used by sim_disk.c alone, which is the contract. */
#ifndef TIDAL_TESTS_SUPPORT_SIM_FILES_H
#define TIDAL_TESTS_SUPPORT_SIM_FILES_H

#include "common/base/bytes.h"
#include "common/base/prng.h"

enum { SIM_SECTOR_SIZE = 512, SIM_PATH_SIZE_MAX = 1100 };

/* A change of a file's bytes since its last sync. */
typedef struct {
    bool truncates;
    uint64_t offset;
    buffer_t bytes;     /* written; of a truncation nothing */
    buffer_t old_bytes; /* what stood there, up to the old end of the file */
    uint64_t old_size;
    uint64_t new_size;
} sim_change_t;

/* A file or folder, apart from its name. What it holds goes with the last reference; the struct
 * stays until the end, so that a reference too few is found by a check. */
typedef struct sim_inode {
    uint32_t reference_count; /* names, open files and pending changes of names */
    bool folder;
    buffer_t bytes;
    sim_change_t *changes; /* in order */
    size_t change_count;
    size_t change_capacity;
    struct sim_inode *next; /* of all that ever were */
} sim_inode_t;

typedef struct {
    char *path;
    sim_inode_t *inode;
} sim_entry_t;

typedef enum { SIM_NAME_CREATED, SIM_NAME_REMOVED, SIM_NAME_MOVED } sim_name_kind_t;

/* A change of names since the last sync of a folder that it touches. */
typedef struct {
    sim_name_kind_t kind;
    char *from; /* of a move; else NULL */
    char *path;
    sim_inode_t *inode;    /* that has, or had, the name */
    sim_inode_t *replaced; /* by a move; may be NULL */
} sim_name_change_t;

typedef struct {
    sim_entry_t *entries; /* by path */
    size_t entry_count;
    size_t entry_capacity;
    sim_name_change_t *names; /* pending, in order */
    size_t name_count;
    size_t name_capacity;
    sim_inode_t *inodes; /* all that ever were */
    uint64_t used_bytes;
    uint64_t lost_count;
    uint64_t torn_count;
    uint64_t undone_count;
} sim_files_t;

void sim_files_done(sim_files_t *self);

/* Without doubled and trailing slashes and without "./" in front; owned by the caller. All paths
 * below are of this form. */
char *sim_files_normal(const char *path);

/* NULL when there is none. */
sim_inode_t *sim_files_lookup(const sim_files_t *self, const char *path);
bool sim_files_folder_exists(const sim_files_t *self, const char *folder);
bool sim_files_parent_exists(const sim_files_t *self, const char *path);
/* Whether path lies directly in folder. "." and "" are the root. */
bool sim_files_is_in(const char *path, const char *folder);

/* References to an inode; the last one that goes takes its bytes along. */
sim_inode_t *sim_files_keep(sim_inode_t *inode);
void sim_files_release(sim_files_t *self, sim_inode_t **inode_p);

/* Durable at once: a new, empty file or folder. */
sim_inode_t *sim_files_put(sim_files_t *self, const char *path, bool folder);
/* Pending until sim_files_sync_folder. */
sim_inode_t *sim_files_create(sim_files_t *self, const char *path);
void sim_files_move(sim_files_t *self, const char *from, const char *to);
void sim_files_remove(sim_files_t *self, const char *path);
void sim_files_sync_folder(sim_files_t *self, const char *folder);

/* Pending until sim_files_sync. */
void sim_files_write(
    sim_files_t *self, sim_inode_t *inode, uint64_t offset, const uint8_t *bytes, size_t size);
void sim_files_truncate(sim_files_t *self, sim_inode_t *inode, uint64_t size);
void sim_files_sync(sim_inode_t *inode);
/* Durable at once: these bytes and no others. */
void sim_files_replace(sim_files_t *self, sim_inode_t *inode, const void *bytes, size_t size);

/* All that is pending becomes durable, or meets its fate. in tearing  see sim_disk_set_tearing */
void sim_files_settle(sim_files_t *self);
/* Puts into `to`, which is empty, what a crash without tearing would leave of `self`. */
void sim_files_copy_synced(const sim_files_t *self, sim_files_t *to);
void sim_files_crash(sim_files_t *self, prng_t *prng, bool tearing);

/* Memory for one more item. */
void *sim_files_grow(void *items, size_t count, size_t *capacity, size_t item_size);

#endif
