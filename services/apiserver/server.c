/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reactor: builds the parts, wakes them, and ends each turn. Whatever woke the loop, api_server_turn() is
 * the last thing done: requests that came in together are thus committed together.
 */
#include "services/apiserver/server.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "libcommon/clock.h"
#include "libcommon/netaddr.h"
#include "libcommon/telemetry.h"
#include "services/apiserver/metrics.h"
#include "services/apiserver/server_internal.h"

#define MAX_ROUNDS   16                           /* of HTTP in one turn, then the loop has its turn */
#define RENEW_MS     (12 * 60 * 60 * 1000)        /* how often certificates are looked at */
#define MAX_TIMER_US (UINT64_C(10) * 1000 * 1000) /* the wall clock may jump under core_due_us */

/* ---- a turn ---- */

void api_server_take_changes(struct api_server *s, const struct api_result *result)
{
        for (size_t i = 0; i < result->change_count; i++) {
                AK_CLEANUP(api_event_unrefp) struct api_event *event = api_event_new(&result->changes[i]);

                if (!event || api_commit_add(s->commit, event) < 0) {
                        /* Memory is ahead of what will be written: the same as a failed commit. */
                        ak_log(AK_LOG_ERROR, "store_failed", "error", "out of memory", NULL);
                        _exit(API_EXIT_STORE);
                }
                api_hub_stage(s->hub, event);
                s->changed = true;
        }
}

static void tick_core(struct api_server *s)
{
        uint64_t now_us = ak_clock_realtime_us();

        while (s->changed || (s->core_due_us && s->core_due_us <= now_us)) {
                struct api_result result = {0};

                s->changed = false;
                s->core_due_us = 0;
                if (api_core_tick(s->core, now_us, &result, &s->core_due_us) == 0)
                        api_server_take_changes(s, &result);
                api_result_deinit(&result);
                if (!s->changed)
                        break;
        }
}

static int on_timer(zloop_t *loop, int timer_id, void *arg)
{
        struct api_server *s = arg;

        (void)loop;
        (void)timer_id;
        s->timer_id = -1;
        api_server_turn(s);
        return s->stopping ? -1 : 0;
}

static void arm_timer(struct api_server *s, uint64_t due_us, uint64_t now_us)
{
        if (s->timer_id >= 0 && s->timer_due_us == due_us)
                return;
        if (s->timer_id >= 0)
                (void)zloop_timer_end(s->loop, s->timer_id);
        s->timer_due_us = due_us;
        s->timer_id = zloop_timer(s->loop, due_us > now_us ? (size_t)((due_us - now_us + 999) / 1000) : 0, 1,
                                  on_timer, s);
}

void api_server_kick(struct api_server *s)
{
        uint64_t now_us = ak_clock_monotonic_us();

        arm_timer(s, now_us, now_us);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
        return a < b ? a : b;
}

static void plan(struct api_server *s, uint64_t watch_due_us)
{
        uint64_t now_us = ak_clock_monotonic_us(), real_us = ak_clock_realtime_us();
        uint64_t wait_us = sooner(MAX_TIMER_US, api_http_timeout_us(s->http));

        if (watch_due_us)
                wait_us = sooner(wait_us, watch_due_us > now_us ? watch_due_us - now_us : 0);
        if (s->core_due_us)
                wait_us = sooner(wait_us, s->core_due_us > real_us ? s->core_due_us - real_us : 0);
        arm_timer(s, now_us + wait_us, now_us);
}

void api_server_turn(struct api_server *s)
{
        uint64_t watch_due_us = 0;

        api_hub_tick(s->hub, ak_clock_monotonic_us(), &watch_due_us);
        for (int i = 0; i < MAX_ROUNDS; i++) {
                bool idle = api_http_run(s->http);

                tick_core(s);
                api_commit_flush(s->commit);
                if (idle)
                        break;
        }
        api_hub_tick(s->hub, ak_clock_monotonic_us(), &watch_due_us);
        plan(s, watch_due_us);
}

