/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-fleet: one apiserver under the watchers of a whole installation. Light ones: of a node's watcher what
 * the server sees, a list and a watch each of the node's pods, of its ports, of all ports of the VPCs that
 * these are of, and of the Nodes where those are, over HTTPS, without what a watcher does with them; so that
 * thousands fit into one process and little of what is measured is the one who measures.
 *
 * Every pod is bound to its node when it is created. A PATCH of a pod concerns one watch of the thousands;
 * the time counts from sending it until that watch has read and decrypted the event. Beside it, of the same
 * PATCHes, the time until they are answered: that is the flush to the disk and the request itself, and what
 * delivery cannot be below.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "libcommon/cleanup.h"
#include "libcommon/clock.h"
#include "libcommon/options.h"
#include "tests/bench/figures.h"
#include "tests/bench/wire.h"

#define CLIENTS      64
#define MAX_NODES    10000
#define MAX_SAMPLES  4000000
#define NICS_PER_VPC 200
#define OPEN_STEP    25 /* watches that are opened at once: each is a TLS handshake of its own */
#define TURNS        32 /* of a client, that may be on their way to a watch */
#define PATIENCE_US  UINT64_C(60000000)
#define MARK         "\"fleet\":\""
#define PODS         "/api/v1/namespaces/default/pods"
#define PORTS        "/apis/vpc.alkaid.io/v1/namespaces/default/ports"
#define NODES        "/api/v1/nodes"
#define MAX_VALUES   200 /* VPCs of a node, or nodes that share them */

struct config {
        char *pki_dir;
        uint64_t pid, nodes, pods, nics, seconds, rounds;
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
    OPTION("nodes", AK_OPT_UINT, nodes, .def = "1000", .help = "light watchers, of four connections each",
           .min = 1, .max = MAX_NODES),
    OPTION("pods", AK_OPT_UINT, pods, .def = "20000", .help = "pods in all", .min = CLIENTS, .max = 1000000),
    OPTION("nics", AK_OPT_UINT, nics, .def = "4", .help = "NICs of each pod", .min = 1, .max = 8),
    OPTION("seconds", AK_OPT_UINT, seconds, .def = "10", .help = "of each round of PATCHes", .min = 1,
           .max = 600),
    OPTION("rounds", AK_OPT_UINT, rounds, .def = "300", .help = "PATCHes one after another", .min = 1,
           .max = 100000),
    OPTION("json", AK_OPT_BOOL, json, .help = "print a line of JSON for each figure"),
};
static const struct ak_program program = {.name = "bench-fleet",
                                          .summary = "Measures an apiserver with many light watchers.",
                                          .options = options,
                                          .option_count = AK_ARRAY_SIZE(options)};

struct client {
        struct fleet *fleet;
        struct wire_conn *conn;
        uint64_t sent_us;
        unsigned int turn;
        struct {
                uint64_t sent_us;
                unsigned int turn; /* 0: its event has been seen */
        } under_way[TURNS];
        bool delivered; /* the event of its last PATCH has been seen */
        bool answered;
};

/* What a node's watcher follows, in this order: what it selects of the third is in the list of the second. */
enum stage { OWN_PODS, OWN_PORTS, VPC_PORTS, THEIR_NODES, STAGES };
static const struct {
        const char *what, *path;
        const char *field; /* that its values are selected by … */
        const char *key; /* … and where in the list of the stage before they are; NULL = the node's name */
} stages[STAGES] = {
    {"a node's list of its pods", PODS, "spec.nodeName", NULL},
    {"a node's list of its ports", PORTS, "spec.nodeName", NULL},
    {"a node's list of the ports of its VPCs", PORTS, "status.vpcID", "\"vpcID\":\""},
    {"a node's list of their nodes", NODES, "metadata.name", "\"nodeName\":\""},
};

/* A list, then a watch, on one connection. */
struct light_watcher {
        struct fleet *fleet;
        struct wire_conn *conn;
        enum stage stage;
        char *selector;
        char *body; /* of the list, until it is read */
        size_t body_len, body_room;
        uint64_t asked_us;
        bool watching;
        char tail[64]; /* the end of the last block: a mark may lie across two */
        size_t tail_len;
};

