/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-bus: what our bus costs over bare ZeroMQ.
 *
 * Two processes over ipc. Ours: encode a nic.diff, publish and retain it; receive, check and decode it. Bare:
 * the same three frames with the same bytes, sent and received in a tight loop by libzmq alone. Rounds of the
 * two alternate within one run, so that both see the same machine; medians are compared.
 *
 *   throughput  messages per second at the receiver, from its first to its last message
 *   latency     half of a round trip through a process that answers each message with one of its own
 *
 * The other process is this program again, told its part by its arguments.
 */
#include <czmq.h>
#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <sys/wait.h>

#include "libcommon/bus.h"
#include "libcommon/bus_wire.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/options.h"
#include "proto/proto.h"

#define POD        "5f0c1a52-7d0e-4c1b-9d6a-0f6b0f4d9a10"
#define PORT       "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
#define TOPIC_DIFF "nic.diff/" POD "/" PORT
#define TOPIC_STAT "nic.status/" POD "/" PORT
#define MAX_ROUNDS 100

extern char **environ;

struct config {
        uint64_t messages, trips, rounds;
        bool json;
};

static const struct ak_option table[] = {
    {"messages", AK_OPT_UINT, offsetof(struct config, messages), "40000", "messages per throughput round",
     NULL, 10, 90000},
    {"trips", AK_OPT_UINT, offsetof(struct config, trips), "5000", "round trips per latency round", NULL, 10,
     1000000},
    {"rounds", AK_OPT_UINT, offsetof(struct config, rounds), "5", "rounds of each kind", NULL, 1, MAX_ROUNDS},
    {"json", AK_OPT_BOOL, offsetof(struct config, json), "false", "print JSON, a line for each of the two",
     NULL, 0, 0},
};

static const struct ak_program program = {"bench-bus", "Compares the bus with bare ZeroMQ.", NULL, table,
                                          AK_ARRAY_SIZE(table)};

/* --- the messages ------------------------------------------------------------------------- */

static _Noreturn void die(const char *what)
{
        (void)fprintf(stderr, "bench-bus: %s: %s\n", what, strerror(errno));
        exit(1);
}

static struct ak_message *sample(enum ak_message_type type)
{
        struct ak_message *m = ak_message_new(type);

        if (!m)
                die("out of memory");
        if (type == ak_message_nic_status) {
                (void)snprintf(m->nic_status.pod_uid, sizeof(m->nic_status.pod_uid), POD);
                (void)snprintf(m->nic_status.port_id, sizeof(m->nic_status.port_id), PORT);
                m->nic_status.state = AK_NIC_READY;
                return m;
        }
        struct ak_nic_diff *d = &m->nic_diff;
        (void)snprintf(d->pod_uid, sizeof(d->pod_uid), POD);
        (void)snprintf(d->port_id, sizeof(d->port_id), PORT);
        (void)snprintf(d->nic, sizeof(d->nic), "eth1");
        (void)snprintf(d->pod_name, sizeof(d->pod_name), "nginx-vm");
        (void)snprintf(d->pod_namespace, sizeof(d->pod_namespace), "default");
        (void)snprintf(d->mac, sizeof(d->mac), "06:4a:9b:00:12:fe");
        (void)snprintf(d->vpc, sizeof(d->vpc), "vpcdemo");
        (void)snprintf(d->subnet, sizeof(d->subnet), "vpcdemo-default");
        (void)snprintf(d->cidr, sizeof(d->cidr), "10.0.0.0/24");
        (void)snprintf(d->gateway, sizeof(d->gateway), "10.0.0.1");
        if (AK_TEXTLIST_ADD(&d->addresses, "10.0.0.5/24") < 0)
                die("out of memory");
        d->wanted = AK_NIC_WANTED_PRESENT;
        d->mtu = 1450;
        d->vni = 4097;
        return m;
}

static void publish(struct ak_bus *bus, const char *topic, struct ak_message *m)
{
        AK_AUTOFREE uint8_t *body = NULL;
        size_t len;

        if (ak_message_encode(m, &body, &len) < 0 || ak_bus_publish(bus, topic, NULL, body, len, true) < 0)
                die("publish");
}

static uint64_t generation_of(const struct ak_bus_frame *f)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *m = NULL;
        char error[AK_SCHEMA_ERROR_SIZE];

        if (ak_message_decode(f->topic, f->body, f->body_len, &m, error) < 0)
                die(error);
        return m->type == ak_message_nic_diff ? m->nic_diff.generation : m->nic_status.generation;
}

/* --- bare ZeroMQ --------------------------------------------------------------------------- */

