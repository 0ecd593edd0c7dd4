/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/pod.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/clock.h"
#include "libcommon/kube/frame.h"

/* ------------------------------------------------------------------ connection */

static char *default_kubeconfig(void)
{
        const char *list = getenv("KUBECONFIG"), *home = getenv("HOME");
        char *out = NULL;

        if (list && *list)
                return strndup(list, strcspn(list, ":"));
        if (asprintf(&out, "%s/.kube/config", home ? home : "") < 0)
                return NULL;
        return out;
}

int ctl_api_open(struct ctl_api *out, const char *kubeconfig, const char *context, const char *name_space,
                 char error[CTL_ERROR_SIZE])
{
        AK_CLEANUP(ak_kubeconfig_deinit) struct ak_kubeconfig config = {0};
        AK_AUTOFREE char *path = kubeconfig ? strdup(kubeconfig) : default_kubeconfig();
        char why[AK_KUBECONFIG_ERROR_SIZE] = "out of memory";
        struct ctl_api api = {0};
        int r = path ? ak_kubeconfig_load(&config, path, context, why) : -ENOMEM;

        if (r == 0)
                r = ak_kube_session_new(&api.session, &config, "alkaidctl/" ALKAID_VERSION);
        if (r < 0) {
                (void)snprintf(error, CTL_ERROR_SIZE, "kubeconfig: %s", why);
                return r;
        }
        api.name_space = strdup(name_space ? name_space : config.name_space);
        if (!api.name_space) {
                ctl_api_close(&api);
                return -ENOMEM;
        }
        *out = api;
        return 0;
}

void ctl_api_close(struct ctl_api *api)
{
        ak_kube_session_free(api->session);
        free(api->name_space);
        *api = (struct ctl_api){0};
}

/* ------------------------------------------------------------------ requests */

static char *pod_path(const struct ctl_api *api, const char *name, char error[CTL_ERROR_SIZE])
{
        const struct ak_kube_ref ref = {
            .group = "",
            .version = "v1",
            .name_space = api->name_space,
            .plural = "pods",
            .name = name,
        };
        char *path = NULL;

        if (ak_kube_path(&ref, &path) < 0)
                (void)snprintf(error, CTL_ERROR_SIZE, "'%s' is no name of a pod in a namespace '%s'", name,
                               api->name_space);
        return path;
}

static int error_of(const struct ak_kube_response *response, char error[CTL_ERROR_SIZE])
{
        (void)snprintf(error, CTL_ERROR_SIZE, "%s", response->message);
        if (response->error < 0)
                return response->error;
        if (response->status == 404)
                return -ENOENT;
        return response->status == 401 || response->status == 403 ? -EACCES : -EIO;
}

static int call(struct ctl_api *api, const struct ak_kube_request *request, json_t **out,
                char error[CTL_ERROR_SIZE])
{
        AK_CLEANUP(ak_kube_response_deinit) struct ak_kube_response response = {0};

        (void)ak_kube_session_call(api->session, request, &response);
        if (!ak_kube_response_ok(&response))
                return error_of(&response, error);
        if (!json_is_object(response.body)) {
                (void)snprintf(error, CTL_ERROR_SIZE, "the server's answer is no JSON object");
                return -EIO;
        }
        *out = json_incref(response.body);
        return 0;
}

int ctl_pod_get(struct ctl_api *api, const char *name, json_t **out, char error[CTL_ERROR_SIZE])
{
        AK_AUTOFREE char *path = pod_path(api, name, error);

        if (!path)
                return -EINVAL;
        return call(api, &(struct ak_kube_request){.verb = AK_KUBE_GET, .path = path}, out, error);
}

int ctl_pod_patch(struct ctl_api *api, const char *name, const json_t *patch, json_t **out,
                  char error[CTL_ERROR_SIZE])
{
        AK_AUTOFREE char *path = pod_path(api, name, error);

        if (!path)
                return -EINVAL;
        return call(api,
                    &(struct ak_kube_request){.verb = AK_KUBE_STRATEGIC_PATCH, .path = path, .body = patch},
                    out, error);
}

/* ------------------------------------------------------------------ watch */

struct wait {
        struct ak_kube_lines lines;
        ctl_pod_done_fn done;
        void *arg;
        bool finished, ended;
        int result;
        char *error;
};

