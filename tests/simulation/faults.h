/* What goes wrong in a simulated mesh, and when: a plan drawn from a seed before the run begins.
 * Every fault ends by itself; after faults_end everything works again. */
#ifndef TIDAL_TESTS_SIMULATION_FAULTS_H
#define TIDAL_TESTS_SIMULATION_FAULTS_H

#include "tests/simulation/world.h"

/* Kind, name, how often it is drawn among all. */
#define FAULTS_LIST(X)                                                                            \
    X(KILL, "kill", 6) /* kill -9 of one process */                                               \
    X(POWER_CUT, "power cut",                                                                     \
      3) /* of a region, mostly in a write: what is unsynced is lost or torn */                   \
    X(PARTITION, "partition", 4)   /* two places, both directions: cut, drop or hold */           \
    X(ONE_WAY, "one way", 3)       /* one direction */                                            \
    X(ISOLATE, "isolate", 2)       /* a region from all other places */                           \
    X(FLAP, "flap", 2)             /* a link goes and comes every few hundred ms */               \
    X(NOISE, "noise", 5)           /* loss, duplication, reordering, delay on all links */        \
    X(DISK_FULL, "disk full", 1)   /* of a region */                                              \
    X(SYNC_FAILS, "sync fails", 1) /* one sync of a region's disk: that process ends */           \
    X(BIT_FLIP, "bit flip", 1)     /* in a replica's file */                                      \
    X(LOSE_DISK, "lose disk", 2)   /* a region's disk is replaced by an empty one; once a run */  \
    X(CLOCK, "clock", 2)           /* a place's wall clock jumps and runs at another rate */      \
    X(PROMOTE, "promote", 4)       /* another region is to lead a shard, by an operator's word */ \
    X(CONTROL_DOWN, "control down", 1)

#define FAULTS_ENUM(name, text, weight) FAULT_##name,
typedef enum { FAULTS_LIST(FAULTS_ENUM) FAULT_KIND_COUNT } fault_kind_t;
#undef FAULTS_ENUM

typedef struct {
    int64_t at_ns;
    fault_kind_t kind;
    uint64_t lot;        /* for all further choices */
    int64_t duration_ns; /* of what lasts */
    bool has_begun;
    bool has_ended;
    bool is_again; /* of a link that flaps: not for the first time */
} fault_t;

/* What faults do, told by whom they happen to: kind, and what is counted. */
#define FAULTS_EFFECTS(X)                  \
    X(LOST, "unsynced writes lost")        \
    X(TORN, "torn")                        \
    X(FLIPPED, "bits flipped")             \
    X(CUT, "writes cut by a full disk")    \
    X(REFUSED, "requests refused for one") \
    X(DROPPED, "messages dropped")         \
    X(DUPLICATED, "duplicated")            \
    X(REORDERED, "reordered")              \
    X(HELD, "held")                        \
    X(SEVERED, "lost on severed links")    \
    X(FLAPPED, "links severed again")      \
    X(KILLED, "processes killed")          \
    X(ENDED, "ended by themselves")        \
    X(PROMOTED, "changes of leader")

#define FAULTS_ENUM(name, text) FAULT_EFFECT_##name,
typedef enum { FAULTS_EFFECTS(FAULTS_ENUM) FAULT_EFFECT_COUNT } fault_effect_t;
#undef FAULTS_ENUM

enum { FAULTS_COUNT_MAX = 16 };

/* A bit that was flipped in a region's copy of a stream. */
typedef struct {
    region_id_t region;
    stream_id_t stream;
} fault_flip_t;

typedef struct {
    world_t *world;
    uint32_t flip_count; /* bits that are flipped, at most */
    bool has_flipped_base;
    uint64_t bit_count;      /* flipped so far */
    uint64_t held_count;     /* messages that waited when their link came back */
    uint64_t flap_count;     /* links severed again so far */
    uint64_t decision_count; /* of the control plane, at the beginning */
    uint32_t flipped_count;  /* copies so far */
    fault_flip_t flipped[FAULTS_COUNT_MAX];
    uint16_t lost_region; /* whose disk was lost; 0 nobody's yet */
    uint32_t count;
    fault_t list[FAULTS_COUNT_MAX];
    link_rule_t base[REGION_COUNT_MAX + 1][REGION_COUNT_MAX + 1]; /* of each link, without cuts */
    uint32_t blocked[REGION_COUNT_MAX + 1][REGION_COUNT_MAX + 1]; /* faults that block it now */
    link_mode_t mode[REGION_COUNT_MAX + 1][REGION_COUNT_MAX + 1]; /* how the latest one does */
} faults_t;

typedef struct {
    uint64_t seed;
    uint32_t count;
    int64_t duration_ns;
    bool keeps_disks; /* none is lost: islands acknowledge what only one disk has */
} faults_options_t;

/* Draws the plan: `count` faults over duration_ns from now. */
void faults_plan(faults_t *self, world_t *world, const faults_options_t *options);
/* Whether the plan has a region lose its disk: what was acknowledged as local may go with it. */
bool faults_lose_disk(const faults_t *self);
/* World time at which faults_act wants to be called; INT64_MAX: never again. */
int64_t faults_deadline_ns(const faults_t *self);
void faults_act(faults_t *self);
/* Ends everything: links pass, disks have room, clocks are right, every process runs. */
void faults_end(faults_t *self);
const char *fault_name(fault_kind_t kind);

/* Adds up what came of all faults. in refused  requests that were told DISK_FULL */
void faults_effects(const faults_t *self,
                    uint64_t refused,
                    uint64_t ret_effects[FAULT_EFFECT_COUNT]);
const char *fault_effect_name(fault_effect_t effect);

#endif
