/* SPDX-License-Identifier: Apache-2.0 */
#include "services/apiserver/test_harness.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/service.h"
#include "services/apiserver/pki.h"

static char *below(const struct harness *h, const char *name)
{
        char *path = NULL;

        assert_true(asprintf(&path, "%s/%s", h->dir, name) > 0);
        return path;
}

void harness_init(struct harness *h)
{
        *h = (struct harness){0};
        (void)snprintf(h->dir, sizeof(h->dir), "/tmp/alkaid-api-test-XXXXXX");
        assert_non_null(mkdtemp(h->dir));
        h->options = (struct api_options){.listen = strdup("127.0.0.1:0"),
                                          .state_dir = below(h, "state"),
                                          .pki_dir = below(h, "pki"),
                                          .bus_dir = below(h, "bus"),
                                          .node_name = strdup("node1"),
                                          .auto_create_vpc = true,
                                          .auto_vpc_cidr = strdup("10.200.0.0/16"),
                                          .nic_slots = 8,
                                          .max_objects = 100000,
                                          .max_body = 64 * 1024,
                                          .max_connections = 200,
                                          .max_user_connections = 200,
                                          .max_user_watches = 100,
                                          .max_inflight = 1000,
                                          .audit_max_size = 1 << 20,
                                          .watch_history = 64,
                                          .max_answers = 64 << 20,
                                          .request_timeout_us = UINT64_C(900) * 1000000,
                                          .watch_stall_timeout_us = UINT64_C(900) * 1000000,
                                          .idle_timeout_us = UINT64_C(900) * 1000000};
}

static void child(struct harness *h, int ready_fd)
{
        static const struct ak_service_options none;
        struct ak_service *service = NULL;
        struct api_server *server = NULL;
        int code;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        ak_service_prepare();
        (void)signal(SIGXFSZ, SIG_IGN); /* a file-size limit plays the full disk */
        ak_log_init("apiserver", AK_LOG_ERROR);
        code = api_server_new(&server, &h->options);
        if (code == 0) {
                if (write(ready_fd, "!", 1) != 1)
                        _exit(99);
                (void)close(ready_fd);
                if (ak_service_new(&service, api_server_loop(server), &none) < 0)
                        _exit(98);
                code = api_server_run(server);
                service = ak_service_free(service);
        }
        (void)api_server_free(server);
        exit(code);
}

static void read_url(struct harness *h)
{
        AK_AUTOFREE char *text = NULL;
        char error[PKI_ERROR_SIZE];
        const char *line;

        assert_int_equal(pki_read_file(h->options.pki_dir, "admin.kubeconfig", &text, error), 0);
        line = strstr(text, "server: ");
        assert_non_null(line);
        assert_int_equal(sscanf(line, "server: %127s", h->url), 1);
}

static int wait_exit(struct harness *h)
{
        int status = 0;

        if (h->admin)
                curl_easy_cleanup(AK_STEAL(h->admin));

        assert_int_equal(waitpid(h->pid, &status, 0), h->pid);
        h->pid = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int harness_start(struct harness *h)
{
        int fds[2];
        char byte;

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        (void)fflush(NULL);
        h->pid = fork();
        assert_true(h->pid >= 0);
        if (h->pid == 0) {
                (void)close(fds[0]);
                child(h, fds[1]);
        }
        (void)close(fds[1]);
        if (read(fds[0], &byte, 1) != 1) {
                (void)close(fds[0]);
                return wait_exit(h);
        }
        (void)close(fds[0]);
        read_url(h);
        return 0;
}

int harness_stop(struct harness *h, int signal)
{
        assert_true(h->pid > 0);
        (void)kill(h->pid, signal);
        return wait_exit(h);
}

static void remove_dir(const char *path)
{
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                (void)execlp("rm", "rm", "-rf", "--", path, (char *)NULL);
                _exit(127);
        }
        (void)waitpid(pid, &status, 0);
}

