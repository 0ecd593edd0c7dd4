/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the apiserver does per second and how fast watchers hear of it: durable PATCHes of 1, 16 and 64
 * clients, the time from sending a PATCH until 1, 100 and 1,000 watchers have its event, the server's memory
 * with 10,000 pods. All over HTTPS with client certificates, from one process: at 1,000 watchers, reading and
 * decrypting a thousand events is part of what is measured.
 */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "libcommon/cleanup.h"
#include "libcommon/clock.h"
#include "libcommon/kube/kubeconfig.h"
#include "libcommon/options.h"

#define MAX_CLIENTS  64
#define MAX_WATCHERS 1000
#define MAX_SAMPLES  200000
#define PODS_PER_VPC 200
#define WATCH_STEP   50
#define PODS         "/api/v1/namespaces/default/pods"

struct config {
        char *pki_dir;
        uint64_t pid, seconds, rounds, pods, watchers;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }
static const struct ak_option options[] = {
    OPTION("pki-dir", AK_OPT_STRING, pki_dir, .def = "/var/lib/alkaid/apiserver/pki",
           .help = "where the server keeps its certificates"),
    OPTION("pid", AK_OPT_UINT, pid, .help = "the server's process, for its memory", .min = 1, .max = 1 << 30),
    OPTION("seconds", AK_OPT_UINT, seconds, .def = "5", .help = "of each round of PATCHes", .min = 1,
           .max = 600),
    OPTION("rounds", AK_OPT_UINT, rounds, .def = "50", .help = "PATCHes that watchers wait for", .min = 1,
           .max = 200),
    OPTION("pods", AK_OPT_UINT, pods, .def = "10000", .help = "pods to have in the end", .min = 64,
           .max = 100000),
    OPTION("watchers", AK_OPT_UINT, watchers, .def = "1000", .help = "the most watchers", .min = 1,
           .max = MAX_WATCHERS),
};
static const struct ak_program program = {.name = "bench-api",
                                          .summary = "Measures an apiserver that runs.",
                                          .options = options,
                                          .option_count = AK_ARRAY_SIZE(options)};

struct client {
        struct bench *bench;
        CURL *easy;
        char body[700], url[300];
        unsigned int pod, turn;
        uint64_t sent_us;
};

struct watcher {
        struct bench *bench;
        CURL *easy;
        char tail[64]; /* the end of the last block: a mark may lie across two */
        bool seen;
};

struct bench {
        const struct config *config;
        struct ak_kubeconfig kube;
        CURLM *multi;
        struct curl_slist *json, *merge;
        struct client clients[MAX_CLIENTS];
        struct watcher watchers[MAX_WATCHERS];
        size_t watching, seen;
        char mark[32];
        uint64_t mark_us;
        uint32_t *samples; /* microseconds */
        size_t sample_count, failures;
};

static size_t discard(char *data, size_t size, size_t n, void *arg)
{
        (void)data;
        (void)arg;
        return size * n;
}

static void set_file(const struct bench *b, CURL *easy, CURLoption option, const char *name)
{
        char path[400];

        (void)snprintf(path, sizeof(path), "%s/%s", b->config->pki_dir, name);
        (void)curl_easy_setopt(easy, option, path);
}

static CURL *new_easy(const struct bench *b)
{
        CURL *easy = curl_easy_init();

        if (!easy)
                exit(1);
        (void)curl_easy_setopt(easy, CURLOPT_CAPATH,
                               NULL); /* else the system's hundreds are read, each time */
        set_file(b, easy, CURLOPT_CAINFO, "ca.crt");
        set_file(b, easy, CURLOPT_SSLCERT, "admin.crt");
        set_file(b, easy, CURLOPT_SSLKEY, "admin.key");
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, discard);
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        return easy;
}

static void sample(struct bench *b, uint64_t since_us)
{
        if (b->sample_count < MAX_SAMPLES)
                b->samples[b->sample_count++] = (uint32_t)(ak_clock_monotonic_us() - since_us);
}

static int by_value(const void *a, const void *b)
{
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return x < y ? -1 : x > y;
}