/* The three frames as our bus would send them. */
struct frames {
        const char *topic;
        uint8_t *envelope, *body;
        size_t envelope_len, body_len;
};

static struct frames make_frames(enum ak_message_type type, const char *topic)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *m = sample(type);
        struct frames f = {.topic = topic};
        struct ak_bus_frame frame = {.publisher = "source",
                                     .topic = topic,
                                     .epoch = UINT64_C(0x1122334455667788),
                                     .seq = 40000,
                                     .sent_us = ak_clock_realtime_us(),
                                     .trace = ""};

        if (ak_message_encode(m, &f.body, &f.body_len) < 0 ||
            ak_bus_envelope_encode(&frame, &f.envelope, &f.envelope_len) < 0)
                die("encode");
        return f;
}

static void free_frames(struct frames *f)
{
        free(f->envelope);
        free(f->body);
}

static void bare_send(void *socket, const struct frames *f)
{
        if (zmq_send(socket, f->topic, strlen(f->topic), ZMQ_SNDMORE) < 0 ||
            zmq_send(socket, f->envelope, f->envelope_len, ZMQ_SNDMORE) < 0 ||
            zmq_send(socket, f->body, f->body_len, 0) < 0)
                die("zmq_send");
}

static void bare_receive(void *socket)
{
        int more = 1;

        while (more) {
                zmq_msg_t msg;

                zmq_msg_init(&msg);
                if (zmq_msg_recv(&msg, socket, 0) < 0)
                        die("zmq_msg_recv");
                more = zmq_msg_more(&msg);
                zmq_msg_close(&msg);
        }
}

static zsock_t *bare_socket(int type, const char *dir, const char *name, bool bind)
{
        zsock_t *s = zsock_new(type);

        if (!s)
                die("zsock_new");
        zsock_set_sndhwm(s, 100000);
        zsock_set_rcvhwm(s, 100000);
        zsock_set_rcvtimeo(s, 60000);
        zsock_set_linger(s, 1000);
        if (bind ? zsock_bind(s, "ipc://%s/%s", dir, name) < 0
                 : zsock_connect(s, "ipc://%s/%s", dir, name) < 0)
                die("endpoint");
        return s;
}

/* --- the other process ------------------------------------------------------------------------ */

struct part {
        zloop_t *loop;
        struct ak_bus *bus;
        struct ak_message *answer;
        uint64_t wanted, got, first_us, last_us;
        bool echo;
};

static void report(const struct part *p)
{
        (void)printf("%" PRIu64 "\n", p->last_us - p->first_us);
        (void)fflush(stdout);
}

static int stop_loop(zloop_t *loop AK_UNUSED, int timer AK_UNUSED, void *arg AK_UNUSED)
{
        return -1;
}

static void on_diff(void *arg, const struct ak_bus_frame *f)
{
        struct part *p = arg;
        uint64_t generation = generation_of(f);

        if (f->replayed)
                return;
        p->last_us = ak_clock_monotonic_us();
        if (p->got++ == 0)
                p->first_us = p->last_us;
        if (p->echo) {
                p->answer->nic_status.generation = generation;
                publish(p->bus, TOPIC_STAT, p->answer);
        }
        if (p->got == p->wanted)
                (void)zloop_timer(p->loop, 50, 1, stop_loop, NULL); /* the last answer still has to leave */
}

/* The source's first mark: our subscription is with it. Tell it so. */
static void on_source(void *arg, const char *peer AK_UNUSED, uint64_t epoch AK_UNUSED)
{
        struct part *p = arg;

        p->answer->nic_status.generation = 0;
        publish(p->bus, TOPIC_STAT, p->answer);
}

static void bus_part(const char *dir, uint64_t wanted, bool echo)
{
        struct part p = {
            .loop = zloop_new(), .wanted = wanted, .echo = echo, .answer = sample(ak_message_nic_status)};
        struct ak_bus_handler h = {.on_message = on_diff, .on_peer_epoch = on_source, .arg = &p};

        if (ak_bus_new(&p.bus, p.loop, &(struct ak_bus_options){.dir = dir, .name = "sink"}, &h) < 0 ||
            ak_bus_subscribe(p.bus, "source", "nic.diff/") < 0)
                die("bus");
        (void)zloop_start(p.loop);
        report(&p);
        ak_bus_free(p.bus);
        ak_message_free(p.answer);
        zloop_destroy(&p.loop);
}

