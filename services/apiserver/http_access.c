/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front door's watchman: who asks, whether they may, and whether it is too much. Each known user may have
 * so many connections and watches, so that one does not take everything; beyond, and when too many writes
 * wait for the disk, the answer is 429 with Retry-After, which Kubernetes' clients obey.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include "libcommon/clock.h"
#include "services/apiserver/http_internal.h"

/* ---- who asks ---- */

const char *http_header(struct request *r, const char *name)
{
        return MHD_lookup_connection_value(r->mhd, MHD_HEADER_KIND, name);
}

/* Known clients may be idle for longer than it takes to say who one is. */
static void allow_idleness(struct request *r)
{
        (void)MHD_set_connection_option(r->mhd, MHD_CONNECTION_OPTION_TIMEOUT,
                                        (unsigned int)(r->http->server->options->idle_timeout_us / 1000000));
}

static void use_identity(struct request *r, const struct auth_identity *identity)
{
        r->call.user.name = identity->name;
        r->call.user.groups = (const char *const *)identity->groups;
}

static void identify_by_token(struct request *r)
{
        struct auth_files *files = r->http->server->auth_files;
        const char *value = http_header(r, MHD_HTTP_HEADER_AUTHORIZATION);
        uint64_t now = ak_clock_monotonic_us();

        if (!value ||
            (auth_identify_token(auth_files_get(files, now), value, time(NULL), &r->token_identity) < 0 &&
             auth_identify_token(auth_files_fresh(files, now), value, time(NULL), &r->token_identity) < 0))
                return;
        allow_idleness(r);
        use_identity(r, &r->token_identity);
        r->call.token = r->token_identity.token;
}

/* Looked at with every request: who has a connection open loses it as well. */
static bool is_revoked(struct request *r, const struct auth_identity *identity)
{
        const struct access *access = auth_files_get(r->http->server->auth_files, ak_clock_monotonic_us());
        char message[PKI_SERIAL_SIZE + 400];

        if (!access_revoked(access, identity->serial))
                return false;
        (void)snprintf(
            message, sizeof(message),
            "Unauthorized: the client certificate of %.253s with the serial number %s has been revoked",
            identity->name, identity->serial);
        http_refuse(r, 401, "Unauthorized", message);
        return true;
}

static void identify(struct request *r)
{
        const union MHD_ConnectionInfo *info;
        struct connection *c = r->connection;

        if (!c->identified) {
                c->identified = true;
                info = MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
                if (info && auth_identify(info->tls_session, &c->identity) == 0)
                        allow_idleness(r);
        }
        if (!c->identity.verified || c->identity.expires <= time(NULL))
                identify_by_token(r);
        else if (!is_revoked(r, &c->identity))
                use_identity(r, &c->identity);
}

/* ---- how much ---- */

static void free_client(void **item)
{
        free(*item);
        *item = NULL;
}

int http_clients_init(struct api_http *http)
{
        http->clients = zhashx_new();
        if (http->clients)
                zhashx_set_destructor(http->clients, free_client);
        return http->clients ? 0 : -1;
}

/* The entry stays in the table with the connection; NULL when out of memory. */
static struct client *client_of(struct api_http *http, const char *name)
{
        struct client *client = zhashx_lookup(http->clients, name);

        if (client)
                return client;
        client = calloc(1, sizeof(*client));
        if (client && zhashx_insert(http->clients, name, client) < 0) {
                free(client);
                return NULL;
        }
        return client;
}

/* A connection belongs to the first user that it showed. */
static bool count_connection(struct request *r)
{
        struct connection *c = r->connection;

        if (c->client)
                return true;
        c->client = client_of(r->http, r->call.user.name);
        if (!c->client)
                return false;
        return ++c->client->connections <= r->http->server->options->max_user_connections;
}

static bool count_watch(struct request *r)
{
        struct client *client = r->connection->client;

        if (r->call.rest.target != REST_WATCH)
                return true;
        if (client->watches >= r->http->server->options->max_user_watches)
                return false;
        client->watches++;
        r->watch_counted = true;
        return true;
}

