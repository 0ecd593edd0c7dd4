/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/kube/test_server.h"

#include "libcommon/test.h"

#include <arpa/inet.h>
#include <gnutls/x509.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_ENTRIES 4096

struct entry {
        int status;
        char *text;
};

struct server {
        struct MHD_Daemon *daemon;
        char url[64];
        pthread_mutex_t lock;
        pthread_cond_t news;
        struct entry answers[MAX_ENTRIES], refusals[MAX_ENTRIES];
        size_t answer_count, answer_next, refusal_count, refusal_next;
        char *requests[MAX_ENTRIES];
        size_t request_count, watches, connections;
        char *pushed; /* for the open watch */
        size_t pushed_len;
        bool end, cut, hang, stop;
};

/* ------------------------------------------------------------------ certificates */

static char *pem_of(gnutls_datum_t *data)
{
        char *text = strndup((const char *)data->data, data->size);
        gnutls_free(data->data);
        assert_non_null(text);
        return text;
}

static gnutls_x509_privkey_t key_new(char **pem)
{
        gnutls_x509_privkey_t key;
        gnutls_datum_t data;
        assert_int_equal(gnutls_x509_privkey_init(&key), 0);
        assert_int_equal(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                                      GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
                         0);
        assert_int_equal(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &data), 0);
        *pem = pem_of(&data);
        return key;
}

static gnutls_x509_crt_t crt_new(const char *name, gnutls_x509_privkey_t key, unsigned char serial, bool ca)
{
        gnutls_x509_crt_t crt;
        time_t now = time(NULL);
        struct in_addr loopback = {htonl(INADDR_LOOPBACK)};
        assert_int_equal(gnutls_x509_crt_init(&crt), 0);
        assert_int_equal(gnutls_x509_crt_set_version(crt, 3), 0);
        assert_int_equal(gnutls_x509_crt_set_serial(crt, &serial, 1), 0);
        assert_int_equal(gnutls_x509_crt_set_activation_time(crt, now - 60), 0);
        assert_int_equal(gnutls_x509_crt_set_expiration_time(crt, now + 3600), 0);
        assert_int_equal(gnutls_x509_crt_set_key(crt, key), 0);
        assert_int_equal(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                                       (unsigned int)strlen(name)),
                         0);
        assert_int_equal(gnutls_x509_crt_set_basic_constraints(crt, ca, ca ? 1 : -1), 0);
        if (!ca)
                assert_int_equal(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, &loopback,
                                                                      sizeof(loopback), GNUTLS_FSAN_SET),
                                 0);
        return crt;
}

static char *crt_pem(gnutls_x509_crt_t crt, gnutls_x509_crt_t issuer, gnutls_x509_privkey_t issuer_key)
{
        gnutls_datum_t data;
        assert_int_equal(gnutls_x509_crt_sign2(crt, issuer, issuer_key, GNUTLS_DIG_SHA256, 0), 0);
        assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &data), 0);
        return pem_of(&data);
}

void server_tls_make(struct server_tls *tls)
{
        char *ca_key;
        gnutls_x509_privkey_t keys[3] = {key_new(&ca_key), key_new(&tls->key), key_new(&tls->client_key)};
        gnutls_x509_crt_t crts[3] = {crt_new("test CA", keys[0], 1, true),
                                     crt_new("server", keys[1], 2, false),
                                     crt_new("client", keys[2], 3, false)};
        tls->ca = crt_pem(crts[0], crts[0], keys[0]);
        tls->cert = crt_pem(crts[1], crts[0], keys[0]);
        tls->client_cert = crt_pem(crts[2], crts[0], keys[0]);
        for (size_t i = 0; i < 3; i++) {
                gnutls_x509_privkey_deinit(keys[i]);
                gnutls_x509_crt_deinit(crts[i]);
        }
        free(ca_key);
}

void server_tls_free(struct server_tls *tls)
{
        free(tls->ca);
        free(tls->cert);
        free(tls->key);
        free(tls->client_cert);
        free(tls->client_key);
}

/* ------------------------------------------------------------------ watch */

