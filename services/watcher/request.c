/* SPDX-License-Identifier: Apache-2.0 */
/* What the core asks of the API, as requests; what the API answers, as outcomes. */
#include <errno.h>

#include "services/watcher/shell.h"

#define VPC_GROUP "vpc.alkaid.io"

static const struct {
        enum ak_kube_verb verb;
        const char *group, *plural, *subresource;
} table[] = {
    [WATCHER_CALL_POD_STATUS] = {AK_KUBE_MERGE_PATCH, "", "pods", "status"},
    [WATCHER_CALL_POD_DELETE] = {AK_KUBE_DELETE, "", "pods", ""},
    [WATCHER_CALL_PORT_STATUS] = {AK_KUBE_MERGE_PATCH, VPC_GROUP, "ports", "status"},
    [WATCHER_CALL_EVENT_CREATE] = {AK_KUBE_CREATE, "", "events", ""},
    [WATCHER_CALL_EVENT_PATCH] = {AK_KUBE_MERGE_PATCH, "", "events", ""},
    [WATCHER_CALL_NODE_CREATE] = {AK_KUBE_CREATE, "", "nodes", ""},
    [WATCHER_CALL_NODE_GET] = {AK_KUBE_GET, "", "nodes", ""},
    [WATCHER_CALL_NODE_STATUS] = {AK_KUBE_MERGE_PATCH, "", "nodes", "status"},
};

int watcher_request_of(const struct watcher_action *action, struct ak_kube_request *out, char **path)
{
        bool create = table[action->call].verb == AK_KUBE_CREATE;
        struct ak_kube_ref ref = {
            .group = table[action->call].group,
            .version = "v1",
            .name_space = action->name_space,
            .plural = table[action->call].plural,
            .name = create ? "" : action->name,
            .subresource = table[action->call].subresource,
        };
        if (!create && action->name[0] == '\0')
                return -EINVAL;
        char *built = NULL;
        int rc = ak_kube_path(&ref, &built);
        if (rc < 0)
                return rc;
        *path = built;
        *out =
            (struct ak_kube_request){.verb = table[action->call].verb, .path = built, .body = action->body};
        return 0;
}

enum watcher_outcome watcher_outcome_of(const struct ak_kube_response *response)
{
        if (response->error != 0)
                return WATCHER_RETRY;
        if (response->status >= 200 && response->status < 300)
                return WATCHER_OK;
        switch (response->status) {
        case 404:
                return WATCHER_GONE;
        case 409:
                return WATCHER_CONFLICT;
        case 408:
        case 410:
        case 429:
                return WATCHER_RETRY;
        default:
                return response->status >= 500 ? WATCHER_RETRY : WATCHER_FORBIDDEN;
        }
}