void harness_deinit(struct harness *h)
{
        if (h->pid > 0)
                (void)harness_stop(h, SIGKILL);
        remove_dir(h->dir);
        free(h->options.listen);
        free(h->options.state_dir);
        free(h->options.pki_dir);
        free(h->options.bus_dir);
        free(h->options.console_dir);
        free(h->options.node_name);
        free(h->options.auto_vpc_cidr);
}

/* ---- one request ---- */

static size_t on_text(char *data, size_t size, size_t count, void *arg)
{
        struct reply *r = arg;
        size_t n = size * count;
        char *text = realloc(r->text, r->len + n + 1);

        assert_non_null(text);
        memcpy(text + r->len, data, n);
        r->text = text;
        r->len += n;
        r->text[r->len] = '\0';
        return n;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
        struct reply *r = arg;
        size_t n = size * count, used = strlen(r->headers);

        if (used + n < sizeof(r->headers)) {
                memcpy(r->headers + used, data, n);
                r->headers[used + n] = '\0';
        }
        return n;
}

CURL *harness_curl(const struct harness *h, enum harness_user user)
{
        static const char *const names[] = {[AS_ADMIN] = "admin", [AS_NODE] = "node", [AS_SERVER] = "server"};
        CURL *curl = curl_easy_init();
        char path[256];

        assert_non_null(curl);
        (void)snprintf(path, sizeof(path), "%s/ca.crt", h->options.pki_dir);
        curl_easy_setopt(curl, CURLOPT_CAINFO, path);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* or the system's hundreds are read, each time */
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        if (user != AS_NOBODY) {
                (void)snprintf(path, sizeof(path), "%s/%s.crt", h->options.pki_dir, names[user]);
                curl_easy_setopt(curl, CURLOPT_SSLCERT, path);
                (void)snprintf(path, sizeof(path), "%s/%s.key", h->options.pki_dir, names[user]);
                curl_easy_setopt(curl, CURLOPT_SSLKEY, path);
        }
        return curl;
}

static struct curl_slist *call_headers(const struct call *call)
{
        struct curl_slist *list = curl_slist_append(NULL, "Expect:");
        char line[512];

        if (call->accept) {
                (void)snprintf(line, sizeof(line), "Accept: %s", call->accept);
                list = curl_slist_append(list, line);
        }
        (void)snprintf(line, sizeof(line), "Content-Type: %s",
                       call->content_type ? call->content_type : "application/json");
        return call->body ? curl_slist_append(list, line) : list;
}

void harness_call(const struct harness *h, CURL *curl, const struct call *call, struct reply *out)
{
        struct curl_slist *headers = call_headers(call);
        CURL *own = curl ? NULL : harness_curl(h, call->user);
        char url[2048];

        *out = (struct reply){0};
        curl = curl ? curl : own;
        (void)snprintf(url, sizeof(url), "%s%s", h->url, call->path);
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, call->timeout_ms ? call->timeout_ms : 120000L);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_text);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
        curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(curl, CURLOPT_HEADERDATA, out);
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
        if (call->body) {
                curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                                 (curl_off_t)(call->body_len ? call->body_len : strlen(call->body)));
                curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
        }
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
        out->curl = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out->code);
        out->json = out->text ? json_loadb(out->text, out->len, 0, NULL) : NULL;
        curl_slist_free_all(headers);
        if (own)
                curl_easy_cleanup(own);
}

void reply_deinit(struct reply *r)
{
        free(r->text);
        json_decref(r->json);
        *r = (struct reply){0};
}

long harness_do(struct harness *h, const char *method, const char *path, const char *body, char **text)
{
        const struct call call = {.user = AS_ADMIN, .method = method, .path = path, .body = body};
        struct reply reply;
        long code;

        if (!h->admin)
                h->admin = harness_curl(h, AS_ADMIN);
        harness_call(h, h->admin, &call, &reply);
        code = reply.code;
        if (text)
                *text = AK_STEAL(reply.text);
        reply_deinit(&reply);
        return code;
}

/* ---- watches ---- */