/* ---- what wakes the loop ---- */

static int on_http(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
        struct api_server *s = arg;

        (void)loop;
        (void)item;
        api_server_turn(s);
        return s->stopping ? -1 : 0;
}

static int on_hangup(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
        struct api_server *s = arg;

        (void)loop;
        (void)item;
        api_http_hangups(s->http);
        api_server_turn(s);
        return s->stopping ? -1 : 0;
}

static void on_committed(void *arg, uint64_t batch, size_t count)
{
        struct api_server *s = arg;

        api_hub_publish(s->hub, count);
        api_metrics_commit(s->metrics, count);
        if (s->http)
                api_http_committed(s->http, batch);
        if (!s->stopping)
                api_server_turn(s);
}

/* Fail-stop: nobody is answered, nothing more is written; the next start reads what is on the disk. */
static void on_commit_failed(void *arg, int error, const char *text)
{
        (void)arg;
        ak_log(AK_LOG_ERROR, "store_failed", "error", strerror(-error), "detail", text, "remedy",
               "free space or repair the disk, then start again; nothing acknowledged is lost", NULL);
        _exit(API_EXIT_STORE);
}

static int watch_fd(struct api_server *s, int fd, zloop_fn *fn)
{
        zmq_pollitem_t item = {.fd = fd, .events = ZMQ_POLLIN};

        if (zloop_poller(s->loop, &item, fn, s) < 0)
                return -ENOMEM;
        zloop_poller_set_tolerant(s->loop, &item);
        return 0;
}

/* ---- the store's content into the core ---- */

static const struct api_kind *kind_of(const char *group, const char *kind)
{
        for (size_t i = 0; i < api_kind_count; i++) {
                if (strcmp(api_kinds[i]->group, group) == 0 && strcmp(api_kinds[i]->kind, kind) == 0)
                        return api_kinds[i];
        }
        return NULL;
}

static int load_record(void *arg, const struct api_store_record *record)
{
        struct api_server *s = arg;
        const struct api_kind *kind = kind_of(record->group, record->kind);
        json_error_t error;
        json_t *object;
        int rc;

        if (!kind)
                return -EPROTO;
        object = json_loadb(record->json, record->json_len, 0, &error);
        if (!object)
                return -EBADMSG;
        rc = api_core_load(s->core, kind, object, record->resource_version);
        json_decref(object);
        return rc;
}

static int refuse_start(const char *what, const char *detail, int exit_code)
{
        ak_log(AK_LOG_ERROR, "cannot_start", "what", what, "detail", detail, NULL);
        return exit_code;
}

static int store_exit_code(int rc)
{
        return rc == -EBUSY ? API_EXIT_BUSY : rc == -EIO || rc == -ENOSPC ? API_EXIT_STORE : API_EXIT_CONFIG;
}

static int open_store(struct api_server *s)
{
        char error[API_STORE_ERROR_SIZE] = "";
        int rc = pki_make_dir(s->options->state_dir, error);

        if (rc < 0)
                return refuse_start("state-dir", error, API_EXIT_CONFIG);
        rc = api_store_sqlite_open(&s->store, s->options->state_dir, error);
        return rc < 0 ? refuse_start("store", error, store_exit_code(rc)) : 0;
}

static int new_core(struct api_server *s)
{
        struct api_core_config config = {.auto_create_vpc = s->options->auto_create_vpc,
                                         .auto_vpc_cidr = s->options->auto_vpc_cidr,
                                         .nic_slots = (uint32_t)s->options->nic_slots,
                                         .node_grace_us = s->options->node_grace_us,
                                         .max_objects = (uint32_t)s->options->max_objects};
        uint64_t version = 0;
        int rc;

        if (getrandom(&config.seed, sizeof(config.seed), 0) != (ssize_t)sizeof(config.seed))
                return refuse_start("random seed", strerror(errno), API_EXIT_CONFIG);
        rc = api_core_new(&s->core, &config);
        if (rc < 0)
                return refuse_start("configuration", strerror(-rc), API_EXIT_CONFIG);
        rc = s->store->ops->load(s->store, load_record, s, &version);
        if (rc < 0)
                return refuse_start("store", s->store->ops->error(s->store), store_exit_code(rc));
        api_core_set_resource_version(s->core, version);
        return 0;
}

