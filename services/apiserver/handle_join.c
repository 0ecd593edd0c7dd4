/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that wants to be a node: `alkaidctl node join`. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/clock.h"
#include "services/apiserver/handle_internal.h"

#define JOINED "joined-" /* and the token's SHA-256: a file of the PKI directory */

static bool node_exists(struct api_call *call, const char *name)
{
        struct api_request get = {.verb = API_GET,
                                  .kind = api_kind_by_plural("", "v1", "nodes"),
                                  .name_space = "",
                                  .name = name,
                                  .subresource = "",
                                  .user = call->user};
        struct api_result found = {0};
        bool exists = api_core_handle(call->server->core, &get, &found) < 0 || found.code != 404;

        api_result_deinit(&found);
        return exists;
}

/* ---- a token is good for one node ---- */

/* The files of tokens that are no longer known, or have ended, say nothing more. */
static void forget_ended(const struct access *access, int dir_fd)
{
        DIR *dir = fdopendir(dir_fd);
        const struct dirent *entry;
        uint8_t hash[ACCESS_HASH_SIZE];

        while (dir && (entry = readdir(dir))) {
                size_t size = sizeof(hash), prefix = strlen(JOINED);

                if (strncmp(entry->d_name, JOINED, prefix) == 0 &&
                    gnutls_hex2bin(entry->d_name + prefix, strlen(entry->d_name) - prefix, hash, &size) ==
                        0 &&
                    size == sizeof(hash) && !access_token(access, hash, (uint64_t)time(NULL)))
                        (void)unlinkat(dir_fd, entry->d_name, 0);
        }
        if (dir)
                (void)closedir(dir);
        else
                (void)close(dir_fd);
}

/*
 * A file per token that was used, durable before the certificate is made: a crash in between costs a token,
 * and never is one good for two. -EEXIST: it was used before.
 */
static int use_token(struct api_call *call)
{
        char name[sizeof(JOINED) + AUTH_TOKEN_SIZE];
        int dir = open(call->server->options->pki_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        AK_AUTOCLOSE int fd = -1;

        if (dir < 0)
                return -errno;
        (void)snprintf(name, sizeof(name), JOINED "%s", call->token);
        fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || fsync(fd) < 0 || fsync(dir) < 0)
                r = -errno;
        forget_ended(auth_files_fresh(call->server->auth_files, ak_clock_monotonic_us()), dir);
        return r;
}

static bool token_is_good(struct api_call *call)
{
        int r = call->token ? use_token(call) : 0; /* an administrator's certificate is no token */

        if (r == -EEXIST) {
                api_call_fail(
                    call, 403, "Forbidden",
                    "this token was used: a token is good for one node, `alkaidctl node token` makes "
                    "another");
        } else if (r < 0) {
                ak_log(AK_LOG_ERROR, "node_not_joined", "error", strerror(-r), NULL);
                api_call_fail(call, 500, "InternalError",
                              "the token's use could not be noted; the log says why");
        }
        return r == 0;
}

static void answer_join(struct api_call *call, const char *name, const char *request)
{
        AK_AUTOFREE char *crt = NULL;
        AK_AUTOFREE char *ca = NULL;
        char error[PKI_ERROR_SIZE] = "";
        json_t *answer;

        if (pki_sign_node(call->server->options->pki_dir, request, time(NULL), &crt, &ca, error) < 0) {
                ak_log(AK_LOG_ERROR, "node_not_joined", "node", name, "error", error, NULL);
                api_call_fail(call, 500, "InternalError",
                              "the certificate could not be signed; the log says why");
                return;
        }
        ak_log(AK_LOG_INFO, "node_joined", "node", name, "by", call->user.name, NULL);
        answer =
            json_pack("{s:s, s:s, s:{s:s, s:n}, s:{s:s}, s:{s:s, s:s}}", "kind", "NodeJoin", "apiVersion",
                      "node.alkaid.io/v1", "metadata", "name", name, "creationTimestamp", "spec", "request",
                      request, "status", "certificate", crt, "certificateAuthority", ca);
        handle_set_json(call, 201, answer);
        json_decref(answer);
}

/*
 * Who has a join token may have any name that is free: a node that is there keeps its own. What is refused
 * for another reason leaves the token good.
 */
void handle_join(struct api_call *call, const json_t *body)
{
        const char *request = json_string_value(json_object_get(json_object_get(body, "spec"), "request"));
        char name[PKI_NODE_NAME_SIZE], error[PKI_ERROR_SIZE] = "", message[PKI_NODE_NAME_SIZE + 200];

        if (!access_in_group(&call->user, ACCESS_BOOTSTRAP) &&
            !access_in_group(&call->user, ACCESS_MASTERS)) {
                api_call_fail(call, 403, "Forbidden",
                              "joining needs a token of `alkaidctl node token` (group " ACCESS_BOOTSTRAP ")");
        } else if (pki_requested_node(request ? request : "", name, error) < 0) {
                api_call_fail(call, 400, "BadRequest", *error ? error : "out of memory");
        } else if (node_exists(call, name)) {
                (void)snprintf(
                    message, sizeof(message),
                    "node \"%s\" is there already: remove it first (kubectl delete node %s), or join under "
                    "another name",
                    name, name);
                api_call_fail(call, 409, "AlreadyExists", message);
        } else if (token_is_good(call)) {
                answer_join(call, name, request);
        }
}