struct fleet {
        const struct config *config;
        struct wire *wire;
        char host[WIRE_HOST], port[WIRE_PORT];
        struct client clients[CLIENTS];
        struct light_watcher *watchers;
        struct samples answered, delivered, listed;
        size_t lists_done, listed_bytes, finished, failures;
        unsigned int next_item, last_item;
        uint64_t end_us;
        bool (*next)(struct client *c);
};

/* ---- figures ---- */

static void say(const struct fleet *f, const char *what, const char *unit, double value)
{
        figure_say(f->config->json, what, unit, value);
}

static void say_samples(const struct fleet *f, const char *what, struct samples *s)
{
        figure_say_samples(f->config->json, what, s);
}

static double cpu_us(const struct fleet *f)
{
        return process_cpu_us(f->config->pid);
}

static void say_memory(const struct fleet *f, const char *what)
{
        if (f->config->pid)
                say(f, what, "MiB", process_memory(f->config->pid));
}

/* ---- requests ---- */

static void on_answer(struct wire_conn *conn, int code)
{
        struct client *c = conn->arg;
        struct fleet *f = c->fleet;

        samples_add(&f->answered, c->sent_us);
        c->answered = true;
        if (code < 200 || code >= 300) {
                (void)fprintf(stderr, "bench-fleet: a request failed: status %d\n", code);
                f->failures++;
        }
        if (!f->next || !f->next(c))
                f->finished++;
}

static void send_request(struct client *c, const char *method, const char *path, const char *type,
                         const char *body)
{
        c->sent_us = ak_clock_monotonic_us();
        wire_request(c->conn, method, path, type, body);
}

static void send_node(struct client *c, unsigned int number)
{
        char body[200];

        (void)snprintf(body, sizeof(body),
                       "{\"metadata\":{\"name\":\"n%u\"},\"status\":{\"conditions\":[{\"type\":\"Ready\","
                       "\"status\":\"True\"}]}}",
                       number);
        send_request(c, "POST", "/api/v1/nodes", "json", body);
}

static void send_pod(struct client *c, unsigned int number)
{
        const struct config *config = c->fleet->config;
        char nics[300] = "", body[900];
        size_t len = 0;

        for (unsigned int i = 0; i < config->nics; i++)
                len += (size_t)snprintf(nics + len, sizeof(nics) - len, "%s{\"name\":\"eth%u\"}",
                                        i ? "," : "", i);
        (void)snprintf(body, sizeof(body),
                       "{\"metadata\":{\"name\":\"p%u\"},\"spec\":{\"nodeName\":\"n%u\",\"vpc\":\"v%u\","
                       "\"nics\":[%s],\"virtualMachine\":{\"name\":\"vm\",\"image\":\"images.test/vm.qcow2\","
                       "\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"200Mi\"}}}}}",
                       number, (unsigned int)(number % config->nodes),
                       (unsigned int)(number * config->nics / NICS_PER_VPC), nics);
        send_request(c, "POST", PODS, "json", body);
}

static bool next_node(struct client *c)
{
        if (c->fleet->next_item >= c->fleet->last_item)
                return false;
        send_node(c, c->fleet->next_item++);
        return true;
}

static bool next_pod(struct client *c)
{
        if (c->fleet->next_item >= c->fleet->last_item)
                return false;
        send_pod(c, c->fleet->next_item++);
        return true;
}

static void send_patch(struct client *c, unsigned int number)
{
        char path[100], body[200];

        c->turn++;
        c->under_way[c->turn % TURNS].turn = c->turn;
        c->under_way[c->turn % TURNS].sent_us = ak_clock_monotonic_us();
        c->answered = c->delivered = false;
        (void)snprintf(path, sizeof(path), PODS "/p%u", number);
        (void)snprintf(body, sizeof(body), "{\"metadata\":{\"annotations\":{" MARK "%zu-%u-\"}}}",
                       (size_t)(c - c->fleet->clients), c->turn);
        send_request(c, "PATCH", path, "merge-patch+json", body);
}

/* A pod of each client's own share, scattered. */
static bool patch_again(struct client *c)
{
        const struct fleet *f = c->fleet;
        size_t index = (size_t)(c - f->clients), share = f->config->pods / CLIENTS;

        if (ak_clock_monotonic_us() >= f->end_us)
                return false;
        send_patch(c, (unsigned int)(index * share + c->turn * 7919u % share));
        return true;
}

