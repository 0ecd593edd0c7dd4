/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/bus_curve.h"

#include <errno.h>
#include <string.h>

#include "libcommon/bus_keys.h"
#include "libcommon/clock.h"

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define ZAP_VERSION  "1.0"
#define ZAP_BATCH    64
#define KEY_TEXT     41 /* Z85 of 32 bytes, and NUL */

struct bus_curve {
        struct ak_bus *bus;
        char *dir;
        const char *const *roles; /* that may listen; NULL-terminated */
        zcert_t *own;
        zcertstore_t *store;
        zsock_t *zap, *monitor;
        zsock_t *served;
        struct ak_ratelimit noise;
};

static void refused(struct bus_curve *c, const char *address, const char *key, const char *why)
{
        uint32_t suppressed;

        if (ak_ratelimit_pass(&c->noise, ak_clock_monotonic_us(), &suppressed))
                ak_log(AK_LOG_WARN, "bus_peer_refused", "address", address, "key", key, "why", why,
                       "suppressed", AK_FMT("%u", suppressed), NULL);
}

/* ------------------------------------------------------------------ ZAP */

struct zap_request {
        char *version, *sequence, *domain, *address, *identity, *mechanism;
        zframe_t *key;
};

static void zap_request_deinit(struct zap_request *r)
{
        zstr_free(&r->version);
        zstr_free(&r->sequence);
        zstr_free(&r->domain);
        zstr_free(&r->address);
        zstr_free(&r->identity);
        zstr_free(&r->mechanism);
        zframe_destroy(&r->key);
}

static bool may_listen(const struct bus_curve *c, const char *role)
{
        for (const char *const *r = c->roles; r && *r; r++)
                if (strcmp(*r, role) == 0)
                        return true;
        return !c->roles && role[0];
}

/* NULL, or why not. */
static const char *judge(struct bus_curve *c, const struct zap_request *r, char key[KEY_TEXT])
{
        zcert_t *cert;

        key[0] = '\0';
        if (!r->version || strcmp(r->version, ZAP_VERSION) != 0 || !r->mechanism ||
            strcmp(r->mechanism, "CURVE") != 0 || !r->key || zframe_size(r->key) != 32)
                return "no CURVE key";
        if (!zmq_z85_encode(key, zframe_data(r->key), 32))
                return "no CURVE key";
        cert = zcertstore_lookup(c->store, key);
        if (!cert) {
                c->bus->stats.refused_keys++;
                return "unknown key";
        }
        if (!may_listen(c, ak_bus_key_role(cert))) {
                c->bus->stats.refused_roles++;
                return "its role may not listen";
        }
        return NULL;
}

static void answer(struct bus_curve *c, const struct zap_request *r)
{
        char key[KEY_TEXT];
        const char *why = judge(c, r, key);

        if (why)
                refused(c, r->address, key, why);
        (void)zstr_sendx(c->zap, ZAP_VERSION, r->sequence ? r->sequence : "", why ? "400" : "200",
                         why ? why : "OK", why ? "" : key, "", NULL);
}

static int on_zap(zloop_t *loop AK_UNUSED, zsock_t *sock, void *arg)
{
        for (int i = 0; i < ZAP_BATCH && (zsock_events(sock) & ZMQ_POLLIN); i++) {
                struct zap_request r = {0};

                if (zsock_recv(sock, "ssssssf", &r.version, &r.sequence, &r.domain, &r.address, &r.identity,
                               &r.mechanism, &r.key) == 0)
                        answer(arg, &r);
                zap_request_deinit(&r);
        }
        return 0;
}

/* ------------------------------------------------------------------ handshakes that fail before ZAP */

/* zmq_socket_monitor(3): a frame of 16 bits event and 32 bits value, and one with the address. */
static int on_monitor(zloop_t *loop AK_UNUSED, zsock_t *sock, void *arg)
{
        struct bus_curve *c = arg;

        for (int i = 0; i < ZAP_BATCH && (zsock_events(sock) & ZMQ_POLLIN); i++) {
                zframe_t *event = zframe_recv(sock), *address = zframe_recv(sock);
                AK_AUTOFREE char *text = address ? zframe_strdup(address) : NULL;
                uint16_t type = 0;

                if (event && zframe_size(event) >= sizeof(type))
                        memcpy(&type, zframe_data(event), sizeof(type));
                if (type == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL ||
                    type == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL) {
                        c->bus->stats.refused_handshakes++;
                        refused(c, text, NULL, "no CURVE handshake, or with a key of ours that is none");
                }
                zframe_destroy(&event);
                zframe_destroy(&address);
        }
        return 0;
}

