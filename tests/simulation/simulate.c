/* Runs simulated histories of a mesh, one per seed, on as many processes as are asked for, and
 * prints for each failure the seed, the commit, what was violated, and the line that replays it.
 *
 *   simulate --seeds 1..3000 [--seconds N] [--jobs N] [--events N] [--regions N] [--shards N]
 *   simulate --seed 17 [--verbose]      one, with its plan and its trace hash
 *   simulate --seeds 1..20 --hashes     a line per seed: to compare compilers and flags
 *   --stop                              end at the first failure
 *   --effects                           fail when a kind of fault has had no effect in any of them
 *
 * Exit status 0 when every history held, 1 when one did not, 2 for wrong arguments. A history that
 * ends its process (a broken CHECK) is a failure like any other: the rest goes on. */
#include "common/base/check.h"
#include "tests/simulation/run.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { S_JOB_COUNT_MAX = 64, S_FAILURE_COUNT_MAX = 20, S_EXIT_USAGE = 2 };

/* What a worker tells; shared with the parent. */
typedef struct {
    uint64_t seed; /* under way */
    bool is_running;
    uint64_t done;
    uint64_t failed;
    uint64_t events;
    uint64_t steps;
    uint64_t void_batches;
    uint64_t duplicates;
    uint64_t compared;
    uint64_t truncating; /* histories that truncated something */
    uint64_t snapshots;
    uint64_t effects[FAULT_EFFECT_COUNT];
    int64_t peace_ms_max;
} s_worker_t;

typedef struct {
    uint64_t first;
    uint64_t last;
    uint64_t seconds; /* 0: no limit */
    uint32_t jobs;
    bool is_verbose;
    bool with_hashes;
    bool stops; /* at the first failure */
    bool wants_effects;
    run_options_t form;
    const char *program;
} s_options_t;

static int64_t s_clock_ms(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void s_report(const s_options_t *options, uint64_t seed, const char *what)
{
    const char *commit = getenv("TIDAL_COMMIT"); /* one thread. NOLINT(concurrency-mt-unsafe) */
    (void)printf("FAILED seed %" PRIu64 " commit %s: %s\n  replay: %s --seed %" PRIu64
                 " --events %u --regions %u --shards %u --verbose\n",
                 seed, commit == NULL ? "unknown" : commit, what, options->program, seed,
                 options->form.event_count, (unsigned)options->form.region_count,
                 (unsigned)options->form.shard_count);
    (void)fflush(stdout);
}

static void s_run_one(const s_options_t *options, s_worker_t *worker, uint64_t seed)
{
    run_options_t form = options->form;
    form.seed = seed;
    form.is_verbose = options->is_verbose;
    run_result_t result;
    worker->seed = seed;
    worker->is_running = true;
    run_history(&form, &result);
    worker->is_running = false;
    worker->done++;
    worker->failed += result.is_ok ? 0 : 1;
    worker->events += result.event_count;
    worker->steps += result.step_count;
    worker->void_batches += result.truth.void_batches;
    worker->duplicates += result.clients.duplicates;
    worker->compared += result.clients.compared;
    worker->truncating += result.truncated_count > 0 ? 1 : 0;
    worker->snapshots += result.snapshot_count;
    for (uint32_t i = 0; i < FAULT_EFFECT_COUNT; i++) {
        worker->effects[i] += result.effects[i];
    }
    worker->peace_ms_max =
        result.peace_ms > worker->peace_ms_max ? result.peace_ms : worker->peace_ms_max;
    if (!result.is_ok) {
        s_report(options, seed, result.text);
    }
    if (options->with_hashes) {
        (void)printf("seed %" PRIu64 " trace %016" PRIx64 "\n", seed, result.trace_hash);
        (void)fflush(stdout);
    }
    if (options->is_verbose) {
        (void)printf("seed %" PRIu64 ": %s, %u events, %" PRIu64 " requests sent %" PRIu64
                     " times, %" PRIu64 " acknowledged (%" PRIu64 " as duplicates), %" PRIu64
                     " batches (%" PRIu64 " void), %" PRIu64 " steps, at rest after %" PRId64
                     " ms, trace %016" PRIx64 "\n",
                     seed, result.is_ok ? "ok" : "FAILED", result.event_count,
                     result.clients.requests, result.clients.sent, result.clients.acked,
                     result.clients.duplicates, result.truth.batches, result.truth.void_batches,
                     result.step_count, result.peace_ms, result.trace_hash);
    }
}

static uint64_t s_failed(const s_worker_t *workers, uint32_t count)
{
    uint64_t failed = 0;
    for (uint32_t i = 0; i < count; i++) {
        failed += workers[i].failed;
    }
    return failed;
}

/* Every jobs-th seed from `from` on, until the last one or the time is over. */
static void s_work(const s_options_t *options, s_worker_t *worker, uint64_t from, int64_t until_ms)
{
    const s_worker_t *workers = worker - (from - options->first) % options->jobs;
    for (uint64_t seed = from; seed <= options->last; seed += options->jobs) {
        if (until_ms != 0 && s_clock_ms() >= until_ms) {
            return;
        }
        if (options->stops && s_failed(workers, options->jobs) > 0) {
            return;
        }
        s_run_one(options, worker, seed);
    }
}

static pid_t s_begin(const s_options_t *options,
                     s_worker_t *worker,
                     uint64_t from,
                     int64_t until_ms)
{
    (void)fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        s_work(options, worker, from, until_ms);
        (void)fflush(stdout);
        _exit(0);
    }
    return child;
}

