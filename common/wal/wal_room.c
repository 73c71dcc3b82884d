#include "common/wal/wal_room.h"

#include "common/base/bounds.h"
#include "common/base/check.h"

void wal_room_init(wal_room_t *self, const disk_t *disk, const char *folder)
{
    CHECK(disk != NULL && folder != NULL);
    *self = (wal_room_t){.disk = disk, .folder = folder};
}

static bool s_ask(wal_room_t *self)
{
    uint64_t free_bytes = 0;
    if (self->disk->free_bytes(self->disk->context, self->folder, &free_bytes, NULL) != ERR_OK) {
        return false;
    }
    self->free_bytes = free_bytes;
    self->taken_bytes = 0;
    self->is_current = true;
    return true;
}

static bool s_fits(const wal_room_t *self, uint64_t size, uint64_t reserve)
{
    const uint64_t needed = size + reserve;
    CHECK(needed >= size);
    return self->taken_bytes <= self->free_bytes && self->free_bytes - self->taken_bytes >= needed;
}

/* Below that the last look is not trusted. */
static const uint64_t s_ample = UINT64_C(3) * WAL_DISK_RESERVE_SIZE;

bool wal_room_is_ample(const wal_room_t *self)
{
    return s_fits(self, 0, s_ample);
}

bool wal_room_has(wal_room_t *self, uint64_t size)
{
    return (self->is_current && s_fits(self, size, s_ample)) ||
           (s_ask(self) && s_fits(self, size, WAL_DISK_RESERVE_SIZE));
}

void wal_room_flushed(wal_room_t *self)
{
    self->is_current = false;
}

void wal_room_take(wal_room_t *self, uint64_t size)
{
    self->taken_bytes =
        self->taken_bytes > UINT64_MAX - size ? UINT64_MAX : self->taken_bytes + size;
}

bool wal_room_has_for_seal(wal_room_t *self)
{
    return s_ask(self) && s_fits(self, 0, WAL_DISK_RESERVE_SIZE / 2);
}