static int watch_handshakes(struct bus_curve *c, zsock_t *pub)
{
        char endpoint[64];

        (void)snprintf(endpoint, sizeof(endpoint), "inproc://alkaid.monitor.%" PRIx64, c->bus->epoch);
        if (zmq_socket_monitor(zsock_resolve(pub), endpoint,
                               ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL) <
            0)
                return -errno;
        c->monitor = zsock_new(ZMQ_PAIR);
        if (!c->monitor || zsock_connect(c->monitor, "%s", endpoint) < 0)
                return -ENOMEM;
        return zloop_reader(c->bus->loop, c->monitor, on_monitor, c) < 0 ? -ENOMEM : 0;
}

/* ------------------------------------------------------------------ sockets */

/* A second binder of the endpoint would leave the sockets with a handler that has another allow-list. */
static int handle_zap(struct bus_curve *c)
{
        c->zap = zsock_new(ZMQ_REP);
        if (!c->zap)
                return -ENOMEM;
        if (zsock_bind(c->zap, "%s", ZAP_ENDPOINT) < 0) {
                ak_log(AK_LOG_ERROR, "bus_zap_taken", "remedy", "one bus per process may listen on tcp",
                       NULL);
                return -EADDRINUSE;
        }
        return zloop_reader(c->bus->loop, c->zap, on_zap, c) < 0 ? -ENOMEM : 0;
}

int bus_curve_serve(struct bus_curve *c, zsock_t *pub)
{
        int r = handle_zap(c);

        if (r == 0)
                r = watch_handshakes(c, pub);
        if (r < 0)
                return r;
        c->served = pub;
        zcert_apply(c->own, pub);
        zsock_set_curve_server(pub, 1);
        zsock_set_zap_domain(pub, "alkaid");
        return 0;
}

int bus_curve_connect(struct bus_curve *c, zsock_t *sub, const char *peer)
{
        AK_CLEANUP(ak_zcert_freep) zcert_t *cert = NULL;
        char error[AK_BUS_KEY_ERROR_SIZE];
        int r = ak_bus_key_load(&cert, c->dir, peer, false, error);

        if (r < 0) {
                ak_log(AK_LOG_ERROR, "bus_key_unusable", "peer", peer, "error", error, NULL);
                return r;
        }
        if (strcmp(ak_bus_key_role(cert), peer) != 0) {
                c->bus->stats.refused_roles++;
                ak_log(AK_LOG_ERROR, "bus_key_of_other_role", "peer", peer, "role", ak_bus_key_role(cert),
                       "remedy", "give the peer a certificate of its own role", NULL);
                return -EACCES;
        }
        zcert_apply(c->own, sub);
        zsock_set_curve_serverkey(sub, zcert_public_txt(cert));
        return 0;
}

/* ------------------------------------------------------------------ life */

static int load_own(struct bus_curve *c, const char *name)
{
        char error[AK_BUS_KEY_ERROR_SIZE];
        int r = ak_bus_key_load(&c->own, c->dir, name, true, error);

        if (r < 0) {
                ak_log(AK_LOG_ERROR, "bus_key_unusable", "name", name, "error", error, NULL);
                return r;
        }
        if (strcmp(ak_bus_key_role(c->own), name) == 0)
                return 0;
        ak_log(AK_LOG_ERROR, "bus_key_of_other_role", "name", name, "role", ak_bus_key_role(c->own), "remedy",
               "a service's certificate has the service's name as its role", NULL);
        return -EACCES;
}

int bus_curve_new(struct bus_curve **out, struct ak_bus *bus, const struct ak_bus_options *options)
{
        struct bus_curve *c = calloc(1, sizeof(*c));
        int r;

        if (!c)
                return -ENOMEM;
        c->bus = bus;
        c->roles = options->roles;
        c->noise = (struct ak_ratelimit){.interval_us = 10 * 1000 * 1000, .burst = 5};
        c->dir = strdup(options->net->keys);
        r = c->dir ? load_own(c, bus->name[0] ? bus->name : AK_BUS_ROLE_LISTENER) : -ENOMEM;
        if (r == 0) {
                c->store = zcertstore_new(c->dir);
                r = c->store ? 0 : -ENOMEM;
        }
        if (r < 0) {
                bus_curve_free(c);
                return r == -EPERM ? -EACCES : r;
        }
        *out = c;
        return 0;
}

static void end_reader(struct bus_curve *c, zsock_t **sock)
{
        if (!*sock)
                return;
        zloop_reader_end(c->bus->loop, *sock);
        zsock_destroy(sock);
}

struct bus_curve *bus_curve_free(struct bus_curve *c)
{
        if (!c)
                return NULL;
        end_reader(c, &c->monitor);
        /* ZeroMQ's own thread would give the name back some time after the close. */
        if (c->zap)
                (void)zsock_unbind(c->zap, "%s", ZAP_ENDPOINT);
        end_reader(c, &c->zap);
        zcertstore_destroy(&c->store);
        zcert_destroy(&c->own);
        free(c->dir);
        free(c);
        return NULL;
}
