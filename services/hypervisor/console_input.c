/* SPDX-License-Identifier: Apache-2.0 */
#include "services/hypervisor/console_input.h"

#include <czmq.h>
#include <stdatomic.h>

#include "libcommon/log.h"

#define MAX_PENDING  65536
#define RETRY_MS     10
#define MAX_ATTEMPTS 200 /* of a write that the guest does not take */

struct hv_console_input {
        const struct hv_driver_ops *ops;
        struct hv_driver_vm *vm;
        char uid[AK_LEN_UID + 1];
        atomic_size_t pending;
        bool dropped;
        zactor_t *actor;
};

/* Writes all of it, as far as the guest takes it; the end of the actor is noticed meanwhile. */
static void feed(struct hv_console_input *in, zpoller_t *poller, const uint8_t *data, size_t len)
{
        char text[HV_LEN_TEXT + 1] = "";

        for (int tries = 0; len > 0 && tries < MAX_ATTEMPTS; tries++) {
                enum hv_error error;
                size_t done = 0;

                error = in->ops->console_write(in->vm, data, len, &done, text);
                if (error != HV_OK) {
                        ak_log(AK_LOG_WARN, "console_input", "pod", in->uid, "error", hv_error_name(error),
                               "text", text, NULL);
                        return;
                }
                data += done;
                len -= done;
                /* Wakes early for the next message, which may be the end; data waits in the pipe. */
                if (len > 0 && zpoller_wait(poller, RETRY_MS) && tries > MAX_ATTEMPTS / 2)
                        return;
        }
}

static void actor(zsock_t *pipe, void *arg)
{
        zpoller_t *poller = zpoller_new(pipe, NULL);
        struct hv_console_input *in = arg;
        char text[HV_LEN_TEXT + 1];
        bool more = poller != NULL;
        size_t done;

        (void)zsock_signal(pipe, 0);
        while (more) {
                zmsg_t *message = zmsg_recv(pipe);
                zframe_t *kind = message ? zmsg_first(message) : NULL,
                         *data = message ? zmsg_next(message) : NULL;

                more = kind && data && zframe_streq(kind, "data");
                if (more) {
                        feed(in, poller, zframe_data(data), zframe_size(data));
                        atomic_fetch_sub(&in->pending, zframe_size(data));
                }
                zmsg_destroy(&message);
        }
        (void)in->ops->console_write(in->vm, NULL, 0, &done, text);
        zpoller_destroy(&poller);
}

struct hv_console_input *hv_console_input_new(const struct hv_driver_ops *ops, struct hv_driver *driver,
                                              const char *pod_uid)
{
        struct hv_console_input *in = calloc(1, sizeof(*in));

        if (!in)
                return NULL;
        in->ops = ops;
        (void)snprintf(in->uid, sizeof(in->uid), "%s", pod_uid);
        in->vm = ops->vm_open(driver, pod_uid);
        in->actor = in->vm ? zactor_new(actor, in) : NULL;
        return in->actor ? in : hv_console_input_free(in);
}

struct hv_console_input *hv_console_input_free(struct hv_console_input *in)
{
        if (!in)
                return NULL;
        zactor_destroy(&in->actor);
        if (in->vm)
                in->ops->vm_close(in->vm);
        free(in);
        return NULL;
}

void hv_console_input_write(struct hv_console_input *in, const void *data, size_t len)
{
        zmsg_t *message;

        if (len == 0)
                return;
        if (atomic_load(&in->pending) + len > MAX_PENDING) {
                if (!in->dropped)
                        ak_log(AK_LOG_WARN, "console_input_dropped", "pod", in->uid, NULL);
                in->dropped = true;
                return;
        }
        in->dropped = false;
        message = zmsg_new();
        if (!message || zmsg_addstr(message, "data") < 0 || zmsg_addmem(message, data, len) < 0) {
                zmsg_destroy(&message);
                return;
        }
        atomic_fetch_add(&in->pending, len);
        (void)zmsg_send(&message, in->actor);
}