/* A worker that broke off has failed its seed; another one goes on behind it. */
static pid_t s_review(const s_options_t *options, s_worker_t *worker, int status, int64_t until_ms)
{
    if (!worker->is_running) {
        return 0;
    }
    char text[64];
    (void)snprintf(text, sizeof(text), "the process ended with %s %d",
                   WIFSIGNALED(status) ? "signal" : "status",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    s_report(options, worker->seed, text);
    worker->is_running = false;
    worker->done++;
    worker->failed++;
    return s_begin(options, worker, worker->seed + options->jobs, until_ms);
}

/* One line of what the faults of all histories did. Returns how many kinds did nothing. */
static uint32_t s_tell_effects(const s_worker_t *workers, uint32_t count)
{
    uint32_t without = 0;
    for (uint32_t i = 0; i < FAULT_EFFECT_COUNT; i++) {
        uint64_t sum = 0;
        for (uint32_t k = 0; k < count; k++) {
            sum += workers[k].effects[i];
        }
        without += sum == 0 ? 1 : 0;
        (void)printf("%s%" PRIu64 " %s", i == 0 ? "faults: " : ", ", sum,
                     fault_effect_name((fault_effect_t)i));
    }
    (void)printf("\n");
    return without;
}

static int s_summarize(const s_options_t *options, const s_worker_t *workers, int64_t took_ms)
{
    s_worker_t sum = {0};
    for (uint32_t i = 0; i < options->jobs; i++) {
        sum.done += workers[i].done;
        sum.failed += workers[i].failed;
        sum.events += workers[i].events;
        sum.steps += workers[i].steps;
        sum.void_batches += workers[i].void_batches;
        sum.duplicates += workers[i].duplicates;
        sum.compared += workers[i].compared;
        sum.truncating += workers[i].truncating;
        sum.snapshots += workers[i].snapshots;
        if (workers[i].peace_ms_max > sum.peace_ms_max) {
            sum.peace_ms_max = workers[i].peace_ms_max;
        }
    }
    double minutes = (double)(took_ms == 0 ? 1 : took_ms) / 60000.0;
    (void)printf("%" PRIu64 " histories (%" PRIu64 " events, %" PRIu64 " steps, %" PRIu64
                 " second copies voided, %" PRIu64 " duplicates answered, %" PRIu64
                 " further answers compared, %" PRIu64 " with truncated logs, %" PRIu64
                 " snapshots taken) in %.1f s: %.0f per "
                 "minute; at rest %" PRId64 " ms after the last fault at most\n",
                 sum.done, sum.events, sum.steps, sum.void_batches, sum.duplicates, sum.compared,
                 sum.truncating, sum.snapshots, (double)took_ms / 1000.0,
                 (double)sum.done / minutes, sum.peace_ms_max);
    uint32_t without = s_tell_effects(workers, options->jobs);
    if (options->wants_effects && without > 0) {
        (void)printf("FAILED: %u kinds of faults had no effect: expected more than 0 of each\n",
                     without);
    }
    (void)printf("%" PRIu64 " held, %" PRIu64 " FAILED\n", sum.done - sum.failed, sum.failed);
    return sum.failed == 0 && !(options->wants_effects && without > 0) ? 0 : 1;
}

/* Memory that parent and workers share: POSIX has no anonymous one. Zeroed. */
static s_worker_t *s_shared_workers(void)
{
    char name[] = "/tmp/tidal-simulate-XXXXXX";
    int file = mkstemp(name);
    CHECK(file >= 0);
    (void)unlink(name);
    size_t size = sizeof(s_worker_t) * S_JOB_COUNT_MAX;
    int status = ftruncate(file, (off_t)size);
    CHECK(status == 0);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    CHECK(memory != MAP_FAILED);
    (void)close(file);
    return memory;
}

static int s_run_all(const s_options_t *options)
{
    s_worker_t *workers = s_shared_workers();
    int64_t started_ms = s_clock_ms();
    int64_t until_ms = options->seconds == 0 ? 0 : started_ms + (int64_t)options->seconds * 1000;
    pid_t pids[S_JOB_COUNT_MAX] = {0};
    uint32_t running = 0;
    for (uint32_t i = 0; i < options->jobs; i++) {
        pids[i] = s_begin(options, &workers[i], options->first + i, until_ms);
        running++;
    }
    while (running > 0) {
        int status = 0;
        pid_t ended = waitpid(-1, &status, 0);
        CHECK(ended > 0 || errno == EINTR);
        uint32_t i = 0;
        while (ended > 0 && pids[i] != ended) {
            i++;
            CHECK(i < options->jobs);
        }
        if (ended > 0) {
            bool is_enough = s_failed(workers, options->jobs) >= S_FAILURE_COUNT_MAX;
            pids[i] = s_review(options, &workers[i], status, is_enough ? 1 : until_ms);
            running -= pids[i] == 0 ? 1 : 0;
        }
    }
    int status = s_summarize(options, workers, s_clock_ms() - started_ms);
    (void)munmap(workers, sizeof(s_worker_t) * S_JOB_COUNT_MAX);
    return status;
}

/* -- arguments --------------------------------------------------------------------------------- */

static bool s_number(const char *text, uint64_t max, uint64_t *ret_number)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number > max || text[0] == '-') {
        return false;
    }
    *ret_number = number;
    return true;
}

