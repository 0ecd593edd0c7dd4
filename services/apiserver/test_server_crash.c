/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is acknowledged survives: kill -9 in the middle of concurrent writes, a disk that is full; and stores
 * that must not be opened.
 */
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "libcommon/cleanup.h"
#include "services/apiserver/test_harness.h"

#define PODS    "/api/v1/namespaces/default/pods"
#define WRITERS 8
#ifdef __SANITIZE_ADDRESS__
#define KILLS 15 /* each start and request takes several times as long there */
#else
#define KILLS 100
#endif

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

/* Several writers at once, each with one request under way; counts what was acknowledged by name. */
struct writer {
        CURL *curl;
        int number;
        char body[160];
};

struct writers {
        const struct harness *h;
        CURLM *multi;
        struct writer all[WRITERS];
        struct curl_slist *headers;
        char url[300];
        int next;
        int acknowledged[20000], count;
};

static size_t discard(char *data, size_t size, size_t n, void *arg)
{
        (void)data;
        (void)arg;
        return size * n;
}

static void send_next(struct writers *w, struct writer *writer)
{
        writer->number = w->next++;
        (void)snprintf(writer->body, sizeof(writer->body), "{\"metadata\":{\"name\":\"p%d\"}}",
                       writer->number);
        curl_easy_setopt(writer->curl, CURLOPT_POSTFIELDS, writer->body);
        curl_multi_add_handle(w->multi, writer->curl);
}

static void writers_start(struct writers *w)
{
        w->multi = curl_multi_init();
        w->headers = curl_slist_append(NULL, "Content-Type: application/json");
        (void)snprintf(w->url, sizeof(w->url), "%s" PODS, w->h->url);
        for (size_t i = 0; i < WRITERS; i++) {
                struct writer *writer = &w->all[i];

                writer->curl = harness_curl(w->h, AS_ADMIN);
                curl_easy_setopt(writer->curl, CURLOPT_URL, w->url);
                curl_easy_setopt(writer->curl, CURLOPT_HTTPHEADER, w->headers);
                curl_easy_setopt(writer->curl, CURLOPT_WRITEFUNCTION, discard);
                curl_easy_setopt(writer->curl, CURLOPT_PRIVATE, writer);
                curl_easy_setopt(writer->curl, CURLOPT_TIMEOUT, 120L);
                send_next(w, writer);
        }
}

/* Handles what finished; the number of writers that are left. */
static int writers_turn(struct writers *w, bool go_on)
{
        int running = 0, left = 0;
        CURLMsg *message;

        (void)curl_multi_perform(w->multi, &running);
        while ((message = curl_multi_info_read(w->multi, &left))) {
                struct writer *writer = NULL;
                long code = 0;

                if (message->msg != CURLMSG_DONE)
                        continue;
                curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&writer);
                curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &code);
                curl_multi_remove_handle(w->multi, writer->curl);
                if (message->data.result == CURLE_OK && code == 201)
                        w->acknowledged[w->count++] = writer->number;
                if (go_on) {
                        send_next(w, writer);
                        running++;
                }
        }
        (void)curl_multi_poll(w->multi, NULL, 0, 10, NULL);
        return running;
}

static void writers_end(struct writers *w)
{
        while (writers_turn(w, false) > 0)
                ;
        for (size_t i = 0; i < WRITERS; i++)
                curl_easy_cleanup(w->all[i].curl);
        curl_multi_cleanup(w->multi);
        curl_slist_free_all(w->headers);
}

static void check_all_there(const struct harness *h, const struct writers *w)
{
        struct reply r;
        json_t *names = json_object(), *item;
        size_t i;

        harness_call(h, NULL, &(struct call){.method = "GET", .path = PODS}, &r);
        assert_int_equal(r.curl, CURLE_OK);
        assert_int_equal(r.code, 200);
        json_array_foreach(json_object_get(r.json, "items"), i, item)
        {
                json_t *meta = json_object_get(item, "metadata");

                (void)json_object_set(names, json_string_value(json_object_get(meta, "name")), meta);
        }
        for (int n = 0; n < w->count; n++) {
                char name[20];

                (void)snprintf(name, sizeof(name), "p%d", w->acknowledged[n]);
                assert_non_null(json_object_get(names, name));
        }
        json_decref(names);
        reply_deinit(&r);
}

static uint64_t current_version(const struct harness *h)
{
        struct reply r;
        uint64_t version;

        harness_call(h, NULL, &(struct call){.method = "GET", .path = "/api/v1/nodes"}, &r);
        version = strtoull(
            json_string_value(json_object_get(json_object_get(r.json, "metadata"), "resourceVersion")), NULL,
            10);
        reply_deinit(&r);
        return version;
}

static void test_kill_9(void **state)
{
        static struct writers w;
        uint64_t before = 0;

        w = (struct writers){.h = *state};
        for (int round = 0; round < KILLS; round++) {
                int until =
                    w.count + 10 + 37 * round % 83; /* so that the kill meets every stage of a batch */

                writers_start(&w);
                while (w.count < until && w.count < (int)AK_ARRAY_SIZE(w.acknowledged) - WRITERS)
                        (void)writers_turn(&w, true);
                assert_int_equal(harness_stop(*state, SIGKILL), 128 + SIGKILL);
                writers_end(&w);
                assert_int_equal(harness_start(*state), 0);
                check_all_there(*state, &w);
                assert_true(current_version(*state) > before);
                before = current_version(*state);
        }
        print_message("%d writes acknowledged, all there after %d kills\n", w.count, KILLS);
}