/* The objects that every server has; written through the same group commit as everything later. */
static int start_core(struct api_server *s)
{
        const struct api_commit_handler handler = {on_committed, on_commit_failed, s};
        const struct api_hub_config hub = {.history = (uint32_t)s->options->watch_history,
                                           .resource_version = api_core_resource_version(s->core)};
        struct api_result result = {0};

        if (api_hub_new(&s->hub, &hub) < 0 || api_commit_new(&s->commit, s->loop, s->store, &handler) < 0 ||
            api_core_start(s->core, ak_clock_realtime_us(), &result) < 0)
                return refuse_start("memory", "out of memory", API_EXIT_CONFIG);
        api_server_take_changes(s, &result);
        api_result_deinit(&result);
        s->changed = true;
        return 0;
}

/* ---- address and certificates ---- */

struct address {
        char host[256];
        char port[8];
};

/* HOST:PORT, [IPv6]:PORT */
static int split_listen(const char *listen, struct address *out)
{
        const char *colon = strrchr(listen, ':');
        const char *host = listen;
        size_t len;

        if (!colon || !colon[1] || strlen(colon + 1) > 5 ||
            strspn(colon + 1, "0123456789") != strlen(colon + 1))
                return -EINVAL;
        len = (size_t)(colon - listen);
        if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
                host++;
                len -= 2;
        } else if (memchr(host, ':', len)) {
                return -EINVAL;
        }
        if (len == 0 || len >= sizeof(out->host))
                return -EINVAL;
        (void)snprintf(out->host, sizeof(out->host), "%.*s", (int)len, host);
        (void)snprintf(out->port, sizeof(out->port), "%s", colon + 1);
        return 0;
}

static int bind_socket(const struct addrinfo *ai)
{
        AK_AUTOCLOSE int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int one = 1;

        if (fd < 0)
                return -errno;
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
            bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, 512) < 0)
                return -errno;
        int stolen = fd;
        fd = -1;
        return stolen;
}

static int listen_on(const struct address *address, const char *listen)
{
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
        struct addrinfo *list = NULL;
        int rc = getaddrinfo(address->host, address->port, &hints, &list);
        char detail[400];

        if (rc != 0) {
                (void)snprintf(detail, sizeof(detail), "%s: %s", listen, gai_strerror(rc));
                (void)refuse_start("listen", detail, API_EXIT_CONFIG);
                return -EINVAL;
        }
        rc = bind_socket(list);
        freeaddrinfo(list);
        if (rc < 0) {
                (void)snprintf(detail, sizeof(detail), "%s: %s", listen, strerror(-rc));
                (void)refuse_start("listen", detail, API_EXIT_BUSY);
        }
        return rc;
}