static void run(struct fleet *f, size_t count)
{
        for (f->finished = 0; f->finished < count;)
                wire_poll(f->wire, 100);
}

static void create(struct fleet *f, bool (*next)(struct client *), unsigned int count, const char *what)
{
        uint64_t begun_us = ak_clock_monotonic_us();
        size_t under_way = 0;

        f->next = next;
        f->next_item = 0;
        f->last_item = count;
        for (; under_way < CLIENTS && f->next_item < count; under_way++)
                (void)next(&f->clients[under_way]);
        run(f, under_way);
        f->answered.count = 0;
        say(f, what, "/s", count / ((double)(ak_clock_monotonic_us() - begun_us) / 1e6));
}

static void open_clients(struct fleet *f)
{
        for (size_t i = 0; i < CLIENTS; i++) {
                struct client *c = &f->clients[i];

                c->fleet = f;
                c->conn = wire_open(f->wire);
                c->conn->arg = c;
                c->conn->on_data = wire_on_answer;
                c->conn->on_answer = on_answer;
        }
}

/* ---- light watchers ---- */

static void saw_mark(struct fleet *f, const char *mark)
{
        char *end = NULL;
        unsigned long index = strtoul(mark + strlen(MARK), &end, 10), turn;

        if (*end != '-' || index >= CLIENTS)
                return;
        turn = strtoul(end + 1, &end, 10);
        if (*end != '-') /* cut off here; the next block has it whole */
                return;
        struct client *c = &f->clients[index];

        if (turn == 0 || c->under_way[turn % TURNS].turn != turn)
                return;
        c->under_way[turn % TURNS].turn = 0;
        c->delivered = c->delivered || turn == c->turn;
        samples_add(&f->delivered, c->under_way[turn % TURNS].sent_us);
}

static void find_marks(struct fleet *f, const char *data, size_t len)
{
        const char *at = memmem(data, len, MARK, strlen(MARK));

        while (at) {
                char mark[40] = "";
                size_t left = (size_t)(data + len - at);

                memcpy(mark, at, left < sizeof(mark) - 1 ? left : sizeof(mark) - 1);
                saw_mark(f, mark);
                at = memmem(at + 1, left - 1, MARK, strlen(MARK));
        }
}

static void on_events(struct light_watcher *w, const char *data, size_t len)
{
        size_t keep = len < sizeof(w->tail) ? len : sizeof(w->tail);
        char edge[2 * sizeof(w->tail)];

        memcpy(edge, w->tail, w->tail_len);
        memcpy(edge + w->tail_len, data, keep);
        find_marks(w->fleet, edge, w->tail_len + keep);
        find_marks(w->fleet, data, len);
        memcpy(w->tail, data + len - keep, keep);
        w->tail_len = keep;
}

static void ask(struct light_watcher *w, const char *query)
{
        char *text = NULL;
        int len = asprintf(&text, "GET %s?%s&fieldSelector=%s HTTP/1.1\r\nHost: %s\r\n\r\n",
                           stages[w->stage].path, query, w->selector, w->fleet->host);

        if (len < 0)
                abort();
        w->asked_us = ak_clock_monotonic_us();
        wire_send(w->conn, text, (size_t)len);
        free(text);
}

struct values {
        char *items[MAX_VALUES];
        size_t count;
};

static void add_value(struct values *v, const char *value, size_t len)
{
        for (size_t i = 0; i < v->count; i++) {
                if (strncmp(v->items[i], value, len) == 0 && v->items[i][len] == '\0')
                        return;
        }
        if (v->count < MAX_VALUES)
                v->items[v->count++] = strndup(value, len);
}

/* "FIELD in (A,B)", encoded, of what a list holds behind the key. */
static char *selector_of(const char *field, const char *key, const char *body, size_t len)
{
        struct values v = {.count = 0};
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);

        for (const char *at = body; at && (at = memmem(at, (size_t)(body + len - at), key, strlen(key)));) {
                const char *value = at + strlen(key);

                at = memchr(value, '"', (size_t)(body + len - value));
                if (at)
                        add_value(&v, value, (size_t)(at - value));
        }
        if (!f)
                abort();
        (void)fprintf(f, "%s%%20in%%20(", field);
        for (size_t i = 0; i < v.count; i++) {
                (void)fprintf(f, "%s%s", i ? "%2C" : "", v.items[i]);
                free(v.items[i]);
        }
        (void)fprintf(f, ")");
        if (fclose(f) != 0)
                abort();
        return text;
}

