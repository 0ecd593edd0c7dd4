/* SPDX-License-Identifier: Apache-2.0 */
/* Watches over HTTPS: what a stream begins with, carries and ends with, and clients that do not read. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "libcommon/cleanup.h"
#include "services/apiserver/test_harness.h"
#include "services/apiserver/watch.h"

#define PODS "/api/v1/namespaces/default/pods"

static int setup(void **state)
{
        static struct harness h;

        harness_init(&h);
        *state = &h;
        return harness_start(&h);
}

static int teardown(void **state)
{
        harness_deinit(*state);
        return 0;
}

static void put(struct harness *h, const char *method, const char *name, const char *node)
{
        char path[200], body[300];

        (void)snprintf(path, sizeof(path), "%s%s%s", PODS, *method == 'P' && method[1] == 'O' ? "" : "/",
                       *method == 'P' && method[1] == 'O' ? "" : name);
        (void)snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"nodeName\":\"%s\"}}",
                       name, node);
        assert_in_range(harness_do(h, method, path, *method == 'D' ? NULL : body, NULL), 200, 201);
}

static void test_initial_then_live(void **state)
{
        struct watch w;

        put(*state, "POST", "a", "n");
        watch_open(&w, *state, AS_ADMIN, "/api/v1/pods?watch=1", NULL);
        assert_string_equal(watch_say(&w), "ADDED a");
        put(*state, "POST", "b", "n");
        put(*state, "PUT", "a", "n");
        put(*state, "DELETE", "b", "n");
        assert_string_equal(watch_say(&w), "ADDED b");
        assert_string_equal(watch_say(&w), "MODIFIED a");
        assert_string_equal(watch_say(&w), "DELETED b");
        assert_null(watch_next(&w, 200));
        watch_close(&w);
}

/* An object that begins or ceases to match is added or deleted for that watcher. */
static void test_selector_borders(void **state)
{
        struct watch w;

        put(*state, "POST", "a", "other");
        watch_open(&w, *state, AS_ADMIN,
                   "/api/v1/pods?watch=1&resourceVersion=1&fieldSelector=spec.nodeName%3Dmine", NULL);
        put(*state, "PUT", "a", "mine");
        put(*state, "PUT", "a", "mine");
        put(*state, "PUT", "a", "other");
        put(*state, "PUT", "a", "other");
        put(*state, "DELETE", "a", "other");
        put(*state, "POST", "b", "mine");
        assert_string_equal(watch_say(&w), "ADDED a");
        assert_string_equal(watch_say(&w), "MODIFIED a");
        assert_string_equal(watch_say(&w), "DELETED a");
        assert_string_equal(watch_say(&w), "ADDED b");
        watch_close(&w);
}

static void test_deleted_carries_its_version(void **state)
{
        const char *version;
        struct watch w;
        json_t *event;

        put(*state, "POST", "a", "mine");
        watch_open(&w, *state, AS_ADMIN, PODS "?watch=1&resourceVersion=1&fieldSelector=spec.nodeName%3Dmine",
                   NULL);
        put(*state, "PUT", "a", "other");
        event = watch_next(&w, 60000);
        assert_non_null(event);
        version = json_string_value(json_object_get(
            json_object_get(json_object_get(event, "object"), "metadata"), "resourceVersion"));
        assert_string_equal(version, "2");
        assert_string_equal(json_string_value(json_object_get(
                                json_object_get(json_object_get(event, "object"), "spec"), "nodeName")),
                            "mine");
        json_decref(event);
        watch_close(&w);
}

static void test_resume(void **state)
{
        struct watch w;

        put(*state, "POST", "a", "n");
        put(*state, "POST", "b", "n");
        put(*state, "POST", "c", "n");
        watch_open(&w, *state, AS_ADMIN, PODS "?watch=1&resourceVersion=2", NULL);
        assert_string_equal(watch_say(&w), "ADDED c");
        watch_close(&w);
}

