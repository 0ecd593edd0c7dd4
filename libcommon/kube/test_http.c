/* SPDX-License-Identifier: Apache-2.0 */
/* The API client against a scripted server: informer, requests, TLS, and how promptly all of it stops. */
#include "libcommon/test.h"

#include <czmq.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/clock.h"
#include "libcommon/kube/client.h"
#include "libcommon/kube/frame.h"
#include "libcommon/kube/informer.h"
#include "libcommon/kube/test_server.h"

#define PROMPT_US 1000000 /* generous: the machine may be busy */
#define WAIT_MS   20000

#define POD(name, uid, version)                                                                              \
        "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"" name "\",\"uid\":\"" uid                           \
        "\",\"resourceVersion\":\"" version "\"}}"
#define LIST(version, more, items)                                                                           \
        "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"" version           \
        "\",\"continue\":\"" more "\"},\"items\":[" items "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"

struct fixture {
        struct server *server;
        zloop_t *loop;
        struct ak_kubeconfig config;
        struct ak_informer *informer;
        char seen[4096]; /* what the informer said */
        const char *wanted;
        uint64_t deadline_us;
        int ticks;
};

static void say(struct fixture *f, const char *what, json_t *object)
{
        size_t used = strlen(f->seen);
        if (object)
                (void)snprintf(f->seen + used, sizeof(f->seen) - used, "%s%s@%s ", what,
                               ak_kube_meta(object, "uid"), ak_kube_meta(object, "resourceVersion"));
        else
                (void)snprintf(f->seen + used, sizeof(f->seen) - used, "%s ", what);
}

static void on_put(void *arg, json_t *object)
{
        assert_string_equal(json_string_value(json_object_get(object, "kind")), "Pod");
        say(arg, "+", object);
}

static void on_watched_put(void *arg, json_t *object)
{
        say(arg, "+", object);
}

static void on_gone(void *arg, json_t *object)
{
        say(arg, "-", object);
}

static void on_synced(void *arg)
{
        say(arg, "synced", NULL);
}

static void on_state(void *arg, bool connected, const char *why)
{
        say(arg, connected ? "up" : "down", NULL);
        assert_true(connected == (why[0] == '\0'));
}

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));
        assert_non_null(f);
        f->server = server_new(NULL);
        f->loop = zloop_new();
        f->config.server = strdup(server_url(f->server));
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;
        f->informer = ak_informer_free(f->informer);
        zloop_destroy(&f->loop);
        server_free(f->server);
        ak_kubeconfig_deinit(&f->config);
        free(f);
        return 0;
}

static void start(struct fixture *f, uint32_t max_line)
{
        struct ak_informer_options options = {.path = "/api/v1/pods",
                                              .field_selector = "spec.nodeName=node1",
                                              .page_size = 2,
                                              .max_line = max_line,
                                              .backoff_base_us = 1000,
                                              .backoff_cap_us = 20000};
        struct ak_informer_handler handler = {
            .put = on_watched_put, .gone = on_gone, .synced = on_synced, .state = on_state, .arg = f};
        assert_int_equal(ak_informer_new(&f->informer, f->loop, &f->config, &options, &handler), 0);
}

static int look(zloop_t *loop, int timer, void *arg)
{
        struct fixture *f = arg;
        (void)loop;
        (void)timer;
        f->ticks++;
        bool there = f->wanted && strstr(f->seen, f->wanted);
        return there || ak_clock_monotonic_us() > f->deadline_us ? -1 : 0;
}

/* Runs the loop until `wanted` was said. */
static void expect(struct fixture *f, const char *wanted)
{
        f->wanted = wanted;
        f->deadline_us = ak_clock_monotonic_us() + (uint64_t)WAIT_MS * 1000;
        int timer = zloop_timer(f->loop, 2, 0, look, f);
        (void)zloop_start(f->loop);
        (void)zloop_timer_end(f->loop, timer);
        if (!strstr(f->seen, wanted))
                fail_msg("expected \"%s\" in \"%s\"", wanted, f->seen);
}