/* What the node follows next is in this list. */
static void select_next(struct light_watcher *w)
{
        enum stage next = w->stage + 1;

        if (next < STAGES && stages[next].key)
                w[1].selector = selector_of(stages[next].field, stages[next].key, w->body, w->body_len);
}

static void on_list(struct wire_conn *conn, int code)
{
        static const char key[] = "\"resourceVersion\":\"";
        struct light_watcher *w = conn->arg;
        const char *at = memmem(w->body, w->body_len, key, strlen(key));
        char query[120];

        samples_add(&w->fleet->listed, w->asked_us);
        w->fleet->lists_done++;
        if (code != 200 || !at) {
                (void)fprintf(stderr, "bench-fleet: a list failed: status %d\n", code);
                w->fleet->failures++;
                return;
        }
        (void)snprintf(query, sizeof(query), "watch=true&timeoutSeconds=3000&resourceVersion=%llu",
                       strtoull(at + strlen(key), NULL, 10));
        select_next(w);
        w->fleet->listed_bytes += w->body_len;
        free(AK_STEAL(w->body));
        w->watching = true;
        ask(w, query);
}

static void keep(struct light_watcher *w, const char *data, size_t len)
{
        if (w->body_len + len > w->body_room) {
                w->body_room = 2 * (w->body_len + len);
                w->body = realloc(w->body, w->body_room);
                if (!w->body)
                        abort();
        }
        memcpy(w->body + w->body_len, data, len);
        w->body_len += len;
}

static void on_data(struct wire_conn *conn, const char *data, size_t len)
{
        struct light_watcher *w = conn->arg;

        if (w->watching) {
                on_events(w, data, len);
                return;
        }
        keep(w, data, len);
        wire_on_answer(conn, data, len);
}

static void open_watcher(struct fleet *f, struct light_watcher *w, enum stage stage, size_t node)
{
        w->fleet = f;
        w->stage = stage;
        if (!stages[stage].key && asprintf(&w->selector, "%s%%3Dn%zu", stages[stage].field, node) < 0)
                abort();
        w->conn = wire_open(f->wire);
        w->conn->arg = w;
        w->conn->on_data = on_data;
        w->conn->on_answer = on_list;
        ask(w, "resourceVersion=0");
}

static void open_stage(struct fleet *f, enum stage stage)
{
        double cpu = cpu_us(f), nodes = (double)f->config->nodes;
        char what[100];

        f->lists_done = f->listed_bytes = f->listed.count = 0;
        for (size_t i = 0; i < f->config->nodes; i++) {
                open_watcher(f, &f->watchers[i * STAGES + stage], stage, i);
                while (f->lists_done + OPEN_STEP < i)
                        wire_poll(f->wire, 100);
        }
        while (f->lists_done < f->config->nodes)
                wire_poll(f->wire, 100);
        say_samples(f, stages[stage].what, &f->listed);
        (void)snprintf(what, sizeof(what), "%s: size", stages[stage].what);
        say(f, what, "KB", (double)f->listed_bytes / 1e3 / nodes);
        (void)snprintf(what, sizeof(what), "%s, connected and watching: processor time", stages[stage].what);
        say(f, what, "ms", (cpu_us(f) - cpu) / 1000 / nodes);
}

static void open_watchers(struct fleet *f)
{
        uint64_t begun_us = ak_clock_monotonic_us();
        double cpu = cpu_us(f);

        for (enum stage stage = 0; stage < STAGES; stage++)
                open_stage(f, stage);
        say(f, "all nodes connected, listed, watching", "s",
            (double)(ak_clock_monotonic_us() - begun_us) / 1e6);
        say(f, "the server's processor time for it", "ms per node",
            (cpu_us(f) - cpu) / 1000 / (double)f->config->nodes);
}

/* ---- what is measured ---- */

