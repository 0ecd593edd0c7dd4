/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the apiserver does per second and how fast watchers hear of it: durable PATCHes of 1, 16 and 64
 * clients, the time from sending a PATCH until 1, 100 and 1,000 watchers have its event, the server's memory
 * with 10,000 pods; all over HTTPS with client certificates. Beside each figure its floor, measured in the
 * same run: writes to the disk, libmicrohttpd that answers a constant, a loop that sends to as many TLS
 * connections. And the processor time of the server, which does not depend on who else is on the machine.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/clock.h"
#include "libcommon/options.h"
#include "tests/bench/figures.h"
#include "tests/bench/floor.h"
#include "tests/bench/wire.h"

#define MAX_CLIENTS  64
#define MAX_WATCHERS 1000
#define MAX_SAMPLES  400000
#define PODS_PER_VPC 200
#define WATCH_STEP   50
#define FLOOR_BODY   2000 /* about a pod */
#define ROUND_US     UINT64_C(10000000)
#define PODS         "/api/v1/namespaces/default/pods"

struct config {
        char *pki_dir;
        uint64_t pid, seconds, rounds, pods, watchers;
        bool json;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }
static const struct ak_option options[] = {
    OPTION("pki-dir", AK_OPT_STRING, pki_dir, .def = "/var/lib/alkaid/apiserver/pki",
           .help = "where the server keeps its certificates"),
    OPTION("pid", AK_OPT_UINT, pid, .help = "the server's process, for its memory and processor time",
           .min = 1, .max = 1 << 30),
    OPTION("seconds", AK_OPT_UINT, seconds, .def = "5", .help = "of each round of PATCHes", .min = 1,
           .max = 600),
    OPTION("rounds", AK_OPT_UINT, rounds, .def = "50", .help = "PATCHes that watchers wait for", .min = 1,
           .max = 200),
    OPTION("pods", AK_OPT_UINT, pods, .def = "10000", .help = "pods to have in the end", .min = 64,
           .max = 100000),
    OPTION("watchers", AK_OPT_UINT, watchers, .def = "1000", .help = "the most watchers", .min = 1,
           .max = MAX_WATCHERS),
    OPTION("json", AK_OPT_BOOL, json, .help = "print a line of JSON for each figure"),
};
static const struct ak_program program = {.name = "bench-api",
                                          .summary = "Measures an apiserver that runs.",
                                          .options = options,
                                          .option_count = AK_ARRAY_SIZE(options)};

struct client {
        struct bench *bench;
        struct wire_conn *conn;
        unsigned int pod, turn;
        uint64_t sent_us;
};

struct watcher {
        struct bench *bench;
        struct wire_conn *conn;
        char tail[64]; /* the end of the last block: a mark may lie across two */
        size_t tail_len;
        bool seen;
};

struct bench {
        const struct config *config;
        struct wire *wire;
        char host[WIRE_HOST], port[WIRE_PORT];
        struct client clients[MAX_CLIENTS];
        struct watcher watchers[MAX_WATCHERS];
        size_t watching, seen, finished;
        bool own_pods; /* each watcher watches a pod of its own */
        /* The next thing to do when a client's answer is in: false = nothing more. */
        bool (*next)(struct client *c);
        unsigned int next_pod, last_pod;
        uint64_t end_us;
        char mark[40];
        uint64_t mark_us;
        struct samples samples;
        size_t failures;
};

/* ---- figures ---- */

static void say(const struct bench *b, const char *what, const char *unit, double value)
{
        figure_say(b->config->json, what, unit, value);
}

/* How often in these seconds, how long each took, and what of it was the processor's (0 = not known). */
static void say_rate(struct bench *b, const char *what, double seconds, double cpu_us)
{
        char text[100];
        size_t count = b->samples.count;

        say(b, what, "/s", (double)count / seconds);
        (void)snprintf(text, sizeof(text), "%s: answered", what);
        figure_say_samples(b->config->json, text, &b->samples);
        (void)snprintf(text, sizeof(text), "%s: processor time of each", what);
        if (cpu_us > 0 && count > 0)
                say(b, text, "us", cpu_us / (double)count);
}

static void say_delivery(struct bench *b, const char *what, size_t watchers, double cpu_us)
{
        char text[100];

        (void)snprintf(text, sizeof(text), "%s, %zu watchers", what, watchers);
        figure_say_samples(b->config->json, text, &b->samples);
        (void)snprintf(text, sizeof(text), "%s, %zu watchers: processor time of each", what, watchers);
        if (cpu_us > 0)
                say(b, text, "us", cpu_us);
}

/* ---- requests ---- */