/* Waits until the server has counted so many. */
static void await(struct fixture *f, size_t (*count)(struct server *server), size_t n)
{
        uint64_t deadline = ak_clock_monotonic_us() + (uint64_t)WAIT_MS * 1000;
        while (count(f->server) < n && ak_clock_monotonic_us() < deadline)
                zclock_sleep(1);
        assert_true(count(f->server) >= n);
}

/* ------------------------------------------------------------------ informer */

static void lists_in_pages_and_watches(void **state)
{
        struct fixture *f = *state;
        server_answer(f->server, 200, LIST("9", "next page", POD("a", "u1", "3") "," POD("b", "u2", "4")));
        server_answer(f->server, 200, LIST("10", "", POD("c", "u3", "5")));
        server_push(f->server,
                    EVENT("MODIFIED", POD("a", "u1", "11")) EVENT("DELETED", POD("b", "u2", "12")));
        start(f, 0);
        expect(f, "+u1@3 +u2@4 +u3@5 up synced +u1@11 -u2@12 ");
        assert_string_equal(server_request(f->server, 0),
                            "GET /api/v1/pods?limit=2&fieldSelector=spec.nodeName=node1|||");
        assert_string_equal(
            server_request(f->server, 1),
            "GET /api/v1/pods?limit=2&fieldSelector=spec.nodeName=node1&continue=next page|||");
        assert_string_equal(server_request(f->server, 2),
                            "GET /api/v1/pods?watch=true&allowWatchBookmarks=true&resourceVersion=10&"
                            "timeoutSeconds=300&fieldSelector=spec.nodeName=node1|||");
}

static void kinds_of_list_items_are_completed(void **state)
{
        struct fixture *f = *state;
        struct ak_informer_options options = {.path = "/api/v1/pods"};
        struct ak_informer_handler handler = {.put = on_put, .gone = on_gone, .synced = on_synced, .arg = f};
        server_answer(f->server, 200, LIST("9", "", POD("a", "u1", "3")));
        assert_int_equal(ak_informer_new(&f->informer, f->loop, &f->config, &options, &handler), 0);
        expect(f, "+u1@3 synced ");
}

static void a_watch_that_ends_goes_on_from_the_bookmark(void **state)
{
        struct fixture *f = *state;
        server_answer(f->server, 200, LIST("10", "", ""));
        server_push(f->server, EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"77\"}}"));
        server_end_watch(f->server, false);
        start(f, 0);
        expect(f, "synced ");
        await(f, server_watches, 2);
        server_push(f->server, EVENT("ADDED", POD("a", "u1", "78")));
        expect(f, "+u1@78 ");
        const char *request = server_request(f->server, 2);
        assert_non_null(strstr(request, "resourceVersion=77"));
        assert_string_equal(f->seen, "up synced +u1@78 "); /* not listed again */
}

static void gone_in_the_stream_lists_again(void **state)
{
        struct fixture *f = *state;
        server_answer(f->server, 200, LIST("10", "", POD("a", "u1", "3") "," POD("b", "u2", "4")));
        server_answer(f->server, 200, LIST("50", "", POD("b", "u9", "40")));
        server_push(f->server, EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410,\"message\":\"too old\"}"));
        server_end_watch(f->server, false);
        start(f, 0);
        expect(f, "synced -u2@4 +u9@40 -u1@3 synced ");
}

static void gone_at_the_start_lists_again(void **state)
{
        struct fixture *f = *state;
        server_answer(f->server, 200, LIST("10", "", POD("a", "u1", "3")));
        server_answer(f->server, 200, LIST("50", "", POD("a", "u1", "3") "," POD("b", "u2", "40")));
        server_refuse_watch(f->server, 410, "{\"kind\":\"Status\",\"reason\":\"Expired\",\"code\":410}");
        start(f, 0);
        expect(f, "+u1@3 up synced +u2@40 synced "); /* and the one that is as it was is not told again */
}