/* In milliseconds; sorts. */
static double percentile(struct bench *b, unsigned int percent)
{
        if (!b->sample_count)
                return 0;
        qsort(b->samples, b->sample_count, sizeof(*b->samples), by_value);
        return b->samples[(b->sample_count - 1) * percent / 100] / 1000.0;
}

/* ---- clients ---- */

static void start(struct client *c)
{
        curl_easy_setopt(c->easy, CURLOPT_URL, c->url);
        curl_easy_setopt(c->easy, CURLOPT_COPYPOSTFIELDS, c->body);
        curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
        c->sent_us = ak_clock_monotonic_us();
        (void)curl_multi_add_handle(c->bench->multi, c->easy);
}

static void send_patch(struct client *c)
{
        curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, "PATCH");
        curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->bench->merge);
        (void)snprintf(c->url, sizeof(c->url), "%s" PODS "/p%u", c->bench->kube.server, c->pod);
        (void)snprintf(c->body, sizeof(c->body), "{\"metadata\":{\"annotations\":{\"n\":\"%u-%u-%llu\"}}}",
                       c->pod, ++c->turn, (unsigned long long)c->sent_us);
        start(c);
}

static void send_pod(struct client *c, unsigned int number)
{
        curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, "POST");
        curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->bench->json);
        (void)snprintf(c->url, sizeof(c->url), "%s" PODS, c->bench->kube.server);
        (void)snprintf(
            c->body, sizeof(c->body),
            "{\"metadata\":{\"name\":\"p%u\"},\"spec\":{\"vpc\":\"v%u\",\"nics\":[{\"name\":\"eth0\"}],"
            "\"virtualMachine\":{\"name\":\"vm\",\"image\":\"images.test/vm.qcow2\",\"resources\":"
            "{\"limits\":{\"cpu\":\"1\",\"memory\":\"200Mi\"}}}}}",
            number, number / PODS_PER_VPC);
        start(c);
}

/* With a node, or the server tries to schedule every pod again at each change. */
static void send_node(struct client *c)
{
        curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, "POST");
        curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->bench->json);
        (void)snprintf(c->url, sizeof(c->url), "%s/api/v1/nodes", c->bench->kube.server);
        (void)snprintf(c->body, sizeof(c->body),
                       "{\"metadata\":{\"name\":\"n1\"},\"status\":{\"conditions\":[{\"type\":\"Ready\","
                       "\"status\":\"True\"}]}}");
        start(c);
}

/* The client whose request has ended, NULL when none has within 10 ms. */
static struct client *finished(struct bench *b)
{
        int running, left;
        CURLMsg *message;
        char *private = NULL;
        long code = 0;

        (void)curl_multi_perform(b->multi, &running);
        message = curl_multi_info_read(b->multi, &left);
        if (!message) {
                (void)curl_multi_poll(b->multi, NULL, 0, 10, NULL);
                return NULL;
        }
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &code);
        if (message->data.result != CURLE_OK || code >= 300) {
                (void)fprintf(stderr, "bench-api: a request failed: %s, status %ld\n",
                              curl_easy_strerror(message->data.result), code);
                b->failures++;
        }
        (void)curl_multi_remove_handle(b->multi, message->easy_handle);
        return (struct client *)(void *)private;
}

static void create_pods(struct bench *b, unsigned int from, unsigned int to)
{
        unsigned int next = from, under_way = 0;

        for (size_t i = 0; i < MAX_CLIENTS && next < to; i++, under_way++)
                send_pod(&b->clients[i], next++);
        while (under_way > 0) {
                struct client *c = finished(b);

                if (!c)
                        continue;
                if (next < to)
                        send_pod(c, next++);
                else
                        under_way--;
        }
}