static bool is_wildcard(const char *host)
{
        return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

static unsigned int bound_port(int fd)
{
        union {
                struct sockaddr any;
                struct sockaddr_in v4; /* its port lies where that of sockaddr_in6 does */
                struct sockaddr_in6 v6;
        } address = {.v6 = {0}};
        socklen_t len = sizeof(address);

        return getsockname(fd, &address.any, &len) == 0 ? ntohs(address.v4.sin_port) : 0;
}

static void make_url(const struct address *address, int fd, char *out, size_t size)
{
        const char *host = is_wildcard(address->host) ? "127.0.0.1" : address->host;
        bool v6 = strchr(host, ':');

        (void)snprintf(out, size, "https://%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", bound_port(fd));
}

static void add_name(const char **names, size_t *count, const char *name)
{
        for (size_t i = 0; i < *count; i++) {
                if (strcmp(names[i], name) == 0)
                        return;
        }
        names[(*count)++] = name;
}

static int load_pki(struct api_server *s, const struct address *address, struct pki *out)
{
        char host[256] = "localhost", error[PKI_ERROR_SIZE] = "";
        AK_AUTOFREE const char **names = calloc(s->options->san.count + 6, sizeof(char *));
        struct pki_config config = {.dir = s->options->pki_dir, .now = time(NULL)};
        size_t count = 0;

        if (!names)
                return refuse_start("memory", "out of memory", API_EXIT_CONFIG);
        (void)gethostname(host, sizeof(host) - 1);
        add_name(names, &count, "localhost");
        add_name(names, &count, "127.0.0.1");
        add_name(names, &count, host);
        if (!is_wildcard(address->host))
                add_name(names, &count, address->host);
        for (size_t i = 0; i < s->options->san.count; i++)
                add_name(names, &count, s->options->san.items[i]);
        config.names = names;
        config.node_name = s->options->node_name ? s->options->node_name : host;
        if (!ak_dns1123_subdomain_valid(config.node_name))
                return refuse_start("node-name",
                                    "must be a DNS name of lower-case letters, digits, '-' and '.'; "
                                    "give one with --node-name",
                                    API_EXIT_CONFIG);
        return pki_load(out, &config, error) < 0 ? refuse_start("pki-dir", error, API_EXIT_CONFIG) : 0;
}

/* ---- start and stop ---- */

static int load_access(struct api_server *s)
{
        char error[ACCESS_ERROR_SIZE] = "out of memory";

        return auth_files_new(&s->auth_files, s->options->pki_dir, error) < 0
                   ? refuse_start("access", error, API_EXIT_CONFIG)
                   : 0;
}

static int open_audit(struct api_server *s)
{
        const char *file = s->options->audit_log;
        char path[PATH_MAX], error[AUDIT_ERROR_SIZE] = "out of memory";

        if (file && strcmp(file, "none") == 0)
                return 0;
        if (!file) {
                (void)snprintf(path, sizeof(path), "%s/audit.log", s->options->state_dir);
                file = path;
        }
        return api_audit_new(&s->audit, file, s->options->audit_max_size, error) < 0
                   ? refuse_start("audit-log", error, API_EXIT_CONFIG)
                   : 0;
}

static int open_front_door(struct api_server *s)
{
        char error[PKI_ERROR_SIZE] = "";
        struct address address;
        AK_AUTOCLOSE int fd = -1;
        int rc;

        if (split_listen(s->options->listen, &address) < 0)
                return refuse_start("listen", "must be HOST:PORT or [IPv6]:PORT", API_EXIT_CONFIG);
        rc = load_pki(s, &address, &s->pki);
        if (rc == 0)
                rc = load_access(s);
        if (rc == 0)
                rc = open_audit(s);
        if (rc != 0)
                return rc;
        fd = listen_on(&address, s->options->listen);
        if (fd < 0)
                return fd == -EINVAL ? API_EXIT_CONFIG : API_EXIT_BUSY;
        make_url(&address, fd, s->url, sizeof(s->url));
        if (pki_write_kubeconfigs(&s->pki, s->url, error) < 0)
                return refuse_start("pki-dir", error, API_EXIT_CONFIG);
        if (api_tls_new(&s->tls) < 0 || api_tls_set(s->tls, s->pki.server_cert, s->pki.server_key) < 0)
                return refuse_start("pki-dir", "server.crt or server.key cannot be read", API_EXIT_CONFIG);
        if (api_http_new(&s->http, s, fd) < 0)
                return refuse_start("https", "the HTTP library could not be set up", API_EXIT_CONFIG);
        fd = -1;
        ak_log(AK_LOG_INFO, "listening", "url", s->url, "pki", s->options->pki_dir, NULL);
        return 0;
}

/* What runs out within 30 days is made anew; what somebody else put there is taken. */
void api_server_renew(struct api_server *s)
{
        AK_CLEANUP(pki_deinit) struct pki fresh = {0};
        char error[PKI_ERROR_SIZE] = "";
        struct address address;

        if (split_listen(s->options->listen, &address) < 0 || load_pki(s, &address, &fresh) != 0)
                return; /* has been logged */
        if (strcmp(fresh.server_cert, s->pki.server_cert) != 0) {
                if (api_tls_set(s->tls, fresh.server_cert, fresh.server_key) < 0) {
                        ak_log(AK_LOG_ERROR, "certificate_refused", "file", "server.crt", NULL);
                        return;
                }
                ak_log(AK_LOG_INFO, "certificate_replaced", "file", "server.crt", NULL);
        }
        if (pki_write_kubeconfigs(&fresh, s->url, error) < 0)
                ak_log(AK_LOG_ERROR, "kubeconfig_failed", "error", error, NULL);
        struct pki old = s->pki;
        s->pki = fresh;
        fresh = old;
}

static int on_renew(zloop_t *loop, int timer, void *arg)
{
        (void)loop;
        (void)timer;
        api_server_renew(arg);
        return 0;
}

static int make_telemetry(struct api_server *s)
{
        const struct ak_telemetry_options options = {
            .service = "apiserver", .metrics = s->options->metrics, .otlp = s->options->otlp};

        if (ak_telemetry_new(&s->telemetry, s->loop, &options) < 0)
                return API_EXIT_CONFIG;
        return api_metrics_new(&s->metrics, s) < 0 ? refuse_start("memory", "out of memory", API_EXIT_CONFIG)
                                                   : 0;
}

static int watch_everything(struct api_server *s)
{
        if (watch_fd(s, api_http_poll_fd(s->http), on_http) < 0 ||
            watch_fd(s, api_http_hangup_fd(s->http), on_hangup) < 0 ||
            zloop_timer(s->loop, RENEW_MS, 0, on_renew, s) < 0)
                return refuse_start("reactor", strerror(errno), API_EXIT_CONFIG);
        return 0;
}

static int build(struct api_server *s)
{
        int rc = open_store(s);

        s->loop = zloop_new();
        if (rc == 0 && (!s->loop || api_docs_new(&s->docs) < 0))
                rc = refuse_start("memory", "out of memory", API_EXIT_CONFIG);
        if (rc == 0)
                rc = new_core(s);
        if (rc == 0)
                rc = start_core(s);
        if (rc == 0)
                rc = make_telemetry(s);
        if (rc == 0)
                rc = open_front_door(s);
        if (rc == 0)
                rc = watch_everything(s);
        return rc;
}

int api_server_new(struct api_server **out, const struct api_options *options)
{
        struct api_server *s = calloc(1, sizeof(*s));

        if (!s)
                return API_EXIT_CONFIG;
        s->options = options;
        s->timer_id = -1;
        *out = s;
        return build(s);
}

zloop_t *api_server_loop(struct api_server *s)
{
        return s->loop;
}

int api_server_run(struct api_server *s)
{
        zloop_set_nonstop(s->loop, true);
        api_server_turn(s);
        (void)zloop_start(s->loop);
        s->stopping = true;
        return s->exit_code;
}

struct api_server *api_server_free(struct api_server *s)
{
        if (!s)
                return NULL;
        s->stopping = true;
        if (s->hub)
                api_hub_stop(s->hub);
        s->commit = api_commit_free(s->commit);
        s->http = api_http_free(s->http);
        s->metrics = api_metrics_free(s->metrics);
        s->telemetry = ak_telemetry_free(s->telemetry);
        s->hub = api_hub_free(s->hub);
        s->core = api_core_free(s->core);
        s->docs = api_docs_free(s->docs);
        if (s->store)
                s->store = s->store->ops->free(s->store);
        zloop_destroy(&s->loop);
        s->tls = api_tls_free(s->tls);
        s->auth_files = auth_files_free(s->auth_files);
        s->audit = api_audit_free(s->audit);
        pki_deinit(&s->pki);
        free(s);
        return NULL;
}
