/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session on libcurl's multi interface: it alone can be woken from another thread while it waits
 * (curl_multi_wakeup), so that a stop does not wait for a timeout.
 */
#include "libcommon/kube/session.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define CONNECT_TIMEOUT_MS   10000L
#define KEEPALIVE_IDLE_S     15L
#define KEEPALIVE_INTERVAL_S 5L

struct transfer {
        struct ak_kube_session *session;
        struct transfer *prev, *next;
        CURL *easy;
        struct curl_slist *headers;
        char *url, *body;
        struct ak_kube_transfer_handler handler;
        char *answer; /* collected body */
        size_t answer_len, answer_capacity;
        int error; /* of the data callback or the bound */
        char curl_error[CURL_ERROR_SIZE];
};

struct ak_kube_session {
        CURLM *multi;
        char *server, *user_agent, *authorization;
        bool insecure;
        int ca_fd, cert_fd, key_fd; /* memory files; -1 = none */
        struct transfer *transfers;
        size_t running;
        atomic_bool cancelled;
};

static void global_init(void)
{
        (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int memory_file(const char *name, const char *text, int *out)
{
        if (!text)
                return 0;
        AK_AUTOCLOSE int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;
        for (size_t len = strlen(text), done = 0; done < len;) {
                ssize_t n = write(fd, text + done, len - done);
                if (n < 0)
                        return -errno;
                done += (size_t)n;
        }
        *out = fd;
        fd = -1;
        return 0;
}

static int session_credentials(struct ak_kube_session *s, const struct ak_kubeconfig *config)
{
        int rc = memory_file("kube-ca", config->ca_pem, &s->ca_fd);
        if (rc == 0)
                rc = memory_file("kube-cert", config->cert_pem, &s->cert_fd);
        if (rc == 0)
                rc = memory_file("kube-key", config->key_pem, &s->key_fd);
        if (rc == 0 && config->token && config->token[0] != '\0' &&
            asprintf(&s->authorization, "Authorization: Bearer %s", config->token) < 0) {
                s->authorization = NULL;
                rc = -ENOMEM;
        }
        return rc;
}

int ak_kube_session_new(struct ak_kube_session **out, const struct ak_kubeconfig *config,
                        const char *user_agent)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        (void)pthread_once(&once, global_init);
        if (!config->server)
                return -EINVAL;
        AK_CLEANUP(ak_kube_session_freep) struct ak_kube_session *s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->ca_fd = s->cert_fd = s->key_fd = -1;
        s->insecure = config->insecure;
        s->multi = curl_multi_init();
        s->server = strdup(config->server);
        s->user_agent = strdup(user_agent);
        if (!s->multi || !s->server || !s->user_agent)
                return -ENOMEM;
        int rc = session_credentials(s, config);
        if (rc < 0)
                return rc;
        *out = AK_STEAL(s);
        return 0;
}

static void transfer_free(struct transfer *t)
{
        struct ak_kube_session *s = t->session;
        if (t->prev || s->transfers == t) {
                if (t->prev)
                        t->prev->next = t->next;
                else
                        s->transfers = t->next;
                if (t->next)
                        t->next->prev = t->prev;
                s->running--;
                (void)curl_multi_remove_handle(s->multi, t->easy);
        }
        curl_easy_cleanup(t->easy);
        curl_slist_free_all(t->headers);
        free(t->url);
        free(t->body);
        free(t->answer);
        free(t);
}

static void transfer_freep(struct transfer **t)
{
        if (*t)
                transfer_free(*t);
}

struct ak_kube_session *ak_kube_session_free(struct ak_kube_session *session)
{
        if (!session)
                return NULL;
        while (session->transfers)
                transfer_free(session->transfers);
        curl_multi_cleanup(session->multi);
        free(session->server);
        free(session->user_agent);
        if (session->authorization)
                explicit_bzero(session->authorization, strlen(session->authorization));
        free(session->authorization);
        ak_closep(&session->ca_fd);
        ak_closep(&session->cert_fd);
        ak_closep(&session->key_fd);
        free(session);
        return NULL;
}

void ak_kube_session_wake(struct ak_kube_session *session)
{
        (void)curl_multi_wakeup(session->multi);
}

void ak_kube_session_cancel(struct ak_kube_session *session)
{
        atomic_store(&session->cancelled, true);
        ak_kube_session_wake(session);
}

bool ak_kube_session_cancelled(const struct ak_kube_session *session)
{
        return atomic_load(&session->cancelled);
}

size_t ak_kube_session_running(const struct ak_kube_session *session)
{
        return session->running;
}

/* ---- one transfer ---- */

static int transfer_collect(struct transfer *t, const char *data, size_t len)
{
        if (len > AK_KUBE_RESPONSE_MAX || t->answer_len > AK_KUBE_RESPONSE_MAX - len)
                return -EMSGSIZE;
        if (t->answer_len + len > t->answer_capacity) {
                size_t capacity = t->answer_capacity ? t->answer_capacity : 8192;
                while (capacity < t->answer_len + len)
                        capacity *= 2;
                char *grown = realloc(t->answer, capacity);
                if (!grown)
                        return -ENOMEM;
                t->answer = grown;
                t->answer_capacity = capacity;
        }
        memcpy(t->answer + t->answer_len, data, len);
        t->answer_len += len;
        return 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
        struct transfer *t = arg;
        long status = 0;
        (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        bool stream = t->handler.data && status >= 200 && status < 300;
        t->error = stream ? t->handler.data(t->handler.arg, data, size * count)
                          : transfer_collect(t, data, size * count);
        return t->error == 0 ? size * count : 0;
}

static bool set_verb(CURL *easy, enum ak_kube_verb verb)
{
        static const char *const names[] = {
            [AK_KUBE_GET] = "GET",           [AK_KUBE_CREATE] = "POST",           [AK_KUBE_UPDATE] = "PUT",
            [AK_KUBE_MERGE_PATCH] = "PATCH", [AK_KUBE_STRATEGIC_PATCH] = "PATCH", [AK_KUBE_DELETE] = "DELETE",
        };
        return curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, names[verb]) == CURLE_OK;
}

static const char *content_type(enum ak_kube_verb verb)
{
        switch (verb) {
        case AK_KUBE_MERGE_PATCH:
                return "Content-Type: application/merge-patch+json";
        case AK_KUBE_STRATEGIC_PATCH:
                return "Content-Type: application/strategic-merge-patch+json";
        default:
                return "Content-Type: application/json";
        }
}

static bool add_header(struct transfer *t, const char *line)
{
        struct curl_slist *longer = line ? curl_slist_append(t->headers, line) : t->headers;
        if (!longer && line)
                return false;
        t->headers = longer;
        return true;
}

static bool set_body(struct transfer *t, const struct ak_kube_request *request)
{
        if (!request->body)
                return true;
        t->body = json_dumps(request->body, JSON_COMPACT | JSON_ENCODE_ANY);
        return t->body && add_header(t, content_type(request->verb)) && add_header(t, "Expect:") &&
               curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(t->body)) ==
                   CURLE_OK &&
               curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->body) == CURLE_OK;
}

