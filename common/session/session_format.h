/* What the book of sessions writes into a checkpoint, byte by byte. Version 1. Numbers are
 * little-endian.
 *
 * One entry per session; its key is the session's id, 24 bytes. Its value:
 *
 *   0   1   version 1
 *   1   1   flags: 1 started, 2 closed, 4 closed for its age (only with 2)
 *   2   16  stamp of the start: wall i64 >= 0, logical u32, node u32; zero when not started
 *   18  16  stamp of the close; zero when not closed
 *   34  2   size of agent; 0 when not started, as meta
 *   36  2   size of meta
 *   38  4   origins
 *   42  4   signals
 *   46  -   agent, meta
 *
 * then each origin, a stream of the checkpoint's tenant and shard, in the order of
 * stream_id_compare:
 *   2   region u16
 *   8   incarnation u64, not 0
 *   4   intervals, 1..
 *   16  each: first session seq u64, last u64 (inclusive); rising, not touching
 * then each signal, in the order of (HLC, stream, session seq):
 *   16  stamp
 *   4   which of the origins, from 0
 *   4   session seq u32, one of that origin's
 *   8   event seq u64, not 0
 *   8   item u64, 8 ts i64, 8 weight f64, 1 signal u8, in the ranges of record.h
 *
 * Digest: the sum modulo 2^128, over all sessions, of XXH3_128 (seed 'S', low 64 bits first) over
 * key and value. */
#ifndef TIDAL_COMMON_SESSION_SESSION_FORMAT_H
#define TIDAL_COMMON_SESSION_SESSION_FORMAT_H

enum {
    SESSION_FORMAT_VERSION = 1,
    SESSION_FLAG_STARTED = 1,
    SESSION_FLAG_CLOSED = 2,
    SESSION_FLAG_AUTO = 4,
    SESSION_VALUE_HEAD_SIZE = 46,
    SESSION_VALUE_ORIGIN_SIZE = 14, /* without its intervals */
    SESSION_VALUE_INTERVAL_SIZE = 16,
    SESSION_VALUE_SIGNAL_SIZE = 57
};

#endif
