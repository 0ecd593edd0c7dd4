/* SPDX-License-Identifier: Apache-2.0 */
/* The pod client against an API server of the test's own, over HTTP on the loopback interface. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/alkaidctl/nic.h"
#include "tools/alkaidctl/pod.h"

#define POD(rv, nics)                                                                                        \
        "{\"metadata\":{\"name\":\"vm\",\"uid\":\"u\",\"resourceVersion\":\"" rv                             \
        "\"},\"status\":{\"nicStatuses\":[" nics "]}}"
#define EVENT(rv, nics) "{\"type\":\"MODIFIED\",\"object\":" POD(rv, nics) "}\n"
#define STATUS(code, text)                                                                                   \
        "{\"kind\":\"Status\",\"code\":" #code ",\"reason\":\"X\",\"message\":\"" text "\"}"

struct server {
        struct MHD_Daemon *daemon;
        char kubeconfig[40];
        char patch[256], patch_type[64], watch_query[256];
};

static enum MHD_Result reply(struct MHD_Connection *connection, unsigned int code, const char *text)
{
        struct MHD_Response *r =
            MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);

        (void)MHD_add_response_header(r, "Content-Type", "application/json");
        enum MHD_Result result = MHD_queue_response(connection, code, r);
        MHD_destroy_response(r);
        return result;
}

static const char *query(struct MHD_Connection *connection, const char *key)
{
        const char *value = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, key);

        return value ? value : "";
}

static ssize_t nothing_yet(void *arg, uint64_t position, char *out, size_t size)
{
        (void)arg;
        (void)position;
        (void)out;
        (void)size;
        (void)usleep(20000); /* the test server's thread, so that it does not spin */
        return 0;
}

/* A watch on which nothing happens. */
static enum MHD_Result stall(struct MHD_Connection *connection)
{
        struct MHD_Response *r =
            MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1024, nothing_yet, NULL, NULL);
        enum MHD_Result result = MHD_queue_response(connection, 200, r);

        MHD_destroy_response(r);
        return result;
}

static enum MHD_Result watch(struct server *s, struct MHD_Connection *connection)
{
        const char *from = query(connection, "resourceVersion");

        (void)snprintf(s->watch_query, sizeof(s->watch_query), "%s %s", query(connection, "fieldSelector"),
                       from);
        if (strcmp(from, "1") == 0)
                return stall(connection);
        if (strcmp(from, "8") == 0)
                return reply(connection, 200, "{\"type\":\"ERROR\",\"object\":" STATUS(410, "too old") "}\n");
        if (strcmp(from, "9") == 0)
                return reply(connection, 200, EVENT("10", "{\"name\":\"eth1\",\"state\":\"InProgress\"}"));
        return reply(connection, 200,
                     EVENT("6", "{\"name\":\"eth1\",\"state\":\"InProgress\"}")
                         EVENT("7", "{\"name\":\"eth1\",\"state\":\"Ready\"}"));
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data, size_t *len,
                                  void **request)
{
        struct server *s = arg;

        (void)version;
        if (!*request) {
                *request = s;
                s->patch[0] = '\0';
                return MHD_YES;
        }
        if (*len > 0) {
                (void)snprintf(s->patch, sizeof(s->patch), "%.*s", (int)*len, data);
                *len = 0;
                return MHD_YES;
        }
        if (strcmp(query(connection, "watch"), "true") == 0)
                return watch(s, connection);
        if (strcmp(url, "/api/v1/namespaces/ns/pods/secret") == 0)
                return reply(connection, 403, STATUS(403, "not for you"));
        if (strcmp(url, "/api/v1/namespaces/ns/pods/vm") != 0)
                return reply(connection, 404, STATUS(404, "no such pod"));
        if (strcmp(method, "PATCH") == 0)
                (void)snprintf(s->patch_type, sizeof(s->patch_type), "%s",
                               MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type"));
        return reply(connection, 200, POD("5", ""));
}

static int setup(void **state)
{
        struct server *s = calloc(1, sizeof(*s));
        const union MHD_DaemonInfo *info;

        s->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO, 0, NULL, NULL,
                                     on_request, s, MHD_OPTION_END);
        if (!s->daemon)
                return -1;
        info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
        (void)snprintf(s->kubeconfig, sizeof(s->kubeconfig), "/tmp/ak-kubeconfig-XXXXXX");
        FILE *file = fdopen(mkstemp(s->kubeconfig), "w");
        if (!file)
                return -1;
        (void)fprintf(file,
                      "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
                      "clusters:\n- name: c\n  cluster:\n    server: http://127.0.0.1:%u\n"
                      "users:\n- name: c\n  user:\n    token: t\n"
                      "contexts:\n- name: c\n  context:\n    cluster: c\n    user: c\n    namespace: ns\n",
                      info->port);
        *state = s;
        return fclose(file);
}

