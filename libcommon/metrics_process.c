/* SPDX-License-Identifier: Apache-2.0 */
/* Sources: proc(5), /proc/self/statm and /proc/self/fd; clock_gettime(2). */
#include "libcommon/metrics_process.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

enum { RESIDENT, VIRTUAL, CPU, FDS, MAX_FDS, START, COUNT };

static const struct ak_metric_spec specs[COUNT] = {
    [RESIDENT] = {.name = "process_resident_memory_bytes", .help = "Resident memory.", .kind = AK_GAUGE},
    [VIRTUAL] = {.name = "process_virtual_memory_bytes", .help = "Virtual memory.", .kind = AK_GAUGE},
    [CPU] = {.name = "process_cpu_seconds_total", .help = "User and system CPU time.", .kind = AK_COUNTER},
    [FDS] = {.name = "process_open_fds", .help = "Open descriptors.", .kind = AK_GAUGE},
    [MAX_FDS] = {.name = "process_max_fds", .help = "Descriptors that may be open.", .kind = AK_GAUGE},
    [START] = {.name = "process_start_time_seconds", .help = "Start, since the epoch.", .kind = AK_GAUGE},
};
static const struct ak_metric_spec build_spec = {.name = "alkaid_build_info",
                                                 .help = "What runs here; always 1.",
                                                 .kind = AK_GAUGE,
                                                 .labels = {"service", "version", "node"}};

struct ak_process_metrics {
        struct ak_metrics *registry;
        struct ak_metric *items[COUNT];
};

/* "SIZE RESIDENT …" in pages */
static void collect_memory(struct ak_process_metrics *p)
{
        double page = (double)sysconf(_SC_PAGESIZE);
        char line[256], *end = NULL;
        FILE *file = fopen("/proc/self/statm", "re");

        if (!file)
                return;
        if (fgets(line, sizeof(line), file)) {
                ak_metric_set(p->items[VIRTUAL], NULL, strtod(line, &end) * page);
                ak_metric_set(p->items[RESIDENT], NULL, strtod(end, NULL) * page);
        }
        (void)fclose(file);
}

static void collect_fds(struct ak_process_metrics *p)
{
        struct rlimit limit;
        size_t count = 0;
        DIR *dir = opendir("/proc/self/fd");

        if (dir) {
                while (readdir(dir))
                        count++;
                (void)closedir(dir);
                /* without ".", ".." and the directory itself */
                ak_metric_set(p->items[FDS], NULL, (double)(count - 3));
        }
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
                ak_metric_set(p->items[MAX_FDS], NULL, (double)limit.rlim_cur);
}

static double seconds_of(clockid_t clock)
{
        struct timespec t = {0};

        (void)clock_gettime(clock, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void collect(void *arg)
{
        struct ak_process_metrics *p = arg;

        collect_memory(p);
        collect_fds(p);
        ak_metric_set(p->items[CPU], NULL, seconds_of(CLOCK_PROCESS_CPUTIME_ID));
}

int ak_process_metrics_new(struct ak_process_metrics **out, struct ak_metrics *metrics, const char *service,
                           const char *node)
{
        struct ak_process_metrics *p = calloc(1, sizeof(*p));

        if (!p)
                return -ENOMEM;
        p->registry = metrics;
        for (size_t i = 0; i < COUNT; i++)
                p->items[i] = ak_metrics_register(metrics, &specs[i]);
        ak_metric_set(ak_metrics_register(metrics, &build_spec),
                      AK_LABELS(service, ALKAID_VERSION, node ? node : ""), 1);
        ak_metric_set(p->items[START], NULL, seconds_of(CLOCK_REALTIME));
        (void)ak_metrics_on_collect(metrics, collect, p);
        *out = p;
        return 0;
}

struct ak_process_metrics *ak_process_metrics_free(struct ak_process_metrics *p)
{
        if (!p)
                return NULL;
        ak_metrics_end_collect(p->registry, p);
        free(p);
        return NULL;
}
