/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus-soak: a day of a busy node in a minute, and whether memory and disk stay what they were.
 *
 * A publisher with many pods, which come, change and go; a listener that decodes all it hears, and that is
 * closed and opened again now and then, so that last values are replayed; a recorder beside it, whose files
 * are bounded. Both buses in one process and one loop, so that its resident memory is that of all of them. It
 * is read when a tenth of the messages is through, and must not have grown by more than --growth from there
 * to the end.
 */
#include <czmq.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/options.h"
#include "proto/proto.h"
#include "tools/alkaidctl/recorder.h"

#define PODS        500
#define BURST       500 /* messages that are on their way at most */
#define FILE_BYTES  (256 * 1024)
#define FILES       3
#define SAMPLES     20
#define REOPEN_PART 10 /* the listener is closed and opened so many times */

struct config {
        uint64_t messages, growth;
};

static const struct ak_option table[] = {
    {"messages", AK_OPT_UINT, offsetof(struct config, messages), "1000000", "messages in all", NULL, 10000,
     UINT64_C(10000000000)},
    {"growth", AK_OPT_SIZE, offsetof(struct config, growth), "8Mi", "resident memory may grow by this much",
     NULL, 4096, UINT64_C(1) << 40},
};

static const struct ak_program program = {
    "bus-soak", "Publishes and receives a million messages and looks at memory and disk.", NULL, table,
    AK_ARRAY_SIZE(table)};

struct soak {
        const struct config *config;
        zloop_t *loop;
        char dir[32], path[48];
        struct ak_bus *publisher, *listener;
        struct ctl_recorder *recorder;
        uint64_t serial[PODS]; /* of the pod that has this place now */
        uint64_t sent, got, replayed, serials, reopened, random;
        uint64_t sample_at, rss[SAMPLES];
        size_t samples;
        const char *failure;
};

static uint64_t next_random(struct soak *s)
{
        s->random ^= s->random << 13;
        s->random ^= s->random >> 7;
        s->random ^= s->random << 17;
        return s->random;
}

