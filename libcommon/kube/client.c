/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders travel to the actor and back as pointers over its pipe. The actor waits in curl, not on the pipe,
 * so each order is followed by a wake-up. The number of pending orders is bounded below the pipe's
 * high-water mark in both directions, so neither side ever blocks in a send.
 */
#include "libcommon/kube/client.h"

#include <errno.h>
#include <string.h>

struct order {
        struct actor *actor;
        struct ak_kube_request request; /* owns path and body */
        struct ak_kube_response response;
        ak_kube_answer_fn done;
        void *arg;
};

/* What the actor's thread works with. */
struct actor {
        struct ak_kube_session *session;
        zsock_t *pipe;
        zlistx_t *waiting; /* orders that are not yet started */
        bool stopping;
};

struct ak_kube_client {
        zloop_t *loop;
        zactor_t *zactor;
        struct actor actor;
        size_t pending;
};

static struct order *order_free(struct order *order)
{
        if (order) {
                free((void *)order->request.path);
                json_decref((json_t *)order->request.body);
                ak_kube_response_deinit(&order->response);
        }
        free(order);
        return NULL;
}

static void order_freep(struct order **order)
{
        order_free(*order);
}

/* ---- the actor's thread ---- */

static void actor_answer(struct actor *a, struct order *order)
{
        (void)zsock_send(a->pipe, "sp", "ANSWER", order);
}

static void actor_done(void *arg, struct ak_kube_response *response)
{
        struct order *order = arg;
        order->response = *response;
        actor_answer(order->actor, order);
}

static void actor_start(struct order *order)
{
        struct actor *a = order->actor;
        struct ak_kube_transfer_handler handler = {.done = actor_done, .arg = order};
        int rc = ak_kube_session_start(a->session, &order->request, &handler);
        if (rc < 0) {
                order->response.error = rc;
                actor_answer(a, order);
        }
}

static void actor_read(struct actor *a)
{
        while (zsock_events(a->pipe) & ZMQ_POLLIN) {
                char *command = NULL;
                struct order *order = NULL;
                if (zsock_recv(a->pipe, "sp", &command, &order) == 0 && strcmp(command, "ORDER") == 0)
                        zlistx_add_end(a->waiting, order);
                else
                        a->stopping = true;
                free(command);
        }
}

static void actor_main(zsock_t *pipe, void *arg)
{
        struct actor *a = arg;
        a->pipe = pipe;
        (void)zsock_signal(pipe, 0);
        while (!a->stopping) {
                actor_read(a);
                while (ak_kube_session_running(a->session) < AK_KUBE_PARALLEL && zlistx_size(a->waiting) > 0)
                        actor_start(zlistx_detach(a->waiting, NULL));
                ak_kube_session_step(a->session, ak_kube_session_cancelled(a->session) ? 0 : 60000);
        }
        ak_kube_session_cancel(a->session);
        ak_kube_session_step(a->session, 0);
        (void)zsock_send(pipe, "sp", "BYE", NULL);
}

/* ---- the reactor's thread ---- */

static int on_answer(zloop_t *loop AK_UNUSED, zsock_t *reader, void *arg)
{
        struct ak_kube_client *client = arg;
        char *command = NULL;
        struct order *received = NULL;
        if (zsock_recv(reader, "sp", &command, &received) != 0)
                return 0;
        AK_CLEANUP(order_freep) struct order *order = received;
        free(command);
        if (order) {
                client->pending--;
                order->done(order->arg, &order->response);
        }
        return 0;
}

int ak_kube_client_new(struct ak_kube_client **out, zloop_t *loop, const struct ak_kubeconfig *config,
                       const char *user_agent)
{
        AK_CLEANUP(ak_kube_client_freep) struct ak_kube_client *client = calloc(1, sizeof(*client));
        if (!client)
                return -ENOMEM;
        client->loop = loop;
        client->actor.waiting = zlistx_new();
        int rc = ak_kube_session_new(&client->actor.session, config, user_agent);
        if (rc < 0)
                return rc;
        client->zactor = zactor_new(actor_main, &client->actor);
        if (!client->zactor)
                return -ENOMEM;
        if (zloop_reader(loop, zactor_sock(client->zactor), on_answer, client) != 0)
                return -ENOMEM;
        *out = AK_STEAL(client);
        return 0;
}

static void drain(struct ak_kube_client *client)
{
        (void)zsock_send(zactor_sock(client->zactor), "sp", "STOP", NULL);
        ak_kube_session_wake(client->actor.session);
        for (bool bye = false; !bye;) {
                char *command = NULL;
                struct order *order = NULL;
                if (zsock_recv(zactor_sock(client->zactor), "sp", &command, &order) != 0)
                        break;
                bye = strcmp(command, "BYE") == 0;
                order_free(order);
                free(command);
        }
}

struct ak_kube_client *ak_kube_client_free(struct ak_kube_client *client)
{
        if (!client)
                return NULL;
        if (client->zactor) {
                zloop_reader_end(client->loop, zactor_sock(client->zactor));
                ak_kube_session_cancel(client->actor.session);
                drain(client);
                zactor_destroy(&client->zactor);
        }
        while (client->actor.waiting && zlistx_size(client->actor.waiting) > 0)
                order_free(zlistx_detach(client->actor.waiting, NULL));
        zlistx_destroy(&client->actor.waiting);
        ak_kube_session_free(client->actor.session);
        free(client);
        return NULL;
}

int ak_kube_client_submit(struct ak_kube_client *client, const struct ak_kube_request *request,
                          ak_kube_answer_fn done, void *arg)
{
        if (client->pending >= AK_KUBE_MAX_PENDING)
                return -ENOBUFS;
        AK_CLEANUP(order_freep) struct order *order = calloc(1, sizeof(*order));
        if (!order)
                return -ENOMEM;
        *order = (struct order){.actor = &client->actor, .request = *request, .done = done, .arg = arg};
        order->request.path = strdup(request->path);
        order->request.body = json_incref((json_t *)request->body);
        if (!order->request.path)
                return -ENOMEM;
        if (zsock_send(zactor_sock(client->zactor), "sp", "ORDER", order) != 0)
                return -ENOMEM;
        order = NULL;
        client->pending++;
        ak_kube_session_wake(client->actor.session);
        return 0;
}

size_t ak_kube_client_pending(const struct ak_kube_client *client)
{
        return client->pending;
}