static bool set_file(CURL *easy, CURLoption option, int fd)
{
        char path[32];
        if (fd < 0)
                return true;
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        return curl_easy_setopt(easy, option, path) == CURLE_OK;
}

static bool set_tls(struct transfer *t)
{
        const struct ak_kube_session *s = t->session;
        /* The kubeconfig's CA alone: libcurl would trust the system's besides, and read all of them each
         * time. */
        if (s->ca_fd >= 0 && curl_easy_setopt(t->easy, CURLOPT_CAPATH, NULL) != CURLE_OK)
                return false;
        return set_file(t->easy, CURLOPT_CAINFO, s->ca_fd) &&
               set_file(t->easy, CURLOPT_SSLCERT, s->cert_fd) &&
               set_file(t->easy, CURLOPT_SSLKEY, s->key_fd) &&
               curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, s->insecure ? 0L : 1L) == CURLE_OK &&
               curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, s->insecure ? 0L : 2L) == CURLE_OK;
}

#define SET(option, value) (curl_easy_setopt(t->easy, option, value) == CURLE_OK)

static bool set_transport(struct transfer *t, const struct ak_kube_request *request)
{
        long timeout = request->timeout_ms ? (long)request->timeout_ms : AK_KUBE_TIMEOUT_MS;
        return SET(CURLOPT_URL, t->url) && SET(CURLOPT_PROTOCOLS_STR, "https,http") &&
               SET(CURLOPT_PROXY, "") && SET(CURLOPT_NOSIGNAL, 1L) && SET(CURLOPT_FOLLOWLOCATION, 0L) &&
               SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
               SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS) && SET(CURLOPT_TIMEOUT_MS, timeout) &&
               SET(CURLOPT_TCP_KEEPALIVE, 1L) && SET(CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S) &&
               SET(CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S) && SET(CURLOPT_TCP_NODELAY, 1L) &&
               SET(CURLOPT_USERAGENT, t->session->user_agent);
}

