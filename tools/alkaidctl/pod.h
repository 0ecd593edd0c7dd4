/* SPDX-License-Identifier: Apache-2.0 */
/* Reaching a pod through the API server: what console and nic have in common. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcommon/kube/session.h"
#include "libcommon/netaddr.h"
#include "tools/alkaidctl/capture.h"

struct ctl_api {
        struct ak_kube_session *session;
        char *name_space;
};

/*
 * `kubeconfig` NULL = the first file of $KUBECONFIG, else ~/.kube/config; `name_space` NULL = the
 * context's. 0 or negative errno with a text.
 */
int ctl_api_open(struct ctl_api *out, const char *kubeconfig, const char *context, const char *name_space,
                 char error[CTL_ERROR_SIZE]);
void ctl_api_close(struct ctl_api *api);

/* UID of a pod: one stands for itself, a name is looked up. Errors as of ctl_api_open() and ctl_pod_get(). */
int ctl_pod_resolve(const char *kubeconfig, const char *context, const char *name_space, const char *pod,
                    char uid[AK_UUID_SIZE], char error[CTL_ERROR_SIZE]);
/* New reference. -ENOENT, -EACCES (401, 403), -EIO (other answers), or of the connection; with a text. */
int ctl_pod_get(struct ctl_api *api, const char *name, json_t **out, char error[CTL_ERROR_SIZE]);
/* Strategic merge patch; *out (new reference) is the pod as the server has it then. */
int ctl_pod_patch(struct ctl_api *api, const char *name, const json_t *patch, json_t **out,
                  char error[CTL_ERROR_SIZE]);
/*
 * Watches the pod until `done` says so; `done` is asked of each state, NULL for a deleted pod. 0,
 * -ETIMEDOUT, or an error of the connection.
 */
typedef bool (*ctl_pod_done_fn)(void *arg, const json_t *pod);
int ctl_pod_wait(struct ctl_api *api, const json_t *pod, uint64_t timeout_us, ctl_pod_done_fn done, void *arg,
                 char error[CTL_ERROR_SIZE]);