static void a_cut_connection_loses_nothing(void **state)
{
        struct fixture *f = *state;
        server_answer(f->server, 200, LIST("10", "", ""));
        server_push(f->server, EVENT("ADDED", POD("a", "u1", "11")) "{\"type\":\"ADDED\",\"obj");
        start(f, 0);
        expect(f, "+u1@11 ");
        server_end_watch(f->server, true);
        expect(f, "down ");
        server_push(f->server, EVENT("ADDED", POD("b", "u2", "12")));
        expect(f, "+u2@12 ");
        assert_non_null(
            strstr(server_request(f->server, server_requests(f->server) - 1), "resourceVersion=11"));
}

static void nonsense_in_the_stream_lists_again(void **state)
{
        struct fixture *f = *state;
        server_answer(f->server, 200, LIST("10", "", ""));
        server_answer(f->server, 200, LIST("20", "", POD("a", "u1", "15")));
        server_push(f->server, "{\"type\":\"NEW\",\"object\":{}}\n");
        start(f, 0);
        expect(f, "synced down +u1@15 up synced ");
}

static void an_event_past_the_bound_lists_again(void **state)
{
        struct fixture *f = *state;
        char line[512];
        memset(line, 'x', sizeof(line) - 1);
        line[sizeof(line) - 1] = '\0';
        server_answer(f->server, 200, LIST("10", "", ""));
        server_answer(f->server, 200, LIST("20", "", POD("a", "u1", "15")));
        server_push(f->server, line);
        start(f, 128);
        expect(f, "synced down +u1@15 up synced ");
}

static void a_failing_list_is_tried_again(void **state)
{
        struct fixture *f = *state;
        server_answer(f->server, 500, "{\"kind\":\"Status\",\"message\":\"not now\"}");
        server_answer(f->server, 200, "not JSON");
        server_answer(f->server, 200, "{\"items\":[]}"); /* no resourceVersion */
        server_answer(f->server, 403, "{\"kind\":\"Status\",\"message\":\"no\"}");
        server_answer(f->server, 200, LIST("10", "", POD("a", "u1", "3")));
        start(f, 0);
        expect(f, "down +u1@3 up synced ");
        assert_true(server_requests(f->server) >= 5);
}

static void a_list_that_breaks_off_deletes_nothing(void **state)
{
        struct fixture *f = *state;
        server_answer(f->server, 200, LIST("10", "", POD("a", "u1", "3") "," POD("b", "u2", "4")));
        server_answer(f->server, 200, LIST("20", "more", POD("a", "u1", "3")));
        server_answer(f->server, 500, "{}");
        server_answer(f->server, 200, LIST("30", "", POD("a", "u1", "3") "," POD("b", "u2", "4")));
        server_refuse_watch(f->server, 410, "{}");
        start(f, 0);
        expect(f, "+u1@3 +u2@4 up synced down up synced ");
        assert_null(strchr(f->seen, '-'));
}

static void another_selection_delivers_the_difference(void **state)
{
        struct fixture *f = *state;
        server_answer(f->server, 200, LIST("10", "", POD("a", "u1", "3") "," POD("b", "u2", "4")));
        server_answer(f->server, 200, LIST("20", "", POD("b", "u2", "4") "," POD("c", "u3", "5")));
        start(f, 0);
        await(f, server_watches, 1);
        assert_int_equal(ak_informer_select(f->informer, "spec.vpc in (x,y)"),
                         0); /* in the middle of a watch */
        expect(f, "+u1@3 +u2@4 up synced +u3@5 -u1@3 synced ");
        await(f, server_watches, 2);
        const char *request = server_request(f->server, 3);
        assert_non_null(strstr(request, "resourceVersion=20"));
        assert_non_null(strstr(request, "fieldSelector=spec.vpc in (x,y)|"));
}

static void nothing_is_selected_for_a_while(void **state)
{
        struct fixture *f = *state;
        server_answer(f->server, 200, LIST("10", "", POD("a", "u1", "3")));
        start(f, 0);
        await(f, server_watches, 1);
        assert_int_equal(ak_informer_select(f->informer, NULL), 0);
        expect(f, "+u1@3 up synced -u1@3 synced ");
        assert_int_equal(server_requests(f->server), 2); /* nobody was asked */
        assert_int_equal(ak_informer_select(f->informer, "spec.vpc=x"), 0);
        expect(f, "-u1@3 synced +u1@3 synced ");
        assert_int_equal(ak_informer_select(f->informer, NULL), 0);
        expect(f, "+u1@3 synced -u1@3 synced ");
        f->informer = ak_informer_free(f->informer); /* while it rests */
}