static void measure_patches(struct bench *b, unsigned int count)
{
        uint64_t begin_us = ak_clock_monotonic_us(), end_us = begin_us + b->config->seconds * 1000000;
        unsigned int under_way = count;
        double seconds;

        b->sample_count = 0;
        for (unsigned int i = 0; i < count; i++)
                send_patch(&b->clients[i]);
        while (under_way > 0) {
                struct client *c = finished(b);

                if (!c)
                        continue;
                sample(b, c->sent_us);
                if (ak_clock_monotonic_us() < end_us)
                        send_patch(c);
                else
                        under_way--;
        }
        seconds = (double)(ak_clock_monotonic_us() - begin_us) / 1e6;
        (void)printf("patch, %4u clients:  %7.0f /s   p50 %7.2f ms   p99 %7.2f ms\n", count,
                     (double)b->sample_count / seconds, percentile(b, 50), percentile(b, 99));
        (void)fflush(stdout);
}

/* ---- watchers ---- */

static size_t on_events(char *data, size_t size, size_t n, void *arg)
{
        struct watcher *w = arg;
        size_t len = size * n, keep = len < sizeof(w->tail) - 1 ? len : sizeof(w->tail) - 1;
        char edge[2 * sizeof(w->tail)];
        size_t edge_len = (size_t)snprintf(edge, sizeof(edge), "%s%.*s", w->tail, (int)keep, data);
        const char *mark = w->bench->mark;

        if (!w->seen &&
            (memmem(data, len, mark, strlen(mark)) || memmem(edge, edge_len, mark, strlen(mark)))) {
                w->seen = true;
                w->bench->seen++;
                sample(w->bench, w->bench->mark_us);
        }
        (void)snprintf(w->tail, sizeof(w->tail), "%.*s", (int)keep, data + len - keep);
        return len;
}

static void watch_more(struct bench *b, size_t count)
{
        char url[300];

        (void)snprintf(url, sizeof(url),
                       "%s" PODS "?watch=1&fieldSelector=metadata.name%%3Dp0&timeoutSeconds=600",
                       b->kube.server);
        for (; b->watching < count; b->watching++) {
                struct watcher *w = &b->watchers[b->watching];

                *w = (struct watcher){.bench = b, .easy = new_easy(b)};
                curl_easy_setopt(w->easy, CURLOPT_URL, url);
                curl_easy_setopt(w->easy, CURLOPT_WRITEFUNCTION, on_events);
                curl_easy_setopt(w->easy, CURLOPT_WRITEDATA, w);
                (void)curl_multi_add_handle(b->multi, w->easy);
        }
}

/* One PATCH, until each watcher has seen it; false after ten seconds. */
static bool round_trip(struct bench *b)
{
        uint64_t limit_us = ak_clock_monotonic_us() + 10 * 1000000;
        struct client *c = &b->clients[0];
        bool answered = false;

        for (size_t i = 0; i < b->watching; i++)
                b->watchers[i].seen = false;
        b->seen = 0;
        (void)snprintf(b->mark, sizeof(b->mark), "\"n\":\"0-%u-", c->turn + 1);
        b->mark_us = ak_clock_monotonic_us();
        send_patch(c);
        while ((!answered || b->seen < b->watching) && ak_clock_monotonic_us() < limit_us)
                answered = finished(b) || answered;
        return answered && b->seen == b->watching;
}

/* In steps, so that those who connect are served before their time to show who they are has run out. */
static bool have_watchers(struct bench *b, size_t count)
{
        bool ready = b->watching == count;

        while (b->watching < count) {
                size_t step = b->watching + WATCH_STEP;

                watch_more(b, step < count ? step : count);
                ready = false;
                for (int i = 0; i < 10 && !ready; i++)
                        ready = round_trip(b);
                if (!ready)
                        break;
        }
        return ready;
}

static void measure_watches(struct bench *b, size_t count)
{
        if (!have_watchers(b, count)) {
                (void)printf("watch, %zu watchers: only %zu were served\n", b->watching, b->seen);
                b->failures++;
                return;
        }
        b->sample_count = 0;
        for (uint64_t i = 0; i < b->config->rounds; i++)
                b->failures += !round_trip(b);
        (void)printf("watch, %4zu watchers: p50 %7.2f ms   p99 %7.2f ms from sending the PATCH\n", count,
                     percentile(b, 50), percentile(b, 99));
        (void)fflush(stdout);
}

