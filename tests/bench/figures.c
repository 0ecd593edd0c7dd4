/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/figures.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libcommon/clock.h"

int samples_init(struct samples *s, size_t capacity)
{
        *s = (struct samples){.items = calloc(capacity, sizeof(*s->items)), .capacity = capacity};
        return s->items ? 0 : -ENOMEM;
}

void samples_deinit(struct samples *s)
{
        free(s->items);
        *s = (struct samples){0};
}

void samples_add(struct samples *s, uint64_t since_us)
{
        if (s->count < s->capacity)
                s->items[s->count++] = (uint32_t)(ak_clock_monotonic_us() - since_us);
}

static int by_value(const void *a, const void *b)
{
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return x < y ? -1 : x > y;
}

double samples_percentile(struct samples *s, unsigned int percent)
{
        size_t at;

        if (!s->count)
                return 0;
        qsort(s->items, s->count, sizeof(*s->items), by_value);
        at = (s->count - 1) * percent / 100;
        return (double)s->items[at] / 1000;
}

void figure_say(bool json, const char *what, const char *unit, double value)
{
        if (json)
                (void)printf("{\"figure\":\"%s\",\"unit\":\"%s\",\"value\":%.3f}\n", what, unit, value);
        else
                (void)printf("%-58s %12.1f %s\n", what, value, unit);
        (void)fflush(stdout);
}

void figure_say_samples(bool json, const char *what, struct samples *s)
{
        double median = samples_percentile(s, 50), p95 = samples_percentile(s, 95);
        double p99 = samples_percentile(s, 99);

        if (json)
                (void)printf("{\"figure\":\"%s\",\"unit\":\"ms\",\"median\":%.3f,\"p95\":%.3f,\"p99\":%.3f,"
                             "\"samples\":%zu}\n",
                             what, median, p95, p99, s->count);
        else
                (void)printf("%-58s median %.2f, p95 %.2f, p99 %.2f ms (%zu)\n", what, median, p95, p99,
                             s->count);
        (void)fflush(stdout);
        s->count = 0;
}

double process_cpu_us(uint64_t pid)
{
        struct timespec t = {0};
        clockid_t clock;

        if (!pid || clock_getcpuclockid((pid_t)pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
                return 0;
        return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

double process_memory(uint64_t pid)
{
        char path[64], line[256];
        long kb = 0;
        FILE *file;

        (void)snprintf(path, sizeof(path), "/proc/%llu/status", (unsigned long long)pid);
        file = pid ? fopen(path, "re") : NULL;
        if (!file)
                return 0;
        while (fgets(line, sizeof(line), file)) {
                if (strncmp(line, "VmRSS:", 6) == 0)
                        kb = strtol(line + 6, NULL, 10);
        }
        (void)fclose(file);
        return (double)kb / 1024;
}