static void a_selection_ends_a_pause(void **state)
{
        struct fixture *f = *state;
        server_answer(f->server, 403, "{\"kind\":\"Status\",\"message\":\"no\"}");
        start(f, 0);
        expect(f, "down ");
        server_answer(f->server, 200, LIST("10", "", POD("a", "u1", "3")));
        assert_int_equal(ak_informer_select(f->informer, "spec.vpc=x"), 0);
        expect(f, "down +u1@3 up synced ");
}

static void stopping_is_prompt(void **state)
{
        struct fixture *f = *state;
        server_answer(f->server, 200, LIST("10", "", ""));
        start(f, 0);
        expect(f, "synced ");
        uint64_t before = ak_clock_monotonic_us();
        f->informer = ak_informer_free(f->informer); /* in the middle of a watch */
        assert_true(ak_clock_monotonic_us() - before < PROMPT_US);
        server_hang(f->server, true);
        start(f, 0); /* in the middle of a list, with nothing heard */
        before = ak_clock_monotonic_us();
        f->informer = ak_informer_free(f->informer);
        assert_true(ak_clock_monotonic_us() - before < PROMPT_US);
        server_hang(f->server, false);
}

static void stopping_while_nobody_is_there(void **state)
{
        struct fixture *f = *state;
        free(f->config.server);
        f->config.server = strdup("http://127.0.0.1:1"); /* refuses */
        start(f, 0);
        expect(f, "down ");
        uint64_t before = ak_clock_monotonic_us();
        f->informer = ak_informer_free(f->informer); /* in the middle of a pause */
        assert_true(ak_clock_monotonic_us() - before < PROMPT_US);
}

/* Nobody reads what the informer has to say: it must be possible to stop it all the same. */
static void stopping_with_a_full_pipe(void **state)
{
        struct fixture *f = *state;
        char *items = strdup("");
        for (int i = 0; i < 3000; i++) {
                char item[128];
                (void)snprintf(
                    item, sizeof(item),
                    "%s{\"metadata\":{\"name\":\"p%d\",\"uid\":\"u%d\",\"resourceVersion\":\"%d\"}}",
                    i ? "," : "", i, i, i + 1);
                char *longer = NULL;
                assert_true(asprintf(&longer, "%s%s", items, item) > 0);
                free(items);
                items = longer;
        }
        char *list = NULL;
        assert_true(asprintf(&list, "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[%s]}", items) > 0);
        server_answer(f->server, 200, list);
        start(f, 0);
        await(f, server_requests, 1);
        f->informer = ak_informer_free(f->informer);
        assert_string_equal(f->seen, "");
        free(list);
        free(items);
}

/* ------------------------------------------------------------------ requests */

static void on_answer(void *arg, const struct ak_kube_response *response)
{
        struct fixture *f = arg;
        size_t used = strlen(f->seen);
        (void)snprintf(f->seen + used, sizeof(f->seen) - used, "[%d %d %s %s] ", response->error,
                       response->status, response->reason, response->message);
}

