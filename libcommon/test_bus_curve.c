/* SPDX-License-Identifier: Apache-2.0 */
/* The bus over tcp, with real sockets on loopback: who gets in, who does not, and who may say what. */
#include "libcommon/bus_internal.h"
#include "libcommon/bus_keys.h"
#include "libcommon/test_bus_world.h"

static const char *const roles[] = {"watcher", "network", AK_BUS_ROLE_LISTENER, NULL};

/* The watcher's topics are nic.*, everybody else's port.*. */
static bool may_publish(const char *publisher, const char *topic)
{
        return (strcmp(publisher, "watcher") == 0) == (strncmp(topic, "nic.", 4) == 0);
}

/* A world with keys, and a watcher that listens on tcp. */
struct secured {
        struct world *w;
        char keys[96], listen[32], peer[96];
        char *peers[2];
        struct ak_bus_net server, client;
        struct party watcher;
};

static void key_path(const struct secured *s, const char *name, char out[160])
{
        (void)snprintf(out, 160, "%s/%s", s->keys, name);
}

static void generate(const struct secured *s, const char *name, const char *role)
{
        char error[AK_BUS_KEY_ERROR_SIZE] = "";

        if (ak_bus_key_generate(s->keys, name, role, error) < 0)
                fail_msg("%s", error);
}

static struct ak_bus_options named(const char *name, const struct ak_bus_net *net)
{
        return (struct ak_bus_options){.name = name, .net = net, .roles = roles, .may_publish = may_publish};
}

static const char *endpoint(struct secured *s)
{
        return zsock_endpoint(s->watcher.bus->pub);
}

static void open_watcher(struct secured *s)
{
        struct ak_bus_options o = named("watcher", &s->server);

        assert_int_equal(open_party(s->w, &s->watcher, &o), 0);
        (void)snprintf(s->peer, sizeof(s->peer), "watcher=%s", endpoint(s));
        s->peers[0] = s->peer;
        s->client = (struct ak_bus_net){.keys = s->keys, .peers = {.items = s->peers, .count = 1}};
}

static int setup_secured(void **state)
{
        struct secured *s = calloc(1, sizeof(*s));
        void *w = NULL;

        assert_non_null(s);
        assert_int_equal(setup(&w), 0);
        s->w = w;
        (void)snprintf(s->keys, sizeof(s->keys), "%s/keys", s->w->dir);
        (void)snprintf(s->listen, sizeof(s->listen), "tcp://127.0.0.1:*");
        s->server = (struct ak_bus_net){.listen = s->listen, .keys = s->keys};
        generate(s, "watcher", "watcher");
        generate(s, "network", "network");
        generate(s, "listener", AK_BUS_ROLE_LISTENER);
        *state = s;
        return 0;
}

static int teardown_secured(void **state)
{
        struct secured *s = *state;
        void *w = s->w;
        char path[160];
        zdir_t *dir;

        close_party(&s->watcher);
        dir = zdir_new(s->keys, NULL);
        zdir_remove(dir, true);
        zdir_destroy(&dir);
        (void)rmdir(s->keys);
        (void)snprintf(path, sizeof(path), "%s/network.lock", s->w->dir);
        (void)unlink(path);
        free(s);
        return teardown(&w);
}

/* ------------------------------------------------------------------ who gets in */

static void the_right_key_gets_in(void **state)
{
        struct secured *s = *state;
        struct party network;
        struct ak_bus_options o;

        open_watcher(s);
        say(&s->watcher, "nic.diff/a", "before");
        o = named("network", &s->client);
        assert_int_equal(open_party(s->w, &network, &o), 0);
        assert_int_equal(ak_bus_subscribe(network.bus, "watcher", "nic.diff/"), 0);
        wait_seen(s->w, &network, "nic.diff/a", "before");
        say(&s->watcher, "nic.diff/a", "after");
        wait_seen(s->w, &network, "nic.diff/a", "after");
        assert_int_equal(stats(&s->watcher).refused_keys, 0);
        close_party(&network);
}

static void a_tool_listens_with_the_listeners_key(void **state)
{
        struct secured *s = *state;
        struct ak_bus_options o;
        struct party tap;

        open_watcher(s);
        say(&s->watcher, "nic.diff/a", "x");
        o = named(NULL, &s->client);
        assert_int_equal(open_party(s->w, &tap, &o), 0);
        assert_int_equal(ak_bus_subscribe(tap.bus, "watcher", ""), 0);
        wait_seen(s->w, &tap, "nic.diff/a", "x");
        close_party(&tap);
}

