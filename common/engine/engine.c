#include "common/engine/engine.h"

#include <stdio.h>

const char *engine_shard_topic(const char *topic,
                               shard_id_t shard,
                               char ret_topic[ENGINE_TOPIC_SIZE])
{
    (void)snprintf(ret_topic, ENGINE_TOPIC_SIZE, "%.3s.%04u", topic, (unsigned)shard.value);
    return ret_topic;
}