static void test_expired(void **state)
{
        struct watch w;
        json_t *event;

        put(*state, "POST", "a", "n");
        for (int i = 0; i < 80; i++) /* past watch_history */
                put(*state, "PUT", "a", "n");
        watch_open(&w, *state, AS_ADMIN, PODS "?watch=1&resourceVersion=1", NULL);
        event = watch_next(&w, 60000);
        assert_string_equal(json_string_value(json_object_get(event, "type")), "ERROR");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(event, "object"), "code")), 410);
        json_decref(event);
        assert_null(watch_next(&w, 60000));
        watch_close(&w);
        assert_int_equal(
            harness_do(*state, "GET", PODS "?resourceVersion=1&resourceVersionMatch=Exact", NULL, NULL), 410);
}

static void test_send_initial_events(void **state)
{
        const json_t *meta;
        struct watch w;
        json_t *event;

        put(*state, "POST", "a", "n");
        watch_open(
            &w, *state, AS_ADMIN,
            PODS "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
            NULL);
        assert_string_equal(watch_say(&w), "ADDED a");
        event = watch_next(&w, 60000);
        assert_string_equal(json_string_value(json_object_get(event, "type")), "BOOKMARK");
        meta = json_object_get(json_object_get(event, "object"), "metadata");
        assert_string_equal(json_string_value(json_object_get(meta, "resourceVersion")), "1");
        assert_string_equal(json_string_value(json_object_get(json_object_get(meta, "annotations"),
                                                              "k8s.io/initial-events-end")),
                            "true");
        json_decref(event);
        watch_close(&w);
        watch_open(
            &w, *state, AS_ADMIN,
            PODS
            "?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
            NULL);
        put(*state, "POST", "b", "n");
        assert_string_equal(watch_say(&w), "ADDED b");
        watch_close(&w);
}

static void test_table_and_timeout(void **state)
{
        struct watch w;
        json_t *event;

        put(*state, "POST", "a", "n");
        watch_open(&w, *state, AS_ADMIN, PODS "?watch=1&timeoutSeconds=1",
                   "application/json;as=Table;v=v1;g=meta.k8s.io");
        event = watch_next(&w, 60000);
        assert_string_equal(json_string_value(json_object_get(json_object_get(event, "object"), "kind")),
                            "Table");
        json_decref(event);
        assert_null(watch_next(&w, 60000));
        watch_close(&w);
}

static size_t open_fds(const struct harness *h)
{
        char path[64];
        size_t n = 0;
        DIR *dir;

        (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)h->pid);
        dir = opendir(path);
        assert_non_null(dir);
        while (readdir(dir))
                n++;
        (void)closedir(dir);
        return n;
}

/* A client that goes away while nothing happens is noticed: its connection does not stay until the next
 * event. */
static void test_hangup_is_noticed(void **state)
{
        size_t before, after = 0;
        struct watch w[10];

        assert_int_equal(harness_do(*state, "GET", "/readyz", NULL, NULL), 200);
        before = open_fds(*state);
        for (size_t i = 0; i < AK_ARRAY_SIZE(w); i++)
                watch_open(&w[i], *state, AS_ADMIN, PODS "?watch=1", NULL);
        assert_true(open_fds(*state) >= before + AK_ARRAY_SIZE(w));
        for (size_t i = 0; i < AK_ARRAY_SIZE(w); i++)
                watch_close(&w[i]);
        /* Each round is a request, so the server has had its turn. */
        for (int i = 0; i < 500; i++) {
                assert_int_equal(harness_do(*state, "GET", "/readyz", NULL, NULL), 200);
                after = open_fds(*state);
                if (after <= before)
                        break;
        }
        assert_true(after <= before);
}

static long put_big(const struct harness *h, CURL *curl, const char *method, const char *body)
{
        const struct call call = {
            .method = method, .path = *method == 'P' && method[1] == 'O' ? PODS : PODS "/big", .body = body};
        struct reply r;
        long code;

        harness_call(h, curl, &call, &r);
        code = r.code;
        reply_deinit(&r);
        return code;
}

/* Reads to the end or to an ERROR; the number of events before it. */
static size_t read_to_error(struct watch *w, bool *error)
{
        json_t *event;
        size_t n = 0;

        *error = false;
        while (!*error && (event = watch_next(w, 60000))) {
                *error = strcmp(json_string_value(json_object_get(event, "type")), "ERROR") == 0;
                n++;
                json_decref(event);
        }
        return n;
}

#define HEAD "{\"metadata\":{\"name\":\"big\"},\"x\":\""