/* ------------------------------------------------------------------ who does not */

struct knock {
        struct secured *s;
        zsock_t *sub;
        size_t (*refusals)(const struct ak_bus_stats *stats);
};

static bool was_refused(void *arg)
{
        struct knock *k = arg;
        struct ak_bus_stats now = stats(&k->s->watcher);

        return k->refusals(&now) > 0;
}

/* A stranger connects, is refused and counted, and hears nothing. */
static void knock(struct secured *s, zcert_t *own, zcert_t *server,
                  size_t (*refusals)(const struct ak_bus_stats *stats))
{
        struct knock k = {.s = s, .sub = zsock_new(ZMQ_SUB), .refusals = refusals};

        assert_non_null(k.sub);
        zsock_set_linger(k.sub, 0);
        if (own) {
                zcert_apply(own, k.sub);
                zsock_set_curve_serverkey(k.sub, zcert_public_txt(server));
        }
        zsock_set_subscribe(k.sub, "");
        assert_int_equal(zsock_connect(k.sub, "%s", endpoint(s)), 0);
        assert_true(run_until(s->w, was_refused, &k));
        assert_int_equal(stats(&s->watcher).subscriptions, 0);
        assert_false(zsock_events(k.sub) & ZMQ_POLLIN);
        zsock_destroy(&k.sub);
}

static zcert_t *load(struct secured *s, const char *name, bool secret)
{
        char error[AK_BUS_KEY_ERROR_SIZE] = "";
        zcert_t *cert = NULL;

        if (ak_bus_key_load(&cert, s->keys, name, secret, error) < 0)
                fail_msg("%s", error);
        return cert;
}

static size_t handshakes(const struct ak_bus_stats *st)
{
        return st->refused_handshakes;
}

static size_t keys(const struct ak_bus_stats *st)
{
        return st->refused_keys;
}

static size_t wrong_roles(const struct ak_bus_stats *st)
{
        return st->refused_roles;
}

static void no_key_is_refused(void **state)
{
        struct secured *s = *state;

        open_watcher(s);
        say(&s->watcher, "nic.diff/a", "secret");
        knock(s, NULL, NULL, handshakes);
}

static void an_unknown_key_is_refused(void **state)
{
        struct secured *s = *state;
        zcert_t *own = zcert_new(), *server;

        open_watcher(s);
        server = load(s, "watcher", false);
        say(&s->watcher, "nic.diff/a", "secret");
        knock(s, own, server, keys);
        zcert_destroy(&own);
        zcert_destroy(&server);
}

static void a_key_for_another_server_is_refused(void **state)
{
        struct secured *s = *state;
        zcert_t *own, *other;

        open_watcher(s);
        own = load(s, "listener", true);
        other = load(s, "network", false);
        knock(s, own, other, handshakes);
        zcert_destroy(&own);
        zcert_destroy(&other);
}

static void a_role_that_may_not_listen_is_refused(void **state)
{
        struct secured *s = *state;
        zcert_t *own, *server;

        generate(s, "bookkeeper", "bookkeeper");
        open_watcher(s);
        own = load(s, "bookkeeper", true);
        server = load(s, "watcher", false);
        knock(s, own, server, wrong_roles);
        zcert_destroy(&own);
        zcert_destroy(&server);
}

static void a_removed_key_is_refused(void **state)
{
        struct secured *s = *state;
        zcert_t *own, *server;
        char error[AK_BUS_KEY_ERROR_SIZE];

        open_watcher(s);
        own = load(s, "listener", true);
        server = load(s, "watcher", false);
        assert_int_equal(ak_bus_key_remove(s->keys, "listener", error), 0);
        knock(s, own, server, keys);
        zcert_destroy(&own);
        zcert_destroy(&server);
}

/* ------------------------------------------------------------------ who may say what */