static void bare_part(const char *dir, uint64_t wanted, bool echo)
{
        zsock_t *sub = bare_socket(ZMQ_SUB, dir, "bare-source", false);
        zsock_t *pub = bare_socket(ZMQ_PUB, dir, "bare-sink", true);
        struct frames answer = make_frames(ak_message_nic_status, TOPIC_STAT);
        struct part p = {.wanted = wanted};

        zsock_set_subscribe(sub, "nic.diff/");
        while (p.got < p.wanted) {
                bare_receive(zsock_resolve(sub));
                p.last_us = ak_clock_monotonic_us();
                if (p.got++ == 0)
                        p.first_us = p.last_us;
                if (echo)
                        bare_send(zsock_resolve(pub), &answer);
        }
        report(&p);
        free_frames(&answer);
        zsock_destroy(&sub);
        zsock_destroy(&pub);
}

static int other_main(char **argv)
{
        uint64_t wanted = strtoull(argv[4], NULL, 10);
        bool echo = strcmp(argv[5], "echo") == 0;

        ak_log_init("bench-bus", AK_LOG_WARN);
        if (strcmp(argv[2], "bus") == 0)
                bus_part(argv[3], wanted, echo);
        else
                bare_part(argv[3], wanted, echo);
        return 0;
}

struct other {
        pid_t pid;
        FILE *out;
};

static struct other start_other(const char *kind, const char *dir, uint64_t wanted, bool echo)
{
        struct other o = {0};
        posix_spawn_file_actions_t actions;
        char count[24];
        int fds[2];
        char *argv[] = {"bench-bus",
                        "--other",
                        (char *)(uintptr_t)kind,
                        (char *)(uintptr_t)dir,
                        count,
                        (char *)(uintptr_t)(echo ? "echo" : "sink"),
                        NULL};

        (void)snprintf(count, sizeof(count), "%" PRIu64, wanted);
        if (pipe2(fds, O_CLOEXEC) < 0)
                die("pipe2");
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
        if (posix_spawn(&o.pid, "/proc/self/exe", &actions, NULL, argv, environ) != 0)
                die("posix_spawn");
        posix_spawn_file_actions_destroy(&actions);
        (void)close(fds[1]);
        o.out = fdopen(fds[0], "r");
        return o;
}

/* Microseconds between its first and last message. */
static uint64_t finish_other(struct other *o)
{
        char line[64];
        uint64_t us;
        int status;

        if (!fgets(line, sizeof(line), o->out))
                die("the other process did not finish");
        us = strtoull(line, NULL, 10);
        (void)fclose(o->out);
        if (waitpid(o->pid, &status, 0) != o->pid || status != 0)
                die("the other process failed");
        return us ? us : 1;
}

/* --- rounds ----------------------------------------------------------------------------------- */

struct source {
        zloop_t *loop;
        struct ak_bus *bus;
        struct ak_message *message;
        bool started;
        uint64_t left, sent_us;
        double *trip_us; /* NULL: throughput */
};

static void send_next(struct source *s)
{
        s->message->nic_diff.generation++;
        s->sent_us = ak_clock_monotonic_us();
        publish(s->bus, TOPIC_DIFF, s->message);
        s->left--;
}

/* The first status says that the other is there; each later one answers a trip. */
static void on_status(void *arg, const struct ak_bus_frame *f)
{
        struct source *s = arg;

        (void)generation_of(f);
        if (!s->trip_us) {
                if (!s->started)
                        (void)zloop_timer(s->loop, 1, 1, stop_loop, NULL);
                s->started = true;
                return;
        }
        if (s->started && f->replayed)
                return;
        if (s->started)
                *s->trip_us++ = (double)(ak_clock_monotonic_us() - s->sent_us);
        s->started = true;
        if (s->left > 0)
                send_next(s);
        else
                (void)zloop_timer(s->loop, 1, 1, stop_loop, NULL);
}

static uint64_t bus_round(const char *dir, uint64_t count, double *trip_us)
{
        struct source s = {
            .loop = zloop_new(), .message = sample(ak_message_nic_diff), .left = count, .trip_us = trip_us};
        struct ak_bus_handler h = {.on_message = on_status, .arg = &s};
        struct other o;
        uint64_t us;

        if (ak_bus_new(&s.bus, s.loop, &(struct ak_bus_options){.dir = dir, .name = "source"}, &h) < 0 ||
            ak_bus_subscribe(s.bus, "sink", "nic.status/") < 0)
                die("bus");
        o = start_other("bus", dir, count, trip_us != NULL);
        (void)zloop_start(s.loop);
        while (s.left > 0)
                send_next(&s);
        us = finish_other(&o);
        ak_bus_free(s.bus);
        ak_message_free(s.message);
        zloop_destroy(&s.loop);
        return us;
}