static int teardown(void **state)
{
        struct server *s = *state;

        MHD_stop_daemon(s->daemon);
        (void)unlink(s->kubeconfig);
        free(s);
        return 0;
}

static struct ctl_api api_of(const struct server *s)
{
        struct ctl_api api = {0};
        char error[CTL_ERROR_SIZE] = "";
        int r = ctl_api_open(&api, s->kubeconfig, NULL, NULL, error);

        if (r < 0)
                print_error("%s\n", error);
        assert_int_equal(r, 0);
        return api;
}

static void test_get_and_patch(void **state)
{
        struct server *s = *state;
        AK_CLEANUP(ctl_api_close) struct ctl_api api = api_of(s);
        char error[CTL_ERROR_SIZE];
        json_t *pod = NULL, *patch = json_pack("{s:s}", "a", "b");

        assert_string_equal(api.name_space, "ns");
        assert_int_equal(ctl_pod_get(&api, "vm", &pod, error), 0);
        json_decref(pod);
        assert_int_equal(ctl_pod_patch(&api, "vm", patch, &pod, error), 0);
        json_decref(pod);
        json_decref(patch);
        assert_string_equal(s->patch, "{\"a\":\"b\"}");
        assert_string_equal(s->patch_type, "application/strategic-merge-patch+json");
}

static void test_refusals(void **state)
{
        AK_CLEANUP(ctl_api_close) struct ctl_api api = api_of(*state);
        struct ctl_api none = {0};
        char error[CTL_ERROR_SIZE];
        json_t *pod = NULL;

        assert_int_equal(ctl_pod_get(&api, "other", &pod, error), -ENOENT);
        assert_string_equal(error, "no such pod");
        assert_int_equal(ctl_pod_get(&api, "secret", &pod, error), -EACCES);
        assert_int_equal(ctl_pod_get(&api, "../../nodes", &pod, error), -EINVAL);
        assert_non_null(strstr(error, "no name of a pod"));
        assert_int_equal(ctl_api_open(&none, "/nonexistent/k", NULL, NULL, error), -ENOENT);
        assert_null(pod);
}

static bool eth1_ready(void *arg, const json_t *pod)
{
        char text[CTL_ERROR_SIZE];
        int *asked = arg;

        (*asked)++;
        return ctl_nic_progress(pod, "eth1", true, text) == CTL_NIC_DONE;
}

static int wait_from(struct server *s, const char *resource_version, int *asked, char error[CTL_ERROR_SIZE])
{
        AK_CLEANUP(ctl_api_close) struct ctl_api api = api_of(s);
        json_t *pod =
            json_pack("{s:{s:s, s:s}}", "metadata", "name", "vm", "resourceVersion", resource_version);

        *asked = 0;
        uint64_t timeout_us = strcmp(resource_version, "1") == 0 ? 200000 : 20000000;
        int r = ctl_pod_wait(&api, pod, timeout_us, eth1_ready, asked, error);
        json_decref(pod);
        return r;
}

static void test_wait(void **state)
{
        struct server *s = *state;
        char error[CTL_ERROR_SIZE] = "";
        int asked = 0;

        assert_int_equal(wait_from(s, "5", &asked, error), 0);
        assert_int_equal(asked, 3); /* the state at hand, and two of the watch */
        assert_string_equal(s->watch_query, "metadata.name=vm 5");
}

static void test_wait_that_fails(void **state)
{
        char error[CTL_ERROR_SIZE] = "";
        int asked = 0;

        assert_int_equal(wait_from(*state, "1", &asked, error), -ETIMEDOUT);
        assert_string_equal(error, "not within the time given by --timeout");
        assert_int_equal(wait_from(*state, "8", &asked, error), -EIO);
        assert_non_null(strstr(error, "410"));
        assert_int_equal(wait_from(*state, "9", &asked, error), -EPIPE);
        assert_non_null(strstr(error, "ended it"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_get_and_patch),
            cmocka_unit_test(test_refusals),
            cmocka_unit_test(test_wait),
            cmocka_unit_test(test_wait_that_fails),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