static void on_answer(struct wire_conn *conn, int code)
{
        struct client *c = conn->arg;
        struct bench *b = c->bench;

        if (b->next) /* a PATCH that watchers wait for counts when they have it */
                samples_add(&b->samples, c->sent_us);
        if (code < 200 || code >= 300) {
                (void)fprintf(stderr, "bench-api: a request failed: status %d\n", code);
                b->failures++;
        }
        if (!b->next || !b->next(c))
                b->finished++;
}

static void send_request(struct client *c, const char *method, const char *path, const char *type,
                         const char *body)
{
        c->sent_us = ak_clock_monotonic_us();
        wire_request(c->conn, method, path, type, body);
}

static void send_patch(struct client *c)
{
        char path[100], body[200];

        (void)snprintf(path, sizeof(path), PODS "/p%u", c->pod);
        (void)snprintf(body, sizeof(body), "{\"metadata\":{\"annotations\":{\"n\":\"%u-%u-\"}}}", c->pod,
                       ++c->turn);
        send_request(c, "PATCH", path, "merge-patch+json", body);
}

static void send_pod(struct client *c, unsigned int number)
{
        char body[600];

        (void)snprintf(
            body, sizeof(body),
            "{\"metadata\":{\"name\":\"p%u\"},\"spec\":{\"vpc\":\"v%u\",\"nics\":[{\"name\":\"eth0\"}],"
            "\"virtualMachine\":{\"name\":\"vm\",\"image\":\"images.test/vm.qcow2\",\"resources\":"
            "{\"limits\":{\"cpu\":\"1\",\"memory\":\"200Mi\"}}}}}",
            number, number / PODS_PER_VPC);
        send_request(c, "POST", PODS, "json", body);
}

static bool patch_again(struct client *c)
{
        if (ak_clock_monotonic_us() >= c->bench->end_us)
                return false;
        send_patch(c);
        return true;
}

static bool next_pod(struct client *c)
{
        struct bench *b = c->bench;

        if (b->next_pod >= b->last_pod)
                return false;
        send_pod(c, b->next_pod++);
        return true;
}

/* Until `count` clients have nothing more to do. */
static void run(struct bench *b, size_t count)
{
        for (b->finished = 0; b->finished < count;)
                wire_poll(b->wire, 100);
}

/* With a node, or the server tries to schedule every pod again at each change. */
static void create_node(struct bench *b)
{
        b->next = NULL;
        send_request(&b->clients[0], "POST", "/api/v1/nodes", "json",
                     "{\"metadata\":{\"name\":\"n1\"},\"status\":{\"conditions\":[{\"type\":\"Ready\","
                     "\"status\":\"True\"}]}}");
        run(b, 1);
}

static void create_pods(struct bench *b, unsigned int from, unsigned int to)
{
        size_t under_way = 0;

        b->next = next_pod;
        b->next_pod = from;
        b->last_pod = to;
        for (; under_way < MAX_CLIENTS && b->next_pod < to; under_way++)
                (void)next_pod(&b->clients[under_way]);
        run(b, under_way);
}

static void measure_patches(struct bench *b, const char *what, unsigned int count, uint64_t pid)
{
        uint64_t begin_us = ak_clock_monotonic_us();
        double cpu = process_cpu_us(pid);
        char text[80];

        b->samples.count = 0;
        b->next = patch_again;
        b->end_us = begin_us + b->config->seconds * 1000000;
        for (unsigned int i = 0; i < count; i++)
                send_patch(&b->clients[i]);
        run(b, count);
        (void)snprintf(text, sizeof(text), "%s, %u clients", what, count);
        say_rate(b, text, (double)(ak_clock_monotonic_us() - begin_us) / 1e6, process_cpu_us(pid) - cpu);
}

/* ---- watchers ---- */

static void on_events(struct wire_conn *conn, const char *data, size_t len)
{
        struct watcher *w = conn->arg;
        size_t keep = len < sizeof(w->tail) ? len : sizeof(w->tail), mark_len = strlen(w->bench->mark);
        char edge[2 * sizeof(w->tail)];

        if (w->seen)
                return;
        memcpy(edge, w->tail, w->tail_len);
        memcpy(edge + w->tail_len, data, keep);
        if (memmem(data, len, w->bench->mark, mark_len) ||
            memmem(edge, w->tail_len + keep, w->bench->mark, mark_len)) {
                w->seen = true;
                w->bench->seen++;
                samples_add(&w->bench->samples, w->bench->mark_us);
        }
        memcpy(w->tail, data + len - keep, keep);
        w->tail_len = keep;
}