static void requests(void **state)
{
        struct fixture *f = *state;
        struct ak_kube_client *client;
        json_t *body = json_pack("{s:i}", "a", 1);
        f->config.token = strdup("secret");
        server_answer(f->server, 200, "{}");
        server_answer(f->server, 409,
                      "{\"kind\":\"Status\",\"reason\":\"Conflict\",\"message\":\"changed\"}");
        server_answer(f->server, 502, "<html>");
        server_answer(f->server, 200, "<html>");
        assert_int_equal(ak_kube_client_new(&client, f->loop, &f->config, "test/1"), 0);
        struct ak_kube_request patch = {.verb = AK_KUBE_MERGE_PATCH, .path = "/api/v1/x", .body = body};
        struct ak_kube_request create = {.verb = AK_KUBE_CREATE, .path = "/api/v1/y", .body = body};
        struct ak_kube_request delete = {.verb = AK_KUBE_DELETE, .path = "/api/v1/z", .body = body};
        struct ak_kube_request get = {.verb = AK_KUBE_GET, .path = "/api/v1/g"};
        assert_int_equal(ak_kube_client_submit(client, &patch, on_answer, f), 0);
        expect(f, "[0 200  ] ");
        assert_int_equal(ak_kube_client_submit(client, &create, on_answer, f), 0);
        expect(f, "[0 409 Conflict changed] ");
        assert_int_equal(ak_kube_client_submit(client, &delete, on_answer, f), 0);
        expect(f, "[0 502  HTTP status 502] ");
        assert_int_equal(ak_kube_client_submit(client, &get, on_answer, f), 0);
        expect(f, "the answer is not JSON");
        assert_string_equal(server_request(f->server, 0),
                            "PATCH /api/v1/x|Bearer secret|application/merge-patch+json|{\"a\":1}");
        assert_string_equal(server_request(f->server, 1),
                            "POST /api/v1/y|Bearer secret|application/json|{\"a\":1}");
        assert_string_equal(server_request(f->server, 2),
                            "DELETE /api/v1/z|Bearer secret|application/json|{\"a\":1}");
        assert_string_equal(server_request(f->server, 3), "GET /api/v1/g|Bearer secret||");
        assert_int_equal(server_connections(f->server), 1); /* kept alive */
        ak_kube_client_free(client);
        json_decref(body);
}

static void requests_do_not_wait_for_each_other(void **state)
{
        struct fixture *f = *state;
        struct ak_kube_client *client;
        struct ak_kube_request get = {.verb = AK_KUBE_GET, .path = "/x"};
        server_answer(f->server, 200, "{}");
        server_hang(f->server, true);
        assert_int_equal(ak_kube_client_new(&client, f->loop, &f->config, "test/1"), 0);
        for (int i = 0; i < 4; i++)
                assert_int_equal(ak_kube_client_submit(client, &get, on_answer, f), 0);
        await(f, server_requests, 4); /* all there at a time */
        server_hang(f->server, false);
        expect(f, "[0 200  ] [0 200  ] [0 200  ] [0 200  ] ");
        assert_int_equal(ak_kube_client_pending(client), 0);
        ak_kube_client_free(client);
}

static void requests_are_bounded_and_stop_promptly(void **state)
{
        struct fixture *f = *state;
        struct ak_kube_client *client;
        struct ak_kube_request get = {.verb = AK_KUBE_GET, .path = "/x"};
        server_hang(f->server, true);
        assert_int_equal(ak_kube_client_new(&client, f->loop, &f->config, "test/1"), 0);
        for (int i = 0; i < AK_KUBE_MAX_PENDING; i++)
                assert_int_equal(ak_kube_client_submit(client, &get, on_answer, f), 0);
        assert_int_equal(ak_kube_client_submit(client, &get, on_answer, f), -ENOBUFS);
        uint64_t before = ak_clock_monotonic_us();
        ak_kube_client_free(client);
        assert_true(ak_clock_monotonic_us() - before < PROMPT_US);
        assert_string_equal(f->seen, ""); /* no callback any more */
        server_hang(f->server, false);
}

static void no_server(void **state)
{
        struct fixture *f = *state;
        struct ak_kube_session *session;
        struct ak_kube_response response;
        struct ak_kube_request get = {.verb = AK_KUBE_GET, .path = "/x"};
        free(f->config.server);
        f->config.server = strdup("http://127.0.0.1:1");
        assert_int_equal(ak_kube_session_new(&session, &f->config, "test/1"), 0);
        assert_int_equal(ak_kube_session_call(session, &get, &response), -ECONNREFUSED);
        assert_string_not_equal(response.message, "");
        ak_kube_response_deinit(&response);
        ak_kube_session_free(session);
}

static void timeouts(void **state)
{
        struct fixture *f = *state;
        struct ak_kube_session *session;
        struct ak_kube_response response;
        struct ak_kube_request get = {.verb = AK_KUBE_GET, .path = "/x", .timeout_ms = 50};
        server_hang(f->server, true);
        assert_int_equal(ak_kube_session_new(&session, &f->config, "test/1"), 0);
        assert_int_equal(ak_kube_session_call(session, &get, &response), -ETIMEDOUT);
        ak_kube_response_deinit(&response);
        ak_kube_session_free(session);
        server_hang(f->server, false);
}