static bool set_callbacks(struct transfer *t)
{
        return SET(CURLOPT_WRITEFUNCTION, on_body) && SET(CURLOPT_WRITEDATA, t) &&
               SET(CURLOPT_ERRORBUFFER, t->curl_error) && SET(CURLOPT_PRIVATE, t);
}

static bool transfer_setup(struct transfer *t, const struct ak_kube_request *request)
{
        return set_verb(t->easy, request->verb) && set_transport(t, request) && set_callbacks(t) &&
               set_tls(t) && set_body(t, request) && add_header(t, "Accept: application/json") &&
               add_header(t, t->session->authorization) && SET(CURLOPT_HTTPHEADER, t->headers);
}

int ak_kube_session_start(struct ak_kube_session *session, const struct ak_kube_request *request,
                          const struct ak_kube_transfer_handler *handler)
{
        AK_CLEANUP(transfer_freep) struct transfer *t = calloc(1, sizeof(*t));
        if (!t)
                return -ENOMEM;
        t->session = session;
        t->handler = *handler;
        t->easy = curl_easy_init();
        if (!t->easy || asprintf(&t->url, "%s%s", session->server, request->path) < 0) {
                t->url = NULL;
                return -ENOMEM;
        }
        if (!transfer_setup(t, request) || curl_multi_add_handle(session->multi, t->easy) != CURLM_OK)
                return -ENOMEM;
        t->next = session->transfers;
        if (t->next)
                t->next->prev = t;
        session->transfers = AK_STEAL(t);
        session->running++;
        return 0;
}

static int errno_of(CURLcode code)
{
        switch (code) {
        case CURLE_OK:
                return 0;
        case CURLE_COULDNT_CONNECT:
        case CURLE_COULDNT_RESOLVE_HOST:
                return -ECONNREFUSED;
        case CURLE_OPERATION_TIMEDOUT:
                return -ETIMEDOUT;
        case CURLE_OUT_OF_MEMORY:
                return -ENOMEM;
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_WEIRD_SERVER_REPLY:
                return -EPROTO;
        default:
                return -EIO;
        }
}

static void copy_text(char *out, size_t size, const char *text)
{
        (void)snprintf(out, size, "%s", text ? text : "");
}

static void response_body(const struct transfer *t, struct ak_kube_response *r)
{
        r->body = t->answer_len > 0 ? json_loadb(t->answer, t->answer_len, 0, NULL) : NULL;
        if (r->status >= 200 && r->status < 300) {
                if (!r->body && t->answer_len > 0) {
                        r->error = -EPROTO;
                        copy_text(r->message, sizeof(r->message), "the answer is not JSON");
                }
                return;
        }
        const char *message = json_string_value(json_object_get(r->body, "message"));
        copy_text(r->reason, sizeof(r->reason), json_string_value(json_object_get(r->body, "reason")));
        if (message)
                copy_text(r->message, sizeof(r->message), message);
        else
                (void)snprintf(r->message, sizeof(r->message), "HTTP status %d", r->status);
}