static bool s_range(const char *text, s_options_t *options)
{
    char copy[64];
    const char *dots = strstr(text, "..");
    if (dots == NULL || (size_t)(dots - text) >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text, (size_t)(dots - text));
    copy[dots - text] = '\0';
    return s_number(copy, UINT64_MAX - 1, &options->first) &&
           s_number(dots + 2, UINT64_MAX - S_JOB_COUNT_MAX, &options->last) &&
           options->first <= options->last;
}

static int s_usage(const char *program)
{
    (void)fprintf(stderr,
                  "expected: %s --seeds FIRST..LAST | --seed N [--seconds N] [--jobs 1..%d] "
                  "[--events N] [--regions N] [--shards N] [--hashes] [--verbose] [--stop] "
                  "[--effects]\n",
                  program, S_JOB_COUNT_MAX);
    return S_EXIT_USAGE;
}

static bool s_take(int option, s_options_t *options)
{
    uint64_t number = 0;
    switch (option) {
    case 'S':
        return s_range(optarg, options);
    case 's':
        options->jobs = 1;
        options->is_verbose = true;
        return s_number(optarg, UINT64_MAX - S_JOB_COUNT_MAX, &options->first) &&
               s_number(optarg, UINT64_MAX - S_JOB_COUNT_MAX, &options->last);
    case 't':
        return s_number(optarg, 1000000, &options->seconds);
    case 'j':
        options->jobs = s_number(optarg, S_JOB_COUNT_MAX, &number) ? (uint32_t)number : 0;
        return options->jobs > 0;
    case 'e':
        options->form.event_count = s_number(optarg, 900000, &number) ? (uint32_t)number : 0;
        return options->form.event_count > 0;
    case 'r':
        options->form.region_count = s_number(optarg, 8, &number) ? (uint16_t)number : 0;
        return options->form.region_count > 0;
    case 'n':
        options->form.shard_count = s_number(optarg, 16, &number) ? (uint16_t)number : 0;
        return options->form.shard_count > 0;
    case 'h':
        options->with_hashes = true;
        return true;
    case 'v':
        options->is_verbose = true;
        return true;
    case 'p':
        options->stops = true;
        return true;
    case 'f':
        options->wants_effects = true;
        return true;
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option s_long[] = {
        {"seeds", required_argument, NULL, 'S'},   {"seed", required_argument, NULL, 's'},
        {"seconds", required_argument, NULL, 't'}, {"jobs", required_argument, NULL, 'j'},
        {"events", required_argument, NULL, 'e'},  {"regions", required_argument, NULL, 'r'},
        {"shards", required_argument, NULL, 'n'},  {"hashes", no_argument, NULL, 'h'},
        {"verbose", no_argument, NULL, 'v'},       {"stop", no_argument, NULL, 'p'},
        {"effects", no_argument, NULL, 'f'},       {NULL, 0, NULL, 0},
    };
    s_options_t options = {.jobs = 2, .form = run_options(0), .program = argv[0]};
    int option = 0;
    /* There is one thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while ((option = getopt_long(argc, argv, "", s_long, NULL)) != -1) {
        if (!s_take(option, &options)) {
            return s_usage(argv[0]);
        }
    }
    if (options.last == 0 || optind != argc) {
        return s_usage(argv[0]);
    }
    return s_run_all(&options);
}
