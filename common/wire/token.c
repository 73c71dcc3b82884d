/* Tokens are sorted lists; merging, covering and dropping are walks along two of them. */
#include "common/wire/token.h"

#include "common/base/check.h"
#include "common/base/varint.h"

static_assert(TOKEN_STREAM_SIZE_MIN == 1 + 1 + 8 + 1, "shard, region, incarnation, seq");

static void s_invariant(const token_t *self)
{
    CHECK(self->count <= TOKEN_STREAM_COUNT_MAX);
}

void token_clear(token_t *self)
{
    self->count = 0;
    self->hlc_ns = 0;
}

void token_add_stamp(token_t *self, hlc_stamp_t stamp)
{
    CHECK(stamp.wall_ns >= 0);
    if (stamp.wall_ns < INT64_MAX && stamp.wall_ns >= self->hlc_ns) {
        self->hlc_ns = stamp.wall_ns + 1;
    }
}

/* Where the stream stands, or would stand. */
static uint32_t s_lower_bound(const token_t *self, const stream_id_t *stream)
{
    uint32_t first = 0;
    uint32_t end = self->count;
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        if (stream_id_compare(self->positions[middle].stream, *stream) < 0) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    return first;
}

err_t token_add(token_t *self, stream_id_t stream, uint64_t seq)
{
    s_invariant(self);
    CHECK(seq >= 1);
    uint32_t at = s_lower_bound(self, &stream);
    if (at < self->count && stream_id_equal(self->positions[at].stream, stream)) {
        if (self->positions[at].seq < seq) {
            self->positions[at].seq = seq;
        }
        return ERR_OK;
    }
    if (self->count == TOKEN_STREAM_COUNT_MAX) {
        return ERR_TOO_LARGE;
    }
    memmove(&self->positions[at + 1], &self->positions[at],
            (self->count - at) * sizeof(self->positions[0]));
    self->positions[at] = (stream_position_t){stream, seq};
    self->count++;
    return ERR_OK;
}

/* Streams of `other` that self does not have. */
static uint32_t s_count_new(const token_t *self, const token_t *other)
{
    uint32_t count = 0;
    uint32_t mine = 0;
    for (uint32_t i = 0; i < other->count; i++) {
        const stream_id_t *stream = &other->positions[i].stream;
        while (mine < self->count && stream_id_compare(self->positions[mine].stream, *stream) < 0) {
            mine++;
        }
        bool has = mine < self->count && stream_id_equal(self->positions[mine].stream, *stream);
        count += has ? 0 : 1;
    }
    return count;
}

err_t token_merge(token_t *self, const token_t *other)
{
    s_invariant(self);
    s_invariant(other);
    uint32_t added = s_count_new(self, other);
    if (added > TOKEN_STREAM_COUNT_MAX - self->count) {
        return ERR_TOO_LARGE;
    }
    self->hlc_ns = other->hlc_ns > self->hlc_ns ? other->hlc_ns : self->hlc_ns;
    /* From the end, so that nothing is overwritten before it was moved. */
    uint32_t mine = self->count;
    uint32_t theirs = other->count;
    uint32_t to = self->count + added;
    self->count = to;
    while (theirs > 0) {
        const stream_position_t *position = &other->positions[theirs - 1];
        int order =
            mine == 0 ? -1 : stream_id_compare(self->positions[mine - 1].stream, position->stream);
        to--;
        self->positions[to] = order < 0 ? *position : self->positions[mine - 1];
        if (order == 0 && self->positions[to].seq < position->seq) {
            self->positions[to].seq = position->seq;
        }
        mine -= order >= 0 ? 1 : 0;
        theirs -= order <= 0 ? 1 : 0;
    }
    CHECK(to == mine);
    return ERR_OK;
}

void token_keep_shard(token_t *self, tenant_id_t tenant, shard_id_t shard)
{
    s_invariant(self);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        stream_position_t position = self->positions[i];
        if (position.stream.tenant.value == tenant.value &&
            position.stream.origin.shard.value == shard.value) {
            self->positions[kept++] = position;
        }
    }
    self->count = kept;
}

/* Moves *at_p to the stream's place in a sorted list. ret its seq, 0 when it is not there */
static uint64_t s_seq_of(const stream_position_t *list,
                         uint32_t count,
                         uint32_t *at_p,
                         const stream_id_t *stream)
{
    while (*at_p < count && stream_id_compare(list[*at_p].stream, *stream) < 0) {
        (*at_p)++;
    }
    bool has = *at_p < count && stream_id_equal(list[*at_p].stream, *stream);
    return has ? list[*at_p].seq : 0;
}

void token_drop_stable(token_t *self, const stream_position_t *stable, uint32_t stable_count)
{
    s_invariant(self);
    uint32_t kept = 0;
    uint32_t at = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        stream_position_t position = self->positions[i];
        if (s_seq_of(stable, stable_count, &at, &position.stream) < position.seq) {
            self->positions[kept++] = position;
        }
    }
    self->count = kept;
}

bool token_is_covered(const token_t *self, const stream_position_t *applied, uint32_t applied_count)
{
    s_invariant(self);
    uint32_t at = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        const stream_position_t *position = &self->positions[i];
        if (s_seq_of(applied, applied_count, &at, &position->stream) < position->seq) {
            return false;
        }
    }
    return true;
}

/* -- bytes ------------------------------------------------------------------------------------- */

static void s_put_varint(buffer_t *out, uint64_t number)
{
    uint8_t bytes[VARINT_SIZE_MAX];
    buffer_append(out, bytes, (size_t)(varint_put(bytes, number) - bytes));
}