static void transfer_finish(struct transfer *t, int error, CURLcode code)
{
        struct ak_kube_response response = {0};
        struct ak_kube_transfer_handler handler = t->handler;
        long status = 0;
        (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        response.error = error ? error : t->error ? t->error : errno_of(code);
        if (response.error != 0) {
                const char *text = t->curl_error[0] ? t->curl_error : curl_easy_strerror(code);
                copy_text(response.message, sizeof(response.message),
                          error || t->error ? strerror(-response.error) : text);
                if (response.error != -ECANCELED)
                        response.status = (int)status;
        } else {
                response.status = (int)status;
                response_body(t, &response);
        }
        transfer_free(t);
        handler.done(handler.arg, &response);
}

static void finish_all(struct ak_kube_session *s, int error)
{
        while (s->transfers)
                transfer_finish(s->transfers, error, CURLE_OK);
}

void ak_kube_session_abort(struct ak_kube_session *session)
{
        finish_all(session, -ECANCELED);
}

static void collect_finished(struct ak_kube_session *s)
{
        int left;
        for (CURLMsg *msg; (msg = curl_multi_info_read(s->multi, &left)) != NULL;) {
                struct transfer *t = NULL;
                CURLcode code = msg->data.result;
                if (msg->msg != CURLMSG_DONE)
                        continue;
                (void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &t);
                transfer_finish(t, 0, code);
        }
}

void ak_kube_session_step(struct ak_kube_session *session, int timeout_ms)
{
        int running;
        size_t before = session->running;
        if (ak_kube_session_cancelled(session)) {
                finish_all(session, -ECANCELED);
                return;
        }
        if (curl_multi_perform(session->multi, &running) != CURLM_OK) {
                finish_all(session, -EIO);
                return;
        }
        collect_finished(session);
        if (session->running < before || ak_kube_session_cancelled(session))
                return;
        (void)curl_multi_poll(session->multi, NULL, 0, timeout_ms, NULL);
}

struct call {
        struct ak_kube_response *response;
        bool done;
};

static void call_done(void *arg, struct ak_kube_response *response)
{
        struct call *call = arg;
        *call->response = *response;
        call->done = true;
}

int ak_kube_session_call(struct ak_kube_session *session, const struct ak_kube_request *request,
                         struct ak_kube_response *response)
{
        struct call call = {.response = response};
        struct ak_kube_transfer_handler handler = {.done = call_done, .arg = &call};
        *response = (struct ak_kube_response){0};
        int rc = ak_kube_session_start(session, request, &handler);
        if (rc < 0) {
                response->error = rc;
                copy_text(response->message, sizeof(response->message), strerror(-rc));
                return rc;
        }
        while (!call.done)
                ak_kube_session_step(session, 1000);
        return response->error;
}

void ak_kube_response_deinit(struct ak_kube_response *response)
{
        json_decref(response->body);
        *response = (struct ak_kube_response){0};
}

bool ak_kube_response_ok(const struct ak_kube_response *response)
{
        return response->error == 0 && response->status >= 200 && response->status < 300;
}

/* ---- paths ---- */

static bool part_ok(const char *part)
{
        if (!part)
                return true;
        if (strcmp(part, ".") == 0 || strcmp(part, "..") == 0)
                return false;
        for (const char *c = part; *c; c++)
                if (!isalnum((unsigned char)*c) && !strchr("-._~:", *c))
                        return false;
        return true;
}

static const char *slash_if(const char *part)
{
        return part && part[0] ? "/" : "";
}

static const char *text_of(const char *part)
{
        return part ? part : "";
}

int ak_kube_path(const struct ak_kube_ref *ref, char **out)
{
        bool core = !ref->group || ref->group[0] == '\0';
        bool namespaced = ref->name_space && ref->name_space[0] != '\0';
        if (!part_ok(ref->group) || !part_ok(ref->version) || !part_ok(ref->name_space) ||
            !part_ok(ref->plural) || !part_ok(ref->name) || !part_ok(ref->subresource))
                return -EINVAL;
        char *path;
        if (asprintf(&path, "/%s%s%s/%s%s%s/%s%s%s%s%s", core ? "api" : "apis", core ? "" : "/",
                     text_of(ref->group), text_of(ref->version), namespaced ? "/namespaces/" : "",
                     text_of(ref->name_space), text_of(ref->plural), slash_if(ref->name), text_of(ref->name),
                     slash_if(ref->subresource), text_of(ref->subresource)) < 0)
                return -ENOMEM;
        *out = path;
        return 0;
}

char *ak_kube_escape(const char *text)
{
        char *escaped = curl_easy_escape(NULL, text, 0);
        char *copy = escaped ? strdup(escaped) : NULL;
        curl_free(escaped);
        return copy;
}
