#include "common/wal/wal_handover.h"

#include "common/wal/wal_mark.h"

static const wal_mark_t s_mark = {"handed-over", "the region's receiver writes this stream\n"};

err_t wal_handover_find(const disk_t *disk,
                        const char *folder,
                        bool *ret_is_marked,
                        errbuf_t *errbuf)
{
    return wal_mark_find(disk, folder, s_mark, ret_is_marked, errbuf);
}

err_t wal_handover_mark(const disk_t *disk, const char *folder, errbuf_t *errbuf)
{
    return wal_mark_make(disk, folder, s_mark, errbuf);
}