/* The network service's key, which is a good one, at the place where the watcher should be. */
static void another_service_in_a_peers_place_is_not_heard(void **state)
{
        struct secured *s = *state;
        zcert_t *impostors = load(s, "network", true), *listeners = load(s, "listener", true);
        zsock_t *impostor = zsock_new(ZMQ_XPUB), *monitor;
        struct ak_bus_options o;
        struct party tap;
        zactor_t *actor;

        zcert_apply(impostors, impostor);
        zsock_set_curve_server(impostor, 1);
        zsock_set_linger(impostor, 0);
        assert_true(zsock_bind(impostor, "tcp://127.0.0.1:*") > 0);
        actor = zactor_new(zmonitor, impostor);
        assert_int_equal(
            zmq_socket_monitor(zsock_resolve(impostor), "inproc://impostor",
                               ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_SUCCEEDED),
            0);
        monitor = zsock_new_pair(">inproc://impostor");
        (void)snprintf(s->peer, sizeof(s->peer), "watcher=%s", zsock_endpoint(impostor));
        s->peers[0] = s->peer;
        s->client = (struct ak_bus_net){.keys = s->keys, .peers = {.items = s->peers, .count = 1}};
        o = named(NULL, &s->client);
        assert_int_equal(open_party(s->w, &tap, &o), 0);
        assert_int_equal(ak_bus_subscribe(tap.bus, "watcher", "nic.diff/"), 0);
        zsock_set_rcvtimeo(monitor, 20000);
        zframe_t *event = zframe_recv(monitor);
        uint16_t type = 0;

        assert_non_null(event);
        memcpy(&type, zframe_data(event), sizeof(type));
        assert_int_equal(type, ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL);
        assert_int_equal(tap.count, 0);
        zframe_destroy(&event);
        close_party(&tap);
        zactor_destroy(&actor);
        zsock_destroy(&monitor);
        zsock_destroy(&impostor);
        zcert_destroy(&impostors);
        zcert_destroy(&listeners);
}

static bool has_refused_topic(void *arg)
{
        return stats(arg).refused_topics > 0;
}

/* In its own place, with its own key, the network service says what only the watcher may. */
static void a_service_may_say_only_what_is_its_own(void **state)
{
        struct secured *s = *state;
        struct party network, tap;
        struct ak_bus_options o = named("network", NULL);

        open_watcher(s);
        assert_int_equal(open_party(s->w, &network, &o), 0);
        o = named(NULL, &s->client);
        assert_int_equal(open_party(s->w, &tap, &o), 0);
        assert_int_equal(ak_bus_subscribe(tap.bus, "network", ""), 0);
        say(&network, "nic.diff/a", "forged");
        say(&network, "port.status/a", "true");
        wait_seen(s->w, &tap, "port.status/a", "true");
        assert_true(run_until(s->w, has_refused_topic, &tap));
        assert_null(seen_of(&tap, "nic.diff/a"));
        assert_true(stats(&tap).rejected > 0);
        close_party(&tap);
        close_party(&network);
}

/* ------------------------------------------------------------------ what is refused at start */

static void tcp_without_keys_is_refused(void **state)
{
        struct secured *s = *state;
        char item[] = "watcher=tcp://127.0.0.1:9";
        char *items[] = {item, NULL};
        struct ak_bus_net bare[] = {{.listen = s->listen}, {.peers = {.items = items, .count = 1}}};

        for (size_t i = 0; i < AK_ARRAY_SIZE(bare); i++) {
                struct ak_bus_options o = named("watcher", &bare[i]);

                assert_int_equal(open_party(s->w, &s->watcher, &o), -ENOKEY);
                assert_null(s->watcher.bus);
        }
}

static void what_is_no_endpoint_is_refused(void **state)
{
        struct secured *s = *state;
        char texts[][40] = {"ipc:///tmp/x", "inproc://x", "tcp://",     "tcp://host",  "udp://127.0.0.1:1",
                            "127.0.0.1:1",  "watcher",    "=tcp://h:1", "A=tcp://h:1", "watcher=ipc:///x"};

        for (size_t i = 0; i < AK_ARRAY_SIZE(texts); i++) {
                char *items[] = {texts[i], NULL};
                struct ak_bus_net listen = {.keys = s->keys, .listen = texts[i]};
                struct ak_bus_net peer = {.keys = s->keys, .peers = {.items = items, .count = 1}};
                struct ak_bus_options o = named("watcher", i < 6 ? &listen : &peer);

                assert_int_equal(open_party(s->w, &s->watcher, &o), -EINVAL);
        }
}

