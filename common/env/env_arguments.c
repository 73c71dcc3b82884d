#include "common/env/env_arguments.h"

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/topology/process.h"

#include <getopt.h>

const char *env_arguments_help(void)
{
    return "  --topology FILE  the mesh: places, ports, settings (topology/README.md)\n"
           "  --data FOLDER    where all processes of the mesh keep their files\n"
           "  --name NAME      which process of the topology this is, such as shard-us-east-0\n"
           "  --region REGION  instead of a name: its region\n"
           "  --shard NUMBER   and its shard\n"
           "  --help           this text\n"
           "Environment: TIDAL_LOG=debug|info|warning|error\n"
           "Exit status: 0 stopped by a signal; 78 the configuration or the disk must be mended "
           "first;\n1 anything else.\n";
}

typedef enum {
    OPTION_TOPOLOGY = 1,
    OPTION_DATA,
    OPTION_NAME,
    OPTION_REGION,
    OPTION_SHARD,
    OPTION_HELP
} option_t;

static const struct option s_options[] = {
    {"topology", required_argument, NULL, OPTION_TOPOLOGY},
    {"data", required_argument, NULL, OPTION_DATA},
    {"name", required_argument, NULL, OPTION_NAME},
    {"region", required_argument, NULL, OPTION_REGION},
    {"shard", required_argument, NULL, OPTION_SHARD},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static void s_take(env_arguments_t *self, option_t option, const char *value)
{
    switch (option) {
    case OPTION_TOPOLOGY:
        self->topology_path = value;
        break;
    case OPTION_DATA:
        self->data_path = value;
        break;
    case OPTION_NAME:
        self->name = value;
        break;
    case OPTION_REGION:
        self->region = value;
        break;
    case OPTION_SHARD:
        self->shard = value;
        break;
    case OPTION_HELP:
        self->wants_help = true;
        break;
    }
}

static err_t s_check(const env_arguments_t *self, errbuf_t *errbuf)
{
    if (self->topology_path == NULL || self->data_path == NULL) {
        errbuf_set(errbuf, "expected --topology FILE and --data FOLDER, found no %s",
                   self->topology_path == NULL ? "--topology" : "--data");
        return ERR_INVALID;
    }
    if (self->data_path[0] == '\0') {
        errbuf_set(errbuf, "--data: expected a folder, found an empty text");
        return ERR_INVALID;
    }
    return ERR_OK;
}

err_t env_arguments_parse(int argc, char **argv, env_arguments_t *ret_arguments, errbuf_t *errbuf)
{
    env_arguments_t self = {.wants_help = false};
    opterr = 0;
    optind = 0; /* glibc: from the start, also a second time */
    for (;;) {
        int at = optind > 0 ? optind : 1;
        /* One thread yet. NOLINTNEXTLINE(concurrency-mt-unsafe) */
        int option = getopt_long(argc, argv, ":", s_options, NULL);
        if (option == -1) {
            break;
        }
        if (option == '?' || option == ':') {
            errbuf_set(errbuf, "argument %s: %s; see --help", argv[at],
                       option == ':' ? "expected a value after it" : "unknown or ambiguous");
            return ERR_INVALID;
        }
        s_take(&self, (option_t)option, optarg);
    }
    if (optind < argc) {
        errbuf_set(errbuf, "argument %s: expected options only; see --help", argv[optind]);
        return ERR_INVALID;
    }
    err_t err = self.wants_help ? ERR_OK : s_check(&self, errbuf);
    if (err == ERR_OK) {
        *ret_arguments = self;
    }
    return err;
}

/* Address by region and shard. */
static err_t s_address_by_place(const env_arguments_t *self,
                                const topology_t *topology,
                                process_kind_t kind,
                                process_address_t *ret_address,
                                errbuf_t *errbuf)
{
    process_address_t address = {.kind = kind};
    if (kind != PROCESS_CONTROL && kind != PROCESS_PROXY) {
        const topology_region_t *region =
            self->region != NULL ? topology_find_region_name(topology, self->region) : NULL;
        if (region == NULL) {
            errbuf_set(errbuf,
                       "expected --name, or --region with a region of the topology, found %s",
                       self->region != NULL ? self->region : "neither");
            return ERR_INVALID;
        }
        address.region = region->id;
    }
    if (kind == PROCESS_NODE) {
        uint64_t shard = 0;
        uint64_t last = topology->shard_count - 1;
        if (self->shard == NULL || text_to_u64(self->shard, 0, last, &shard) != ERR_OK) {
            errbuf_set(errbuf, "--shard: expected 0..%u, found %s", (unsigned)last,
                       self->shard != NULL ? self->shard : "nothing");
            return ERR_INVALID;
        }
        address.shard.value = (uint16_t)shard;
    }
    if (!topology_has_process(topology, address)) {
        errbuf_set(errbuf, "this topology has no %s", process_kind_name(kind));
        return ERR_INVALID;
    }
    *ret_address = address;
    return ERR_OK;
}

err_t env_arguments_address(const env_arguments_t *self,
                            const topology_t *topology,
                            process_kind_t kind,
                            process_address_t *ret_address,
                            errbuf_t *errbuf)
{
    if (self->name == NULL) {
        return s_address_by_place(self, topology, kind, ret_address, errbuf);
    }
    process_address_t address;
    if (process_parse(topology, self->name, &address) != ERR_OK) {
        errbuf_set(errbuf, "--name: expected a process of the topology, found %s", self->name);
        return ERR_INVALID;
    }
    if (address.kind != kind) {
        errbuf_set(errbuf, "--name: expected a %s, for which this program is, found %s (a %s)",
                   process_kind_name(kind), self->name, process_kind_name(address.kind));
        return ERR_INVALID;
    }
    if (self->region != NULL || self->shard != NULL) {
        errbuf_set(errbuf, "expected --name alone, or --region and --shard, found both");
        return ERR_INVALID;
    }
    *ret_address = address;
    return ERR_OK;
}