/* One that never reads is cut off, and holds up nobody meanwhile. */
static void test_slow_reader(void **state)
{
        CURL *curl = harness_curl(*state, AS_ADMIN);
        char *body = malloc(60001);
        struct watch slow, quick;
        size_t seen = 0;
        bool error;

        (void)memset(body, 'x', 60000);
        (void)memcpy(body, HEAD, strlen(HEAD));
        body[59998] = '"';
        body[59999] = '}';
        body[60000] = '\0';
        watch_open(&slow, *state, AS_ADMIN, PODS "?watch=1", NULL);
        watch_open(&quick, *state, AS_ADMIN, PODS "?watch=1", NULL);
        assert_int_equal(put_big(*state, curl, "POST", body), 201);
        for (int i = 1; i < 400; i++) {
                json_t *event = watch_next(&quick, 60000);

                assert_non_null(event);
                seen++;
                json_decref(event);
                assert_int_equal(put_big(*state, curl, "PUT", body), 200);
        }
        assert_int_equal(seen, 399);
        assert_in_range(read_to_error(&slow, &error), 2, 390);
        assert_true(error);
        assert_null(watch_next(&slow, 60000));
        watch_close(&slow);
        watch_close(&quick);
        curl_easy_cleanup(curl);
        free(body);
}

static void test_clean_stop(void **state)
{
        struct harness *h = *state;
        struct watch w;

        put(h, "POST", "a", "n");
        watch_open(&w, h, AS_ADMIN, PODS "?watch=1", NULL);
        assert_string_equal(watch_say(&w), "ADDED a");
        assert_int_equal(kill(h->pid, SIGTERM), 0);
        assert_null(watch_next(&w, 60000));
        watch_close(&w);
        assert_int_equal(harness_stop(h, 0), 0);
        assert_int_equal(harness_start(h), 0);
        assert_int_equal(harness_do(h, "GET", PODS "/a", NULL, NULL), 200);
}

static void no_wake(void *arg)
{
        (void)arg;
}

static void stage(struct api_hub *hub, uint64_t version)
{
        struct api_change change = {
            .type = API_ADDED,
            .kind = api_kinds[0],
            .object = json_pack("{s:{s:s, s:s}}", "metadata", "name", "x", "namespace", "default"),
            .resource_version = version};
        struct api_event *event;

        change.image = api_image_new(change.object, version, NULL, 0);
        event = api_event_new(&change);

        assert_non_null(event);
        api_hub_stage(hub, event);
        (void)api_event_unref(event);
        (void)api_image_unref(change.image);
        json_decref(change.object);
}

static void append(struct api_hub *hub, uint64_t version)
{
        stage(hub, version);
        api_hub_publish(hub, 1);
}

/* However many changes, however slow a watcher: the ring holds so many bytes, and the watcher is told. */
static void test_bounded_by_bytes(void **state)
{
        const struct api_hub_config config = {.history = 100000, .history_bytes = 64 * 1024};
        struct api_watch_options o = {.kind = api_kinds[0], .wake = no_wake};
        struct api_watcher *slow = NULL;
        struct api_hub *hub = NULL;
        char text[4096], error[256];
        ssize_t n;

        (void)state;
        assert_int_equal(api_hub_new(&hub, &config), 0);
        assert_int_equal(api_watcher_new(&slow, hub, &o, 1, error), 0);
        for (uint64_t version = 1; version <= 20000; version++)
                append(hub, version);
        /* An event is some 200 bytes: a few hundred of them are left. */
        assert_in_range(api_hub_oldest(hub), 20000 - 1000, 20000 - 100);
        n = api_watcher_read(slow, text, sizeof(text) - 1, 1, 1);
        assert_true(n > 0);
        text[n] = '\0';
        assert_non_null(strstr(text, "\"Expired\""));
        assert_int_equal(api_watcher_read(slow, text, sizeof(text), 1, 1), API_WATCH_END);
        (void)api_watcher_free(slow);
        (void)api_hub_free(hub);
}

/* Nothing is heard of what is not durable; but the history knows it. */
static void count_change(void *arg, const struct api_image *now, struct api_image *before)
{
        (void)now;
        (void)before;
        ++*(size_t *)arg;
}

