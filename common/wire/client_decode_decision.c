/* Requests for decisions of the control plane: create_tenant, promote. */
#include "common/wire/client_fields.h"

static bool s_take_regions(client_decoder_t *self)
{
    pack_reader_t reader;
    client_request_t *request = &self->request;
    uint32_t count = 0;
    request->as.create_tenant.has_regions = client_has(&self->map, CLIENT_KEY_REGIONS);
    if (!request->as.create_tenant.has_regions) {
        return true;
    }
    if (!client_open_array(self, &self->map, CLIENT_KEY_REGIONS, REGION_COUNT_MAX, &count,
                           &reader)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        client_at_index(self, "regions", i);
        if (!client_next_text(self, &reader, "", 1, NAME_LENGTH_MAX,
                              &request->as.create_tenant.regions[i])) {
            return false;
        }
    }
    client_at(self, NULL);
    request->as.create_tenant.region_count = count;
    return true;
}

static bool s_decode_create_tenant(client_decoder_t *self)
{
    static const char *const s_policies[] = {"reject", "accept", NULL};
    uint8_t policy = 0;
    if (!client_need(self, &self->map, CLIENT_KEY_TENANT) || !s_take_regions(self) ||
        !client_take_choice(self, &self->map, CLIENT_KEY_ISLAND, s_policies, &policy)) {
        return false;
    }
    self->request.as.create_tenant.accepts_islands = policy == 1;
    return true;
}

static bool s_decode_promote(client_decoder_t *self)
{
    const client_map_t *map = &self->map;
    uint32_t shard = 0;
    if (!client_need(self, map, CLIENT_KEY_SHARD) || !client_need(self, map, CLIENT_KEY_REGION) ||
        !client_take_u32(self, map, CLIENT_KEY_SHARD, 0, SHARD_COUNT_MAX - 1, &shard) ||
        !client_take_text(self, map, CLIENT_KEY_REGION, 1, NAME_LENGTH_MAX,
                          &self->request.as.promote.region)) {
        return false;
    }
    self->request.as.promote.shard = (shard_id_t){(uint16_t)shard};
    return true;
}

bool client_decode_decision(client_decoder_t *self)
{
    if (self->request.op == CLIENT_OP_CREATE_TENANT) {
        return s_decode_create_tenant(self);
    }
    return self->request.op != CLIENT_OP_PROMOTE || s_decode_promote(self);
}