static bool is_write(const struct rest_request *r)
{
        return r->target == REST_OBJECTS && r->api.verb != API_GET && r->api.verb != API_LIST;
}

static void too_many(struct request *r, const char *what)
{
        char message[200];

        (void)snprintf(message, sizeof(message), "too many %s; try again later", what);
        http_refuse(r, 429, "TooManyRequests", message);
}

static bool is_list(const struct rest_request *r)
{
        return r->target == REST_OBJECTS && r->api.verb == API_LIST;
}

static void check_limits(struct request *r)
{
        const struct api_options *o = r->http->server->options;

        if (r->refused || !r->call.user.name)
                return;
        if (!count_connection(r))
                too_many(r, "connections of this user (--max-user-connections)");
        else if (!count_watch(r))
                too_many(r, "watches of this user (--max-user-watches)");
        else if (is_write(&r->call.rest) && r->http->waiting_count >= o->max_inflight)
                too_many(r, "writes wait for the disk (--max-inflight)");
        else if (is_list(&r->call.rest) && r->http->answers > o->max_answers)
                too_many(r, "bytes of answers wait for their clients (--max-answers)");
}

void http_request_gone(struct request *r)
{
        if (r->watch_counted)
                r->connection->client->watches--;
        r->watch_counted = false;
        auth_identity_deinit(&r->token_identity);
}

/* An entry of nobody goes when the table is looked at next; names are bounded by who is let in. */
void http_connection_gone(struct api_http *http, struct connection *c)
{
        if (c->client && --c->client->connections == 0) {
                for (void *client = zhashx_first(http->clients); client;
                     client = zhashx_next(http->clients)) {
                        if (client == c->client) {
                                zhashx_delete(http->clients, zhashx_cursor(http->clients));
                                break;
                        }
                }
        }
        auth_identity_deinit(&c->identity);
}

void http_address(struct request *r, char out[64])
{
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
        const struct sockaddr *address = info ? info->client_addr : NULL;
        const void *bytes = NULL;

        out[0] = '\0';
        if (address && address->sa_family == AF_INET)
                bytes = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
        else if (address && address->sa_family == AF_INET6)
                bytes = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        if (bytes)
                (void)inet_ntop(address->sa_family, bytes, out, 64);
}

/* ---- whether ---- */

void http_refuse(struct request *r, int code, const char *reason, const char *message)
{
        r->refused = true;
        api_call_fail(&r->call, code, reason, message);
}

/* What can be said before the body is read. A create is checked again once its body tells the name. */
static void check_access(struct request *r)
{
        const struct rest_request *rest = &r->call.rest;
        struct auth_files *files = r->http->server->auth_files;
        const char *name = rest->api.name;
        uint64_t now = ak_clock_monotonic_us();
        char message[1024];

        if (rest_is_public(rest) || r->refused)
                return;
        if (!r->call.user.name) {
                http_refuse(r, 401, "Unauthorized", "Unauthorized");
                return;
        }
        if (rest->target == REST_OBJECTS && rest->api.verb == API_CREATE && !*name &&
            access_node_name(&r->call.user))
                name = access_node_name(&r->call.user);
        if (auth_allowed(auth_files_get(files, now), &r->call.user, rest, name) ||
            auth_allowed(auth_files_fresh(files, now), &r->call.user, rest, name))
                return;
        auth_refusal(&r->call.user, rest, message, sizeof(message));
        http_refuse(r, 403, "Forbidden", message);
}

void http_begin(struct request *r)
{
        struct rest_error error;
        int rc;

        rc = rest_decode(r->method, r->uri, &r->call.rest, &error);
        identify(r);
        if (r->refused)
                return;
        if (rc == 0) {
                check_access(r);
                check_limits(r);
        } else if (!r->call.user.name) {
                http_refuse(r, 401, "Unauthorized", "Unauthorized");
        } else if (rc == -EINVAL) {
                r->refused = true;
                api_call_fail_as(&r->call, &error);
        } else {
                http_refuse(r, 503, "ServiceUnavailable", "the server is out of memory; try again later");
        }
}