static void test_staged_is_not_seen(void **state)
{
        const struct api_hub_config config = {.history = 4};
        struct api_watch_options o = {.kind = api_kinds[0], .wake = no_wake};
        struct api_watcher *w = NULL;
        struct api_hub *hub = NULL;
        char text[4096], error[256];
        size_t known = 0;

        (void)state;
        assert_int_equal(api_hub_new(&hub, &config), 0);
        assert_int_equal(api_watcher_new(&w, hub, &o, 1, error), 0);
        stage(hub, 1);
        assert_int_equal(api_watcher_read(w, text, sizeof(text), 1, 1), 0);
        api_hub_after(hub, api_kinds[0], 0, count_change, &known);
        assert_int_equal(known, 1);
        api_hub_publish(hub, 1);
        assert_true(api_watcher_read(w, text, sizeof(text), 1, 1) > 0);
        (void)api_watcher_free(w);
        (void)api_hub_free(hub);
}

/* A full ring drops what is old to a watcher that has not read yet: it has not lagged behind. */
static void test_new_on_a_full_ring(void **state)
{
        const struct api_hub_config config = {.history = 4};
        struct api_watch_options o = {.kind = api_kinds[0], .wake = no_wake};
        struct api_hub *hub = NULL;
        struct api_watcher *w = NULL;
        char text[4096], error[256];
        ssize_t n;

        (void)state;
        assert_int_equal(api_hub_new(&hub, &config), 0);
        for (uint64_t version = 1; version <= 9; version++)
                append(hub, version);
        o.after = 9;
        assert_int_equal(api_watcher_new(&w, hub, &o, 1, error), 0);
        for (uint64_t version = 10; version <= 13; version++)
                append(hub, version);
        n = api_watcher_read(w, text, sizeof(text) - 1, 1, 1);
        assert_true(n > 0);
        text[n] = '\0';
        assert_non_null(strstr(text, "ADDED"));
        assert_null(strstr(text, "ERROR"));
        append(hub, 14);
        for (uint64_t version = 15; version <= 19; version++)
                append(hub, version);
        n = api_watcher_read(w, text, sizeof(text) - 1, 1, 1);
        assert_true(n > 0);
        text[n] = '\0';
        assert_non_null(strstr(text, "ERROR"));
        (void)api_watcher_free(w);
        (void)api_hub_free(hub);
}

/* A pod of the node, at this version; was: the node before, NULL = it is new. */
static void change_on(struct api_hub *hub, uint64_t version, const char *node, const char *was)
{
        struct api_change change = {
            .type = was ? API_MODIFIED : API_ADDED, .kind = api_kinds[0], .resource_version = version};
        struct api_event *event;

        change.object = json_pack("{s:{s:s, s:s}, s:{s:s}}", "metadata", "name", "x", "namespace", "default",
                                  "spec", "nodeName", node);
        change.image = api_image_new(change.object, version, NULL, 0);
        if (was) {
                change.old = json_pack("{s:{s:s, s:s}, s:{s:s}}", "metadata", "name", "x", "namespace",
                                       "default", "spec", "nodeName", was);
                change.old_image = api_image_new(change.old, version - 1, NULL, 0);
        }
        event = api_event_new(&change);
        assert_non_null(event);
        api_hub_stage(hub, event);
        api_hub_publish(hub, 1);
        (void)api_event_unref(event);
        (void)api_image_unref(change.image);
        (void)api_image_unref(change.old_image);
        json_decref(change.object);
        json_decref(change.old);
}

static void count_wake(void *arg)
{
        ++*(int *)arg;
}

static void assert_reads(struct api_watcher *w, const char *expected)
{
        char text[4096];
        ssize_t n = api_watcher_read(w, text, sizeof(text) - 1, 1, 1);

        assert_true(n > 0);
        text[n] = '\0';
        assert_non_null(strstr(text, expected));
        assert_int_equal(api_watcher_read(w, text, sizeof(text), 1, 1), 0);
}

/* A watcher is woken for what is, or was, on its node; what it is not asked about does not leave it behind.
 */