static size_t on_stream(char *data, size_t size, size_t count, void *arg)
{
        struct watch *w = arg;
        size_t n = size * count;

        if (w->paused)
                return CURL_WRITEFUNC_PAUSE;
        if (w->len + n + 1 > w->size) {
                w->size = 2 * (w->len + n + 1);
                w->text = realloc(w->text, w->size);
                assert_non_null(w->text);
        }
        memcpy(w->text + w->len, data, n);
        w->len += n;
        w->text[w->len] = '\0';
        return n;
}

/* Until the headers are there: from then on no change is missed. */
static void wait_answer(struct watch *w)
{
        uint64_t deadline_us = ak_clock_monotonic_us() + UINT64_C(120) * 1000 * 1000;
        int running = 1;
        long code = 0;

        while (code == 0 && running && ak_clock_monotonic_us() < deadline_us) {
                (void)curl_multi_perform(w->multi, &running);
                (void)curl_multi_poll(w->multi, NULL, 0, 20, NULL);
                curl_easy_getinfo(w->easy, CURLINFO_RESPONSE_CODE, &code);
        }
        assert_int_equal(code, 200);
}

void watch_open(struct watch *w, const struct harness *h, enum harness_user user, const char *path,
                const char *accept)
{
        *w = (struct watch){0};
        w->multi = curl_multi_init();
        w->easy = harness_curl(h, user);
        (void)snprintf(w->url, sizeof(w->url), "%s%s", h->url, path);
        curl_easy_setopt(w->easy, CURLOPT_URL, w->url);
        curl_easy_setopt(w->easy, CURLOPT_WRITEFUNCTION, on_stream);
        curl_easy_setopt(w->easy, CURLOPT_WRITEDATA, w);
        curl_easy_setopt(w->easy, CURLOPT_BUFFERSIZE, 16384L);
        if (accept) {
                static struct curl_slist line;
                static char text[512];

                (void)snprintf(text, sizeof(text), "Accept: %s", accept);
                line.data = text;
                curl_easy_setopt(w->easy, CURLOPT_HTTPHEADER, &line);
        }
        curl_multi_add_handle(w->multi, w->easy);
        wait_answer(w);
}

static json_t *take_line(struct watch *w)
{
        char *line = w->text ? w->text + w->at : NULL;
        char *end = line ? strchr(line, '\n') : NULL;
        json_t *json;

        if (!end)
                return NULL;
        json = json_loadb(line, (size_t)(end - line), 0, NULL);
        w->at = (size_t)(end - w->text) + 1;
        return json;
}

json_t *watch_next(struct watch *w, long timeout_ms)
{
        uint64_t deadline_us = ak_clock_monotonic_us() + (uint64_t)timeout_ms * 1000;
        json_t *json;
        int running = 1;

        while (!(json = take_line(w)) && running) {
                (void)curl_multi_perform(w->multi, &running);
                if (ak_clock_monotonic_us() >= deadline_us)
                        return take_line(w);
                (void)curl_multi_poll(w->multi, NULL, 0, timeout_ms > 0 ? 20 : 0, NULL);
        }
        return json ? json : take_line(w);
}

const char *watch_say(struct watch *w)
{
        static char said[300];
        json_t *event = watch_next(w, 60000);
        const json_t *object = json_object_get(event, "object");
        const char *name = json_string_value(json_object_get(json_object_get(object, "metadata"), "name"));
        const char *reason = json_string_value(json_object_get(object, "reason"));
        const char *type = json_string_value(json_object_get(event, "type"));

        (void)snprintf(said, sizeof(said), "%s%s%s", type ? type : "nothing", name || reason ? " " : "",
                       name     ? name
                       : reason ? reason
                                : "");
        json_decref(event);
        return said;
}

void watch_close(struct watch *w)
{
        curl_multi_remove_handle(w->multi, w->easy);
        curl_easy_cleanup(w->easy);
        curl_multi_cleanup(w->multi);
        free(w->text);
}