static int on_line(void *arg, const char *line, size_t len)
{
        AK_CLEANUP(ak_kube_event_deinit) struct ak_kube_event event = {0};
        struct wait *w = arg;
        char why[AK_KUBE_ERROR_SIZE];

        if (ak_kube_event_decode(line, len, &event, why) < 0) {
                (void)snprintf(w->error, CTL_ERROR_SIZE, "watch: %s", why);
                return w->result = -EBADMSG;
        }
        if (event.type == AK_KUBE_ERROR) {
                (void)snprintf(w->error, CTL_ERROR_SIZE, "watch: the server ends it with %d", event.code);
                return w->result = -EIO;
        }
        if (event.type != AK_KUBE_BOOKMARK)
                w->finished = w->done(w->arg, event.type == AK_KUBE_DELETED ? NULL : event.object);
        return w->finished ? -ECANCELED : 0;
}

static int on_data(void *arg, const char *data, size_t len)
{
        struct wait *w = arg;

        return ak_kube_lines_feed(&w->lines, data, len, on_line, w);
}

static void on_end(void *arg, struct ak_kube_response *response)
{
        struct wait *w = arg;

        w->ended = true;
        if (!w->finished && w->result == 0) {
                w->result = ak_kube_response_ok(response) ? -EPIPE : error_of(response, w->error);
                if (w->result == -EPIPE)
                        (void)snprintf(w->error, CTL_ERROR_SIZE, "watch: the server ended it");
        }
        ak_kube_response_deinit(response);
}

static char *watch_path(const struct ctl_api *api, const json_t *pod, uint64_t timeout_us)
{
        AK_AUTOFREE char *base = NULL;
        AK_AUTOFREE char *selector = NULL;
        AK_AUTOFREE char *escaped = NULL;
        const struct ak_kube_ref ref = {
            .group = "", .version = "v1", .name_space = api->name_space, .plural = "pods"};
        char *out = NULL;

        if (asprintf(&selector, "metadata.name=%s", ak_kube_meta(pod, "name")) < 0)
                selector = NULL;
        escaped = selector ? ak_kube_escape(selector) : NULL;
        if (!escaped || ak_kube_path(&ref, &base) < 0)
                return NULL;
        if (asprintf(&out, "%s?watch=true&fieldSelector=%s&resourceVersion=%s&timeoutSeconds=%llu", base,
                     escaped, ak_kube_meta(pod, "resourceVersion"),
                     (unsigned long long)timeout_us / 1000000 + 1) < 0)
                return NULL;
        return out;
}

static int step_until(struct ctl_api *api, struct wait *w, uint64_t end_us)
{
        while (!w->ended && !w->finished && w->result == 0) {
                uint64_t now = ak_clock_monotonic_us();
                if (now >= end_us) {
                        (void)snprintf(w->error, CTL_ERROR_SIZE, "not within the time given by --timeout");
                        return -ETIMEDOUT;
                }
                ak_kube_session_step(api->session, (int)((end_us - now) / 1000) + 1);
        }
        return w->finished ? 0 : w->result;
}

int ctl_pod_wait(struct ctl_api *api, const json_t *pod, uint64_t timeout_us, ctl_pod_done_fn done, void *arg,
                 char error[CTL_ERROR_SIZE])
{
        struct wait w = {.done = done, .arg = arg, .error = error};
        const struct ak_kube_transfer_handler handler = {.done = on_end, .data = on_data, .arg = &w};
        AK_AUTOFREE char *path = watch_path(api, pod, timeout_us);

        if (done(arg, pod))
                return 0;
        if (!path)
                return -ENOMEM;
        const struct ak_kube_request request = {
            .verb = AK_KUBE_GET, .path = path, .timeout_ms = (uint32_t)(timeout_us / 1000) + 1000};
        int r = ak_kube_session_start(api->session, &request, &handler);
        if (r == 0)
                r = step_until(api, &w, ak_clock_monotonic_us() + timeout_us);
        /* The transfer must not outlive `w`, and has no more to say. */
        w.result = r;
        ak_kube_session_cancel(api->session);
        while (!w.ended && ak_kube_session_running(api->session) > 0)
                ak_kube_session_step(api->session, 100);
        ak_kube_lines_deinit(&w.lines);
        return r;
}

int ctl_pod_resolve(const char *kubeconfig, const char *context, const char *name_space, const char *pod,
                    char uid[AK_UUID_SIZE], char error[CTL_ERROR_SIZE])
{
        struct ctl_api api = {0};
        json_t *object = NULL;

        if (ak_uuid_valid(pod)) {
                (void)snprintf(uid, AK_UUID_SIZE, "%s", pod);
                return 0;
        }
        int r = ctl_api_open(&api, kubeconfig, context, name_space, error);
        if (r == 0)
                r = ctl_pod_get(&api, pod, &object, error);
        if (r == 0)
                (void)snprintf(uid, AK_UUID_SIZE, "%s", ak_kube_meta(object, "uid"));
        json_decref(object);
        ctl_api_close(&api);
        return r;
}
