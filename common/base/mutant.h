/* Rules that a build for mutation tests can break, one at a time, to show that
 * the tests would notice.
 *
 * In every other build MUTANT (x) is false, and nothing of this is compiled. In a build with
 * TIDAL_MUTANTS (preset `mutants`) the environment variable TIDAL_MUTANT names the rule to break.
 * scripts/mutants breaks each in turn and prints what killed it. */
#ifndef TIDAL_COMMON_BASE_MUTANT_H
#define TIDAL_COMMON_BASE_MUTANT_H

#include <stdbool.h>

/*  name, the rule that is broken */
#define MUTANT_LIST(X)                                                                         \
    X(SKIP_GAP_CHECK, "a batch that begins behind applied + 1 is applied")                     \
    X(SKIP_LOG_SYNC, "a write is acknowledged and shipped before its fsync")                   \
    X(CONFIRM_BEFORE_SYNC, "a receiver confirms and announces what it has not synced")         \
    X(APPLY_BEFORE_SYNC, "a node applies what it has logged before that is durable")           \
    X(SKIP_HASH_CHECK, "a batch whose BLAKE3 does not fit is believed")                        \
    X(F32_WEIGHTS, "weights lose what a 32-bit float cannot hold")                             \
    X(FORGET_DEDUP, "the pairs seen are not in the checkpoint")                                \
    X(FORGET_VECTOR, "the checkpoint's applied vector is one batch behind its state")          \
    X(DUPLICATE_ON_SIGHT, "a duplicate is answered before the logged copy meets the level")    \
    X(VOID_WRONG_COPY, "of two copies of a request the one that is to stay is voided")         \
    X(IGNORE_COPY_EPOCH, "of two copies of a request the HLC alone decides which one stays")   \
    X(NEVER_REISSUE, "a retry is answered with a copy that an unknown one may displace")       \
    X(ANSWER_FROM_BEFORE, "a leader answers for what waited through changes of leader")        \
    X(KEEP_BOTH_COPIES, "the second copy of a request counts as well")                         \
    X(VOID_KEEPS_COHORTS, "a voided copy of a request still counts for its cohorts")           \
    X(UNHIDE_WINS_TIES, "of hide and unhide with one HLC the unhide stays")                    \
    X(FORGET_AT_ONCE, "where copies lie is forgotten before a newcomer has met them all")      \
    X(STABLE_TOO_EARLY, "a floor is stable before what was originated below it is everywhere") \
    X(COUNT_ANY_EPOCH, "a confirmation under another epoch counts")                            \
    X(KEEP_INCARNATION, "a node whose log was lost goes on with its stream")                   \
    X(HLC_FORGETS, "stamps of others and of the log do not move the clock on")                 \
    X(REFUSE_FOR_TIME, "a logged record from the future is refused")                           \
    X(IGNORE_TOKEN, "a read does not wait for its token")                                      \
    X(SERVE_TOO_EARLY, "a node serves before it has replayed what its region's files hold")    \
    X(LEAD_TOO_EARLY, "a node that is named leader serves before its receiver knows of that")  \
    X(NEVER_COMPLETE, "what concerns all shards stays on those that the gateway reached")      \
    X(REPAIR_BY_MAJORITY, "replicas that agree with the majority are not held to their logs")  \
    X(NEVER_RESEND, "a shipper does not start again where a receiver asks it to")              \
    X(FORGET_SESSIONS, "sessions are not in the checkpoint")                                   \
    X(REPEAT_SESSION_SIGNAL, "a session signal whose number has come before is taken again")   \
    X(JOIN_AT_BASE, "logs are truncated below a base that still has pairs in them")            \
    X(BELIEVE_SNAPSHOT, "the state of a snapshot is not held against its digest")              \
    X(BELIEVE_CONFIRMATION, "what a region confirms ahead of the log is believed")             \
    X(EXCHANGE_TOO_EARLY, "a snapshot's state counts before the files reach its base")

#define MUTANT_ENUM(name, rule) MUTANT_##name,
typedef enum { MUTANT_NONE, MUTANT_LIST(MUTANT_ENUM) MUTANT_COUNT } mutant_t;
#undef MUTANT_ENUM

#ifdef TIDAL_MUTANTS
/* The one that the environment names; an unknown name is a CHECK. */
bool mutant_is(mutant_t mutant);
#define MUTANT(name) mutant_is(MUTANT_##name)
#else
#define MUTANT(name) false
#endif

#endif
