/* Names and wire form of process addresses.
 *
 * Names stand in the Procfile, in log lines and on the command line: shard-us-east-0,
 * shipper-us-east, receiver-us-east, reconciler-us-east, gateway-us-east, control, proxy. */
#ifndef TIDAL_COMMON_TOPOLOGY_PROCESS_H
#define TIDAL_COMMON_TOPOLOGY_PROCESS_H

#include "common/base/bytes.h"
#include "common/topology/topology.h"

enum {
    /* "reconciler-", a region name, "-", five digits, zero byte: room for every address */
    PROCESS_NAME_SIZE = 11 + REGION_NAME_LENGTH_MAX + 1 + 5 + 1,
    PROCESS_FRAME_SIZE = 8
};

/* Writes the name and returns it. Never fails: a region that the topology does not have is written
 * as its number, a tool as "tool". */
const char *process_name(const topology_t *topology,
                         process_address_t address,
                         char ret_name[PROCESS_NAME_SIZE]);

/* The process of the topology that has this name. errs ERR_NOT_FOUND */
err_t process_parse(const topology_t *topology, const char *name, process_address_t *ret_address);

/* The kind in a word: "shard" "shipper" "receiver" "reconciler" "gateway" "control" "proxy" "tool";
 * lives for ever. */
const char *process_kind_name(process_kind_t kind);

/* The place of a process: its region, 0 for control plane and proxy. */
region_id_t process_place(process_address_t address);

/* The address frame: kind u8, zero u8, region u16, shard u16, zero u16, little-endian. */
void process_encode(process_address_t address, uint8_t ret_bytes[PROCESS_FRAME_SIZE]);
/* Accepts exactly what process_encode writes for a possible address. errs ERR_CORRUPT */
err_t process_decode(slice_t bytes, process_address_t *ret_address);

#endif