/* Of one pod, that of all or of its own. */
static void open_watch(struct bench *b, struct watcher *w, size_t pod)
{
        char text[300];
        int len = snprintf(text, sizeof(text),
                           "GET " PODS "?watch=1&fieldSelector=metadata.name%%3Dp%zu&timeoutSeconds=600 "
                           "HTTP/1.1\r\nHost: %s\r\n\r\n",
                           pod, b->host);

        *w = (struct watcher){.bench = b, .conn = wire_open(b->wire)};
        w->conn->arg = w;
        w->conn->on_data = on_events;
        wire_send(w->conn, text, (size_t)len);
}

static void watch_more(struct bench *b, size_t count)
{
        for (; b->watching < count; b->watching++)
                open_watch(b, &b->watchers[b->watching], b->own_pods ? b->watching : 0);
}

/* One PATCH, until each watcher whom it concerns has seen it; false after ten seconds. */
static bool round_trip(struct bench *b)
{
        struct client *c = &b->clients[0];
        size_t concerned = b->own_pods ? 1 : b->watching;

        for (size_t i = 0; i < b->watching; i++) {
                b->watchers[i].seen = false;
                b->watchers[i].tail_len = 0;
        }
        b->seen = b->finished = 0;
        b->next = NULL;
        c->pod = b->own_pods && b->watching > 0 ? (unsigned int)(c->turn * 7919 % b->watching) : 0;
        (void)snprintf(b->mark, sizeof(b->mark), "\"n\":\"%u-%u-", c->pod, c->turn + 1);
        b->mark_us = ak_clock_monotonic_us();
        send_patch(c);
        while ((!b->finished || b->seen < concerned) && ak_clock_monotonic_us() < b->mark_us + ROUND_US)
                wire_poll(b->wire, 10);
        return b->finished && b->seen == concerned;
}

/* In steps, so that those who connect are served before their time to show who they are has run out. */
static bool have_watchers(struct bench *b, size_t count)
{
        bool ready = b->watching == count;

        while (b->watching < count) {
                size_t step = b->watching + WATCH_STEP;

                watch_more(b, step < count ? step : count);
                ready = round_trip(b);
                if (!ready)
                        break;
        }
        return ready;
}

static void measure_watches(struct bench *b, const char *what, size_t count)
{
        size_t concerned = b->own_pods ? 1 : count;
        double cpu;

        if (!have_watchers(b, count)) {
                (void)fprintf(stderr, "bench-api: of %zu watchers only %zu were served\n", b->watching,
                              b->seen);
                b->failures++;
                return;
        }
        cpu = process_cpu_us(b->config->pid);
        b->samples.count = 0;
        for (uint64_t i = 0; i < b->config->rounds; i++)
                b->failures += !round_trip(b);
        cpu = process_cpu_us(b->config->pid) - cpu;
        say_delivery(b, what, count, cpu / (double)(b->config->rounds * concerned));
}

/* As the nodes of a large installation watch: each change concerns one of them. */
static void measure_own_pods(struct bench *b, size_t count)
{
        for (size_t i = 0; i < b->watching; i++)
                b->watchers[i].conn = wire_close(b->watchers[i].conn);
        b->watching = 0;
        b->own_pods = true;
        measure_watches(b, "watch, each a pod of its own", count);
}

static void report_memory(const struct bench *b, const char *when)
{
        char text[100];

        (void)snprintf(text, sizeof(text), "memory, %s", when);
        if (b->config->pid)
                say(b, text, "MiB", process_memory(b->config->pid));
}

/* ---- floors ---- */

static void open_clients(struct bench *b, size_t count)
{
        for (unsigned int i = 0; i < count; i++) {
                struct client *c = &b->clients[i];

                c->bench = b;
                c->pod = i;
                c->conn = wire_open(b->wire);
                c->conn->arg = c;
                c->conn->on_data = wire_on_answer;
                c->conn->on_answer = on_answer;
        }
}

static void close_clients(struct bench *b)
{
        for (size_t i = 0; i < MAX_CLIENTS; i++)
                b->clients[i].conn = wire_close(b->clients[i].conn);
        for (size_t i = 0; i < b->watching; i++)
                b->watchers[i].conn = wire_close(b->watchers[i].conn);
        b->watching = 0;
}

static void measure_bare_http(struct bench *b)
{
        struct floor_server server = floor_http(b->config->pki_dir, FLOOR_BODY);
        struct wire *own = b->wire;

        b->wire = wire_new(b->config->pki_dir, "127.0.0.1", server.port);
        open_clients(b, MAX_CLIENTS);
        measure_patches(b, "floor: libmicrohttpd alone", MAX_CLIENTS, (uint64_t)server.pid);
        close_clients(b);
        b->wire = wire_free(b->wire);
        b->wire = own;
        floor_stop(&server);
}