/* A clean stop in the middle of it is just as safe, and clean. */
static void test_stop_under_load(void **state)
{
        static struct writers w;

        w = (struct writers){.h = *state};
        for (int round = 0; round < 3; round++) {
                int until = w.count + 60;

                writers_start(&w);
                while (w.count < until)
                        (void)writers_turn(&w, true);
                assert_int_equal(harness_stop(*state, SIGTERM), 0);
                writers_end(&w);
                assert_int_equal(harness_start(*state), 0);
                check_all_there(*state, &w);
        }
}

/* The counter does not go back when the last change before a restart was a deletion. */
static void test_version_after_deletion(void **state)
{
        uint64_t before;

        assert_int_equal(harness_do(*state, "POST", PODS, "{\"metadata\":{\"name\":\"a\"}}", NULL), 201);
        assert_int_equal(harness_do(*state, "DELETE", PODS "/a", NULL, NULL), 200);
        before = current_version(*state);
        assert_int_equal(harness_stop(*state, SIGKILL), 128 + SIGKILL);
        assert_int_equal(harness_start(*state), 0);
        assert_int_equal(current_version(*state), before);
        assert_int_equal(harness_do(*state, "GET", PODS "/a", NULL, NULL), 404);
}

static bool ended(const struct harness *h)
{
        siginfo_t info = {0};

        return waitid(P_PID, (id_t)h->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == h->pid;
}

/* A store that cannot be written to any more stops the process before anybody is told that all is well. */
static void test_full_disk(void **state)
{
        static struct writers w;
        struct harness *h = *state;
        struct rlimit limit = {.rlim_cur = 600 * 1024, .rlim_max = 600 * 1024};

        w = (struct writers){.h = h};
        assert_int_equal(prlimit(h->pid, RLIMIT_FSIZE, &limit, NULL), 0);
        writers_start(&w);
        for (int i = 0; i < 3000 && !ended(h); i++)
                (void)writers_turn(&w, true);
        writers_end(&w);
        assert_int_equal(harness_stop(h, 0), API_EXIT_STORE);
        assert_true(w.count > 0);
        assert_int_equal(harness_start(h), 0);
        check_all_there(h, &w);
}

static void test_one_at_a_time(void **state)
{
        struct harness second = *(struct harness *)*state;

        assert_int_equal(harness_start(&second), API_EXIT_BUSY);
        assert_int_equal(harness_do(*state, "GET", "/readyz", NULL, NULL), 200);
}

static void run_sql(const struct harness *h, const char *sql)
{
        char path[200];
        sqlite3 *db;

        (void)snprintf(path, sizeof(path), "%s/store.db", h->options.state_dir);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_later_version(void **state)
{
        assert_int_equal(harness_stop(*state, SIGTERM), 0);
        run_sql(*state, "PRAGMA user_version = 99");
        assert_int_equal(harness_start(*state), API_EXIT_CONFIG);
        run_sql(*state,
                "PRAGMA user_version = 1; INSERT INTO object VALUES ('', 'Gadget', '', 'x', 1, '{}')");
        assert_int_equal(harness_start(*state), API_EXIT_CONFIG);
        run_sql(*state, "DELETE FROM object WHERE kind = 'Gadget';");
        assert_int_equal(harness_start(*state), 0);
}

static void test_bad_places(void **state)
{
        struct harness *h = *state;
        char path[200];
        FILE *file;

        assert_int_equal(harness_stop(h, SIGTERM), 0);
        assert_int_equal(chmod(h->options.pki_dir, 0755), 0);
        assert_int_equal(harness_start(h), API_EXIT_CONFIG);
        assert_int_equal(chmod(h->options.pki_dir, 0700), 0);
        (void)snprintf(path, sizeof(path), "%s/ca.key", h->options.pki_dir);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(harness_start(h), API_EXIT_CONFIG);
        (void)snprintf(path, sizeof(path), "%s/ca.crt", h->options.pki_dir);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(harness_start(h), 0); /* a new CA */
        assert_int_equal(harness_do(h, "GET", "/api", NULL, NULL), 200);
        assert_int_equal(harness_stop(h, SIGTERM), 0);
        (void)snprintf(path, sizeof(path), "%s/store.db", h->options.state_dir);
        file = fopen(path, "w");
        (void)fprintf(file, "this is no database, however long it may be, and it never was one");
        (void)fclose(file);
        assert_int_equal(harness_start(h), API_EXIT_CONFIG);
}

static void test_bad_listen(void **state)
{
        static const char *const wrong[] = {
            "127.0.0.1", ":1", "127.0.0.1:", "::1:6443", "127.0.0.1:x", "127.0.0.1:99999999"};
        struct harness *h = *state;

        assert_int_equal(harness_stop(h, SIGTERM), 0);
        for (size_t i = 0; i < AK_ARRAY_SIZE(wrong); i++) {
                free(h->options.listen);
                h->options.listen = strdup(wrong[i]);
                assert_int_equal(harness_start(h), API_EXIT_CONFIG);
        }
        free(h->options.listen);
        h->options.listen = strdup("[::1]:0");
        assert_int_equal(harness_start(h), 0);
        assert_int_equal(harness_do(h, "GET", "/api", NULL, NULL), 200);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_kill_9, setup, teardown),
            cmocka_unit_test_setup_teardown(test_stop_under_load, setup, teardown),
            cmocka_unit_test_setup_teardown(test_version_after_deletion, setup, teardown),
            cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
            cmocka_unit_test_setup_teardown(test_one_at_a_time, setup, teardown),
            cmocka_unit_test_setup_teardown(test_later_version, setup, teardown),
            cmocka_unit_test_setup_teardown(test_bad_places, setup, teardown),
            cmocka_unit_test_setup_teardown(test_bad_listen, setup, teardown),
        };

        (void)curl_global_init(CURL_GLOBAL_ALL);
        return cmocka_run_group_tests_name("apiserver_crash", tests, NULL, NULL);
}
