#include "common/session/session_id.h"

#include "common/base/bounds.h"
#include "common/base/check.h"

#include <blake3.h>

session_id_t session_id_derive(tenant_id_t tenant, user_id_t user, slice_t producer, uint64_t seq)
{
    static const char s_domain[] = "tidalmesh session 1";
    CHECK(user.value != 0);
    CHECK(producer.size >= 1 && producer.size <= PRODUCER_SIZE_MAX);
    uint8_t numbers[17];
    uint8_t end[8];
    session_id_t id = {{0}};
    bytes_put_u64(numbers, tenant.value);
    bytes_put_u64(numbers + 8, user.value);
    numbers[16] = (uint8_t)producer.size;
    bytes_put_u64(end, seq);
    bytes_put_u64(id.bytes, user.value);
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, s_domain, sizeof(s_domain) - 1);
    blake3_hasher_update(&hasher, numbers, sizeof(numbers));
    blake3_hasher_update(&hasher, producer.data, producer.size);
    blake3_hasher_update(&hasher, end, sizeof(end));
    blake3_hasher_finalize(&hasher, id.bytes + SESSION_ID_USER_SIZE,
                           SESSION_ID_SIZE - SESSION_ID_USER_SIZE);
    return id;
}

session_id_t session_id_make(user_id_t user, const uint64_t random[2])
{
    CHECK(user.value != 0);
    session_id_t id = {{0}};
    bytes_put_u64(id.bytes, user.value);
    bytes_put_u64(id.bytes + 8, random[0]);
    bytes_put_u64(id.bytes + 16, random[1]);
    return id;
}

user_id_t session_id_user(const session_id_t *self)
{
    return (user_id_t){bytes_get_u64(self->bytes)};
}