/* Streams of the group that begins at `first`. */
static uint32_t s_group_count(const token_t *self, uint32_t first)
{
    uint32_t end = first;
    while (end < self->count &&
           self->positions[end].stream.tenant.value == self->positions[first].stream.tenant.value) {
        end++;
    }
    return end - first;
}

err_t token_encode(const token_t *self, buffer_t *out)
{
    s_invariant(self);
    size_t begin = out->size;
    uint64_t tenant = 0;
    uint32_t group_left = 0;
    *buffer_extend(out, 1) = self->hlc_ns > 0 ? TOKEN_VERSION_STAMPED : TOKEN_VERSION;
    if (self->hlc_ns > 0) {
        s_put_varint(out, (uint64_t)self->hlc_ns);
    }
    for (uint32_t i = 0; i < self->count && out->size - begin <= TOKEN_SIZE_MAX; i++) {
        const stream_position_t *position = &self->positions[i];
        if (group_left == 0) {
            group_left = s_group_count(self, i);
            s_put_varint(out, position->stream.tenant.value - tenant);
            s_put_varint(out, group_left);
            tenant = position->stream.tenant.value;
        }
        group_left--;
        uint8_t *at = buffer_extend(out, TOKEN_STREAM_SIZE_MIN - 1);
        at[0] = (uint8_t)position->stream.origin.shard.value;
        at[1] = (uint8_t)position->stream.origin.region.value;
        bytes_put_u64(at + 2, position->stream.incarnation);
        s_put_varint(out, position->seq);
    }
    if (out->size - begin > TOKEN_SIZE_MAX) {
        out->size = begin;
        return ERR_TOO_LARGE;
    }
    return ERR_OK;
}

static bool s_take_varint(slice_t *left, uint64_t *ret_number)
{
    const uint8_t *at = left->data;
    const uint8_t *end = left->data + left->size;
    bool taken = varint_take(&at, end, ret_number);
    *left = slice_make(at, (size_t)(end - at));
    return taken;
}

/* ret NULL: one stream was read; else what was expected */
static const char *s_take_stream(slice_t *left, uint64_t tenant, stream_position_t *ret_position)
{
    if (left->size < TOKEN_STREAM_SIZE_MIN) {
        return "a stream";
    }
    stream_position_t position = {.stream = {.tenant = {tenant}}};
    position.stream.origin.shard.value = left->data[0];
    position.stream.origin.region.value = left->data[1];
    position.stream.incarnation = bytes_get_u64(left->data + 2);
    *left = slice_make(left->data + TOKEN_STREAM_SIZE_MIN - 1,
                       left->size - (TOKEN_STREAM_SIZE_MIN - 1));
    if (position.stream.origin.shard.value >= SHARD_COUNT_MAX) {
        return "a shard of the mesh";
    }
    if (position.stream.origin.region.value == 0 ||
        position.stream.origin.region.value > REGION_COUNT_MAX) {
        return "a region of the mesh";
    }
    if (position.stream.incarnation == 0) {
        return "an incarnation that is not 0";
    }
    if (!s_take_varint(left, &position.seq) || position.seq == 0) {
        return "a seq that is not 0";
    }
    *ret_position = position;
    return NULL;
}

/* One group of streams of one tenant. ret NULL: it was read; else what was expected */
static const char *s_take_group(token_t *self, slice_t *left)
{
    uint64_t step;
    uint64_t count;
    uint64_t before = self->count == 0 ? 0 : self->positions[self->count - 1].stream.tenant.value;
    if (!s_take_varint(left, &step) || step == 0 || step > UINT64_MAX - before) {
        return "a tenant";
    }
    if (!s_take_varint(left, &count) || count == 0 || count > left->size) {
        return "a count of streams";
    }
    for (uint64_t i = 0; i < count; i++) {
        stream_position_t *position = &self->positions[self->count];
        const char *expected = s_take_stream(left, before + step, position);
        if (expected != NULL) {
            return expected;
        }
        if (i > 0 && stream_id_compare(position[-1].stream, position->stream) >= 0) {
            return "streams in ascending order";
        }
        self->count++;
    }
    return NULL;
}

err_t token_decode(token_t *self, slice_t bytes, errbuf_t *errbuf)
{
    token_clear(self);
    if (bytes.size == 0) {
        return ERR_OK;
    }
    if (bytes.size > TOKEN_SIZE_MAX) {
        errbuf_set(errbuf, "token: expected at most %d bytes, found %zu", TOKEN_SIZE_MAX,
                   bytes.size);
        return ERR_INVALID;
    }
    if (bytes.data[0] != TOKEN_VERSION && bytes.data[0] != TOKEN_VERSION_STAMPED) {
        errbuf_set(errbuf, "token: expected version %d or %d, found %u", TOKEN_VERSION,
                   TOKEN_VERSION_STAMPED, bytes.data[0]);
        return ERR_INVALID;
    }
    slice_t left = slice_make(bytes.data + 1, bytes.size - 1);
    uint64_t hlc_ns = 0;
    if (bytes.data[0] == TOKEN_VERSION_STAMPED &&
        (!s_take_varint(&left, &hlc_ns) || hlc_ns == 0 || hlc_ns > INT64_MAX)) {
        errbuf_set(errbuf,
                   "token: expected a stamp behind version %d, found other bytes: send a "
                   "token as a reply gave it",
                   TOKEN_VERSION_STAMPED);
        return ERR_INVALID;
    }
    self->hlc_ns = (int64_t)hlc_ns;
    while (left.size > 0) {
        const char *expected = s_take_group(self, &left);
        if (expected != NULL) {
            errbuf_set(errbuf,
                       "token: expected %s before byte %zu of %zu, found other bytes: send a token "
                       "as a reply gave it",
                       expected, bytes.size - left.size, bytes.size);
            token_clear(self);
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}