static void test_woken_for_its_own(void **state)
{
        const struct api_hub_config config = {.history = 4};
        int woken = 0, all_woken = 0;
        struct api_watch_options o = {
            .kind = api_kinds[0], .fields = "spec.nodeName=mine", .wake = count_wake, .arg = &woken};
        struct api_watch_options all = {.kind = api_kinds[0], .wake = count_wake, .arg = &all_woken};
        struct api_watcher *w = NULL, *other = NULL;
        struct api_hub *hub = NULL;
        char text[4096], error[256];
        uint64_t version = 1;

        (void)state;
        assert_int_equal(api_hub_new(&hub, &config), 0);
        assert_int_equal(api_watcher_new(&w, hub, &o, 1, error), 0);
        assert_int_equal(api_watcher_new(&other, hub, &all, 1, error), 0);
        assert_int_equal(api_watcher_read(w, text, sizeof(text), 1, 1), 0);
        assert_int_equal(api_watcher_read(other, text, sizeof(text), 1, 1), 0);
        for (; version <= 20; version++) /* five times the ring */
                change_on(hub, version, "other", NULL);
        assert_int_equal(woken, 0);
        assert_int_equal(api_watcher_read(w, text, sizeof(text), 1, 1), 0);
        assert_int_equal(all_woken, 1); /* once, until it reads */
        change_on(hub, version++, "mine", "other");
        assert_int_equal(woken, 1);
        assert_reads(w, "ADDED");
        change_on(hub, version++, "mine", "mine");
        assert_int_equal(woken, 2);
        assert_reads(w, "MODIFIED");
        change_on(hub, version++, "other", "mine");
        assert_int_equal(woken, 3);
        assert_reads(w, "DELETED");
        change_on(hub, version++, "other", "other");
        assert_int_equal(woken, 3);
        (void)api_watcher_free(w);
        change_on(hub, version++, "mine", NULL);
        assert_int_equal(woken, 3);
        (void)api_watcher_free(other);
        (void)api_hub_free(hub);
}

/* More at once than the ring holds: a watcher of another node cannot be told whether it missed something. */
static void test_more_at_once_than_the_ring(void **state)
{
        const struct api_hub_config config = {.history = 4};
        struct api_watch_options o = {.kind = api_kinds[0], .fields = "spec.nodeName=mine", .wake = no_wake};
        struct api_watcher *w = NULL;
        struct api_hub *hub = NULL;
        char text[4096], error[256];
        ssize_t n;

        (void)state;
        assert_int_equal(api_hub_new(&hub, &config), 0);
        assert_int_equal(api_watcher_new(&w, hub, &o, 1, error), 0);
        assert_int_equal(api_watcher_read(w, text, sizeof(text), 1, 1), 0);
        for (uint64_t version = 1; version <= 5; version++)
                stage(hub, version);
        api_hub_publish(hub, 5);
        n = api_watcher_read(w, text, sizeof(text) - 1, 1, 1);
        assert_true(n > 0);
        text[n] = '\0';
        assert_non_null(strstr(text, "Expired"));
        (void)api_watcher_free(w);
        (void)api_hub_free(hub);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_initial_then_live, setup, teardown),
            cmocka_unit_test_setup_teardown(test_selector_borders, setup, teardown),
            cmocka_unit_test_setup_teardown(test_deleted_carries_its_version, setup, teardown),
            cmocka_unit_test_setup_teardown(test_resume, setup, teardown),
            cmocka_unit_test_setup_teardown(test_expired, setup, teardown),
            cmocka_unit_test_setup_teardown(test_send_initial_events, setup, teardown),
            cmocka_unit_test_setup_teardown(test_table_and_timeout, setup, teardown),
            cmocka_unit_test_setup_teardown(test_hangup_is_noticed, setup, teardown),
            cmocka_unit_test_setup_teardown(test_slow_reader, setup, teardown),
            cmocka_unit_test_setup_teardown(test_clean_stop, setup, teardown),
            cmocka_unit_test(test_new_on_a_full_ring),
            cmocka_unit_test(test_bounded_by_bytes),
            cmocka_unit_test(test_staged_is_not_seen),
            cmocka_unit_test(test_woken_for_its_own),
            cmocka_unit_test(test_more_at_once_than_the_ring),
        };

        (void)curl_global_init(CURL_GLOBAL_ALL);
        return cmocka_run_group_tests_name("apiserver_watch", tests, NULL, NULL);
}