static void report_memory(const struct bench *b, const char *when)
{
        char path[64], line[256];
        long kb = 0;
        FILE *file;

        if (!b->config->pid)
                return;
        (void)snprintf(path, sizeof(path), "/proc/%llu/status", (unsigned long long)b->config->pid);
        file = fopen(path, "re");
        while (file && fgets(line, sizeof(line), file))
                (void)sscanf(line, "VmRSS: %ld", &kb);
        if (file)
                (void)fclose(file);
        (void)printf("memory, %s: %.1f MB resident\n", when, (double)kb / 1024);
        (void)fflush(stdout);
}

/* ---- all of it ---- */

static void measure(struct bench *b)
{
        static const unsigned int clients[] = {1, 16, 64};
        const size_t watchers[] = {1, 100, MAX_WATCHERS};
        char when[64];

        report_memory(b, "empty");
        send_node(&b->clients[0]);
        while (!finished(b))
                ;
        create_pods(b, 0, MAX_CLIENTS);
        if (b->failures)
                return;
        for (size_t i = 0; i < AK_ARRAY_SIZE(clients); i++)
                measure_patches(b, clients[i]);
        create_pods(b, MAX_CLIENTS, (unsigned int)b->config->pods);
        (void)snprintf(when, sizeof(when), "%llu pods and as many ports",
                       (unsigned long long)b->config->pods);
        report_memory(b, when);
        for (size_t i = 0; i < AK_ARRAY_SIZE(watchers); i++)
                measure_watches(b, watchers[i] < b->config->watchers ? watchers[i] : b->config->watchers);
        report_memory(b, "with the watchers");
}

static void open_clients(struct bench *b)
{
        b->multi = curl_multi_init();
        b->json = curl_slist_append(NULL, "Content-Type: application/json");
        b->merge = curl_slist_append(NULL, "Content-Type: application/merge-patch+json");
        b->samples = calloc(MAX_SAMPLES, sizeof(*b->samples));
        if (!b->multi || !b->json || !b->merge || !b->samples)
                exit(1);
        (void)curl_multi_setopt(b->multi, CURLMOPT_MAXCONNECTS, (long)MAX_WATCHERS + MAX_CLIENTS);
        for (unsigned int i = 0; i < MAX_CLIENTS; i++)
                b->clients[i] = (struct client){.bench = b, .easy = new_easy(b), .pod = i};
}

static void close_clients(struct bench *b)
{
        for (size_t i = 0; i < MAX_CLIENTS; i++)
                curl_easy_cleanup(b->clients[i].easy);
        for (size_t i = 0; i < b->watching; i++) {
                (void)curl_multi_remove_handle(b->multi, b->watchers[i].easy);
                curl_easy_cleanup(b->watchers[i].easy);
        }
        (void)curl_multi_cleanup(b->multi);
        curl_slist_free_all(b->json);
        curl_slist_free_all(b->merge);
        free(b->samples);
        ak_kubeconfig_deinit(&b->kube);
}

int main(int argc, char **argv)
{
        static struct bench b;
        struct config config = {0};
        struct rlimit files = {.rlim_cur = 4096, .rlim_max = 4096};
        char path[400], error[AK_KUBECONFIG_ERROR_SIZE] = "";
        int rc = ak_options_load(&program, argc, argv, &config, NULL);

        if (rc != 0)
                return rc < 0 ? 2 : 0;
        b.config = &config;
        (void)snprintf(path, sizeof(path), "%s/admin.kubeconfig", config.pki_dir);
        if (ak_kubeconfig_load(&b.kube, path, NULL, error) < 0) {
                (void)fprintf(stderr, "bench-api: %s\n", error);
                return 2;
        }
        (void)setrlimit(RLIMIT_NOFILE, &files);
        (void)curl_global_init(CURL_GLOBAL_ALL);
        open_clients(&b);
        measure(&b);
        if (b.failures)
                (void)fprintf(stderr, "bench-api: %zu requests failed\n", b.failures);
        close_clients(&b);
        ak_options_deinit(&program, &config);
        return b.failures ? 1 : 0;
}