static void expect_start(struct secured *s, const char *name, int wanted)
{
        struct ak_bus_options o = named(name, &s->server);

        assert_int_equal(open_party(s->w, &s->watcher, &o), wanted);
        assert_null(s->watcher.bus);
}

static void loose_files_are_refused(void **state)
{
        struct secured *s = *state;
        char path[160];

        assert_int_equal(chmod(s->keys, 0750), 0);
        expect_start(s, "watcher", -EACCES);
        assert_int_equal(chmod(s->keys, 0700), 0);
        key_path(s, "watcher.cert_secret", path);
        assert_int_equal(chmod(path, 0644), 0);
        expect_start(s, "watcher", -EACCES);
        assert_int_equal(chmod(path, 0600), 0);
        assert_int_equal(truncate(path, 0), 0);
        expect_start(s, "watcher", -EBADMSG);
        assert_int_equal(unlink(path), 0);
        expect_start(s, "watcher", -ENOENT);
        assert_int_equal(symlink("/dev/null", path), 0);
        expect_start(s, "watcher", -EACCES);
}

static void a_certificate_of_another_role_is_refused(void **state)
{
        struct secured *s = *state;
        struct ak_bus_options o;
        struct party tap;

        generate(s, "hypervisor", "network");
        expect_start(s, "hypervisor", -EACCES);
        open_watcher(s);
        (void)snprintf(s->peer, sizeof(s->peer), "hypervisor=%s", endpoint(s));
        o = named(NULL, &s->client);
        assert_int_equal(open_party(s->w, &tap, &o), 0);
        assert_int_equal(ak_bus_subscribe(tap.bus, "hypervisor", ""), -EACCES);
        close_party(&tap);
}

static void one_bus_of_a_process_listens_on_tcp(void **state)
{
        struct secured *s = *state;
        struct ak_bus_net net = s->server;
        struct ak_bus_options o = named("network", &net);
        struct party network;

        open_watcher(s);
        assert_int_equal(open_party(s->w, &network, &o), -EADDRINUSE);
}

/* ------------------------------------------------------------------ keys */

static void keys_are_made_once(void **state)
{
        struct secured *s = *state;
        char error[AK_BUS_KEY_ERROR_SIZE] = "", path[160];
        zcert_t *cert = load(s, "watcher", true);
        struct stat st;

        assert_string_equal(ak_bus_key_role(cert), "watcher");
        zcert_destroy(&cert);
        key_path(s, "watcher.cert_secret", path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(ak_bus_key_generate(s->keys, "watcher", "watcher", error), -EEXIST);
        assert_non_null(strstr(error, "keys remove"));
        assert_int_equal(ak_bus_key_generate(s->keys, "../x", "watcher", error), -EINVAL);
        assert_int_equal(ak_bus_key_generate(s->keys, "x", "Big Boss", error), -EINVAL);
        assert_int_equal(ak_bus_key_remove(s->keys, "watcher", error), 0);
        assert_int_equal(ak_bus_key_remove(s->keys, "watcher", error), -ENOENT);
        assert_int_equal(ak_bus_key_load(&cert, s->keys, "watcher", false, error), -ENOENT);
        assert_non_null(strstr(error, "alkaidctl keys generate"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_secured, teardown_secured)
        const struct CMUnitTest tests[] = {
            TEST(the_right_key_gets_in),
            TEST(a_tool_listens_with_the_listeners_key),
            TEST(no_key_is_refused),
            TEST(an_unknown_key_is_refused),
            TEST(a_key_for_another_server_is_refused),
            TEST(a_role_that_may_not_listen_is_refused),
            TEST(a_removed_key_is_refused),
            TEST(another_service_in_a_peers_place_is_not_heard),
            TEST(a_service_may_say_only_what_is_its_own),
            TEST(tcp_without_keys_is_refused),
            TEST(what_is_no_endpoint_is_refused),
            TEST(loose_files_are_refused),
            TEST(a_certificate_of_another_role_is_refused),
            TEST(one_bus_of_a_process_listens_on_tcp),
            TEST(keys_are_made_once),
        };

        (void)zsys_init();
        zsys_handler_set(NULL);
        if (!zsys_has_curve()) {
                print_message("skipped: this libzmq was built without CURVE\n");
                return 77;
        }
        return cmocka_run_group_tests_name("bus_curve", tests, NULL, NULL);
}