static ssize_t watch_read(void *arg, uint64_t pos, char *buf, size_t max)
{
        struct server *s = arg;
        ssize_t n = 0;
        (void)pos;
        (void)pthread_mutex_lock(&s->lock);
        while (s->pushed_len == 0 && !s->end && !s->cut && !s->stop)
                (void)pthread_cond_wait(&s->news, &s->lock);
        if (s->pushed_len > 0) {
                n = (ssize_t)(s->pushed_len < max ? s->pushed_len : max);
                memcpy(buf, s->pushed, (size_t)n);
                s->pushed_len -= (size_t)n;
                memmove(s->pushed, s->pushed + n, s->pushed_len);
        } else {
                n = s->cut ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
                s->end = s->cut = false;
        }
        (void)pthread_mutex_unlock(&s->lock);
        return n;
}

static enum MHD_Result reply(struct MHD_Connection *connection, const struct entry *entry)
{
        struct MHD_Response *r =
            MHD_create_response_from_buffer(strlen(entry->text), entry->text, MHD_RESPMEM_MUST_COPY);
        (void)MHD_add_response_header(r, "Content-Type", "application/json");
        enum MHD_Result rc = MHD_queue_response(connection, (unsigned int)entry->status, r);
        MHD_destroy_response(r);
        return rc;
}

static enum MHD_Result serve_watch(struct server *s, struct MHD_Connection *connection)
{
        (void)pthread_mutex_lock(&s->lock);
        s->watches++;
        const struct entry *refusal =
            s->refusal_next < s->refusal_count ? &s->refusals[s->refusal_next++] : NULL;
        (void)pthread_mutex_unlock(&s->lock);
        if (refusal)
                return reply(connection, refusal);
        struct MHD_Response *r =
            MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, watch_read, s, NULL);
        enum MHD_Result rc = MHD_queue_response(connection, 200, r);
        MHD_destroy_response(r);
        return rc;
}

/* ------------------------------------------------------------------ requests */

struct request {
        char *body;
        size_t len;
};

struct query {
        char text[512];
};

static enum MHD_Result add_query(void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
        struct query *q = arg;
        size_t used = strlen(q->text);
        (void)kind;
        (void)snprintf(q->text + used, sizeof(q->text) - used, "%s%s=%s", used ? "&" : "?", key,
                       value ? value : "");
        return MHD_YES;
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
        const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
        return value ? value : "";
}

static void record(struct server *s, struct MHD_Connection *connection, const char *method, const char *url,
                   const struct request *request)
{
        struct query query = {""};
        char *line = NULL;
        (void)MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, add_query, &query);
        if (asprintf(&line, "%s %s%s|%s|%s|%s", method, url, query.text, header(connection, "Authorization"),
                     header(connection, "Content-Type"), request->body ? request->body : "") < 0)
                abort();
        (void)pthread_mutex_lock(&s->lock);
        if (s->request_count < MAX_ENTRIES)
                s->requests[s->request_count++] = line;
        else
                free(line);
        (void)pthread_mutex_unlock(&s->lock);
}

static enum MHD_Result serve(struct server *s, struct MHD_Connection *connection)
{
        static const struct entry nothing = {404, "{\"kind\":\"Status\",\"reason\":\"NotFound\"}"};
        (void)pthread_mutex_lock(&s->lock);
        while (s->hang && !s->stop)
                (void)pthread_cond_wait(&s->news, &s->lock);
        const struct entry *entry = &nothing;
        if (s->answer_count > 0)
                entry =
                    &s->answers[s->answer_next < s->answer_count ? s->answer_next++ : s->answer_count - 1];
        (void)pthread_mutex_unlock(&s->lock);
        return reply(connection, entry);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data, size_t *len,
                                  void **context)
{
        struct server *s = arg;
        struct request *request = *context;
        (void)version;
        if (!request) {
                *context = calloc(1, sizeof(*request));
                return *context ? MHD_YES : MHD_NO;
        }
        if (*len > 0) {
                request->body = realloc(request->body, request->len + *len + 1);
                if (!request->body)
                        abort();
                memcpy(request->body + request->len, data, *len);
                request->len += *len;
                request->body[request->len] = '\0';
                *len = 0;
                return MHD_YES;
        }
        record(s, connection, method, url, request);
        if (MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "watch"))
                return serve_watch(s, connection);
        return serve(s, connection);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
        struct request *request = *context;
        (void)arg;
        (void)connection;
        (void)code;
        if (request)
                free(request->body);
        free(request);
        *context = NULL;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
        struct server *s = arg;
        (void)connection;
        (void)context;
        (void)pthread_mutex_lock(&s->lock);
        s->connections += code == MHD_CONNECTION_NOTIFY_STARTED;
        (void)pthread_mutex_unlock(&s->lock);
}

/* ------------------------------------------------------------------ life */

