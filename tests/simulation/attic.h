/* What was truncated: every sealed and whole segment that some region's process unlinks goes here, so
 * that the ground truth knows what was logged although no log holds it any more. What is lost with a
 * disk does not. The segments of a stream are the same in all regions, which is held against them. */
#ifndef TIDAL_TESTS_SIMULATION_ATTIC_H
#define TIDAL_TESTS_SIMULATION_ATTIC_H

#include "tests/support/sim_disk.h"

/* The folder that stands for <data>/<region>. */
#define ATTIC_DATA_FOLDER "attic"
#define ATTIC_REGION_NAME "any"

typedef struct attic attic_t;

attic_t *attic_new(void);
void attic_destroy(attic_t **self_p);
/* From now on, until the disk's end. in disk  of a region */
void attic_watch(attic_t *self, sim_disk_t *disk);
/* To be read with the layout of a region's folder; borrowed. */
const disk_t *attic_disk(const attic_t *self);
uint64_t attic_segment_count(const attic_t *self);
/* Whether two regions unlinked different segments of one name. */
bool attic_has_conflict(const attic_t *self);

#endif