/* The second number of statm; 0 where it cannot be read. */
static uint64_t resident_bytes(void)
{
        char line[256] = "";
        FILE *file = fopen("/proc/self/statm", "re");
        const char *second = file && fgets(line, sizeof(line), file) ? strchr(line, ' ') : NULL;
        uint64_t pages = second ? strtoull(second, NULL, 10) : 0;

        if (file)
                (void)fclose(file);
        return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int fail(struct soak *s, const char *why)
{
        if (!s->failure)
                s->failure = why;
        return -1;
}

/* ------------------------------------------------------------------ publishing */

static int say(struct soak *s, const struct ak_message *m, bool keep)
{
        AK_AUTOFREE uint8_t *body = NULL;
        char topic[AK_TOPIC_SIZE];
        size_t len;

        ak_message_topic(m, topic);
        if (ak_message_encode(m, &body, &len) < 0)
                return fail(s, "a message cannot be encoded");
        if (ak_bus_publish(s->publisher, topic, NULL, body, len, keep) < 0)
                return fail(s, "a message cannot be published");
        s->sent++;
        if (!keep)
                ak_bus_forget(s->publisher, topic);
        return 0;
}

static void fill_key(char *uid, size_t uid_size, char *port, size_t port_size, uint64_t serial)
{
        (void)snprintf(uid, uid_size, "%08" PRIx64 "-0000-4000-8000-000000000000", serial);
        (void)snprintf(port, port_size, "%08" PRIx64 "-1111-4000-8000-000000000000", serial);
}

/* Another state of one pod's NIC; one time in a hundred the pod goes, and another takes its place. */
static int step(struct soak *s)
{
        char addresses[AK_MAX_ADDRS][AK_LEN_CIDR + 1];
        size_t place = next_random(s) % PODS;
        struct ak_message m = {.type = ak_message_nic_diff};
        struct ak_nic_diff *d = &m.nic_diff;

        if (s->serial[place] == 0)
                s->serial[place] = ++s->serials;
        fill_key(d->pod_uid, sizeof(d->pod_uid), d->port_id, sizeof(d->port_id), s->serial[place]);
        d->generation = s->sent + 1;
        (void)snprintf(d->nic, sizeof(d->nic), "eth%u", (unsigned)(place % 16));
        (void)snprintf(d->pod_name, sizeof(d->pod_name), "pod-%" PRIu64, s->serial[place]);
        (void)snprintf(d->vpc, sizeof(d->vpc), "a-vpc-of-the-soak");
        d->addresses.count = (uint32_t)(next_random(s) % AK_MAX_ADDRS);
        d->addresses.items = addresses;
        for (uint32_t i = 0; i < d->addresses.count; i++)
                (void)snprintf(d->addresses.items[i], sizeof(d->addresses.items[i]), "10.0.%u.%u/24", i,
                               (unsigned)(next_random(s) % 256));
        if (next_random(s) % 100 == 0) {
                s->serial[place] = 0;
                return say(s, &m, false);
        }
        d->wanted = AK_NIC_WANTED_PRESENT;
        return say(s, &m, true);
}

/* ------------------------------------------------------------------ receiving */

static void on_message(void *arg, const struct ak_bus_frame *frame)
{
        struct soak *s = arg;
        AK_CLEANUP(ak_message_freep) struct ak_message *m = NULL;
        char error[AK_SCHEMA_ERROR_SIZE];

        if (ak_message_decode(frame->topic, frame->body, frame->body_len, &m, error) < 0)
                (void)fail(s, "a message cannot be decoded");
        if (ctl_recorder_take(s->recorder, frame, ak_clock_realtime_us(), ak_clock_monotonic_us()) < 0)
                (void)fail(s, "a message cannot be recorded");
        s->got += !frame->replayed;
        s->replayed += frame->replayed;
}

static void on_nothing(void *arg AK_UNUSED, const struct ak_bus_frame *frame AK_UNUSED)
{
}

static int open_listener(struct soak *s)
{
        const struct ak_bus_options options = {
            .dir = s->dir, .name = "listener", .mark_interval_us = 1000000};
        const struct ak_bus_handler handler = {.on_message = on_message, .arg = s};

        if (ak_bus_new(&s->listener, s->loop, &options, &handler) < 0 ||
            ak_bus_subscribe(s->listener, "publisher", "nic.diff/") < 0)
                return fail(s, "the listener's bus cannot be opened");
        return 0;
}

/* ------------------------------------------------------------------ the run */

static void sample(struct soak *s)
{
        if (s->sent < s->sample_at || s->samples == SAMPLES)
                return;
        s->rss[s->samples++] = resident_bytes();
        s->sample_at = s->config->messages * (s->samples + 1) / SAMPLES;
}

/* What was said while nobody listened is not on its way. */
static int reopen(struct soak *s)
{
        if (s->sent < s->config->messages * (s->reopened + 1) / REOPEN_PART)
                return 0;
        s->reopened++;
        s->listener = ak_bus_free(s->listener);
        s->got = s->sent;
        return open_listener(s);
}

/* The listener has subscribed to three prefixes each time that it was opened. */
static bool is_heard(const struct soak *s)
{
        struct ak_bus_stats stats;

        ak_bus_stats(s->publisher, &stats);
        return stats.subscriptions >= (s->reopened + 1) * 3;
}

static int on_tick(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg)
{
        struct soak *s = arg;

        sample(s);
        if (s->failure)
                return -1;
        if (s->got < s->sent || !is_heard(s))
                return 0;
        if (s->sent >= s->config->messages)
                return -1;
        if (reopen(s) < 0)
                return -1;
        for (int i = 0; i < BURST && is_heard(s); i++)
                if (step(s) < 0)
                        return -1;
        return 0;
}

static int run(struct soak *s)
{
        const struct ak_bus_options options = {
            .dir = s->dir, .name = "publisher", .mark_interval_us = 1000000};
        const struct ak_bus_handler handler = {.on_message = on_nothing};
        const struct ctl_recorder_options recorder = {
            .path = s->path, .node = "soak", .max_bytes = FILE_BYTES, .max_files = FILES};

        if (ak_bus_new(&s->publisher, s->loop, &options, &handler) < 0)
                return fail(s, "the publisher's bus cannot be opened");
        if (ctl_recorder_new(&s->recorder, &recorder) < 0)
                return fail(s, "the recorder's file cannot be made");
        if (open_listener(s) < 0)
                return -1;
        (void)zloop_timer(s->loop, 1, 0, on_tick, s);
        (void)zloop_start(s->loop);
        return s->failure ? -1 : 0;
}

/* ------------------------------------------------------------------ verdict */

static int check_memory(struct soak *s)
{
        uint64_t from = s->rss[SAMPLES / 10 - 1], most = 0;

        for (size_t i = SAMPLES / 10; i < s->samples; i++)
                most = s->rss[i] > most ? s->rss[i] : most;
        (void)printf("memory: %" PRIu64 " KiB after a tenth, %" PRIu64 " KiB at most from there\n",
                     from / 1024, most / 1024);
        if (from == 0 || s->samples < SAMPLES / 2)
                return fail(s, "memory could not be read");
        return most > from + s->config->growth ? fail(s, "memory has grown by more than --growth") : 0;
}

static int check_disk(struct soak *s)
{
        for (int i = 0; i <= FILES; i++) {
                char path[64];
                struct stat st;
                (void)snprintf(path, sizeof(path), i ? "%s.%d" : "%s", s->path, i);
                bool there = stat(path, &st) == 0;
                if (there != (i < FILES) || (there && st.st_size > FILE_BYTES))
                        return fail(s, "the recording has other files than it may have");
        }
        return 0;
}

static int verdict(struct soak *s)
{
        struct ak_bus_stats stats;

        ak_bus_stats(s->publisher, &stats);
        (void)printf("%" PRIu64 " messages of %" PRIu64 " pods, %" PRIu64
                     " replayed; %zu last values; %" PRIu64 " files of a recording\n",
                     s->sent, s->serials, s->replayed, stats.retained, ctl_recorder_parts(s->recorder));
        if (s->replayed == 0)
                return fail(s, "nothing was replayed: the listener was not opened again");
        if (stats.retained > PODS)
                return fail(s, "there are more last values than pods");
        return check_memory(s) < 0 || check_disk(s) < 0 ? -1 : 0;
}

static int soak(const struct config *config)
{
        struct soak s = {.config = config, .dir = "/tmp/bus-soak-XXXXXX", .random = 88172645463325252U};
        int r = -1;

        if (!mkdtemp(s.dir)) {
                perror("bus-soak: mkdtemp");
                return 1;
        }
        (void)snprintf(s.path, sizeof(s.path), "%s/capture", s.dir);
        s.loop = zloop_new();
        s.sample_at = config->messages / SAMPLES;
        if (run(&s) == 0)
                r = verdict(&s);
        if (s.failure)
                (void)fprintf(stderr, "bus-soak: %s\n", s.failure);
        ak_bus_free(s.listener);
        ak_bus_free(s.publisher);
        ctl_recorder_free(s.recorder);
        zloop_destroy(&s.loop);
        zdir_t *all = zdir_new(s.dir, NULL);
        zdir_remove(all, true);
        zdir_destroy(&all);
        return r < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
        struct config config = {0};
        int r = ak_options_load(&program, argc, argv, &config, NULL);

        if (r != 0)
                return r == AK_OPTIONS_DONE ? 0 : 2;
        ak_log_init("bus-soak", AK_LOG_ERROR);
        return soak(&config);
}