static struct MHD_Daemon *start(struct server *s, const struct server_tls *tls)
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        unsigned int flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL;
        struct MHD_OptionItem secure[] = {{MHD_OPTION_HTTPS_MEM_KEY, 0, tls ? tls->key : NULL},
                                          {MHD_OPTION_HTTPS_MEM_CERT, 0, tls ? tls->cert : NULL},
                                          {MHD_OPTION_HTTPS_MEM_TRUST, 0, tls ? tls->ca : NULL},
                                          {MHD_OPTION_END, 0, NULL}};
        struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
        return MHD_start_daemon(flags | (tls ? MHD_USE_TLS : 0), 0, NULL, NULL, on_request, s,
                                MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
                                MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_ARRAY,
                                tls ? secure : plain, MHD_OPTION_END);
}

struct server *server_new(const struct server_tls *tls)
{
        struct server *s = calloc(1, sizeof(*s));
        assert_non_null(s);
        assert_int_equal(pthread_mutex_init(&s->lock, NULL), 0);
        assert_int_equal(pthread_cond_init(&s->news, NULL), 0);
        s->daemon = start(s, tls);
        assert_non_null(s->daemon);
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
        (void)snprintf(s->url, sizeof(s->url), "%s://127.0.0.1:%u", tls ? "https" : "http", info->port);
        return s;
}

void server_free(struct server *s)
{
        (void)pthread_mutex_lock(&s->lock);
        s->stop = true;
        (void)pthread_cond_broadcast(&s->news);
        (void)pthread_mutex_unlock(&s->lock);
        MHD_stop_daemon(s->daemon);
        for (size_t i = 0; i < s->answer_count; i++)
                free(s->answers[i].text);
        for (size_t i = 0; i < s->refusal_count; i++)
                free(s->refusals[i].text);
        for (size_t i = 0; i < s->request_count; i++)
                free(s->requests[i]);
        free(s->pushed);
        (void)pthread_mutex_destroy(&s->lock);
        (void)pthread_cond_destroy(&s->news);
        free(s);
}

const char *server_url(const struct server *s)
{
        return s->url;
}

/* ------------------------------------------------------------------ script */

static void add(struct server *s, struct entry *list, size_t *count, int status, const char *text)
{
        (void)pthread_mutex_lock(&s->lock);
        assert_true(*count < MAX_ENTRIES);
        list[(*count)++] = (struct entry){status, strdup(text)};
        (void)pthread_mutex_unlock(&s->lock);
}

void server_answer(struct server *s, int status, const char *body)
{
        add(s, s->answers, &s->answer_count, status, body);
}

void server_refuse_watch(struct server *s, int status, const char *body)
{
        add(s, s->refusals, &s->refusal_count, status, body);
}

void server_push(struct server *s, const char *bytes)
{
        size_t len = strlen(bytes);
        (void)pthread_mutex_lock(&s->lock);
        s->pushed = realloc(s->pushed, s->pushed_len + len);
        assert_non_null(s->pushed);
        memcpy(s->pushed + s->pushed_len, bytes, len);
        s->pushed_len += len;
        (void)pthread_cond_broadcast(&s->news);
        (void)pthread_mutex_unlock(&s->lock);
}

static void set(struct server *s, bool *flag, bool value)
{
        (void)pthread_mutex_lock(&s->lock);
        *flag = value;
        (void)pthread_cond_broadcast(&s->news);
        (void)pthread_mutex_unlock(&s->lock);
}

void server_end_watch(struct server *s, bool cut)
{
        set(s, cut ? &s->cut : &s->end, true);
}

void server_hang(struct server *s, bool hang)
{
        set(s, &s->hang, hang);
}

/* ------------------------------------------------------------------ questions */

static size_t read_count(struct server *s, const size_t *count)
{
        (void)pthread_mutex_lock(&s->lock);
        size_t value = *count;
        (void)pthread_mutex_unlock(&s->lock);
        return value;
}

const char *server_request(struct server *s, size_t n)
{
        (void)pthread_mutex_lock(&s->lock);
        const char *text = n < s->request_count ? s->requests[n] : NULL;
        (void)pthread_mutex_unlock(&s->lock);
        return text;
}

size_t server_requests(struct server *s)
{
        return read_count(s, &s->request_count);
}

size_t server_watches(struct server *s)
{
        return read_count(s, &s->watches);
}

size_t server_connections(struct server *s)
{
        return read_count(s, &s->connections);
}