static void measure_single(struct fleet *f)
{
        struct client *c = &f->clients[0];
        double cpu = cpu_us(f);

        f->next = NULL;
        f->delivered.count = f->answered.count = 0;
        for (uint64_t i = 0; i < f->config->rounds; i++) {
                uint64_t end_us = ak_clock_monotonic_us() + PATIENCE_US;

                send_patch(c, (unsigned int)(i * 104729 % f->config->pods));
                while (!(c->delivered && c->answered) && ak_clock_monotonic_us() < end_us)
                        wire_poll(f->wire, 10);
                f->failures += !c->delivered;
        }
        cpu = cpu_us(f) - cpu;
        say_samples(f, "PATCHes one after another: answered", &f->answered);
        say_samples(f, "PATCHes one after another: delivered", &f->delivered);
        say(f, "PATCHes one after another: processor time of each", "us", cpu / (double)f->config->rounds);
}

static void measure_load(struct fleet *f, size_t clients)
{
        uint64_t begun_us = ak_clock_monotonic_us();
        double cpu = cpu_us(f), seconds;
        char what[80];

        f->next = patch_again;
        f->delivered.count = f->answered.count = 0;
        f->end_us = begun_us + f->config->seconds * 1000000;
        for (size_t i = 0; i < clients; i++)
                (void)patch_again(&f->clients[i]);
        run(f, clients);
        seconds = (double)(ak_clock_monotonic_us() - begun_us) / 1e6;
        cpu = cpu_us(f) - cpu;
        (void)snprintf(what, sizeof(what), "PATCHes of %zu clients", clients);
        say(f, what, "/s", (double)f->answered.count / seconds);
        (void)snprintf(what, sizeof(what), "PATCHes of %zu clients: processor time of each", clients);
        say(f, what, "us", cpu / (double)f->answered.count);
        (void)snprintf(what, sizeof(what), "PATCHes of %zu clients: answered", clients);
        say_samples(f, what, &f->answered);
        (void)snprintf(what, sizeof(what), "PATCHes of %zu clients: delivered", clients);
        say_samples(f, what, &f->delivered);
}

static void measure(struct fleet *f)
{
        say_memory(f, "memory, empty");
        create(f, next_node, (unsigned int)f->config->nodes, "nodes made");
        create(f, next_pod, (unsigned int)f->config->pods, "pods made, with their ports");
        say_memory(f, "memory, all pods and ports");
        open_watchers(f);
        say_memory(f, "memory, with the watchers");
        measure_single(f);
        measure_load(f, 16);
        measure_load(f, CLIENTS);
        say_memory(f, "memory, at the end");
}

static void close_all(struct fleet *f)
{
        for (size_t i = 0; i < CLIENTS; i++)
                f->clients[i].conn = wire_close(f->clients[i].conn);
        for (size_t i = 0; i < STAGES * f->config->nodes; i++) {
                f->watchers[i].conn = wire_close(f->watchers[i].conn);
                free(f->watchers[i].selector);
        }
        f->wire = wire_free(f->wire);
}

static int run_bench(struct fleet *f)
{
        rlim_t need = STAGES * f->config->nodes + 200;
        const struct rlimit files = {.rlim_cur = need, .rlim_max = need};

        f->watchers = calloc(STAGES * f->config->nodes, sizeof(*f->watchers));
        if (!f->watchers || samples_init(&f->answered, MAX_SAMPLES) < 0 ||
            samples_init(&f->delivered, MAX_SAMPLES) < 0 || samples_init(&f->listed, MAX_SAMPLES) < 0 ||
            wire_find_server(f->config->pki_dir, f->host, f->port) < 0)
                return 2;
        if (setrlimit(RLIMIT_NOFILE, &files) < 0)
                (void)fprintf(stderr, "bench-fleet: %llu descriptors: %s\n", (unsigned long long)need,
                              strerror(errno));
        f->wire = wire_new(f->config->pki_dir, f->host, f->port);
        open_clients(f);
        measure(f);
        if (f->failures)
                (void)fprintf(stderr, "bench-fleet: %zu failures\n", f->failures);
        close_all(f);
        return f->failures ? 1 : 0;
}

int main(int argc, char **argv)
{
        struct fleet *f = calloc(1, sizeof(*f));
        struct config config = {0};
        int rc = f ? ak_options_load(&program, argc, argv, &config, NULL) : -ENOMEM;

        if (rc == 0) {
                f->config = &config;
                rc = run_bench(f);
                free(f->watchers);
                samples_deinit(&f->answered);
                samples_deinit(&f->delivered);
                samples_deinit(&f->listed);
                ak_options_deinit(&program, &config);
        } else {
                rc = rc < 0 ? 2 : 0;
        }
        free(f);
        return rc;
}