static uint64_t bare_round(const char *dir, uint64_t count, double *trip_us)
{
        zsock_t *pub = bare_socket(ZMQ_XPUB, dir, "bare-source", true);
        zsock_t *sub = bare_socket(ZMQ_SUB, dir, "bare-sink", false);
        struct frames f = make_frames(ak_message_nic_diff, TOPIC_DIFF);
        struct other o = start_other("bare", dir, count, trip_us != NULL);
        uint64_t us;

        zsock_set_subscribe(sub, "nic.status/");
        bare_receive(zsock_resolve(pub)); /* the other's subscription */
        if (trip_us)
                zclock_sleep(200); /* ours, of which a bare PUB tells nobody; outside what is measured */
        for (uint64_t i = 0; i < count; i++) {
                uint64_t sent_us = ak_clock_monotonic_us();

                bare_send(zsock_resolve(pub), &f);
                if (!trip_us)
                        continue;
                bare_receive(zsock_resolve(sub));
                trip_us[i] = (double)(ak_clock_monotonic_us() - sent_us);
        }
        us = finish_other(&o);
        free_frames(&f);
        zsock_destroy(&pub);
        zsock_destroy(&sub);
        return us;
}

/* --- results ------------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;

        return x < y ? -1 : x > y;
}

static double median(double *values, size_t count)
{
        qsort(values, count, sizeof(*values), compare);
        return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void throughput(const struct config *c, const char *dir)
{
        double ours[MAX_ROUNDS] = {0}, bare[MAX_ROUNDS] = {0}, a, b;

        for (size_t i = 0; i < c->rounds; i++) {
                ours[i] = (double)c->messages * 1e6 / (double)bus_round(dir, c->messages, NULL);
                bare[i] = (double)c->messages * 1e6 / (double)bare_round(dir, c->messages, NULL);
                if (!c->json)
                        (void)printf("throughput round %zu: bus %.0f msg/s, bare %.0f msg/s\n", i + 1,
                                     ours[i], bare[i]);
        }
        a = median(ours, c->rounds);
        b = median(bare, c->rounds);
        (void)printf(c->json ? "{\"figure\":\"throughput\",\"unit\":\"/s\",\"bus\":%.0f,\"bare\":%.0f,"
                               "\"ratio\":%.3f}\n"
                             : "throughput: bus %.0f msg/s, bare ZeroMQ %.0f msg/s, ratio %.2f\n",
                     a, b, a / b);
}

static void latency(const struct config *c, const char *dir)
{
        AK_AUTOFREE double *trip_us = calloc(c->trips, sizeof(*trip_us));
        double ours[MAX_ROUNDS] = {0}, bare[MAX_ROUNDS] = {0}, a, b;

        if (!trip_us)
                die("out of memory");
        for (size_t i = 0; i < c->rounds; i++) {
                (void)bus_round(dir, c->trips, trip_us);
                ours[i] = median(trip_us, c->trips) / 2;
                (void)bare_round(dir, c->trips, trip_us);
                bare[i] = median(trip_us, c->trips) / 2;
                if (!c->json)
                        (void)printf("latency round %zu: bus %.1f us, bare %.1f us\n", i + 1, ours[i],
                                     bare[i]);
        }
        a = median(ours, c->rounds);
        b = median(bare, c->rounds);
        (void)printf(c->json ? "{\"figure\":\"latency per hop\",\"unit\":\"us\",\"bus\":%.1f,\"bare\":%.1f,"
                               "\"added\":%.1f}\n"
                             : "latency per hop: bus %.1f us, bare ZeroMQ %.1f us, added %.1f us\n",
                     a, b, a - b);
}

static void remove_directory(const char *dir)
{
        static const char *const names[] = {"source",    "sink",        "source.lock",
                                            "sink.lock", "bare-source", "bare-sink"};
        char path[128];

        zsys_shutdown(); /* ZeroMQ unlinks late */
        for (size_t i = 0; i < AK_ARRAY_SIZE(names); i++) {
                (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
                (void)unlink(path);
        }
        if (rmdir(dir) < 0)
                die(dir);
}

int main(int argc, char **argv)
{
        char dir[] = "/tmp/bench-bus-XXXXXX";
        struct config config = {0};
        int r;

        if (argc == 6 && strcmp(argv[1], "--other") == 0)
                return other_main(argv);
        r = ak_options_load(&program, argc, argv, &config, NULL);
        if (r != 0)
                return r == AK_OPTIONS_DONE ? 0 : 2;
        if (!mkdtemp(dir))
                die("mkdtemp");
        throughput(&config, dir);
        latency(&config, dir);
        remove_directory(dir);
        return 0;
}