static void on_bare_data(struct wire_conn *conn, const char *data, size_t len)
{
        struct watcher *w = conn->arg;

        (void)data;
        w->tail_len += len;
        if (w->tail_len < FLOOR_BODY)
                return;
        w->tail_len = 0;
        w->bench->seen++;
        samples_add(&w->bench->samples, w->bench->mark_us);
}

static void bare_round(struct bench *b, const struct floor_server *server)
{
        b->seen = 0;
        b->mark_us = ak_clock_monotonic_us();
        if (write(server->control, "x", 1) != 1)
                b->failures++;
        while (b->seen < b->watching && ak_clock_monotonic_us() < b->mark_us + ROUND_US)
                wire_poll(b->wire, 10);
        b->failures += b->seen < b->watching;
}

static void measure_bare_fanout(struct bench *b, size_t count)
{
        struct floor_server server = floor_fanout(b->config->pki_dir, count, FLOOR_BODY);
        struct wire *own = b->wire;
        double cpu;

        b->wire = wire_new(b->config->pki_dir, "127.0.0.1", server.port);
        for (; b->watching < count; b->watching++) {
                struct watcher *w = &b->watchers[b->watching];

                *w = (struct watcher){.bench = b, .conn = wire_open(b->wire)};
                w->conn->arg = w;
                w->conn->on_data = on_bare_data;
        }
        bare_round(b, &server);
        cpu = process_cpu_us((uint64_t)server.pid);
        b->samples.count = 0;
        for (uint64_t i = 0; i < b->config->rounds; i++)
                bare_round(b, &server);
        cpu = process_cpu_us((uint64_t)server.pid) - cpu;
        say_delivery(b, "floor: a loop of sends", count, cpu / (double)(b->config->rounds * count));
        close_clients(b);
        b->wire = wire_free(b->wire);
        b->wire = own;
        floor_stop(&server);
}

static void measure_floors(struct bench *b)
{
        say(b, "floor: writes to the disk, one after another", "/s",
            floor_syncs_per_second(b->config->pki_dir));
        measure_bare_http(b);
        measure_bare_fanout(b, b->config->watchers);
}

/* ---- all of it ---- */

static void measure(struct bench *b)
{
        static const unsigned int clients[] = {1, 16, MAX_CLIENTS};
        const size_t watchers[] = {1, 100, MAX_WATCHERS};
        char when[64];

        report_memory(b, "empty");
        create_node(b);
        create_pods(b, 0, MAX_CLIENTS);
        if (b->failures)
                return;
        for (size_t i = 0; i < AK_ARRAY_SIZE(clients); i++)
                measure_patches(b, "patch", clients[i], b->config->pid);
        create_pods(b, MAX_CLIENTS, (unsigned int)b->config->pods);
        (void)snprintf(when, sizeof(when), "%llu pods and as many ports",
                       (unsigned long long)b->config->pods);
        report_memory(b, when);
        for (size_t i = 0; i < AK_ARRAY_SIZE(watchers); i++)
                measure_watches(b, "watch",
                                watchers[i] < b->config->watchers ? watchers[i] : b->config->watchers);
        report_memory(b, "with the watchers");
        measure_own_pods(b, b->config->watchers);
}

static int run_bench(struct bench *b)
{
        const struct rlimit files = {.rlim_cur = 4096, .rlim_max = 4096};

        if (samples_init(&b->samples, MAX_SAMPLES) < 0 ||
            wire_find_server(b->config->pki_dir, b->host, b->port) < 0)
                return 2;
        (void)setrlimit(RLIMIT_NOFILE, &files);
        measure_floors(b);
        b->wire = wire_new(b->config->pki_dir, b->host, b->port);
        open_clients(b, MAX_CLIENTS);
        measure(b);
        if (b->failures)
                (void)fprintf(stderr, "bench-api: %zu failures\n", b->failures);
        close_clients(b);
        b->wire = wire_free(b->wire);
        return b->failures ? 1 : 0;
}

int main(int argc, char **argv)
{
        struct bench *b = calloc(1, sizeof(*b));
        struct config config = {0};
        int rc = b ? ak_options_load(&program, argc, argv, &config, NULL) : -ENOMEM;

        if (rc == 0) {
                b->config = &config;
                rc = run_bench(b);
                samples_deinit(&b->samples);
                ak_options_deinit(&program, &config);
        } else {
                rc = rc < 0 ? 2 : 0;
        }
        free(b);
        return rc;
}