static void *cancel_when_asked(void *arg)
{
        struct fixture *f = arg;
        while (server_requests(f->server) == 0)
                zclock_sleep(1);
        ak_kube_session_cancel((struct ak_kube_session *)(void *)f->wanted);
        return NULL;
}

static void a_call_is_cancelled_from_another_thread(void **state)
{
        struct fixture *f = *state;
        struct ak_kube_session *session;
        struct ak_kube_response response;
        struct ak_kube_request get = {.verb = AK_KUBE_GET, .path = "/x"};
        pthread_t thread;
        server_hang(f->server, true);
        assert_int_equal(ak_kube_session_new(&session, &f->config, "test/1"), 0);
        f->wanted = (const char *)(void *)session;
        assert_int_equal(pthread_create(&thread, NULL, cancel_when_asked, f), 0);
        assert_int_equal(ak_kube_session_call(session, &get, &response), -ECANCELED);
        assert_int_equal(ak_kube_session_call(session, &get, &response), -ECANCELED);
        assert_int_equal(pthread_join(thread, NULL), 0);
        ak_kube_session_free(session);
        server_hang(f->server, false);
}

/* ------------------------------------------------------------------ TLS */

static int tls_call(const char *url, const char *ca, const char *cert, const char *key, bool insecure)
{
        struct ak_kube_session *session;
        struct ak_kube_response response;
        struct ak_kube_request get = {.verb = AK_KUBE_GET, .path = "/x"};
        struct ak_kubeconfig config = {.server = (char *)url,
                                       .ca_pem = (char *)ca,
                                       .cert_pem = (char *)cert,
                                       .key_pem = (char *)key,
                                       .insecure = insecure};
        assert_int_equal(ak_kube_session_new(&session, &config, "test/1"), 0);
        int rc = ak_kube_session_call(session, &get, &response);
        if (rc == 0)
                assert_int_equal(response.status, 200);
        ak_kube_response_deinit(&response);
        ak_kube_session_free(session);
        return rc;
}

static void tls(void **state)
{
        (void)state;
        struct server_tls ours = {0}, theirs = {0};
        server_tls_make(&ours);
        server_tls_make(&theirs);
        struct server *server = server_new(&ours);
        server_answer(server, 200, "{}");
        const char *url = server_url(server);
        assert_int_equal(tls_call(url, ours.ca, ours.client_cert, ours.client_key, false), 0);
        assert_int_equal(tls_call(url, theirs.ca, ours.client_cert, ours.client_key, false), -EPROTO);
        assert_int_equal(tls_call(url, NULL, NULL, NULL, false), -EPROTO);
        assert_int_equal(tls_call(url, NULL, NULL, NULL, true), 0);
        server_free(server);
        server_tls_free(&ours);
        server_tls_free(&theirs);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
        const struct CMUnitTest tests[] = {
            T(lists_in_pages_and_watches),
            T(kinds_of_list_items_are_completed),
            T(a_watch_that_ends_goes_on_from_the_bookmark),
            T(gone_in_the_stream_lists_again),
            T(gone_at_the_start_lists_again),
            T(a_cut_connection_loses_nothing),
            T(nonsense_in_the_stream_lists_again),
            T(an_event_past_the_bound_lists_again),
            T(a_failing_list_is_tried_again),
            T(a_list_that_breaks_off_deletes_nothing),
            T(another_selection_delivers_the_difference),
            T(nothing_is_selected_for_a_while),
            T(a_selection_ends_a_pause),
            T(stopping_is_prompt),
            T(stopping_while_nobody_is_there),
            T(stopping_with_a_full_pipe),
            T(requests),
            T(requests_do_not_wait_for_each_other),
            T(requests_are_bounded_and_stop_promptly),
            T(no_server),
            T(timeouts),
            T(a_call_is_cancelled_from_another_thread),
            cmocka_unit_test(tls),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
